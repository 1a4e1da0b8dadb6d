"""Latents of tokens: the largest of rows, sums and weights against plain twins, folders, names, a collection."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from latent_models import LATENTS, PRECISIONS, TEXTS, WIDTH, make_autoencoder
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.encoders.errors import CheckpointError, IdentityError, SettingsError
from lexhound.encoders.latent.autoencoder import Autoencoder, LatentActivations, write_autoencoder
from lexhound.encoders.latent.largest import largest_of_rows
from lexhound.encoders.latent.names import write_words
from lexhound.encoders.latent.token_latents import LatentSaturation, summed_latents
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.documents.document import Document

FLOAT32 = LearnedSettings(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_tiny_embedding_model(tmp_path_factory.mktemp("latent_terms") / "encoder")
    write_autoencoder(make_autoencoder(), folder / "latents")
    write_words([[f"word{number}", "other"] for number in range(LATENTS)], folder / "latents")
    document = {
        "kind": "autoencoder", "pooling": "sum", "latents": "latents", "top_k": 12, "token_k": 3,
        "saturation": {"length": 20.0, "k1": 1.2, "b": 0.5},
    }  # fmt: skip
    query = {"kind": "autoencoder", "pooling": "sum", "latents": "latents", "query_top_k": 5, "prior": 100}
    describe(folder, document, query)
    return folder


def describe(folder: Path, document: dict[str, object], query: dict[str, object]) -> None:
    values = {"format": 1, "document": document, "query": query}
    (folder / "lexhound_encoder.json").write_text(json.dumps(values))


@given(some.lists(some.lists(some.integers(-2, 3), min_size=150, max_size=150), max_size=3), some.integers(1, 160))
def test_the_largest_of_rows_with_ties_and_negatives(values: list[list[int]], k: int) -> None:
    matrix = np.array(values, np.float32).reshape(-1, 150)
    found = largest_of_rows(matrix, k)
    expected = [
        (row, column, float(line[column]))
        for row, line in enumerate(matrix)
        for column in sorted(range(150), key=lambda column: (-line[column], column))[:k]
        if line[column] > 0
    ]
    assert list(zip(*(each.tolist() for each in found), strict=True)) == expected


def plain_sums(model: Autoencoder, states: np.ndarray, k: int) -> dict[int, float]:
    """f of one text, a token and a latent at a time."""
    sums: dict[int, float] = {}
    for state in states:
        z = model.weight @ (state - model.centre) + model.bias
        for latent in sorted(range(len(z)), key=lambda latent: (-z[latent], latent))[:k]:
            if z[latent] > 0:
                sums[latent] = sums.get(latent, 0.0) + float(z[latent])
    return {latent: math.sqrt(value) for latent, value in sums.items()}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_sums_are_those_of_the_formula_whatever_is_beside_a_text(precision: str) -> None:
    model, lengths = make_autoencoder(), [3, 0, 1, 300, 0]
    states = np.random.default_rng(6).normal(size=(sum(lengths), WIDTH)).astype(np.float32)
    latents = LatentActivations(model, integers=precision == "int16")
    found = summed_latents(latents, states, lengths, 5)
    assert len(found) == len(lengths)
    start = 0
    for length, (ids, f) in zip(lengths, found, strict=True):
        own = states[start : start + length]
        expected = plain_sums(model, own, 5)
        assert (np.diff(ids) > 0).all()
        if precision == "float32":
            assert ids.tolist() == sorted(expected)
            np.testing.assert_allclose(f, [expected[latent] for latent in sorted(expected)], rtol=1e-4)
        else:
            ((alone_ids, alone),) = summed_latents(latents, own, [length], 5)
            np.testing.assert_array_equal(ids, alone_ids)
            np.testing.assert_array_equal(f, alone)
        start += length


def test_weights_are_the_term_frequency_part_of_bm25() -> None:
    f = np.array([1.0, 4.0, 5.0], np.float32)
    found = LatentSaturation(length=20.0, k1=1.2, b=0.5).weights(f)
    np.testing.assert_allclose(found, [each * 2.2 / (each + 1.2 * (0.5 + 0.5 * 10 / 20)) for each in f], rtol=1e-6)
    for wrong in ({"length": 0.0}, {"length": 1.0, "k1": -1.0}, {"length": 1.0, "b": 1.5}):
        with pytest.raises(SettingsError, match="saturation"):
            LatentSaturation(**wrong)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_documents_and_queries_of_a_folder(folder: Path, precision: str) -> None:
    encoder = LearnedEncoder(folder, LearnedSettings(device="cpu", precision=precision))
    encoder.prepare()
    assert (encoder.identity.kind, encoder.identity.vocabulary_size) == ("latent", LATENTS)
    documents = encoder.encode_documents(TEXTS)
    assert documents[[1]].nnz == 0
    assert 0 < max(np.diff(documents.indptr)) <= 12
    terms, weights = encoder.encode_query(TEXTS[0])
    assert 0 < len(terms) <= 5
    assert (weights > 0).all()
    assert len(encoder.encode_query("")[0]) == 0
    alone = encoder.encode_documents(TEXTS[2:3])
    np.testing.assert_allclose(alone.toarray(), documents[[2]].toarray(), atol=0 if precision == "int16" else 1e-4)


def test_a_vector_is_that_of_the_formula(folder: Path) -> None:
    encoder, model = LearnedEncoder(folder, FLOAT32), make_autoencoder()
    encoder.prepare()
    backbone = next(iter(encoder._opener._latent_models.values())).backbone
    (ids,) = backbone.subwords.ids_of([TEXTS[0]])
    states = backbone.states([[*backbone.subwords.prefix, *ids, *backbone.subwords.suffix]])[1:-1]
    f = plain_sums(model, states, 3)
    heaviest = sorted(f, key=lambda latent: (-f[latent], latent))[:12]
    total = sum(f[latent] for latent in heaviest)
    expected = {each: f[each] * 2.2 / (f[each] + 1.2 * (0.5 + 0.5 * total / 20)) for each in heaviest}
    found = encoder.encode_documents(TEXTS[:1]).toarray()[0]
    assert np.flatnonzero(found).tolist() == sorted(expected)
    np.testing.assert_allclose(found[sorted(expected)], [expected[each] for each in sorted(expected)], rtol=1e-3)
    f = plain_sums(model, states, 4)
    heaviest = sorted(sorted(f, key=lambda latent: (-f[latent], latent))[:5])
    terms, weights = encoder.encode_query(TEXTS[0])
    assert terms.tolist() == heaviest
    np.testing.assert_allclose(weights, [f[each] * model.idf[each] for each in heaviest], rtol=1e-3)


def test_idf_follows_the_collection_that_is_searched(folder: Path) -> None:
    class Everywhere:
        n_documents = 1_000_000

        def document_frequencies(self, terms: np.ndarray) -> np.ndarray:
            return np.full(len(terms), 500_000)

    encoder = LearnedEncoder(folder, FLOAT32)
    terms, weights = encoder.encode_query(TEXTS[0])
    live_terms, live = encoder.encode_query(TEXTS[0], Everywhere())
    assert live_terms.tolist() == terms.tolist()
    f = weights / make_autoencoder().idf[terms]
    np.testing.assert_allclose(live, f * math.log(2), rtol=0.01)


def test_latents_are_searched_explained_and_named(folder: Path, tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "latent.index", encoder=folder)
    collection.add([Document(str(number), text) for number, text in enumerate(TEXTS)])
    hits = collection.search("wing", k=3, explain=True)
    assert {hits[0].id, hits[1].id} == {"3", "4"}
    named = hits[0].contributions[0].term
    number = int(named.split()[0].removeprefix("latent:"))
    assert named == f"latent:{number} word{number} other"
    encoder = LearnedEncoder(folder, FLOAT32)
    assert encoder.lookup([named, f"latent:{number}", "latent:1 ", "word1"]).tolist() == [number, number, 1, -1]
    collection.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"saturation": {"length": -1.0}}, "saturation"),
        ({"saturation": {"size": 1.0}}, "saturation"),
        ({"pooling": "mean"}, "token_k and saturation are of latents of tokens"),
        ({"token_k": 0}, "token_k is 0"),
        ({"latents": None}, "latents is None"),
    ],
)
def test_a_wrong_description_is_refused(folder: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    values = json.loads((copy / "lexhound_encoder.json").read_text())
    describe(copy, values["document"] | change, values["query"])
    with pytest.raises(CheckpointError, match=message):
        LearnedEncoder(copy, FLOAT32)


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    stored = LearnedEncoder(copy, FLOAT32).identity
    values = json.loads((copy / "lexhound_encoder.json").read_text())
    with pytest.raises(SettingsError, match="pooling and activation"):
        LearnedEncoder(copy, LearnedSettings(pooling="max", device="cpu")).prepare()
    describe(copy, values["document"] | {"token_k": 2}, values["query"])
    with pytest.raises(IdentityError, match="has changed"):
        LearnedEncoder(copy, FLOAT32, identity=stored)
    write_words([["one"]], copy / "latents")
    with pytest.raises(CheckpointError, match="is of 1 latents, and there are 96"):
        LearnedEncoder(copy, FLOAT32).term_text(0)
    plain = make_autoencoder()
    write_autoencoder(Autoencoder(plain.weight, plain.bias, plain.centre, 4), copy / "latents")
    with pytest.raises(CheckpointError, match="holds no idf of latents"):
        LearnedEncoder(copy, FLOAT32).prepare()
