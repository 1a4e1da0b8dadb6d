"""Validation sets: what is kept of a set, what is measured, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.exact_terms import surface_match_ratios
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.eval.errors import DatasetError
from lexhound.eval.validation import ValidationSet, open_validation_set, validate, validator
from lexhound.training.recipe import DataRecipe, ExactTermRecipe, ModelRecipe, QueryRecipe, Recipe, ValidationRecipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"_id": f"d{number}", "title": f"t{number}", "text": f"text {number}"} for number in range(20)]
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    queries = [{"_id": f"q{number}", "text": f"query {number}"} for number in range(4)]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    judged = [(0, 0, 1), (0, 1, 2), (1, 2, 1), (2, 3, 1), (3, 4, 0)]
    lines = "".join(f"q{query}\td{document}\t{value}\n" for query, document, value in judged)
    for split in ("dev", "test"):
        (tmp_path / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return tmp_path


def test_the_whole_set_without_queries_that_nothing_answers(folder: Path) -> None:
    found = open_validation_set(f"{folder}:dev", 0, 0)
    assert found.name == f"{folder.name} dev"
    assert len(found.documents) == 20
    assert found.documents[found.document_ids.index("d3")] == "t3 text 3"
    assert list(found.queries) == ["q0", "q1", "q2"]


def test_a_part_has_relevant_documents_and_others(folder: Path) -> None:
    found = open_validation_set(f"{folder}:dev", 5, 0, seed=1)
    again = open_validation_set(f"{folder}:dev", 5, 0, seed=1)
    assert found.document_ids == again.document_ids
    relevant = {"d0", "d1", "d2", "d3"} & set(found.document_ids)
    assert len(found.document_ids) == 5
    assert len(relevant) == 3
    assert all(set(own) <= set(found.document_ids) for own in found.qrels.values())
    assert set(found.queries) == set(found.qrels)
    assert len(open_validation_set(f"{folder}:dev", 0, 2).queries) == 2


def test_measures_are_those_of_the_products(folder: Path) -> None:
    found = open_validation_set(f"{folder}:dev", 0, 0)

    def encode(texts: list[str], max_length: int) -> tuple[csr_array, NDArray[np.float32]]:
        assert max_length == 9
        rows = np.eye(20, dtype=np.float32)[[int(text.split()[-1]) for text in texts]]
        return csr_array(rows), np.ones((len(texts), 2), np.float32)

    def encode_queries(each: ValidationSet, documents: csr_array) -> tuple[csr_array, None]:
        assert each is found
        assert documents.shape == (len(found.documents), 20)
        texts = list(each.queries.values())
        wanted = np.zeros((len(texts), 20), dtype=np.float32)
        for row, text in enumerate(texts):
            number = int(text.split()[-1])
            wanted[row, [0, 2, 9][number]] = 1.0  # d0: one of two; d2: right; d9: wrong
        return csr_array(wanted), None

    (value,) = validate([found], encode, encode_queries, 9).values()
    first = 1 / (2 + 1 / np.log2(3))  # relevance 1 found first; ideal is 2, then 1
    assert value == pytest.approx((first + 1.0 + 0.0) / 3)


@pytest.mark.parametrize(
    ("name", "said"), [("{}:test", "is a test split"), ("{}", "names no split"), ("{}/none:dev", "none")]
)
def test_refusals(folder: Path, name: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        open_validation_set(name.format(folder), 0, 0)


def test_a_model_is_measured_as_its_encoder_will_search(tmp_path: Path) -> None:
    """Documents with their written words, queries as the recipe says: like the encoder that comes of it."""
    from lexhound.training.export import DocumentUse, export_encoder
    from lexhound.training.model import ModelSettings, TrainableEncoder

    model = TrainableEncoder(ModelSettings(str(build_tiny_masked_lm(tmp_path / "base", seed=4)), max_length=32))
    words = [
        "heat",
        "transfer",
        "flow",
        "wing",
        "shock",
        "wave",
        "pressure",
        "engine",
        "rocket",
        "fuel",
        "gas",
        "shell",
    ]
    random = np.random.default_rng(3)
    texts = [" ".join(["the", *random.choice(words, 5)]) for _ in range(30)]
    queries = {f"q{number}": " ".join(["the", *random.choice(words, 4)]) for number in range(12)}
    relevant = {query: {f"d{place}": 1 for place in random.choice(30, 3, replace=False)} for query in queries}
    ids = [f"d{place}" for place in range(30)]
    judged = ValidationSet("set", ids, texts, queries, relevant)
    query = QueryRecipe(counted=True, power=0.5, common=0.6, prior=20, surface_match=30)
    recipe = Recipe(
        ModelRecipe("base"), DataRecipe(), (), query, ExactTermRecipe(0.8), validation=ValidationRecipe(max_length=32)
    )
    table = np.linspace(0.5, 4, model.vocabulary_size, dtype=np.float32) * model.terms
    measured = validator([judged], model, recipe)(
        lambda found, n: model.encode_with_means(model.token_ids(found, n)), table
    )
    assert set(measured) == {"set"}

    token_ids = model.token_ids(texts)
    written = np.bincount(
        np.concatenate([np.unique(text_ids) for text_ids in token_ids]), minlength=model.vocabulary_size
    )
    folder = export_encoder(
        model, table, tmp_path / "out", half=False, query=query, document=DocumentUse(recipe.exact_terms.boost),
        surface_match=surface_match_ratios(written, written),
    )  # fmt: skip
    encoder = LearnedEncoder(folder, LearnedSettings(max_length=32, precision="float32"))

    class Written:
        n_documents = 30

        def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.float64]:
            shares = surface_match_ratios(written, written)
            return np.asarray(written[terms] / shares[terms].astype(np.float64))

    vectors = encoder.encode_documents(texts)
    asked = np.zeros((len(queries), model.vocabulary_size), np.float32)
    for row, text in enumerate(queries.values()):
        terms, weights = encoder.encode_query(text, Written())  # type: ignore[arg-type]
        asked[row, terms] = weights
    assert judged.measure(vectors, csr_array(asked)) == pytest.approx(measured["set"], abs=1e-6)
    assert 0 < measured["set"] < 1


def test_hybrid_searches_are_measured_as_searches_fuse() -> None:
    """Against deviations from the mean, weighed .4 and .6, written out."""
    random = np.random.default_rng(5)
    ids = [f"d{place}" for place in range(40)]
    names = [f"q{number}" for number in range(9)]
    relevant = {name: {f"d{place}": 1 for place in random.choice(40, 3, replace=False)} for name in names}
    judged = ValidationSet("set", ids, [""] * 40, dict.fromkeys(names, ""), relevant)
    documents = random.random((40, 12)).astype(np.float32) * (random.random((40, 12)) < 0.3)
    queries = random.random((9, 12)).astype(np.float32) * (random.random((9, 12)) < 0.3)
    states, asked = (random.normal(size=(count, 6)).astype(np.float32) for count in (40, 9))
    states[3] = 0.0

    found = judged.measure_hybrid(csr_array(documents), csr_array(queries), states, asked)

    total = 0.0
    for number, name in enumerate(names):
        terms = [float(documents[place].astype(np.float64) @ queries[number]) for place in range(40)]
        cosines = [
            float(each @ asked[number] / max(1e-12, np.linalg.norm(each) * np.linalg.norm(asked[number])))
            for each in states
        ]
        deviations = [[(x - np.mean(side)) / (np.std(side) or 1.0) for x in side] for side in (terms, cosines)]
        fused = [0.4 * sparse + 0.6 * dense for sparse, dense in zip(*deviations, strict=True)]
        order = sorted(range(40), key=lambda place: -fused[place])[:10]
        gain = sum(relevant[name].get(ids[place], 0) / np.log2(rank + 2) for rank, place in enumerate(order))
        total += gain / sum(1 / np.log2(rank + 2) for rank in range(3))
    assert found == pytest.approx(total / 9, abs=1e-5)
    assert 0 < found < 1
