"""Mining against brute force over dense matrices, and against a collection of the same documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.retrieval import Collection, Document
from lexhound.training.data.bm25_pool import LexicalPool
from lexhound.training.data.mining import (
    Candidates,
    DenseVectors,
    MiningSettings,
    dense_top,
    filter_false_negatives,
    mine,
)
from lexhound.training.scoring import PoolScores, VectorTeacher, dense_scores, sparse_scores

WORDS = ("wing", "flow", "heat", "plate", "the", "shock", "東京", "naïve")
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=12)


def vectors(rows: int, width: int, seed: int, levels: int = 2) -> NDArray[np.float32]:
    """Few different values, so that products are exact and ties abound."""
    return (np.random.default_rng(seed).integers(-levels, levels + 1, (rows, width)) / 4).astype(np.float32)


def best(scores: NDArray[np.float64], depth: int, *, above: float = -np.inf) -> list[int]:
    rows = [row for row in range(len(scores)) if scores[row] > above]
    return sorted(rows, key=lambda row: (-scores[row], row))[:depth]


def turns(first: int, *lists: list[int]) -> list[int]:
    """The positive, then the best of each list by turns, none twice."""
    found = [first] if first >= 0 else []
    for place in range(max(map(len, lists), default=0)):
        found += [own[place] for own in lists if place < len(own)]
    return list(dict.fromkeys(found))


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


@given(st.data())
def test_candidates_equal_brute_force(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    documents = data.draw(texts.filter(lambda drawn: any(drawn)))
    queries = data.draw(texts)
    n, m = len(queries), len(documents)
    lexical_depth, dense_depth = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    positives = np.array(data.draw(st.lists(st.integers(-1, m - 1), min_size=n, max_size=n)), np.int32)
    dense = DenseVectors(vectors(n, 3, data.draw(st.integers(0, 99))), vectors(m, 3, data.draw(st.integers(0, 99))))
    settings = MiningSettings(lexical_depth, dense_depth, threads=data.draw(st.integers(1, 3)))

    found = mine(queries, documents, dense=dense, positives=positives, settings=settings)

    bm25 = lexical_scores(tmp_path_factory.mktemp("c"), documents, queries)
    product = (dense.queries @ dense.documents.T).astype(np.float64)
    expected = [
        turns(int(positives[q]), best(bm25[q], lexical_depth, above=0), best(product[q], dense_depth)) for q in range(n)
    ]
    assert found.rows.dtype == np.int32
    assert found.rows.shape == (n, max(map(len, expected), default=0))
    assert [row[row >= 0].tolist() for row in found.rows] == expected
    assert all((row[len(own) :] == -1).all() for row, own in zip(found.rows, expected, strict=True))
    assert found.dense is not None
    assert found.dense_pool is not None
    for q, own in enumerate(expected):
        np.testing.assert_array_equal(found.bm25[q, : len(own)], bm25[q, own].astype(np.float32))
        np.testing.assert_array_equal(found.dense[q, : len(own)], product[q, own].astype(np.float32))
        assert not found.bm25[q, len(own) :].any()
        assert not found.dense[q, len(own) :].any()
    if n:
        check_pool(found.bm25_pool, bm25)
        check_pool(found.dense_pool, product)


def test_long_queries_stop_words_and_a_large_pool(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = [f"w{number}" for number in range(60)] + ["the", "of"] * 20
    documents = [" ".join(random.choice(words, random.integers(0, 40))) for _ in range(300)]
    queries = [" ".join(random.choice(words, size)) for size in (1, 5, 30, 80)] + ["the", "nothing of this", ""]
    bm25 = lexical_scores(tmp_path, documents, queries)
    pool = LexicalPool(documents)
    encoded = pool.encode_queries(queries)
    # Every pair, whether the index would find it or not: exactly the index's scores.
    everything = np.tile(np.arange(300, dtype=np.int32), (len(queries), 1))
    np.testing.assert_array_equal(pool.scores(encoded, everything), bm25.astype(np.float32))
    check_pool(pool.scores_over_pool(encoded), bm25)
    assert (pool.scores_over_pool(encoded).low[:4] >= 0).all()
    found = pool.search(encoded, 7)
    assert [row[row >= 0].tolist() for row in found] == [best(scores, 7, above=0) for scores in bm25]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads: int) -> None:
    random = np.random.default_rng(1)
    documents = [" ".join(random.choice(WORDS, 9)) for _ in range(200)]
    queries = [" ".join(random.choice(WORDS, 3)) for _ in range(90)]
    one, many = (mine(queries, documents, settings=MiningSettings(threads=n)) for n in (1, threads))
    np.testing.assert_array_equal(one.rows, many.rows)
    np.testing.assert_array_equal(one.bm25, many.bm25)
    for name in ("low", "high", "mean", "deviation"):
        np.testing.assert_array_equal(getattr(one.bm25_pool, name), getattr(many.bm25_pool, name))


def test_a_text_from_outside_is_scored_as_if_it_were_in_the_pool() -> None:
    documents = ["wing flow heat", "shock plate", "the wing of the plane", "flow"]
    pool = LexicalPool(documents)
    queries = pool.encode_queries(["wing heat", "shock", "unseen wing"])
    outside = pool.encode_documents([*documents, "unseen", "wing unseen words here"])
    rows = np.tile(np.arange(4, dtype=np.int32), (3, 1))
    np.testing.assert_array_equal(sparse_scores(queries.vectors, outside, rows), pool.scores(queries, rows))
    last = sparse_scores(queries.vectors, outside, np.array([[4, 5]] * 3, np.int32))
    assert (last[:, 0] == 0).all()
    assert last[0, 1] > 0
    assert last[1, 1] == 0
    # Words that the pool lacks made the text longer: a shorter one with the same word scores higher.
    shorter = pool.encode_documents(["wing"])
    assert sparse_scores(queries.vectors, shorter, np.array([[0]] * 3, np.int32))[0, 0] > last[0, 1]
    # And the vocabulary that grew by them changes no later query.
    again = pool.encode_queries(["unseen wing"])
    np.testing.assert_array_equal(pool.scores(again, rows[:1]), pool.scores(queries, rows)[2:])


@given(st.integers(0, 40), st.integers(1, 700), st.integers(0, 30), st.integers(0, 99))
def test_the_best_of_a_dense_teacher_with_ties(n: int, m: int, depth: int, seed: int) -> None:
    dense = DenseVectors(vectors(n, 2, seed, 1), vectors(m, 2, seed + 1, 1))
    rows, scores, pool = dense_top(dense, depth)
    product = dense.queries @ dense.documents.T
    assert rows.shape == scores.shape == (n, min(depth, m) if n else 0)
    for q in range(n):
        assert rows[q].tolist() == best(product[q], depth)
        np.testing.assert_array_equal(scores[q], product[q, rows[q]])
    if n:
        check_pool(pool, product.astype(np.float64))


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = DenseVectors(vectors(300, 4, 0), vectors(50, 4, 1))
    whole = dense_top(dense, 9)
    monkeypatch.setattr("lexhound.training.data.mining._BLOCK", 1)  # 64 queries at a time
    parts = dense_top(dense, 9)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])


def test_an_empty_pool_and_no_queries() -> None:
    nothing = mine([], ["wing"])
    assert nothing.rows.shape == (0, 0)
    empty = mine(["wing"], [], dense=DenseVectors(np.ones((1, 2), np.float32), np.ones((0, 2), np.float32)))
    assert isinstance(empty, Candidates)
    assert empty.rows.shape == (1, 0)
    assert empty.bm25_pool.high.tolist() == [0.0]


@pytest.mark.parametrize(
    ("dense", "positives", "message"),
    [
        (DenseVectors(np.ones((1, 2), np.float32), np.ones((2, 2), np.float32)), None, r"float32\[2, width\]"),
        (DenseVectors(np.ones((2, 2), np.float32), np.ones((3, 2), np.float32)), None, r"documents .* float32\[2"),
        (DenseVectors(np.ones((2, 2)), np.ones((2, 2), np.float32)), None, r"queries must be float32"),  # type: ignore[arg-type]
        (DenseVectors(np.ones((2, 2), np.float32), np.ones((2, 3), np.float32)), None, "different widths"),
        (DenseVectors(np.full((2, 2), np.nan, np.float32), np.ones((2, 2), np.float32)), None, "no numbers"),
        (None, np.array([0, 2], np.int32), "rows from 0 to 1"),
        (None, np.array([-2, 0], np.int32), "rows from 0 to 1"),
        (None, np.array([0], np.int32), "one for each query"),
    ],
)
def test_what_does_not_fit_is_refused(
    dense: DenseVectors | None, positives: NDArray[np.int32] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mine(["wing", "flow"], ["wing", "heat"], dense=dense, positives=positives)


@given(st.data())
def test_false_negatives_equal_the_definition(data: st.DataObject) -> None:
    n, depth = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 5))
    scores, positive = vectors(n, depth, data.draw(st.integers(0, 99)), 5), vectors(n, 1, 7, 5)[:, 0]
    margin = data.draw(st.none() | st.sampled_from([0.0, 0.25, 1.0]))
    relative = data.draw(st.none() | st.sampled_from([0.5, 0.95, 1.0]))
    if margin is None and relative is None:
        with pytest.raises(ValueError, match="margin, a relative limit"):
            filter_false_negatives(scores, positive)
        return
    kept = filter_false_negatives(scores, positive, margin=margin, relative=relative)
    for q in range(n):
        for place in range(depth):
            score, answer = float(scores[q, place]), float(positive[q])
            expected = margin is None or score < answer - margin
            expected &= relative is None or score < (relative * answer if answer > 0 else answer)
            assert kept[q, place] == expected


@pytest.mark.parametrize("options", [{"margin": -0.1}, {"relative": 0.0}, {"relative": 1.5}, {"margin": float("nan")}])
def test_limits_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"limit|margin"):
        filter_false_negatives(np.zeros((1, 1), np.float32), np.zeros(1, np.float32), **options)


@pytest.mark.parametrize("options", [{"lexical_depth": -1}, {"dense_depth": -1}, {"threads": 0}])
def test_settings_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        MiningSettings(**options)


def test_sparse_and_dense_scores_equal_products() -> None:
    random = np.random.default_rng(3)
    queries, documents = ((random.random((n, 30)) * (random.random((n, 30)) < 0.2)) for n in (17, 23))
    queries[3] = documents[5] = 0
    rows = random.integers(-1, 23, (17, 6)).astype(np.int32)
    product = queries @ documents.T
    expected = np.where(rows >= 0, np.take_along_axis(product, np.maximum(rows, 0), 1), 0)
    sparse = csr_array(documents.astype(np.float32))
    lists = [(np.flatnonzero(row).astype(np.int32), row[row > 0].astype(np.float32)) for row in queries]
    np.testing.assert_allclose(sparse_scores(lists, sparse, rows), expected, rtol=1e-5)
    np.testing.assert_allclose(sparse_scores(csr_array(queries), sparse, rows), expected, rtol=1e-5)
    as_floats = queries.astype(np.float32), documents.astype(np.float32)
    np.testing.assert_allclose(dense_scores(*as_floats, rows), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["min-max", "z-score", "none"])
def test_blocks_of_a_teacher_are_normalised_over_the_pool(kind: str) -> None:
    queries, documents = vectors(6, 4, 1), vectors(40, 4, 2)
    queries[2] = 0  # scores every document alike
    product = (queries @ documents.T).astype(np.float64)
    pool = dense_top(DenseVectors(queries, documents), 1)[2]
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
