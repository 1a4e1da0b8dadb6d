"""TREC runs: our order survives trec_eval, files are stable, bad lines are named."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import example, given
from hypothesis import strategies as st

from lexhound.eval.errors import DatasetError, RunFormatError
from lexhound.eval.runs import Run, canonical_ranking, read_run, recall_by_depth, strict_scores, trec_order, write_run

FLOATS = st.floats(min_value=-1e30, max_value=1e30, allow_nan=False)
TIED = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.0 + 1e-9, 1.0 + 1e-12, 16777216.0, 16777217.0])


@given(st.lists(st.one_of(FLOATS, TIED), max_size=40))
@example([0.0, 0.0, -0.0, 0.0])
@example([1.0] * 30)
def test_strict_scores_fall_at_32_bits_and_stay_close(scores: list[float]) -> None:
    scores = sorted(scores, reverse=True)
    strict = strict_scores(scores)
    assert strict.dtype == np.float32
    assert (np.diff(strict) < 0).all()
    # No score rises, and none moves by more steps than there are scores before it.
    for place, (score, kept) in enumerate(zip(scores, strict, strict=True)):
        lowest = np.float32(score)
        for _ in range(place):
            lowest = np.nextafter(lowest, np.float32(-np.inf))
        assert lowest <= kept <= np.float32(score)


def test_scores_without_ties_are_only_rounded() -> None:
    scores = np.linspace(30, 1, 1000)
    assert (strict_scores(scores.tolist()) == scores.astype(np.float32)).all()


@pytest.mark.parametrize("scores", [[float("nan")], [float("inf")], [1e300], [1.0, 2.0]])
def test_scores_that_make_no_ranking_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError):
        strict_scores(scores)


def test_trec_order_is_score_then_id_descending_at_32_bits() -> None:
    ranking = [("a", 1.0), ("b", 1.0 + 1e-9), ("c", 2.0), ("B", 1.0), ("é", 1.0), ("z", 1.0)]
    assert [document for document, _ in trec_order(ranking)] == ["c", "é", "z", "b", "a", "B"]


def order_by_trec_eval(scores: dict[str, float]) -> list[str]:
    """The order in which trec_eval itself sees documents: the reciprocal rank of each one alone tells it."""
    places = {}
    for document in scores:
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {document: 1}}, {"recip_rank"})
        places[document] = round(1 / evaluator.evaluate({"q": scores})["q"]["recip_rank"])
    return sorted(places, key=places.__getitem__)


@given(st.dictionaries(st.text("abAB19é", min_size=1, max_size=3), TIED, min_size=1, max_size=12))
def test_trec_order_is_that_of_trec_eval(scores: dict[str, float]) -> None:
    assert [document for document, _ in trec_order(scores.items())] == order_by_trec_eval(scores)


@given(st.lists(TIED, min_size=1, max_size=12))
def test_trec_eval_sees_the_order_that_was_retrieved(scores: list[float]) -> None:
    scores = sorted(scores, reverse=True)
    retrieved = [(f"d{place:02}", score) for place, score in enumerate(scores)]
    written = dict(canonical_ranking(retrieved))
    assert order_by_trec_eval(written) == [document for document, _ in retrieved]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_round_trip_and_equal_bytes(tmp_path: Path, suffix: str) -> None:
    run = Run("my system", {"q2": [("b", 2.5), ("a", 2.5), ("c", 2.5)], "q1": [("x", 1 / 3)], "q3": []})
    first, second = tmp_path / f"a.trec{suffix}", tmp_path / f"b.trec{suffix}"
    write_run(first, run)
    write_run(second, run)
    assert first.read_bytes() == second.read_bytes()
    read = read_run(first)
    assert read.name == "my-system"
    assert [document for document, _ in read.rankings["q2"]] == ["b", "a", "c"]
    assert list(read.rankings) == ["q2", "q1"]
    # Writing what was read changes nothing: the scores are strict and 32 bits already.
    write_run(second, Run("my system", read.rankings))
    assert first.read_bytes() == second.read_bytes()
    assert read_run(first, only={"q1"}).rankings.keys() == {"q1"}


def test_lines_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_run(path, Run("s", {"q": [("b", 2.0), ("a", 2.0)]}))
    assert path.read_text() == "q Q0 b 1 2 s\nq Q0 a 2 1.99999988 s\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q Q0 d 1 2.0", "line 2: 5 columns instead of 6"),
        ("q Q0 d 1 2.0 a b", "line 2: 7 columns instead of 6"),
        ("q Q0 d 1 high tag", "line 2: the score 'high' is not a finite number"),
        ("q Q0 d 1 nan tag", "line 2: the score 'nan' is not a finite number"),
        ("q Q0 first 1 1.0 tag", "line 2: document 'first' occurs twice under query 'q'"),
    ],
)
def test_malformed_lines_are_named(lines_file, line: str, reason: str) -> None:
    path = lines_file("run.trec", ["q Q0 first 1 9.0 tag", line])
    with pytest.raises(RunFormatError, match=re.escape(f"{path}, {reason}")):
        read_run(path)


def test_missing_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no such run"):
        read_run(tmp_path / "none.trec")


def test_ids_with_tabs_or_line_breaks_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    for broken in ("a\tb", "a\nb", "a\r"):
        with pytest.raises(RunFormatError, match="tabs or line breaks"):
            write_run(path, Run("s", {"q": [(broken, 1.0)]}))
    assert list(tmp_path.iterdir()) == []


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
        st.lists(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
            min_size=1,
            max_size=4,
            unique=True,
        ),
        max_size=4,
    )
)
def test_any_id_that_a_document_may_have_comes_back_from_a_run(found: dict[str, list[str]]) -> None:
    rankings = {query: [(document, 9.0 - place) for place, document in enumerate(row)] for query, row in found.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.trec.gz"
        write_run(path, Run("s", rankings))
        assert read_run(path).rankings == rankings


def test_ids_without_blanks_are_written_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_run(path, Run("s", {"q": [("a", 2.0), ("b c", 1.0)]}))
    assert path.read_text() == "q Q0 a 1 2 s\nq\tQ0\tb c\t2\t1\ts\n"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_run_that_is_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run.trec{suffix}"
    rankings = {f"q{number}": [(f"d{number * 7919 % 1009}", 1.0 + number / 7)] for number in range(5000)}
    write_run(path, Run("s", rankings))
    assert len(read_run(path).rankings) == 5000
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with pytest.raises(DatasetError, match="data is truncated"):
        read_run(path)


def test_recall_by_depth() -> None:
    run = Run("s", {"1": [("a", 3.0), ("b", 2.0), ("c", 1.0)], "2": [("x", 1.0)]})
    qrels = {"1": {"a": 1, "c": 2, "z": 0}, "2": {"y": 1}, "3": {"y": 1}, "4": {"y": 0}}
    assert recall_by_depth(run, qrels, [1, 2, 3, 10]) == [0.125, 0.125, 0.25, 0.25]
