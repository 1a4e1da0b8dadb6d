"""The layers and the head made of integer products, against NumPy and torch; and what the encoder makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.errors import SettingsError
from lexhound.encoders.runtime.bert.float32 import Float32Backbone
from lexhound.encoders.runtime.int16 import kept_files, kernels, paths
from lexhound.encoders.runtime.int16 import layers as layers_module
from lexhound.encoders.runtime.int16 import screen as screen_module
from lexhound.encoders.runtime.int16 import screen_choice as choice_module
from lexhound.encoders.runtime.int16.head import MaximumHead
from lexhound.encoders.runtime.int16.layers import IntegerBackbone
from lexhound.encoders.runtime.int16.masked_lm_head import IntegerHead
from lexhound.encoders.sparse.bert import BertEncoder
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings

pytestmark = pytest.mark.skipif(not kernels.available(), reason="the kernels need AVX2")

ARCHITECTURES = ("bert", "distilbert", "roberta")
TEXTS = ["heat transfer in flow", "", "the cat sat on the mat. " * 30, "wing", "[PAD] flow [PAD]", "low pressure; 42?"]


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the screens that this test keeps, and finds."""
    really = kept_files._places

    def places(name: str) -> Iterator[Path]:
        return iter([tmp_path / "kept" / name]) if name.startswith("screen-") else really(name)

    monkeypatch.setattr(kept_files, "_places", places)
    return tmp_path / "kept"


def side(folder: Path, **options: object) -> BertEncoder:
    found = LearnedEncoder(folder, LearnedSettings(device="cpu", **options))._encoder("document")  # type: ignore[arg-type]
    assert isinstance(found, BertEncoder)
    return found


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("integer") / request.param, architecture=request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("integer") / "plain")


# Layers


def states_of(model: torch.nn.Module, row: list[int]) -> np.ndarray:
    ids = torch.tensor([row])
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].numpy()


