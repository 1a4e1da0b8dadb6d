"""Teachers against plain transformers code and sentence-transformers, and their results on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tiny_checkpoints import build_tiny_cross_encoder, build_tiny_embedding_model

from lexhound.encoders.errors import CheckpointError, EncoderError, SettingsError
from lexhound.training.teachers.models import CrossTeacher, DenseTeacher, TeacherSettings
from lexhound.training.teachers.shards import in_shards

TEXTS = [
    "heat transfer in laminar flow", "", "wing", "the boundary layer of a flat plate at supersonic speed " * 12,
    "buckling of shells", "wing", "Zürich 東京 \ud800 naïve", "cold water by the river bank",
]  # fmt: skip


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_embedding_model(tmp_path_factory.mktemp("dense") / "body")


@pytest.fixture(scope="module")
def cross(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_cross_encoder(tmp_path_factory.mktemp("cross") / "model")


def plain_vectors(folder: Path, texts: list[str], pooling: str, max_length: int) -> NDArray[np.float32]:
    """One text at a time, no padding: what transformers' own documentation would write."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    model: Any = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    rows = []
    for text in texts:
        if not text:  # a text without a token has no vector
            rows.append(np.zeros(model.config.hidden_size, np.float32))
            continue
        clean = text.replace("\ud800", "\ufffd")
        ids = tokenizer(clean, truncation=True, max_length=max_length, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            hidden = model(ids).last_hidden_state[0]
        row = hidden[0] if pooling == "cls" else hidden.mean(0)
        rows.append((row / row.norm()).numpy())
    return np.array(rows)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("max_length", [8, 64])
@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
def test_dense_vectors_are_those_of_transformers(body: Path, pooling: str, max_length: int, batch_tokens: int) -> None:
    settings = TeacherSettings(max_length=max_length, pooling=pooling, batch_tokens=batch_tokens, device="cpu")
    found = DenseTeacher(body, settings).encode(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain_vectors(body, TEXTS, pooling, max_length), atol=2e-5)


def test_a_prompt_stands_before_every_text(body: Path) -> None:
    settings = TeacherSettings(prompt="new: ", device="cpu")
    np.testing.assert_allclose(
        DenseTeacher(body, settings).encode(TEXTS),
        DenseTeacher(body, TeacherSettings(device="cpu")).encode([text and f"new: {text}" for text in TEXTS]),
        atol=2e-6,
    )


def test_the_prompts_of_a_folder_stand_before_queries_and_documents(body: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    prompts = {"query": "ask: ", "document": "read: "}
    peer = SentenceTransformer(
        modules=[Transformer(str(body)), Pooling(32), Normalize()], device="cpu", prompts=prompts
    )
    peer.save(str(tmp_path / "st"))
    texts = [text for text in TEXTS if text and "\ud800" not in text][:4]
    teacher, bare = (
        DenseTeacher(tmp_path / "st", TeacherSettings(device="cpu", prompt=prompt)) for prompt in (None, "")
    )
    cache = tmp_path / "cache"
    for queries, prompt in ((False, "read: "), (True, "ask: ")):
        found = teacher.encode(texts, queries=queries, cache=cache)
        np.testing.assert_array_equal(found, teacher.encode(texts, queries=queries, cache=cache))
        expected = bare.encode([prompt + text for text in texts])
        np.testing.assert_allclose(found, expected, atol=2e-6)
        theirs = peer.encode_query(texts) if queries else peer.encode_document(texts)
        np.testing.assert_allclose(found, theirs, atol=2e-5)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_folder_of_sentence_transformers(body: Path, tmp_path: Path, pooling: str) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(body)), Pooling(32, pooling), Normalize()]
    peer = SentenceTransformer(modules=modules, device="cpu")
    peer.max_seq_length = 24
    peer.save(str(tmp_path / "st"))
    texts = [text for text in TEXTS if text and "\ud800" not in text]
    expected = peer.encode(texts)
    found = DenseTeacher(tmp_path / "st", TeacherSettings(device="cpu")).encode(texts)
    np.testing.assert_allclose(found, expected, atol=2e-5)

    # As versions before 6 wrote it.
    modes = {"cls_token": pooling == "cls", "mean_tokens": pooling == "mean", "max_tokens": False}
    old = {"word_embedding_dimension": 32, **{f"pooling_mode_{name}": on for name, on in modes.items()}}
    (tmp_path / "st" / "1_Pooling" / "config.json").write_text(json.dumps(old))
    found = DenseTeacher(tmp_path / "st", TeacherSettings(device="cpu")).encode(texts)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        (["Transformer", "Pooling", "Dense"], {"pooling_mode": "mean"}, "made of Transformer, Pooling, Dense"),
        (["Transformer"], {}, "made of Transformer"),
        (["Transformer", "Pooling"], {"pooling_mode": "weightedmean"}, "the pooling is 'weightedmean'"),
        (["Transformer", "Pooling"], {"pooling_mode_max_tokens": True}, "the pooling is 'max'"),
        (["Transformer", "Pooling"], {"pooling_mode": []}, r"the pooling is \[\]"),
        ([3], {}, "not a list of modules"),
    ],
)
def test_other_modules_are_refused(tmp_path: Path, modules: list[Any], pooling: object, message: str) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "config.json").write_text(json.dumps(pooling))
    listed = [
        {"type": f"sentence_transformers.models.{name}", "path": "p" if name == "Pooling" else ""}
        if isinstance(name, str)
        else name
        for name in modules
    ]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(CheckpointError, match=message) as caught:
        DenseTeacher(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("max_length", [9, 64])
@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_cross_encoder_scores_are_those_of_transformers(cross: Path, max_length: int, batch_tokens: int) -> None:
    pairs = [(query.replace("\ud800", ""), text.replace("\ud800", "")) for query in TEXTS[:4] for text in TEXTS]
    settings = TeacherSettings(max_length=max_length, batch_tokens=batch_tokens, device="cpu")
    found = CrossTeacher(cross, settings).score(pairs)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(cross)
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(cross).eval()
    expected = []
    for query, text in pairs:
        inputs = tokenizer([query], [text], truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            expected.append(float(model(**inputs).logits))
    assert found.shape == (len(pairs),)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    assert len(np.unique(found.round(4))) > 10  # the model does tell pairs apart


def test_a_classifier_of_several_outputs_is_no_teacher(tmp_path: Path) -> None:
    folder = build_tiny_cross_encoder(tmp_path / "three", outputs=3)
    with pytest.raises(CheckpointError, match="3 values a pair"):
        CrossTeacher(folder).score([("a", "b")])


def test_a_body_is_no_cross_encoder(body: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lack .* of the weights"):
        CrossTeacher(body).score([("a", "b")])


def test_nothing_to_encode(body: Path, cross: Path) -> None:
    assert DenseTeacher(body).encode([]).shape == (0, 32)
    assert CrossTeacher(cross).score([]).shape == (0,)


@pytest.mark.parametrize("options", [{"max_length": 2}, {"batch_tokens": 0}, {"pooling": "max"}, {"max_length": True}])
def test_settings_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        TeacherSettings(**options)


# Results on disk


class Counting:
    """A teacher that remembers what it was asked, and may die."""

    def __init__(self, dies_at: str | None = None) -> None:
        self.asked: list[str] = []
        self.dies_at = dies_at

    def __call__(self, texts: Any) -> NDArray[np.float32]:
        if self.dies_at in texts:
            raise KeyboardInterrupt
        self.asked += texts
        return np.array([[len(text), hash(text) % 7] for text in texts], np.float32).reshape(-1, 2)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(10)]
    dying = Counting(dies_at="text 7")
    with pytest.raises(KeyboardInterrupt):
        in_shards(texts, dying, depends_on="m", cache=tmp_path / "new", shard=3)
    assert dying.asked == texts[:6]
    again, told = Counting(), []
    found = in_shards(
        texts, again, depends_on="m", cache=tmp_path / "new", shard=3, progress=lambda *at: told.append(at)
    )
    assert again.asked == texts[6:]
    assert told == [(3, 10), (6, 10), (9, 10), (10, 10)]
    np.testing.assert_array_equal(found, Counting()(texts))
    assert len(list((tmp_path / "new").iterdir())) == 4


def test_only_what_changed_is_computed_again(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(9)]
    in_shards(texts, Counting(), depends_on="m", cache=tmp_path, shard=3)
    texts[4] = "another"
    counting = Counting()
    np.testing.assert_array_equal(
        in_shards(texts, counting, depends_on="m", cache=tmp_path, shard=3), Counting()(texts)
    )
    assert counting.asked == texts[3:6]
    other = Counting()
    in_shards(texts, other, depends_on="another model", cache=tmp_path, shard=3)
    assert other.asked == texts


def test_where_texts_meet_does_not_matter_to_their_names(tmp_path: Path) -> None:
    in_shards(["ab", "c"], Counting(), depends_on="", cache=tmp_path)
    counting = Counting()
    in_shards(["a", "bc"], counting, depends_on="", cache=tmp_path)
    assert counting.asked == ["a", "bc"]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"rubbish"])
