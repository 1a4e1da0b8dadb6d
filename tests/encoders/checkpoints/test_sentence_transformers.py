"""The same vectors as sentence-transformers from the same folder, whichever of the two wrote it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoints import build_tiny_masked_lm, build_tiny_term_weighting, vocabulary

from lexhound.encoders.base import fingerprint_of
from lexhound.encoders.errors import CheckpointError, IdentityError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.saving import save_encoder
from lexhound.encoders.sparse.settings import LearnedSettings

# Importing and saving with it warns about its own future and that of what it imports.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TEXTS = ["heat transfer in hypersonic flow", "wing", "the cat sat on the mat. " * 30, "low pressure, high pressure"]
CLOSE = 1e-4


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("theirs") / "masked")


def ours(folder: Path, **settings: Any) -> LearnedEncoder:
    return LearnedEncoder(folder, LearnedSettings(device="cpu", precision="float32", **settings))


def theirs(folder: Path) -> Any:
    from sentence_transformers import SparseEncoder

    return SparseEncoder(str(folder), device="cpu")


def agree(encoder: LearnedEncoder, model: Any) -> None:
    """Compare both sides; special tokens are terms there and none here."""
    documents = model.encode_document(TEXTS, convert_to_sparse_tensor=False).numpy().copy()
    queries = model.encode_query(TEXTS, convert_to_sparse_tensor=False).numpy().copy()
    documents[:, :5] = queries[:, :5] = 0
    assert (documents > 0).any(axis=1).all()
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).toarray(), documents, rtol=0, atol=CLOSE)
    found = np.zeros_like(queries)
    for row, (terms, weights) in enumerate(encoder.encode_queries(TEXTS)):
        found[row, terms] = weights
    np.testing.assert_allclose(found, queries, rtol=0, atol=CLOSE)


def splade(masked: Path, pooling: str = "max", activation: str = "relu") -> Any:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sentence_transformer.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    modules = [Transformer(str(masked), transformer_task="fill-mask"), SpladePooling(pooling, activation)]
    return SparseEncoder(modules=modules, device="cpu")


def inference_free(masked: Path) -> Any:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sentence_transformer.modules import Router, Transformer
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling

    document = [Transformer(str(masked), transformer_task="fill-mask"), SpladePooling("max", "log1p_relu")]
    weights = torch.arange(1.0, len(vocabulary()) + 1) / 50
    query = [SparseStaticEmbedding(tokenizer=document[0].tokenizer, weight=weights)]
    router = Router.for_query_document(query_modules=query, document_modules=document)
    return SparseEncoder(modules=[router], similarity_fn_name="dot", device="cpu")


CASES: dict[str, Callable[[Path], Any]] = {
    "splade-max": splade,
    "splade-sum": lambda masked: splade(masked, pooling="sum"),
    "double-log": lambda masked: splade(masked, activation="log1p_relu"),
    "inference-free": inference_free,
}


@pytest.mark.parametrize("case", CASES)
def test_both_directions(masked: Path, tmp_path: Path, case: str) -> None:
    model = CASES[case](masked)
    model.save(str(tmp_path / "theirs"))
    encoder = ours(tmp_path / "theirs")
    agree(encoder, model)
    assert encoder.identity.kind == ("inference-free" if case == "inference-free" else "splade")
    save_encoder(encoder, tmp_path / "ours")
    agree(encoder, theirs(tmp_path / "ours"))
    again = ours(tmp_path / "ours")
    again.prepare()
    np.testing.assert_array_equal(again.encode_documents(TEXTS).toarray(), encoder.encode_documents(TEXTS).toarray())


def test_a_plain_checkpoint_and_opensearchs_are_written_for_them(masked: Path, tmp_path: Path) -> None:
    save_encoder(ours(masked, activation="log1p_log1p_relu"), tmp_path / "plain")
    agree(ours(masked, activation="log1p_log1p_relu"), theirs(tmp_path / "plain"))

    folder = Path(shutil.copytree(masked, tmp_path / "opensearch"))
    (folder / "idf.json").write_text(json.dumps(dict.fromkeys(vocabulary()[::2], 0.5)))
    save_encoder(ours(folder), tmp_path / "router")
    agree(ours(folder), theirs(tmp_path / "router"))


def test_the_routers_old_file_name_prompts_and_limits(masked: Path, tmp_path: Path) -> None:
    inference_free(masked).save(str(tmp_path / "old"))
    (tmp_path / "old" / "router_config.json").rename(tmp_path / "old" / "config.json")
    config = tmp_path / "old" / "config_sentence_transformers.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "prompts": {"query": "what ", "document": "a "}}))
    limits = tmp_path / "old" / "document_0_Transformer" / "sentence_bert_config.json"
    limits.write_text(json.dumps({**json.loads(limits.read_text()), "max_seq_length": 9}))
    agree(ours(tmp_path / "old"), theirs(tmp_path / "old"))
    with_prompt = ours(tmp_path / "old").encode_query("heat")[0]
    assert [vocabulary()[term] for term in with_prompt] == ["heat", "what"]


def test_what_their_format_cannot_say(masked: Path, tmp_path: Path) -> None:
    folder = build_tiny_term_weighting(tmp_path / "unicoil", "unicoil")
    for encoder, message in [
        (ours(folder), "no term weighting"),
        (ours(masked, pooling="cls"), "no CLS pooling"),
        (ours(masked, activation="relu"), "no the activation relu"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            save_encoder(encoder, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    with pytest.raises(CheckpointError, match="is not empty"):
        save_encoder(ours(masked), folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("modules.json", "{", "cannot be read"),
        ("modules.json", '[{"idx": 0}]', "not a list of modules"),
        (
            "modules.json",
            '[{"path": "", "type": "sentence_transformers.models.Transformer"}, '
            '{"path": "", "type": "sentence_transformers.models.Pooling"}]',
            "make no sparse",
        ),
        (
            "modules.json",
            '[{"path": "../..", "type": "sentence_transformers.models.Router"}]',
            "outside of the checkpoint",
        ),
        ("router_config.json", "{}", "does not say which modules"),
        ("router_config.json", '{"types": {}, "structure": {"a": []}}', "has the routes a"),
        ("document_1_SpladePooling/config.json", '{"pooling_strategy": "mean"}', "not known here"),
    ],
)
def test_folders_of_theirs_that_cannot_be_read(
    masked: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    table = Path(shutil.copytree(masked, tmp_path / "table"))
    (table / "idf.json").write_text('{"heat": 1}')
    folder = save_encoder(ours(table), tmp_path / "model")
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        ours(folder)


@pytest.mark.parametrize(
    "part", ["document_0_Transformer", "document_1_SpladePooling", "query_0_SparseStaticEmbedding"]
)
def test_half_of_their_folders(masked: Path, tmp_path: Path, part: str) -> None:
    table = Path(shutil.copytree(masked, tmp_path / "table"))
    (table / "idf.json").write_text('{"heat": 1}')
    folder = save_encoder(ours(table), tmp_path / "model")
    shutil.rmtree(folder / part)
    with pytest.raises(CheckpointError, match=f"names the folder {part}, which does not exist"):
        ours(folder)


def tell(folder: Path, name: str = "config_sentence_transformers.json", **said: Any) -> Path:
    """Let a file of a folder say something else."""
    path = folder / name
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | said))
    return path


def heaviest(vectors: Any, most: int) -> Any:
    """All but the `most` largest values of each row become 0, special tokens' first."""
    vectors[:, :5] = 0
    for row in vectors:
        row[np.argsort(-row, kind="stable")[most:]] = 0
    return vectors


