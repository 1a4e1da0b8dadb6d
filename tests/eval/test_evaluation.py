"""Evaluations: conventions, means, and parts that are kept and reused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lexhound.eval.datasets.folder import load_folder
from lexhound.eval.datasets.resolve import open_dataset
from lexhound.eval.errors import ComparisonError, DatasetError, MeasureError
from lexhound.eval.evaluation import EvaluationOptions, Step, evaluate
from lexhound.eval.measures import score_run
from lexhound.eval.runs import Run, write_run
from lexhound.eval.serialise import to_json_bytes
from lexhound.eval.workspace import Workspace

OPTIONS = EvaluationOptions(measures=("nDCG@10", "R@100", "Judged@10"), depth=50, latency_queries=3)


def test_every_figure_of_a_small_set(make_folder, brute_force) -> None:
    dataset = load_folder(make_folder())
    evaluation = evaluate([dataset], [brute_force()], OPTIONS)
    (part,) = evaluation.parts
    assert part.mean("nDCG@10") == 1.0
    assert [document for document, _ in part.run().rankings["q1"]] == ["d1", "d3"]
    assert evaluation.mean("brute", "R@100") == 1.0
    assert dict(part.recall)[1] == 1.0
    cost = part.cost
    assert (cost.documents, cost.index_bytes, cost.encoding_seconds, cost.flops) == (3, 1000, 0.5, 1.5)
    assert cost.queries_per_second > 0
    assert 0 < cost.p50_ms <= cost.p99_ms
    assert cost.latency_queries == 2
    report = evaluation.datasets[0].report
    assert (report.missing_documents, report.broken_documents) == (0, 0)


def test_identical_ids_are_dropped_and_the_cut_off_is_filled(make_folder, brute_force) -> None:
    corpus = {f"d{number}": ("", f"heat number{number}") for number in range(6)}
    folder = make_folder(corpus=corpus, queries={"d0": "heat number0"}, qrels=[("d0", "d3", 1)])
    dataset = load_folder(folder)
    kept = evaluate([dataset], [brute_force()], replace(OPTIONS, depth=5, drop_identical=False))
    assert [key for key, _ in kept.parts[0].run().rankings["d0"]] == ["d0", "d1", "d2", "d3", "d4"]
    dropped = evaluate([dataset], [brute_force()], replace(OPTIONS, depth=5))
    assert [key for key, _ in dropped.parts[0].run().rankings["d0"]] == ["d1", "d2", "d3", "d4", "d5"]


def test_depth_is_1000_unless_said_otherwise(make_folder, brute_force) -> None:
    corpus = {f"d{number}": ("", "heat") for number in range(1200)}
    dataset = load_folder(make_folder(corpus=corpus, queries={"q": "heat"}, qrels=[("q", "d1100", 1)]))
    assert EvaluationOptions().depth == 1000
    (part,) = evaluate([dataset], [brute_force()], EvaluationOptions(latency_queries=1)).parts
    assert len(part.run().rankings["q"]) == 1000
    assert part.mean("R@1000") == 0.0


def test_queries_without_text_or_results_count_0(make_folder, brute_force) -> None:
    folder = make_folder(
        queries={"q1": "heat over plate", "none": "zebra"},
        qrels=[("q1", "d1", 1), ("none", "d1", 1), ("absent", "d1", 1)],
    )
    (part,) = evaluate([load_folder(folder)], [brute_force()], OPTIONS).parts
    assert part.of("nDCG@10").per_query == {"q1": 1.0, "none": 0.0, "absent": 0.0}
    assert part.mean("nDCG@10") == pytest.approx(1 / 3)


def test_judged_documents_that_the_corpus_lacks_are_reported(make_folder, brute_force) -> None:
    folder = make_folder(qrels=[("q1", "d1", 1), ("q1", "lost", 1), ("q2", "gone", 1)])
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d9"}\n')
    dataset = load_folder(folder)
    assert dataset.report.missing_documents is None

    class Tolerant(brute_force):  # type: ignore[misc]
        def prepare(self, dataset, progress=None):
            path = dataset.corpus
            whole = path.read_text()
            path.write_text("".join(line + "\n" for line in whole.splitlines() if "text" in line))
            try:
                return super().prepare(dataset, progress)
            finally:
                path.write_text(whole)

    evaluation = evaluate([dataset], [Tolerant()], OPTIONS)
    report = evaluation.datasets[0].report
    assert report.missing_documents == 2
    assert report.broken_documents == 1
    assert "2 judged documents not in the corpus" in report.notices()
    assert "judged but not in the corpus: lost, gone" in report.examples
    # They still count: recall is out of what is judged relevant.
    assert evaluation.parts[0].of("R@100").per_query == {"q1": 0.5, "q2": 0.0}


def test_ties_keep_the_order_that_was_retrieved(samples: Path, brute_force) -> None:
    """The figures of our order, not of trec_eval's order of equal scores, and the same from the file."""
    dataset = load_folder(samples / "cranfield")
    (part,) = evaluate([dataset], [brute_force(flat=True)], OPTIONS).parts
    run = part.run()
    system = brute_force(flat=True)
    system.prepare(dataset)
    first = next(iter(dataset.queries))
    retrieved = system.rank([dataset.queries[first]], 50)[0]
    assert len({score for _, score in retrieved}) < len(retrieved)
    assert [key for key, _ in run.rankings[first]] == [key for key, _ in retrieved]
    again = score_run(
        Run("x", {key: dict_shuffled(value) for key, value in run.rankings.items()}), dataset.qrels, ["nDCG@10"]
    )
    assert again[0].per_query == part.of("nDCG@10").per_query