def test_a_damaged_shard_is_computed_again(tmp_path: Path, content: bytes) -> None:
    in_shards(["a", "b"], Counting(), depends_on="", cache=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for damaged in (content, whole[:-4]):
        path.write_bytes(damaged)
        counting = Counting()
        in_shards(["a", "b"], counting, depends_on="", cache=tmp_path)
        assert counting.asked == ["a", "b"]
        assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EncoderError, match="cannot be kept") as caught:
        in_shards(["a"], Counting(), depends_on="", cache=tmp_path / "file" / "cache")
    assert caught.value.hint


def test_vectors_come_from_the_cache_without_a_model(body: Path, tmp_path: Path) -> None:
    teacher = DenseTeacher(body, TeacherSettings(device="cpu"))
    first = teacher.encode(TEXTS, cache=tmp_path)
    again = DenseTeacher(body, TeacherSettings(device="cpu"))
    again._encode = None  # type: ignore[assignment,method-assign]  # calling it would fail
    np.testing.assert_array_equal(again.encode(TEXTS, cache=tmp_path), first)
    other = DenseTeacher(body, TeacherSettings(device="cpu", pooling="cls")).encode(TEXTS, cache=tmp_path)
    assert np.abs(other - first).max() > 0.01


def test_scores_of_pairs_are_kept_too(cross: Path, tmp_path: Path) -> None:
    pairs = [("wing", text) for text in ("flow", "plate")]
    settings = TeacherSettings(device="cpu")
    first = CrossTeacher(cross, settings).score(pairs, cache=tmp_path)
    again = CrossTeacher(cross, settings)
    again._score = None  # type: ignore[assignment,method-assign]
    np.testing.assert_array_equal(again.score(pairs, cache=tmp_path), first)