@pytest.mark.parametrize("case", ["splade-max", "inference-free"])
def test_a_number_of_terms_that_a_folder_states(masked: Path, tmp_path: Path, case: str) -> None:
    model = CASES[case](masked)
    model.max_active_dims = 4
    model.save(str(tmp_path / "theirs"))
    encoder = ours(tmp_path / "theirs")
    documents = model.encode_document(TEXTS, convert_to_sparse_tensor=False, max_active_dims=1000).numpy()
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).toarray(), heaviest(documents, 4), rtol=0, atol=CLOSE)
    queries = heaviest(model.encode_query(TEXTS, convert_to_sparse_tensor=False, max_active_dims=1000).numpy(), 4)
    for (terms, weights), row in zip(encoder.encode_queries(TEXTS), queries, strict=True):
        assert len(terms) <= 4
        np.testing.assert_array_equal(terms, np.flatnonzero(row))
        np.testing.assert_allclose(weights, row[terms], rtol=0, atol=CLOSE)
    more = ours(tmp_path / "theirs", top_k=6, query_top_k=2)
    assert np.diff(more.encode_documents(TEXTS).indptr).max() == 6
    assert [len(terms) for terms, _ in more.encode_queries(TEXTS)] == [min(2, len(row.nonzero()[0])) for row in queries]
    save_encoder(encoder, tmp_path / "ours")
    again = ours(tmp_path / "ours")
    np.testing.assert_array_equal(again.encode_documents(TEXTS).toarray(), encoder.encode_documents(TEXTS).toarray())
    assert theirs(tmp_path / "ours").max_active_dims == 4