def dict_shuffled(ranking):
    """The same ranking, in another order of its lines."""
    return sorted(ranking)


def test_means_over_sets_count_a_group_once(make_folder, tmp_path: Path, brute_force) -> None:
    from lexhound.eval.datasets.beir import FORUMS

    for place, forum in enumerate(FORUMS):
        make_folder(f"cqadupstack/{forum}", qrels=[("q1", "d1" if place < 3 else "lost", 1)])
    alone = open_dataset(make_folder("alone"))
    evaluation = evaluate([*open_dataset(tmp_path / "cqadupstack"), *alone], [brute_force()], OPTIONS)
    assert evaluation.set_mean("cqadupstack", "brute", "nDCG@10") == pytest.approx(3 / 12)
    assert evaluation.mean("brute", "nDCG@10") == pytest.approx((3 / 12 + 1) / 2)
    told = json.loads(to_json_bytes(evaluation))
    assert told["sets"]["cqadupstack"]["brute"]["nDCG@10"] == pytest.approx(0.25)
    assert told["means"]["brute"]["nDCG@10"] == pytest.approx(0.625)
    assert len(told["results"]) == 13


def test_finished_parts_are_reused_until_something_matters(make_folder, tmp_path: Path, brute_force) -> None:
    folder, other = make_folder("one"), make_folder("two")
    workspace = tmp_path / "work"

    def go(system, options=OPTIONS, datasets=(folder, other)):
        steps: list[Step] = []
        evaluation = evaluate(
            [load_folder(path) for path in datasets],
            [system],
            options,
            workspace=Workspace(workspace),
            progress=steps.append,
        )
        return evaluation, {step.stage for step in steps}

    first, stages = go(brute_force())
    assert stages == {"check", "prepare", "search", "time", "measure"}
    assert not any(part.reused for part in first.parts)

    system = brute_force()
    second, stages = go(system)
    assert stages == {"reuse"}
    assert system.prepared == []
    assert all(part.reused for part in second.parts)
    assert to_json_bytes(second).replace(b'"reused": true', b'"reused": false') == to_json_bytes(first)
    assert second.per_query() == first.per_query()
    assert dict(second.parts[0].run().rankings) == dict(first.parts[0].run().rankings)

    _, stages = go(brute_force(), replace(OPTIONS, measures=("AP",)))
    assert stages == {"reuse", "measure"}, "other measures need no other search"
    system = brute_force(settings={"k1": 2})
    go(system)
    assert system.prepared == ["one", "two"], "other settings do"
    system = brute_force()
    go(system, replace(OPTIONS, depth=7))
    assert system.prepared == ["one", "two"], "another depth does"
    system = brute_force()
    go(system, replace(OPTIONS, reuse=False))
    assert system.prepared == ["one", "two"], "so it was asked"

    with (other / "queries.jsonl").open("a") as file:
        file.write('{"_id": "q3", "text": "new"}\n')
    system = brute_force()
    go(system)
    assert system.prepared == ["two"], "only the set that changed"
    moved = tmp_path / "elsewhere" / "one"
    shutil.copytree(folder, moved)
    system = brute_force()
    go(system, datasets=(moved,))
    assert system.prepared == [], "the same bytes at another place are the same data"


