"""Measures: trec_eval is the referee, query by query."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.core.errors import MissingExtraError
from lexhound.eval import measures as module
from lexhound.eval.datasets.folder import load_folder
from lexhound.eval.errors import MeasureError
from lexhound.eval.evaluation import EvaluationOptions, evaluate
from lexhound.eval.measures import DEFAULT_MEASURES, measure_names, parse_measures, score_run
from lexhound.eval.runs import Run, read_run, write_run

# Ours to trec_eval's: what trec_eval computes itself.
REFEREED = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "R@1000": "recall_1000", "AP": "map", "P@10": "P_10"}


def referee(
    run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, float]]:
    """trec_eval -c: judged queries that the run lacks count 0."""
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100,1000", "map", "P.10", "recip_rank"})
    found = evaluator.evaluate(run)
    names = [*REFEREED.values(), "recip_rank"]
    return {query_id: found.get(query_id, dict.fromkeys(names, 0.0)) for query_id in qrels}


def check_against_referee(run: dict[str, dict[str, float]], qrels: dict[str, dict[str, int]]) -> None:
    expected = referee(run, qrels)
    scored = score_run(
        Run("s", {key: list(found.items()) for key, found in run.items()}), qrels, list(DEFAULT_MEASURES)
    )
    for scores in scored:
        assert list(scores.per_query) == list(qrels)
        for query_id, value in scores.per_query.items():
            if scores.measure in REFEREED:
                assert value == pytest.approx(expected[query_id][REFEREED[scores.measure]], abs=1e-4)
            elif scores.measure == "RR@10":
                whole = expected[query_id]["recip_rank"]
                assert value == pytest.approx(whole if whole >= 0.1 else 0.0, abs=1e-4)
        assert scores.mean == pytest.approx(math.fsum(scores.per_query.values()) / len(qrels))


def make_run(seed: int, *, ties: bool, missing: bool) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    """60 queries with graded, negative and absent judgments; unjudged documents; ties if wanted."""
    generator = np.random.default_rng(seed)
    qrels, run = {}, {}
    for query in range(60):
        documents = [f"d{number}" for number in generator.permutation(1500)]
        judged = generator.choice(documents[:300], 40, replace=False)
        qrels[f"q{query}"] = {str(key): int(generator.integers(-1, 4)) for key in judged}
        if missing and query % 7 == 0:
            continue
        depth = int(generator.integers(1, 1200))
        scores = generator.normal(size=depth)
        if ties:
            scores = np.round(scores, 1)
        run[f"q{query}"] = {key: float(score) for key, score in zip(documents[:depth], scores, strict=True)}
    run["nobody judged this"] = {"d1": 1.0}
    return run, qrels


@pytest.mark.parametrize(("ties", "missing"), [(False, False), (True, False), (True, True)])
def test_equal_to_trec_eval(ties: bool, missing: bool) -> None:
    check_against_referee(*make_run(7, ties=ties, missing=missing))


@pytest.mark.parametrize("kind", ["ours", "anserini", "ties, gaps and unjudged documents"])
def test_equal_to_trec_eval_on_real_runs(samples: Path, tmp_path: Path, brute_force, kind: str) -> None:
    """On Cranfield: a run of ours as its file holds it, Anserini's BM25, and that one made ugly."""
    dataset = load_folder(samples / "cranfield")
    qrels = dataset.qrels
    path = Path(__file__).parent / "data" / "anserini-bm25-cranfield.trec.gz"
    if kind == "ours":
        options = EvaluationOptions(measures=("AP",), depth=200, latency_queries=1)
        (part,) = evaluate([dataset], [brute_force(flat=True)], options).parts
        path = tmp_path / "ours.trec"
        write_run(path, part.run())
    run = {key: dict(ranking) for key, ranking in read_run(path).rankings.items()}
    assert len(run) == 225
    if kind.startswith("ties"):
        run = {
            key: {document: float(round(score)) for document, score in found.items()}
            for place, (key, found) in enumerate(run.items())
            if place % 5
        }
        assert any(len(set(found.values())) < len(found) for found in run.values())
        assert any(document not in qrels[key] for key, found in run.items() for document in found)
    check_against_referee(run, qrels)


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([0.0, 0.5, 1.0, 1.0 + 1e-9]), max_size=8),
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-1, 3), min_size=1, max_size=8),
)
def test_equal_to_trec_eval_on_small_tied_runs(found: dict[str, float], judged: dict[str, int]) -> None:
    check_against_referee({"q": found} if found else {}, {"q": judged})


