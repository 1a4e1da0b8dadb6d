"""Words and latents in one vector: against an encoder of each alone, through folders and a collection."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from latent_models import LATENTS, PRECISIONS, TEXTS, make_autoencoder
from tiny_checkpoints import build_tiny_masked_lm, vocabulary

from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.errors import CheckpointError, IdentityError
from lexhound.encoders.latent.autoencoder import Autoencoder, write_autoencoder
from lexhound.encoders.latent.names import write_words
from lexhound.encoders.shared_backbone import encode_both, shares_a_pass
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.documents.document import Document

WORDS = len(vocabulary())
FLOAT32 = LearnedSettings(device="cpu", precision="float32")
SATURATION = {"length": 20.0}
DOCUMENT = {"kind": "mlm", "top_k": 20, "written": {"weight": 0.5}, "dense": "mean"}
QUERY = {"kind": "table", "weights": "idf.json", "prior": 200, "common": 0.4}


class Statistics:
    n_documents = 1000

    def document_frequencies(self, terms: np.ndarray) -> np.ndarray:
        return np.asarray(terms % 7 * 140, np.int64)


def describe(folder: Path, document: dict[str, object], query: dict[str, object]) -> Path:
    values = {"format": 1, "document": document, "query": query}
    (folder / "lexhound_encoder.json").write_text(json.dumps(values))
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words alone."""
    folder = build_tiny_masked_lm(tmp_path_factory.mktemp("beside") / "words")
    weights = {token: 1.0 + number % 5 for number, token in enumerate(vocabulary())}
    (folder / "idf.json").write_text(json.dumps(weights))
    return describe(folder, DOCUMENT, QUERY)


@pytest.fixture(scope="module")
def both(plain: Path) -> Path:
    folder = Path(shutil.copytree(plain, plain.parent / "both"))
    write_autoencoder(make_autoencoder(), folder / "latents")
    write_words([[f"word{number}"] for number in range(LATENTS)], folder / "latents")
    document = DOCUMENT | {"latents": "latents", "latent_terms": 4, "saturation": SATURATION, "token_k": 3}
    query = QUERY | {"latents": "latents", "latent_terms": 5, "latent_weight": 0.25, "latent_prior": 50}
    return describe(folder, document, query)