def test_an_interrupted_evaluation_goes_on(make_folder, tmp_path: Path, brute_force) -> None:
    datasets = [load_folder(make_folder(name)) for name in ("one", "two", "three")]

    class Stops(brute_force):  # type: ignore[misc]
        def rank(self, queries, k):
            if self.prepared[-1] == "two":
                raise KeyboardInterrupt
            return super().rank(queries, k)

    with pytest.raises(KeyboardInterrupt):
        evaluate(datasets, [Stops()], OPTIONS, workspace=Workspace(tmp_path / "work"))
    system = brute_force()
    resumed = evaluate(datasets, [system], OPTIONS, workspace=Workspace(tmp_path / "work"))
    assert system.prepared == ["two", "three"]
    assert [part.reused for part in resumed.parts] == [True, False, False]


def test_damaged_files_of_the_workspace_are_made_anew(make_folder, tmp_path: Path, brute_force) -> None:
    dataset = load_folder(make_folder())
    work = tmp_path / "work"
    first = evaluate([dataset], [brute_force()], OPTIONS, workspace=Workspace(work))
    for path in work.rglob("*.json"):
        path.write_bytes(b'{"cut of')
    system = brute_force()
    again = evaluate([dataset], [system], OPTIONS, workspace=Workspace(work))
    assert system.prepared == ["tiny"]
    assert again.per_query() == first.per_query()


@pytest.mark.slow
def test_the_same_evaluation_twice_gives_the_same_bytes(samples: Path, tmp_path: Path, brute_force) -> None:
    dataset = load_folder(samples / "cranfield")
    files = []
    for name in ("a", "b"):
        (part,) = evaluate([dataset], [brute_force(flat=True)], OPTIONS, workspace=Workspace(tmp_path / name)).parts
        path = tmp_path / f"{name}.trec"
        write_run(path, part.run())
        files.append((path.read_bytes(), part.run_path.read_bytes()))
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"measures": ("ndcg@10",)}, MeasureError, "Did you mean nDCG@10"),
        ({"depth": 0}, DatasetError, "depth must be at least 1"),
    ],
)
def test_bad_options_stop_before_any_work(make_folder, brute_force, change, error, message) -> None:
    system = brute_force()
    with pytest.raises(error, match=message):
        evaluate([load_folder(make_folder())], [system], replace(OPTIONS, **change))
    assert system.prepared == []


def test_equal_names_are_refused(make_folder, brute_force) -> None:
    dataset = load_folder(make_folder())
    with pytest.raises(ComparisonError, match="two systems are called 'brute'"):
        evaluate([dataset], [brute_force(), brute_force()], OPTIONS)
    with pytest.raises(ComparisonError, match="two data sets are called 'tiny'"):
        evaluate([dataset, dataset], [brute_force()], OPTIONS)
    with pytest.raises(ComparisonError, match="no systems"):
        evaluate([dataset], [], OPTIONS)


def test_per_query_rows_hold_every_measure(make_folder, brute_force) -> None:
    evaluation = evaluate([load_folder(make_folder())], [brute_force("a"), brute_force("b")], OPTIONS)
    rows = evaluation.per_query()
    assert [(row["query_id"], row["system"]) for row in rows] == [("q1", "a"), ("q2", "a"), ("q1", "b"), ("q2", "b")]
    # Judged@10 is out of the documents retrieved: d1 is judged for q1, d3 is not.
    assert rows[0] == {
        "dataset": "tiny",
        "query_id": "q1",
        "query": "heat over plate",
        "system": "a",
        "nDCG@10": 1.0,
        "R@100": 1.0,
        "Judged@10": 0.5,
    }