def every_measure() -> list[str]:
    """Every measure of ir-measures that something installed computes, with and without a cut-off, and variants."""
    names = [*ir_measures.measures.registry, *(f"{name}@5" for name in ir_measures.measures.registry)]
    names += ["nDCG(dcg='exp-log2')@20", "ERR@20", "P(rel=2)@3", "P(judged_only=True)@3", "Compat(p=0.8)", "IPrec@0.1"]
    computable = []
    for name in names:
        try:
            computable += measure_names([name])
        except MeasureError:
            continue
    return list(dict.fromkeys(computable))


def test_every_provider_that_is_installed_is_asked() -> None:
    measures = parse_measures(every_measure())
    asked = {
        provider.NAME
        for provider in ir_measures.DefaultPipeline.providers
        if provider.is_available() and any(provider.supports(measure) for measure in measures)
    }
    assert asked >= {"pytrec_eval", "compat", "judged", "msmarco", "gdeval", "accuracy"}


# What ids look like that have tripped providers: hyphens, blanks, no digits, the same after the last hyphen.
tricky_ids = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6),
    st.sampled_from(
        ["PLAIN-1", "OTHER-1", "1", "q1", "a file.txt", "a file", "-", "0", "01", "amean", "a:1", "é\u00a0b"]
    ),
)


@pytest.mark.process  # of the script that computes ERR
@settings(max_examples=examples(20), deadline=None)
@given(
    st.lists(tricky_ids, min_size=4, max_size=4, unique=True),
    st.lists(tricky_ids, min_size=9, max_size=9, unique=True),
    st.data(),
)
def test_no_measure_depends_on_what_queries_and_documents_are_called(
    queries: list[str], documents: list[str], data: st.DataObject
) -> None:
    grades = st.lists(st.integers(-1, 4), min_size=9, max_size=9)
    judged = [data.draw(grades) for _ in queries]
    orders = [data.draw(st.permutations(range(9)))[: data.draw(st.integers(0, 9))] for _ in queries]

    def values(query_ids: list[str], document_ids: list[str]) -> dict[str, tuple[float, list[float]]]:
        qrels = {
            query: {document_ids[place]: row[place] for place in range(0, 9, 2)}
            for query, row in zip(query_ids, judged, strict=True)
        }
        rankings = {
            query: [(document_ids[place], 9.5 - rank) for rank, place in enumerate(order)]
            for query, order in zip(query_ids, orders, strict=True)
        }
        scored = score_run(Run("s", rankings), qrels, every_measure())
        assert all(list(scores.per_query) == query_ids for scores in scored)
        return {scores.measure: (scores.mean, list(scores.per_query.values())) for scores in scored}

    assert values(queries, documents) == values(list("1234"), list("123456789"))


@pytest.mark.process  # of the script that computes ERR
def test_err_and_exponential_ndcg_by_hand() -> None:
    """The script that computes them cuts query ids at the last hyphen: these two would be one."""
    run = Run("s", {"PLAIN-1": [("a b", 2.0), ("c", 1.0)], "OTHER-1": [("c", 1.0)], "q": [("c", 2.0)]})
    qrels = {"PLAIN-1": {"c": 3}, "OTHER-1": {"c": 4}, "q": {"a b": 1}}
    err, ndcg = score_run(run, qrels, ["ERR@20", "nDCG(dcg='exp-log2')@20"])
    assert err.per_query == {"PLAIN-1": pytest.approx(7 / 16 / 2, abs=1e-5), "OTHER-1": 15 / 16, "q": 0.0}
    assert ndcg.per_query == {"PLAIN-1": pytest.approx(1 / math.log2(3), abs=1e-5), "OTHER-1": 1.0, "q": 0.0}


def test_judgments_beyond_what_err_can_take_are_told() -> None:
    run, qrels = Run("s", {"q": [("a", 1.0)]}), {"q": {"a": 5}}
    for measure in ("ERR@20", "nDCG(dcg='exp-log2')@20"):
        with pytest.raises(MeasureError, match="takes judgments up to 4, and there is one of 5"):
            score_run(run, qrels, ["P@1", measure])
    assert score_run(run, qrels, ["P@1"])[0].mean == 1