@pytest.fixture(scope="module")
def latents(plain: Path) -> Path:
    """Latents alone, of the same model."""
    folder = Path(shutil.copytree(plain, plain.parent / "latents"))
    write_autoencoder(make_autoencoder(), folder / "latents")
    one = {"kind": "autoencoder", "pooling": "sum", "latents": "latents"}
    return describe(
        folder,
        one | {"top_k": 4, "saturation": SATURATION, "token_k": 3},
        one | {"query_top_k": 5, "prior": 50},
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_vector_is_the_words_and_then_the_latents(both: Path, plain: Path, latents: Path, precision: str) -> None:
    settings = LearnedSettings(device="cpu", precision=precision)
    encoder, *apart = (LearnedEncoder(each, settings) for each in (both, plain, latents))
    encoder.prepare()
    assert encoder.identity.kind == "words-and-latents"
    assert encoder.identity.vocabulary_size == WORDS + LATENTS
    texts = [*TEXTS, "the cat sat on the mat " * 12]
    found = encoder.encode_documents(texts).toarray()
    expected = np.concatenate([each.encode_documents(texts).toarray() for each in apart], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert (expected[:, WORDS:] > 0).sum(axis=1).max() == 4
    vectors, means = encoder.encode_documents_with_means(texts)
    np.testing.assert_allclose(vectors.toarray(), found, rtol=1e-5, atol=1e-5)
    assert means.shape == (len(texts), 32)


@pytest.mark.parametrize("statistics", [None, Statistics()])
def test_a_query_is_weighed_in_both_spaces(both: Path, plain: Path, latents: Path, statistics: object) -> None:
    class Shifted(Statistics):
        def document_frequencies(self, terms: np.ndarray) -> np.ndarray:
            return super().document_frequencies(terms + WORDS)

    encoder, words, alone = (LearnedEncoder(each, FLOAT32) for each in (both, plain, latents))
    for text in TEXTS:
        terms, weights = encoder.encode_query(text, statistics)
        own = words.encode_query(text, statistics)
        other = alone.encode_query(text, None if statistics is None else Shifted())
        assert terms.tolist() == [*own[0].tolist(), *(other[0] + WORDS).tolist()]
        np.testing.assert_allclose(weights, [*own[1], *(other[1] * 0.25)], rtol=1e-4)
    assert (
        encoder.encode_queries(TEXTS, statistics)[0][0].tolist()
        == encoder.encode_query(TEXTS[0], statistics)[0].tolist()
    )


def test_a_pruned_query_keeps_its_latents(both: Path) -> None:
    encoder = LearnedEncoder(both, LearnedSettings(device="cpu", precision="float32", top_k=1, query_top_k=1))
    terms, _ = encoder.encode_query(TEXTS[0])
    assert (terms < WORDS).sum() == 1
    assert (terms >= WORDS).sum() == 5
    rows = encoder.encode_documents(TEXTS[:1])
    assert (rows.indices < WORDS).sum() == 1
    assert (rows.indices >= WORDS).sum() == 4


def test_a_search_of_words_alone_opens_no_model(both: Path) -> None:
    encoder = LearnedEncoder(both, FLOAT32)
    assert encoder.term_text(WORDS + 7) == "latent:7 word7"
    assert encoder.term_text(5) == vocabulary()[5]
    assert encoder.lookup(["latent:7", vocabulary()[5], "latent:96"]).tolist() == [WORDS + 7, 5, -1]
    assert [term for _, _, term in encoder.spans("wing flow")] == encoder.lookup(["wing", "flow"]).tolist()
    assert list(encoder._encoders) == ["query"]  # naming needs the table and the words of latents


def test_one_pass_makes_words_latents_and_dense_vectors(both: Path) -> None:
    encoder = LearnedEncoder(both, FLOAT32)
    dense = DenseEncoder(both, DenseSettings(device="cpu", precision="float32"))
    assert shares_a_pass(encoder, dense)
    sparse, vectors = encode_both(encoder, dense, TEXTS)
    np.testing.assert_allclose(sparse.toarray(), encoder.encode_documents(TEXTS).toarray(), atol=1e-5)
    np.testing.assert_allclose(vectors[0], dense.encode_documents(TEXTS)[0], atol=1e-5)


def test_one_inverted_index_ranks_by_their_sum(both: Path, tmp_path: Path) -> None:
    texts = [f"{text} {number}" for number in range(8) for text in TEXTS if text]
    with Collection.create(tmp_path / "c", encoder=both, dense="none", passages="none") as collection:
        collection.add([Document(str(number), text) for number, text in enumerate(texts)])
    with Collection.open(tmp_path / "c") as collection:
        hits = collection.search("heat transfer in a wing", k=10, explain=True)
        for hit in hits:
            shares = hit.contributions or ()
            assert sum(each.score for each in shares) == pytest.approx(hit.score, rel=1e-6)
        assert any(each.term.startswith("latent:") for hit in hits for each in hit.contributions or ())
        assert any(each.typed for hit in hits for each in hit.contributions or ())
        filtered = collection.search("heat transfer in a wing", k=3)
        assert [hit.id for hit in filtered] == [hit.id for hit in hits][:3]


@pytest.mark.parametrize(
    ("side", "change", "message"),
    [
        ("query", {"latents": None}, "latents beside words are of"),
        ("document", {"latents": None, "saturation": None, "token_k": None}, "latents beside words are of"),
        ("query", {"latent_weight": 0.0}, "latent_weight is 0"),
        ("document", {"latents": "../elsewhere"}, "elsewhere"),
        ("query", {"kind": "regression"}, "latents is 'latents'"),
    ],
)
def test_a_wrong_description_is_refused(
    both: Path, tmp_path: Path, side: str, change: dict[str, object], message: str
) -> None:
    copy = Path(shutil.copytree(both, tmp_path / "copy"))
    values = json.loads((copy / "lexhound_encoder.json").read_text())
    values[side] |= change
    describe(copy, values["document"], values["query"])
    with pytest.raises(CheckpointError, match=message):
        LearnedEncoder(copy, FLOAT32)


def test_other_latents_are_another_encoder(both: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(both, tmp_path / "copy"))
    stored = LearnedEncoder(copy, FLOAT32).identity
    model = make_autoencoder()
    write_autoencoder(Autoencoder(model.weight * 2, model.bias, model.centre, 4, False, model.idf), copy / "latents")
    assert not LearnedEncoder(copy, FLOAT32).identity.same_vectors(stored)
    with pytest.raises(IdentityError, match="query has changed"):
        LearnedEncoder(copy, FLOAT32, identity=stored)
    write_autoencoder(Autoencoder(model.weight, model.bias, model.centre, 4), copy / "latents")
    with pytest.raises(CheckpointError, match="holds no idf of latents"):
        LearnedEncoder(copy, FLOAT32)