def test_layers_give_what_torch_gives(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin, model = side(folder, precision="int16")._model.backbone, transformers.AutoModel.from_pretrained(folder)
    assert isinstance(twin, IntegerBackbone)
    model.eval()
    generator = np.random.default_rng(1)
    rows = [generator.integers(0, 150, length).tolist() for length in (1, 2, 7, 64, 33, 5, 6, 12, 64, 17)]
    rows[2][3] = 0  # padding in the middle, of which RoBERTa's positions take no notice
    together = twin.states(rows)
    assert together.shape == (sum(map(len, rows)), 32)
    start = 0
    for row in rows:
        found, expected = together[start : start + len(row)], states_of(model, row)
        np.testing.assert_allclose(found, expected, atol=3e-3 * np.abs(expected).max())
        np.testing.assert_array_equal(twin.states([row]), found, err_msg="its neighbours change a text's states")
        start += len(row)
    monkeypatch.setattr(layers_module, "_CHUNK", 40)
    np.testing.assert_array_equal(twin.states(rows, threads=3), together)
    assert twin.states([]).shape == (0, 32)


# The head

WIDTH, TERMS = 96, 1237


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """At this size all logits are soon multiplied: what one logit costs is set so low that the bound is used."""
    monkeypatch.setattr(screen_module, "_PAIR", 10)


def head_case(
    seed: int, *, texts: int = 40, shift: float = 9.0
) -> tuple[np.ndarray, list[int], np.ndarray, np.ndarray]:
    """States and weights that vary along few directions, as those of trained models do."""
    generator = np.random.default_rng(seed)
    spread = np.exp(-np.arange(WIDTH) / 12).astype(np.float32)
    lengths = generator.integers(1, 60, texts)
    states = generator.standard_normal((lengths.sum(), WIDTH)).astype(np.float32) * spread + 0.3
    weight = generator.standard_normal((TERMS, WIDTH)).astype(np.float32)
    weight[7] = weight[8]  # two terms that always tie
    states[3] = states[4]
    bias = (generator.standard_normal(TERMS) - shift - weight @ np.full(WIDTH, 0.3)).astype(np.float32)
    return states, lengths.tolist(), weight, bias


def plain(states: np.ndarray, lengths: list[int], weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    logits = states.astype(np.float64) @ weight.T.astype(np.float64) + bias
    return np.stack([np.maximum(part.max(axis=0), 0) for part in np.split(logits, np.cumsum(lengths)[:-1])])


def dense(found: list[tuple[np.ndarray, np.ndarray]] | None) -> np.ndarray:
    assert found is not None
    rows = np.zeros((len(found), TERMS))
    for row, (terms, logits) in zip(rows, found, strict=True):
        assert terms.dtype == np.int32
        assert logits.dtype == np.float32
        assert (np.diff(terms) > 0).all()
        assert (logits > 0).all()
        row[terms] = logits
    return rows


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("seed", range(4))
def test_a_screened_head_misses_nothing(seed: int) -> None:
    states, lengths, weight, bias = head_case(seed)
    head = MaximumHead(weight, bias, whole=False)
    found = dense(head.largest(states, lengths))
    assert head.choice.screen is not None
    expected = plain(states, lengths, weight, bias)
    assert 5 < (expected > 0).sum(axis=1).mean() < TERMS / 4
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert (found[:, 7] == found[:, 8]).sum() >= (bias[7] == bias[8]) * len(found)
    parts = np.split(states, np.cumsum(lengths)[:-1])
    for row in (0, 1, len(parts) - 1):  # alone, by another number of threads: the same to the bit
        np.testing.assert_array_equal(dense(head.largest(parts[row], [lengths[row]]))[0], found[row])
    np.testing.assert_array_equal(dense(head.largest(states, lengths, threads=3)), found)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("shift", [1e4, -1e4, 0.0])
def test_nothing_everything_and_half_active(shift: float, whole: bool) -> None:
    states, lengths, weight, bias = head_case(9)
    fitting = MaximumHead(weight, bias, whole=whole)
    assert fitting.largest(states, lengths) is not None
    assert fitting.choice.screen is not None
    # The same screen, and biases that it was not fitted to.
    moved = bias + np.float32(9.0 - shift)
    head = MaximumHead(weight, moved, whole=whole)
    found = head.largest(states, lengths)
    expected = plain(states, lengths, weight, moved)
    if found is None:
        assert not whole
        assert shift < 1e4
        return
    largest = np.linalg.norm(states, axis=1).max() * np.linalg.norm(weight, axis=1).max() + np.abs(moved).max()
    np.testing.assert_allclose(dense(found), expected, rtol=1e-6, atol=(2e-4 if whole else 2e-6) * largest)
    if shift == 1e4:
        assert not expected.any()


@pytest.mark.usefixtures("always")
def test_states_unlike_those_that_chose_the_coordinates() -> None:
    states, lengths, weight, bias = head_case(2)
    head = MaximumHead(weight, bias, whole=False)
    assert head.largest(states, lengths) is not None
    generator = np.random.default_rng(5)
    for other in (states[:, ::-1].copy(), states * 0, generator.standard_normal((30, WIDTH)).astype(np.float32) * 0.4):
        found = head.largest(other, [len(other)])
        if found is not None:
            np.testing.assert_allclose(dense(found), plain(other, [len(other)], weight, bias), atol=2e-5)
    loud = generator.standard_normal((30, WIDTH)).astype(np.float32) * 50
    assert head.largest(loud, [30]) is None, "so many may be active that all are to be multiplied"
    both = MaximumHead(weight, bias, whole=True)
    assert both.largest(states, lengths) is not None
    expected = plain(loud, [30], weight, bias)
    np.testing.assert_allclose(dense(both.largest(loud, [30])), expected, atol=1e-3 * np.abs(expected).max())


def test_few_states_choose_no_coordinates() -> None:
    states, _, weight, _ = head_case(3)
    head = MaximumHead(weight, None, whole=False)
    assert head.largest(states[:50], [20, 30]) is None
    assert not head.choice.settled
    whole = MaximumHead(weight, None, whole=True)
    expected = plain(states[:50], [20, 30], weight, np.zeros(TERMS, np.float32))
    np.testing.assert_allclose(dense(whole.largest(states[:50], [20, 30])), expected, atol=2e-3)


@pytest.mark.usefixtures("always")
def test_states_of_many_calls_choose_them_together() -> None:
    states, lengths, weight, bias = head_case(4)
    starts = np.cumsum([0, *lengths])
    expected, head = plain(states, lengths, weight, bias), MaximumHead(weight, bias, whole=True)
    calls_before = 0
    for number, length in enumerate(lengths):
        calls_before += not head.choice.settled
        found = dense(head.largest(states[starts[number] : starts[number + 1]], [length]))
        np.testing.assert_allclose(found[0], expected[number], atol=2e-3)
    assert head.choice.screen is not None
    assert 1 < calls_before < len(lengths)
    assert not head.choice._samples


@pytest.mark.usefixtures("always")
def test_in_integers_the_bound_changes_no_bit() -> None:
    states, lengths, weight, bias = head_case(6)
    unscreened = MaximumHead(weight, bias, whole=True)
    unscreened.choice.settled = True
    screened = MaximumHead(weight, bias, whole=True)
    expected, found = unscreened.largest(states, lengths), screened.largest(states, lengths, threads=2)
    assert screened.choice.screen is not None
    np.testing.assert_array_equal(dense(found), dense(expected))
    start = 0
    for length, row in zip(lengths, dense(expected), strict=True):
        np.testing.assert_array_equal(dense(screened.largest(states[start : start + length], [length])), row[None])
        start += length


# The encoder


def test_a_text_has_the_same_bits_in_every_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = side(folder, precision="int16")
    together = own.encode(TEXTS * 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for text, (terms, weights) in zip(TEXTS * 3, together, strict=True):
        for found in (own.encode([text])[0], side(folder, precision="int16").encode(["wing", text])[1]):
            np.testing.assert_array_equal(found[0], terms)
            np.testing.assert_array_equal(found[1], weights)


def test_vectors_are_those_of_float32(folder: Path) -> None:
    exact, found = (side(folder, precision=each).encode(TEXTS) for each in ("float32", "int16"))
    for (terms, weights), (others, ours) in zip(exact, found, strict=True):
        rows = np.zeros((2, 400))
        rows[0, terms], rows[1, others] = weights, ours
        np.testing.assert_allclose(rows[1], rows[0], atol=1e-2)
        if len(terms):
            assert rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1]) > 0.9999


@pytest.mark.parametrize("pooling", ["sum", "cls"])
@pytest.mark.parametrize("activation", ["log1p_relu", "log1p_log1p_relu"])
def test_other_poolings_have_no_screen(bert: Path, pooling: str, activation: str) -> None:
    ways = {"pooling": pooling, "activation": activation}
    one, other = (side(bert, precision=each, **ways) for each in ("float32", "int16"))
    assert isinstance(one._model.backbone, Float32Backbone)
    assert isinstance(other._model.backbone, IntegerBackbone)
    for (terms, weights), (others, ours) in zip(one.encode(TEXTS), other.encode(TEXTS), strict=True):
        rows = np.zeros((2, 400))
        rows[0, terms], rows[1, others] = weights, ours
        np.testing.assert_allclose(rows[1], rows[0], atol=2e-2 * max(1, rows.max()))


def test_a_screened_encoder_gives_what_an_unscreened_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the encoder that comes with the package."""
    folder = Path(layers_module.__file__).parents[2] / "models" / "lexhound-mini"
    words = (folder / "document_0_Transformer" / "tokenizer.json").read_text(encoding="utf-8")
    vocabulary = [word for word in json.loads(words)["model"]["vocab"] if word.isalpha()]
    generator = np.random.default_rng(3)
    texts = [" ".join(generator.choice(vocabulary, count)) for count in (90, 70, 2, 60, 1)]
    exact = side(folder, precision="float32").encode(texts)
    monkeypatch.setattr(choice_module, "SAMPLES", (100, 300))
    own = side(folder, precision="int16")
    found = own.encode(texts)
    assert isinstance(own._model.head, IntegerHead)
    assert own._model.head._decoder.choice.screen is not None
    for (terms, weights), (others, ours) in zip(exact, found, strict=True):
        rows = np.zeros((2, 30_522))
        rows[0, terms], rows[1, others] = weights, ours
        np.testing.assert_allclose(rows[1], rows[0], atol=2e-2)
        assert rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1]) > 0.9999


def test_without_compiled_kernels_float32_does_it(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that cannot run the kernels changes nothing but the speed."""
    expected = side(bert, precision="float32").encode(TEXTS)
    monkeypatch.delenv("LEXHOUND_PRECISION", raising=False)
    assert isinstance(side(bert)._model.backbone, IntegerBackbone)
    monkeypatch.setenv(paths.VARIABLE, "none")
    assert not kernels.available()
    own = side(bert)
    assert isinstance(own._model.backbone, Float32Backbone)
    for (terms, weights), (others, ours) in zip(expected, own.encode(TEXTS), strict=True):
        np.testing.assert_array_equal(terms, others)
        np.testing.assert_allclose(weights, ours, atol=1e-4)
    with pytest.raises(SettingsError, match="takes a CPU with AVX2"):
        side(bert, precision="int16")


def test_the_environment_says_what_auto_means(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXHOUND_PRECISION", "int16")
    for name in ("int16", "float32"):
        monkeypatch.setenv("LEXHOUND_PRECISION", name)
        ours = LearnedEncoder(bert, LearnedSettings(device="cpu")).encode_documents(TEXTS)
        named = LearnedEncoder(bert, LearnedSettings(device="cpu", precision=name)).encode_documents(TEXTS)
        assert np.array_equal(ours.toarray(), named.toarray())
    monkeypatch.setenv("LEXHOUND_PRECISION", "float16")
    with pytest.raises(SettingsError, match="LEXHOUND_PRECISION is 'float16'"):
        side(bert)
    monkeypatch.delenv("LEXHOUND_PRECISION")
    assert isinstance(side(bert)._model.backbone, IntegerBackbone)