def test_ties_go_by_the_ids_themselves() -> None:
    """Numbers in place of ids keep their order: 10 comes before 9, as text."""
    run = Run("s", {"q": [("10", 1.0), ("9", 1.0), ("é", 1.0)]})
    for first, value in (("é", 1.0), ("9", 1 / 2), ("10", 1 / 3)):
        for measure in ("RR", "RR@10"):
            assert score_run(run, {"q": {first: 1}}, [measure])[0].mean == pytest.approx(value)


def test_gains_are_linear() -> None:
    (scores,) = score_run(Run("s", {"q": [("low", 2.0), ("high", 1.0)]}), {"q": {"low": 1, "high": 3}}, ["nDCG@10"])
    linear = (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3))
    exponential = (1 + 7 / math.log2(3)) / (7 + 1 / math.log2(3))
    assert scores.mean == pytest.approx(linear)
    assert scores.mean != pytest.approx(exponential)


def test_a_judged_query_without_results_counts_0() -> None:
    (scores,) = score_run(
        Run("s", {"q": [("a", 1.0)], "r": []}), {"q": {"a": 1}, "r": {"a": 1}, "s": {"a": 1}}, ["P@1"]
    )
    assert scores.per_query == {"q": 1.0, "r": 0.0, "s": 0.0}
    assert scores.mean == pytest.approx(1 / 3)


def test_ties_are_broken_alike_for_measures_of_every_provider() -> None:
    # At equal scores the larger id comes first; RR@10 and Judged are not computed by trec_eval's code.
    run = Run("s", {"q": [("a", 1.0), ("z", 1.0)]})
    values = {scores.measure: scores.mean for scores in score_run(run, {"q": {"z": 1}}, ["RR@10", "Judged@1", "P@1"])}
    assert values == {"RR@10": 1.0, "Judged@1": 1.0, "P@1": 1.0}
    values = {scores.measure: scores.mean for scores in score_run(run, {"q": {"a": 1}}, ["RR@10", "Judged@1", "P@1"])}
    assert values == {"RR@10": 0.5, "Judged@1": 0.0, "P@1": 0.0}


def test_judged_counts_documents_judged_not_relevant() -> None:
    run = Run("s", {"q": [("a", 3.0), ("b", 2.0), ("c", 1.0)]})
    (scores,) = score_run(run, {"q": {"a": 0, "c": 1}}, ["Judged@3"])
    assert scores.mean == pytest.approx(2 / 3)


def test_measures_that_count_are_summed() -> None:
    run = Run("s", {"q": [("a", 2.0), ("b", 1.0)], "r": [("a", 1.0)]})
    (scores,) = score_run(run, {"q": {"a": 1}, "r": {"b": 1}}, ["NumRet"])
    assert scores.mean == 3


def test_any_measure_of_ir_measures_can_be_asked_for() -> None:
    assert measure_names(["NDCG@5", "P(rel=2)@10", "MRR", "NDCG@5"]) == ("nDCG@5", "P(rel=2)@10", "RR")
    assert parse_measures(["Success@5"]) == [ir_measures.parse_measure("Success@5")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndcg@10", "Did you mean nDCG@10?"),
        ("recall@100", "Did you mean R@100?"),
        ("map", "Did you mean AP?"),
        ("Jugded@10", "Did you mean Judged@10?"),
        ("xyzzy", "there is no measure 'xyzzy'. For example: nDCG@10"),
        ("nDCG@", "not written like a measure"),
        ("nDCG(10)", "not written like a measure"),
        ("", "not written like a measure"),
        ("nDCG@10; AP", "not written like a measure"),
        ("P(rel=1, colour=3)@10", "a parameter has a wrong value: unsupported params found: ['colour']"),
        ("alpha_nDCG@10", "nothing that is installed computes"),
    ],
)
def test_unknown_measures(name: str, message: str) -> None:
    with pytest.raises(MeasureError, match=re.escape(message)):
        measure_names([name])


def test_no_measure_at_all() -> None:
    with pytest.raises(MeasureError, match="no measure is given"):
        measure_names([])


def test_missing_package_says_which_install_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'lexhound[eval]'")):
        parse_measures(["AP"])
