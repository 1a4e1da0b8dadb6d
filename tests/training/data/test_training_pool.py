"""What recipes read: the texts of every kind of source, joined as a plain twin says, and rows that cannot be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexhound.encoders.errors import TrainingDataError
from lexhound.training.data.pool import Pool, read_pool
from lexhound.training.recipe import (
    CorpusRecipe,
    DataRecipe,
    IdsRecipe,
    ModelRecipe,
    PairsRecipe,
    QueriesRecipe,
    Recipe,
    TeacherRecipe,
    TriplesRecipe,
)

CORPUS = [{"_id": f"d{number}", "text": f"text {number}", "title": f"t{number % 2}"} for number in range(12)]
QUERIES = [{"_id": f"q{number}", "text": f"why {number}?"} for number in range(6)]


def written(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


def recipe_of(folder: Path, *, teachers: tuple[TeacherRecipe, ...] = (), **data: Any) -> Recipe:
    return Recipe(ModelRecipe("base"), DataRecipe(**data), teachers, folder=str(folder))


def base(folder: Path, limit: int = 0) -> dict[str, Any]:
    written(folder, "corpus.jsonl", CORPUS)
    written(folder, "queries.jsonl", QUERIES)
    return {
        "corpora": (CorpusRecipe("corpus.jsonl", limit=limit),),
        "queries": (QueriesRecipe("queries.jsonl", limit=limit),),
    }


def named(pool: Pool) -> list[tuple[str, str | None, set[str], str]]:
    """Every query with its own document, those it is given, and its kind, by their texts."""
    return [
        (
            text,
            None if own < 0 else pool.documents[own],
            {pool.documents[place] for place in pool.given.get(number, [])},
            kind,
        )
        for number, (text, own, kind) in enumerate(zip(pool.queries, pool.own, pool.kinds, strict=True))
    ]


def plain(asked: tuple[str, str | None, set[str], str]) -> tuple[Any, ...]:
    return (asked[0], asked[1] or "", sorted(asked[2]), asked[3])


def titled(number: int) -> str:
    return f"t{number % 2} text {number}"


def test_triples_are_queries_with_their_answer_and_negatives(tmp_path: Path) -> None:
    rows = [
        {"query": "a", "positive": "A", "negatives": ["B", "C"], "title": "t"},
        {"query": "a", "positive": "A", "negative": "D", "title": "t"},
        {"query": "b", "positive": "B", "negatives": ["A", "B"]},
    ]
    written(tmp_path, "triples.jsonl", rows)
    pool = read_pool(recipe_of(tmp_path, triples=(TriplesRecipe("triples.jsonl"),)))
    assert sorted(pool.documents) == ["A", "B", "C", "D", "t A"]
    assert named(pool) == [("a", "t A", {"t A", "B", "C", "D"}, "triple"), ("b", "B", {"A", "B"}, "triple")]
    assert pool.given[0][0] == pool.own[0]


identified = st.lists(
    st.tuples(st.integers(0, 5), st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True)),
    min_size=1,
    max_size=5,
)
scored = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.dictionaries(st.integers(0, 11), st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(identified, scored, st.sampled_from([0, 1, 3]))
def test_ids_and_scores_are_the_plain_twin(
    tmp_path: Path, ids: list[tuple[int, list[int]]], scores: list[tuple[int, dict[int, float]]], limit: int
) -> None:
    """Whatever is drawn of the files, everything that is named is there."""
    data = base(tmp_path, limit)
    written(tmp_path, "ids.jsonl", [{"query_id": f"q{q}", "document_ids": [f"d{d}" for d in own]} for q, own in ids])
    written(
        tmp_path,
        "scores.jsonl",
        [
            {"query_id": f"q{q}", "document_ids": [f"d{d}" for d in own], "scores": list(own.values())}
            for q, own in scores
        ],
    )
    teachers = (TeacherRecipe("bm25"), TeacherRecipe("scores", path="scores.jsonl"))
    pool = read_pool(recipe_of(tmp_path, teachers=teachers, ids=(IdsRecipe("ids.jsonl"),), **data))

    answers: dict[tuple[int, int], set[int]] = {}
    for query, own in ids:
        answers.setdefault((query, own[0]), set()).update(own)
    taught: dict[int, dict[int, float]] = {}
    for query, given_scores in scores:
        taught.setdefault(query, {}).update(given_scores)
    expected: list[tuple[str, str | None, set[str], str]] = []
    for (query, first), listed in answers.items():
        together = {titled(number) for number in listed | taught.get(query, {}).keys()}
        expected.append((f"why {query}?", titled(first), together, "ids"))
    answered = {query for query, _ in answers}
    for query in set(taught) - answered:
        expected.append((f"why {query}?", None, {titled(number) for number in taught[query]}, "question"))
    found = named(pool)
    asked_alone = [each for each in found if each[3] == "question" and not each[2]]  # drawn, and named by nothing
    assert len(asked_alone) <= (limit or 6)
    assert sorted(map(plain, (each for each in found if each not in asked_alone))) == sorted(map(plain, expected))
    assert set(pool.scores) == {1}
    for query, given_scores in pool.scores[1].items():
        number = int(pool.queries[query].split()[1].removesuffix("?"))
        assert {pool.documents[place]: score for place, score in given_scores.items()} == {
            titled(document): score for document, score in taught[number].items()
        }
    wanted = len({number for own in (*answers.values(), *taught.values()) for number in own})
    assert wanted <= len(pool.documents) <= (12 if not limit else limit + wanted)


def test_scored_documents_are_candidates_best_first(tmp_path: Path) -> None:
    data = base(tmp_path)
    (tmp_path / "scores.tsv").write_text("q1\td3\t0.5\nq1\td2\t2\nq1\td1\t0.5\n")
    pool = read_pool(recipe_of(tmp_path, teachers=(TeacherRecipe("scores", path="scores.tsv"),), **data))
    (query,) = pool.given
    assert pool.queries[query] == "why 1?"
    assert [pool.documents[place] for place in pool.given[query]] == [titled(2), titled(1), titled(3)]


def test_what_is_kept_apart_stays_so_when_it_is_named(tmp_path: Path) -> None:
    data = base(tmp_path)
    apart = tmp_path / "apart"
    apart.mkdir()
    written(apart, "corpus.jsonl", [{"_id": "x", "title": "T1", "text": ""}])  # of every document with an odd number
    written(apart, "queries.jsonl", [{"_id": "y", "text": "Why 2"}])
    rows = [("q0", ["d1", "d2"]), ("q1", ["d2", "d3", "d4"]), ("q2", ["d4"])]
    written(tmp_path, "ids.jsonl", [{"query_id": query, "document_ids": own} for query, own in rows])
    (tmp_path / "scores.tsv").write_text("q1\td3\t0.5\nq2\td2\t2\nq1\td6\t1\n")
    teachers = (TeacherRecipe("scores", path="scores.tsv"),)
    pool = read_pool(recipe_of(tmp_path, teachers=teachers, ids=(IdsRecipe("ids.jsonl"),), exclude=("apart",), **data))
    assert not any(text.startswith("t1") for text in pool.documents)
    assert "why 2?" not in pool.queries
    asked = {text: (own, listed) for text, own, listed, _ in named(pool) if listed}
    assert asked == {"why 1?": (titled(2), {titled(2), titled(4), titled(6)})}


@pytest.mark.parametrize(
    ("ids", "scores", "said"),
    [
        ("q1\td1\nq1\td99\n", None, "ids.tsv, line 2: there is no document 'd99'"),
        ("q1\td1\nq9\td1\n", None, "ids.tsv, line 2: there is no query 'q9'"),
        ("", None, "ids.tsv is empty"),
        ("q1\n", None, "ids.tsv, line 1: 1 columns"),
        ("q1\td1\n", "q1\td1\t1\nq2\tx\t1\n", "scores.tsv, line 2: there is no document 'x'"),
        ("q1\td1\n", "q1\td1\tnan\n", "scores.tsv, line 1: nan among the scores is not a number"),
        ("q1\td1\n", "", "scores.tsv is empty"),
    ],
)
def test_rows_that_name_nothing_are_told_with_their_line(
    tmp_path: Path, ids: str, scores: str | None, said: str
) -> None:
    data = base(tmp_path, limit=1)
    (tmp_path / "ids.tsv").write_text(ids)
    (tmp_path / "scores.tsv").write_text(scores or "")
    teachers = () if scores is None else (TeacherRecipe("scores", path="scores.tsv"),)
    with pytest.raises(TrainingDataError, match=said) as caught:
        read_pool(recipe_of(tmp_path, teachers=teachers, ids=(IdsRecipe("ids.tsv"),), **data))
    assert caught.value.hint


def test_an_id_of_two_documents_is_told(tmp_path: Path) -> None:
    data = base(tmp_path)
    written(tmp_path, "more.jsonl", [{"_id": "d1", "text": "another"}, {"_id": "d2", "text": "another"}])
    written(tmp_path, "ids.jsonl", [{"query_id": "q1", "document_ids": ["d1"]}])
    data["corpora"] += (CorpusRecipe("more.jsonl"),)
    with pytest.raises(TrainingDataError, match="the document id 'd1' stands for two"):
        read_pool(recipe_of(tmp_path, ids=(IdsRecipe("ids.jsonl"),), **data))


def test_pairs_queries_and_pseudo_queries_as_before(tmp_path: Path) -> None:
    written(tmp_path, "pairs.jsonl", [{"question": "a b?", "text": "A b c.", "title": "T"}])
    written(tmp_path, "questions.jsonl", [{"query": "c", "source": "x.1"}, {"query": "d", "answers": ["e"]}])
    asked = (QueriesRecipe("questions.jsonl", leave_out=("x.",)),)
    pool = read_pool(recipe_of(tmp_path, pairs=(PairsRecipe("pairs.jsonl"),), queries=asked))
    assert pool.documents == ["T A b c."]
    assert named(pool) == [("a b?", "T A b c.", set(), "pair"), ("d", None, set(), "question")]
    none = (QueriesRecipe("questions.jsonl", leave_out=("x.", "")),)
    with pytest.raises(TrainingDataError, match="leave_out leaves no query"):
        read_pool(recipe_of(tmp_path, pairs=(PairsRecipe("pairs.jsonl"),), queries=none))


def test_the_same_rows_are_drawn_each_time(tmp_path: Path) -> None:
    data = base(tmp_path, limit=4)
    first, second = (read_pool(recipe_of(tmp_path, **data)) for _ in range(2))
    assert first == second
    chosen = np.sort(np.random.default_rng(1).choice(12, 4, replace=False)).tolist()
    assert first.documents == [titled(number) for number in chosen]