def test_vectors_stored_before_the_number_was_read_go_on_as_they_were(masked: Path, tmp_path: Path) -> None:
    splade(masked).save(str(tmp_path / "theirs"))
    whole = ours(tmp_path / "theirs")
    expected = whole.encode_documents(TEXTS).toarray()
    sides = [whole.layout.document.as_dict()] * 2
    tell(tmp_path / "theirs", max_active_dims=4)
    cut = ours(tmp_path / "theirs")
    # What versions that did not look at this key stored of such a folder.
    stored = dataclasses.replace(
        cut.identity, fingerprint=fingerprint_of({"version": 2, **cut.identity.parts, "sides": sides})
    )
    assert not stored.same_vectors(cut.identity)
    again = LearnedEncoder(stored.name, cut.settings, identity=stored)
    np.testing.assert_array_equal(again.encode_documents(TEXTS).toarray(), expected)
    same = LearnedEncoder(stored.name, cut.settings, identity=cut.identity)
    np.testing.assert_array_equal(same.encode_documents(TEXTS).toarray(), cut.encode_documents(TEXTS).toarray())
    path = tmp_path / "theirs" / "1_SpladePooling" / "config.json"
    path.write_text(path.read_text().replace("max", "sum"))
    with pytest.raises(IdentityError, match="its description has changed"):
        LearnedEncoder(stored.name, cut.settings, identity=stored)


@pytest.mark.parametrize(
    "said",
    [
        {"do_lower_case": True},
        {"max_seq_length": 9},
        {"query_length": 5, "document_length": 12},
        {"processing_kwargs": {"text": {"max_length": 7}}},
        {"tokenizer_args": {"model_max_length": 6}},
    ],
)
def test_how_a_folder_takes_texts(masked: Path, tmp_path: Path, said: dict[str, Any]) -> None:
    folder = tmp_path / "theirs"
    splade(masked).save(str(folder))
    if "do_lower_case" in said:  # the tokenizer does so already, unless it is told not to
        tell(folder, "tokenizer.json", normalizer=None)
    tell(folder, "sentence_bert_config.json", **said)
    encoder = ours(folder)
    agree(encoder, theirs(folder))
    upper = encoder.encode_query("HEAT transfer")[0].tolist()
    assert (upper == encoder.encode_query("heat transfer")[0].tolist()) or "do_lower_case" not in said
    if "query_length" not in said:
        agree(encoder, theirs(save_encoder(encoder, tmp_path / "ours")))


