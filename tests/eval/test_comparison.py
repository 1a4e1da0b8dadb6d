"""Comparing runs: figures, queries that changed, and runs that cannot be compared."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from lexhound.eval.comparison import ComparisonOptions, compare
from lexhound.eval.datasets.dataset import DocumentText
from lexhound.eval.errors import ComparisonError
from lexhound.eval.runs import Run
from lexhound.eval.serialise import to_json_bytes
from lexhound.eval.significance import holm, paired_t_test, randomisation_test

QRELS = {f"q{number}": {f"r{number}": 2, f"s{number}": 1} for number in range(40)}
OPTIONS = ComparisonOptions(measures=("nDCG@10", "P@1"))


def make(name: str, seed: int, strength: float) -> Run:
    """A run that puts a query's relevant documents in front with some probability."""
    generator = np.random.default_rng(seed)
    rankings = {}
    for number in range(40):
        documents = [f"x{other}" for other in range(10)] + [f"r{number}", f"s{number}"]
        scores = generator.random(12) + np.array([0.0] * 10 + [strength] * 2)
        pairs = sorted(zip(documents, scores.tolist(), strict=True), key=lambda pair: -pair[1])
        rankings[f"q{number}"] = pairs
    return Run(name, rankings)


def test_figures_of_a_comparison() -> None:
    weak, middle, strong = make("weak", 1, 0.0), make("middle", 2, 0.1), make("strong", 3, 0.8)
    comparison = compare([weak, middle, strong], QRELS, OPTIONS)
    assert comparison.measures == ("nDCG@10", "P@1")
    assert [(entry.measure, entry.baseline, entry.system) for entry in comparison.differences] == [
        ("nDCG@10", "weak", "middle"),
        ("nDCG@10", "weak", "strong"),
        ("P@1", "weak", "middle"),
        ("P@1", "weak", "strong"),
    ]
    values = {name: scores[0].per_query for name, scores in comparison.per_query.items()}
    raw = []
    for entry in comparison.differences[:2]:
        differences = np.array([values[entry.system][key] - values["weak"][key] for key in QRELS])
        assert entry.difference == pytest.approx(differences.mean())
        assert entry.t_test == paired_t_test(differences)
        assert entry.randomisation == randomisation_test(differences, seed=OPTIONS.seed)
        assert entry.interval.low <= entry.difference <= entry.interval.high
        assert entry.wins + entry.ties + entry.losses == 40
        assert entry.wins == np.count_nonzero(differences > 1e-9)
        raw.append(entry.randomisation)
    assert [entry.randomisation_holm for entry in comparison.differences[:2]] == holm(raw)
    assert comparison.differences[1].randomisation_holm < 0.01
    assert comparison.runs[2].means["nDCG@10"] == pytest.approx(np.mean(list(values["strong"].values())))
    assert comparison.notices == ()


def test_every_pair() -> None:
    runs = [make("a", 1, 0.0), make("b", 2, 0.1), make("c", 3, 0.8)]
    comparison = compare(runs, QRELS, replace(OPTIONS, every_pair=True))
    pairs = [(entry.baseline, entry.system) for entry in comparison.differences if entry.measure == "P@1"]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]


def test_the_same_seed_gives_the_same_bytes() -> None:
    runs = [make("a", 1, 0.0), make("b", 2, 0.3)]
    first, second = (to_json_bytes(compare(runs, QRELS, OPTIONS)) for _ in range(2))
    assert first == second
    assert json.loads(first)["differences"][0]["measure"] == "nDCG@10"
    assert len(json.loads(first)["per_query"]["a"]["P@1"]) == 40


def test_the_queries_that_changed_most() -> None:
    base = Run("base", {"q0": [("r0", 2.0), ("x", 1.0)], "q1": [("x", 2.0), ("r1", 1.0)], "q2": [("r2", 1.0)]})
    other = Run("other", {"q0": [("x", 2.0), ("y", 1.0)], "q1": [("r1", 2.0), ("x", 1.0)], "q2": [("r2", 1.0)]})
    qrels = {key: QRELS[key] for key in ("q0", "q1", "q2")}
    asked: list[list[str]] = []

    def lookup(ids):
        asked.append(list(ids))
        return {"r0": DocumentText("Title", "words")}

    comparison = compare(
        [base, other], qrels, replace(OPTIONS, shown=2), queries={"q0": "the first query"}, lookup=lookup
    )
    first, second = comparison.changed
    assert (first.query_id, first.text, first.difference < 0) == ("q0", "the first query", True)
    assert (second.query_id, second.text) == ("q1", None)
    assert [(entry.id, entry.relevance) for entry in first.baseline_ranking] == [("r0", 2), ("x", None)]
    assert first.baseline_ranking[0].text == DocumentText("Title", "words")
    assert [entry.id for entry in first.system_ranking] == ["x", "y"]
    assert len(asked) == 1
    assert sorted(asked[0]) == ["r0", "r1", "x", "y"]


def test_runs_over_different_queries_are_refused_unless_told_how() -> None:
    whole = make("whole", 1, 0.5)
    part = Run("part", {key: value for key, value in make("part", 2, 0.5).rankings.items() if key != "q3"})
    with pytest.raises(
        ComparisonError, match=r"different judged queries \(whole 40, part 39; 39 in common; e\.g\. 'q3'\)"
    ):
        compare([whole, part], QRELS, OPTIONS)
    zero = compare([whole, part], QRELS, replace(OPTIONS, missing="zero"))
    assert zero.queries == 40
    assert zero.runs[1].unanswered == 1
    assert zero.per_query["part"][0].per_query["q3"] == 0.0
    assert "count 0" in zero.notices[0]
    common = compare([whole, part], QRELS, replace(OPTIONS, missing="common"))
    assert common.queries == 39
    assert "only these are compared" in common.notices[0]


def test_queries_that_nobody_answers_are_told() -> None:
    runs = [make("a", 1, 0.0), make("b", 2, 0.3)]
    comparison = compare(runs, {**QRELS, "more": {"d": 1}}, OPTIONS)
    assert comparison.notices == ("1 of 41 judged queries are answered by no run and count 0 for all",)
    assert comparison.queries == 41


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([make("a", 1, 0.0)], "at least two runs"),
        ([make("a", 1, 0.0), make("a", 2, 0.0)], "two runs are called 'a'"),
        ([make("a", 1, 0.0), Run("b", {"z": [("d", 1.0)]})], "b: none of its 1 queries is among the 40 judged ones"),
        ([Run("a", {"q0": [("d", 1.0)]}), Run("b", {"q1": [("d", 1.0)]})], "no judged query in common"),
    ],
)
def test_runs_that_cannot_be_compared(runs: list[Run], message: str) -> None:
    for missing in ("error", "zero", "common"):
        with pytest.raises(ComparisonError, match=re.escape(message)):
            compare(runs, QRELS, replace(OPTIONS, missing=missing))


def test_too_few_permutations_are_refused() -> None:
    with pytest.raises(ComparisonError, match="too few"):
        compare([make("a", 1, 0.0), make("b", 2, 0.3)], QRELS, replace(OPTIONS, permutations=100))
