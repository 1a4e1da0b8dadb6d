"""Sparse and dense vectors of one pass are those of two."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.shared_backbone import encode_both, shares_a_pass
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval import Collection, Document

TEXTS = ["heat transfer", "", "shock wave " * 300, "wing flow, pressure", "\ud800", "heat"]


def write(folder: Path, **document: Any) -> Path:
    sides = {"document": {"kind": "mlm", **document}, "query": {"kind": "table"}}
    (folder / "lexhound_encoder.json").write_text(json.dumps({"format": 1, **sides}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(build_tiny_masked_lm(tmp_path_factory.mktemp("pass") / "model"), dense="mean", top_k=12)


def sparse(folder: Path, **settings: Any) -> LearnedEncoder:
    return LearnedEncoder(folder, LearnedSettings(device="cpu", precision="float32", **settings))


def dense(folder: Path, **settings: Any) -> DenseEncoder:
    return DenseEncoder(folder, DenseSettings(device="cpu", precision="float32", **settings))


@pytest.mark.parametrize("normalise", [True, False])
def test_the_same_vectors(folder: Path, normalise: bool) -> None:
    one, other = sparse(folder), dense(folder, normalise=normalise)
    assert shares_a_pass(one, other)
    vectors, means = encode_both(one, other, TEXTS)
    np.testing.assert_allclose(vectors.toarray(), one.encode_documents(TEXTS).toarray(), atol=1e-5)
    np.testing.assert_allclose(means, other.encode_documents(TEXTS), atol=1e-5)
    assert (np.diff(vectors.indptr) <= 12).all()
    assert vectors.indptr[2] == vectors.indptr[1], "a text without a token has no terms"
    empty, none = encode_both(one, other, [])
    assert (empty.shape[0], none.shape) == (0, (0, other.width))


def test_two_passes_where_they_are_read_differently(folder: Path, tmp_path: Path) -> None:
    assert not shares_a_pass(sparse(folder, max_length=8), dense(folder))
    assert shares_a_pass(sparse(folder, max_length=8), dense(folder, max_length=8))
    assert not shares_a_pass(sparse(folder, long_texts="windows"), dense(folder))
    assert not shares_a_pass(sparse(folder), dense(folder, pooling="cls"))
    assert not shares_a_pass(sparse(folder), dense(folder, document_prompt="passage: "))
    elsewhere = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert not shares_a_pass(sparse(folder), dense(elsewhere))


def test_a_sparse_encoder_is_a_dense_one_only_if_it_says_so(folder: Path, tmp_path: Path) -> None:
    plain = write(Path(shutil.copytree(folder, tmp_path / "plain")))
    with pytest.raises(CheckpointError, match="makes no dense vectors"):
        dense(plain)
    with pytest.raises(CheckpointError, match="dense is 'max'"):
        sparse(write(Path(shutil.copytree(folder, tmp_path / "wrong")), dense="max"))


def test_a_collection_reads_every_text_once(folder: Path, tmp_path: Path) -> None:
    settings = LearnedSettings(device="cpu", precision="float32")
    documents = [Document(str(number), text) for number, text in enumerate(TEXTS[:4]) if text]
    counts = []
    for place, other in (("one", folder), ("two", Path(shutil.copytree(folder, tmp_path / "copy")))):
        with Collection.create(
            tmp_path / place,
            encoder=str(folder),
            learned=settings,
            dense=str(other),
            dense_settings=DenseSettings(device="cpu", precision="float32"),
        ) as collection:
            collection.put(documents)
            collection.refresh()
            assert collection._writer is not None
            counts.append(collection._writer.tokens_encoded)
            found = [
                [(hit.id, pytest.approx(hit.score, abs=1e-4)) for hit in collection.search("heat", k=4, mode=mode).hits]
                for mode in ("sparse", "dense", "hybrid")
            ]
            if place == "one":
                first = found
    assert found == first
    assert counts[1] == 2 * counts[0]