def test_the_class_that_early_versions_wrote(masked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    splade(masked).save(str(folder))
    path = folder / "modules.json"
    old = "sentence_transformers.sparse_encoder.models.MLMTransformer"
    path.write_text(path.read_text().replace("sentence_transformers.base.modules.transformer.Transformer", old))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 12, "do_lower_case": false}')
    agree(ours(folder), theirs(folder))


def test_routes_that_rules_name(masked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    inference_free(masked).save(str(folder))
    path = folder / "router_config.json"
    values = json.loads(path.read_text())
    table, model = values["structure"]["query"], values["structure"]["document"]
    values["structure"] = {"light": table, "heavy": model}
    values["parameters"] |= {
        "default_route": "heavy", "route_mappings": {"('query', None)": "light", "(None, 'text')": "heavy"},
    }  # fmt: skip
    path.write_text(json.dumps(values))
    agree(ours(folder), theirs(folder))
    assert ours(folder).identity.kind == "inference-free"
    values["parameters"]["route_mappings"] = {"(None, None)": "light"}
    path.write_text(json.dumps(values))
    agree(ours(folder), theirs(folder))


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("config_sentence_transformers.json", {"similarity_fn_name": "cosine"}, "similarity_fn_name is 'cosine'"),
        ("config_sentence_transformers.json", {"max_active_dims": 0}, "max_active_dims is 0"),
        ("config_sentence_transformers.json", {"max_active_dims": True}, "max_active_dims is True"),
        ("sentence_bert_config.json", {"transformer_task": "feature-extraction"}, "transformer_task is 'feature-extra"),
        ("sentence_bert_config.json", {"transformer_task": None}, "transformer_task is 'feature-extraction'"),
        ("sentence_bert_config.json", {"query_expansion": {"length": 32}}, "query_expansion is"),
        ("adapter_config.json", {"r": 8}, "holds an adapter"),
    ],
)
def test_what_is_not_done_is_refused_in_one_sentence(
    masked: Path, tmp_path: Path, name: str, said: dict[str, Any], message: str
) -> None:
    path = tell(save_encoder(ours(masked), tmp_path / "model"), name, **said)
    with pytest.raises(CheckpointError) as caught:
        ours(tmp_path / "model")
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_weights_below_zero_are_refused(masked: Path, tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding
    from transformers import AutoTokenizer

    weights = torch.ones(len(vocabulary()))
    weights[vocabulary().index("[CLS]")] = -2  # of a special token no weight counts
    modules = [SparseStaticEmbedding(tokenizer=AutoTokenizer.from_pretrained(masked), weight=weights)]
    SparseEncoder(modules=modules, device="cpu").save(str(tmp_path / "fine"))
    assert [vocabulary()[term] for term in ours(tmp_path / "fine").encode_query("heat of wings [CLS]")[0]]
    weights[vocabulary().index("wing")] = -0.25
    weights[vocabulary().index("heat")] = -0.5
    SparseEncoder(modules=modules, device="cpu").save(str(tmp_path / "below"))
    with pytest.raises(CheckpointError, match=r"2 tokens weigh less than 0, 'heat' -0\.5"):
        ours(tmp_path / "below")
    folder = Path(shutil.copytree(masked, tmp_path / "opensearch"))
    (folder / "idf.json").write_text(json.dumps({"heat": 1.0, "wing": -1.0}))
    with pytest.raises(CheckpointError, match=r"idf\.json: 1 tokens weigh less than 0, 'wing' -1"):
        ours(folder)


@pytest.mark.parametrize("blank", ["", " \n\t", "東京", "[SEP]"])
def test_a_prompt_is_no_text(masked: Path, tmp_path: Path, blank: str) -> None:
    for name, model in (("splade", splade(masked)), ("free", inference_free(masked))):
        model.save(str(tmp_path / name))
        tell(tmp_path / name, prompts={"query": "what is ", "document": "of "})
        encoder = ours(tmp_path / name)
        assert np.diff(encoder.encode_documents(["heat", blank]).indptr)[1] == 0
        assert not len(encoder.encode_query(blank)[0])
