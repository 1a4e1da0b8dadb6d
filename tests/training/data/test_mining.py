"""Candidates and scores of teachers against brute force, and against a collection of the same documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.encoders.errors import TrainingError
from lexhound.retrieval import Collection, Document
from lexhound.training.data.bm25_pool import LexicalPool
from lexhound.training.data.mining import dense_top
from lexhound.training.scoring import PoolScores, VectorTeacher

WORDS = ("wing", "flow", "heat", "plate", "the", "shock", "東京", "naïve")


def vectors(rows: int, width: int, seed: int, levels: int = 2) -> NDArray[np.float32]:
    """Few different values, so that products are exact and ties abound."""
    return (np.random.default_rng(seed).integers(-levels, levels + 1, (rows, width)) / 4).astype(np.float32)


def best(scores: NDArray[np.float64], depth: int, *, above: float = -np.inf) -> list[int]:
    rows = [row for row in range(len(scores)) if scores[row] > above]
    return sorted(rows, key=lambda row: (-scores[row], row))[:depth]


def lexical_scores(folder: Path, documents: list[str], queries: list[str]) -> NDArray[np.float64]:
    """What a collection of these documents answers, as a matrix queries x documents."""
    scores = np.zeros((len(queries), len(documents)))
    with Collection.create(folder / "c") as collection:
        collection.add([Document(str(row), text) for row, text in enumerate(documents)])
        for number, found in enumerate(collection.search_many(queries, max(1, len(documents)))):
            for identifier, score in found:
                scores[number, int(identifier)] = score
    return scores


def check_pool(pool: PoolScores, scores: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(pool.low, scores.min(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pool.high, scores.max(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pool.mean, scores.mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pool.deviation, scores.std(1), rtol=1e-4, atol=1e-6)


def test_long_queries_stop_words_and_a_large_pool(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = [f"w{number}" for number in range(60)] + ["the", "of"] * 20
    documents = [" ".join(random.choice(words, random.integers(0, 40))) for _ in range(300)]
    queries = [" ".join(random.choice(words, size)) for size in (1, 5, 30, 80)] + ["the", "nothing of this", ""]
    bm25 = lexical_scores(tmp_path, documents, queries)
    pool = LexicalPool(documents)
    encoded = pool.encode_queries(queries)
    # Every pair, whether the index would find it or not: exactly the index's scores.
    teacher = VectorTeacher(encoded.vectors, pool.documents, normalise="none")
    np.testing.assert_array_equal(teacher.block(np.arange(len(queries)), np.arange(300)), bm25.astype(np.float32))
    check_pool(pool.scores_over_pool(encoded), bm25)
    assert (pool.scores_over_pool(encoded).low[:4] >= 0).all()
    found = pool.search(encoded, 7)
    assert [row[row >= 0].tolist() for row in found] == [best(scores, 7, above=0) for scores in bm25]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads: int) -> None:
    random = np.random.default_rng(1)
    documents = [" ".join(random.choice(WORDS, 9)) for _ in range(200)]
    queries = [" ".join(random.choice(WORDS, 3)) for _ in range(90)]
    one, many = (LexicalPool(documents, threads=n) for n in (1, threads))
    np.testing.assert_array_equal(
        one.search(one.encode_queries(queries), 32), many.search(many.encode_queries(queries), 32)
    )
    spread = one.scores_over_pool(one.encode_queries(queries)), many.scores_over_pool(many.encode_queries(queries))
    for name in ("low", "high", "mean", "deviation"):
        np.testing.assert_array_equal(getattr(spread[0], name), getattr(spread[1], name))


@given(st.integers(0, 40), st.integers(1, 700), st.integers(0, 30), st.integers(0, 99))
def test_the_best_of_a_dense_teacher_with_ties(n: int, m: int, depth: int, seed: int) -> None:
    queries, documents = vectors(n, 2, seed, 1), vectors(m, 2, seed + 1, 1)
    rows, pool = dense_top(queries, documents, depth)
    product = queries @ documents.T
    assert rows.dtype == np.int32
    assert rows.shape == (n, min(depth, m))
    for q in range(n):
        assert rows[q].tolist() == best(product[q], depth)
    if n:
        check_pool(pool, product.astype(np.float64))


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, documents = vectors(300, 4, 0), vectors(50, 4, 1)
    whole = dense_top(queries, documents, 9)
    monkeypatch.setattr("lexhound.training.data.mining._BLOCK", 1)  # 64 queries at a time
    parts = dense_top(queries, documents, 9)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1].deviation, parts[1].deviation)


def test_an_empty_pool_has_no_candidates() -> None:
    empty = LexicalPool([])
    assert empty.search(empty.encode_queries(["wing"]), 3).tolist() == [[-1, -1, -1]]
    assert empty.scores_over_pool(empty.encode_queries(["wing"])).high.tolist() == [0.0]


@pytest.mark.parametrize("name", ["queries", "documents"])
def test_vectors_that_are_not_finite_are_refused(name: str) -> None:
    given = {"queries": np.ones((2, 2), np.float32), "documents": np.ones((3, 2), np.float32)}
    given[name][1, 0] = np.nan
    with pytest.raises(TrainingError, match=f"vectors of the {name} hold values that are not finite"):
        dense_top(**given, depth=1)


@pytest.mark.parametrize("kind", ["min-max", "z-score", "none"])
def test_blocks_of_a_teacher_are_normalised_over_the_pool(kind: str) -> None:
    queries, documents = vectors(6, 4, 1), vectors(40, 4, 2)
    queries[2] = 0  # scores every document alike
    product = (queries @ documents.T).astype(np.float64)
    pool = dense_top(queries, documents, 1)[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = {
            "min-max": (product - product.min(1, keepdims=True)) / np.ptp(product, axis=1)[:, None],
            "z-score": (product - product.mean(1, keepdims=True)) / product.std(1)[:, None],
            "none": product,
        }[kind]
    expected[2] = 0
    own_rows, own_columns = np.array([5, 2, 0]), np.array([39, 0, 7, 8])
    for teacher in (
        VectorTeacher(queries, documents, pool, kind),
        VectorTeacher(csr_array(queries), csr_array(documents), pool, kind),
    ):
        block = teacher.block(own_rows, own_columns)
        assert block.dtype == np.float32
        np.testing.assert_allclose(block, expected[np.ix_(own_rows, own_columns)], rtol=1e-4, atol=1e-5)
