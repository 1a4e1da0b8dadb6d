"""Sums over logits, [CLS], term weights and mean states in 16-bit integers: the same bits in every batch, by any number
of threads, on every path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm, build_tiny_term_weighting

from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.runtime.bert.float32 import linear
from lexhound.encoders.runtime.bert.weights import Linear
from lexhound.encoders.runtime.int16 import head as head_module
from lexhound.encoders.runtime.int16 import kernels, paths
from lexhound.encoders.runtime.int16 import linear as linear_module
from lexhound.encoders.runtime.int16.head import MaximumHead
from lexhound.encoders.runtime.int16.linear import IntegerLinear
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings

pytestmark = pytest.mark.skipif(not kernels.available(), reason="the kernels need AVX2")

TEXTS = ["heat transfer in flow", "the cat sat on the mat. " * 30, "wing", "low pressure; 42?", "shock wave " * 9]
Encode = Callable[[Sequence[str]], np.ndarray]


def sparse(folder: Path, **options: object) -> Encode:
    settings = LearnedSettings(device="cpu", precision="int16", **options)  # type: ignore[arg-type]
    return lambda texts: LearnedEncoder(folder, settings).encode_documents(texts).toarray()


def assert_same_bits(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare a batch with single texts, other batches, other numbers of threads and every path of this processor."""
    together = encode(TEXTS)
    assert together.any(axis=1).all()
    singly = np.concatenate([encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(singly, together)
    np.testing.assert_array_equal(encode(TEXTS[::-1] * 2)[: len(TEXTS)][::-1], together)
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        np.testing.assert_array_equal(encode(TEXTS), together)
    for path in paths.PATHS.values():
        if paths.runs_here(path):
            monkeypatch.setattr(kernels, "chosen", lambda path=path: path)
            np.testing.assert_array_equal(encode(TEXTS), together)


@pytest.mark.parametrize("pooling", ["sum", "cls", "max"])
def test_poolings_of_a_masked_language_model(tmp_path: Path, pooling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "_CHUNK", 40)
    monkeypatch.setattr(linear_module, "BAND", 64)
    assert_same_bits(sparse(build_tiny_masked_lm(tmp_path / "model"), pooling=pooling), monkeypatch)


@pytest.mark.parametrize("family", ["unicoil", "deepimpact"])
def test_term_weights(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_bits(sparse(build_tiny_term_weighting(tmp_path / "model", family)), monkeypatch)


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_dense_vectors(tmp_path: Path, pooling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    build_tiny_embedding_model(folder)
    settings = DenseSettings(device="cpu", precision="int16", pooling=pooling)
    assert_same_bits(lambda texts: DenseEncoder(folder, settings).encode_documents(texts), monkeypatch)


@pytest.mark.parametrize(("rows", "width", "outputs"), [(1, 16, 1), (5, 32, 1), (7, 40, 33), (13, 96, 100)])
def test_a_layer_is_its_twin(rows: int, width: int, outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_module, "BAND", 32)
    draw = np.random.default_rng(rows)
    states = draw.standard_normal((rows, width)).astype(np.float32)
    layer = Linear(*(draw.standard_normal(shape).astype(np.float32) for shape in ((outputs, width), outputs)))
    found = IntegerLinear(layer)(states)
    assert (found.dtype, found.shape) == (np.float32, (rows, outputs))
    np.testing.assert_allclose(found, linear(states, layer), atol=5e-3)


def test_sums_over_logits_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "_CHUNK", 8)
    draw = np.random.default_rng(2)
    lengths = [3, 1, 12, 5]
    states = draw.standard_normal((sum(lengths), 48)).astype(np.float32)
    weight, bias = draw.standard_normal((131, 48)).astype(np.float32), draw.standard_normal(131).astype(np.float32)
    head = MaximumHead(weight, bias, whole=True)
    logits = linear(states, Linear(weight, bias))
    expected = [np.maximum(part, 0).sum(axis=0) for part in np.split(logits, np.cumsum(lengths)[:-1])]
    for threads in (1, 3):
        found = head.sums(states, lengths, lambda values: np.maximum(values, 0), threads)
        np.testing.assert_allclose(found, expected, atol=2e-2)
    assert head.sums(states[:0], [], np.abs).shape == (0, 131)
