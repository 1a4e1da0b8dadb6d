"""The functions behind `lexhound eval` and `lexhound compare`."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lexhound.eval.commands import ComparisonRequest, EvaluationRequest, run_comparison, run_evaluation
from lexhound.eval.comparison import ComparisonOptions
from lexhound.eval.errors import ComparisonError, DatasetError, RunFormatError
from lexhound.eval.evaluation import EvaluationOptions, Step
from lexhound.eval.runs import Run, read_run, write_run
from lexhound.retrieval import Collection, Document

OPTIONS = EvaluationOptions(measures=("nDCG@10", "R@100", "RR@10"), depth=100, latency_queries=3)


def test_an_evaluation_writes_all_that_was_asked_for(samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    steps: list[Step] = []
    request = EvaluationRequest(
        work=tmp_path / "work",
        datasets=(str(samples / "cranfield"),),
        options=OPTIONS,
        run=out / "bm25.trec",
        json=out / "figures.json",
        per_query=out / "queries.csv",
        report=out / "report.html",
    )
    outcome = run_evaluation(request, progress=steps.append)
    assert set(outcome.written) == {out / name for name in ("bm25.trec", "figures.json", "queries.csv", "report.html")}
    assert {step.stage for step in steps} == {"check", "prepare", "search", "time", "measure"}
    (part,) = outcome.evaluation.parts
    told = json.loads((out / "figures.json").read_bytes())
    assert told["results"][0]["measures"] == {name: pytest.approx(part.mean(name)) for name in OPTIONS.measures}
    assert told["results"][0]["cost"]["flops"] == pytest.approx(part.cost.flops)
    assert told["datasets"][0]["report"]["queries"] == 225
    with (out / "queries.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 225
    assert sum(float(row["nDCG@10"]) for row in rows) / 225 == pytest.approx(part.mean("nDCG@10"))
    page = (out / "report.html").read_text("utf-8")
    assert f"{part.mean('nDCG@10'):.4f}" in page
    assert len(outcome.hardest) == 10
    assert all(entry.text is not None for query in outcome.hardest for entry in query.wanted), "with their words"
    run = read_run(out / "bm25.trec")
    assert run.name == "bm25"
    assert len(run.rankings) == 225


def test_the_same_evaluation_twice_gives_identical_runs(samples: Path, tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        request = EvaluationRequest(
            work=tmp_path / name, datasets=(str(samples / "cranfield"),), options=OPTIONS, run=tmp_path / f"{name}.trec"
        )
        run_evaluation(request)
        written.append((tmp_path / f"{name}.trec").read_bytes())
    assert written[0] == written[1]


def test_several_sets_and_systems_at_once(make_folder, tmp_path: Path) -> None:
    one, two = make_folder("one"), make_folder("two", qrels=[("q1", "d2", 1), ("q2", "d3", 1)])
    path = tmp_path / "my.index"
    with Collection.create(path) as collection:
        collection.add([Document("d2", "heat over plate"), Document("d3", "wave")])
    request = EvaluationRequest(
        work=tmp_path / "work",
        datasets=(str(one), str(two)),
        encoders=("bm25",),
        collections=(path,),
        options=OPTIONS,
        run=tmp_path / "runs",
        report=tmp_path / "report.html",
        per_query=tmp_path / "queries.jsonl",
    )
    outcome = run_evaluation(request)
    assert outcome.evaluation.systems == ("bm25", "my.index")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "one.bm25.trec",
        "one.my.index.trec",
        "two.bm25.trec",
        "two.my.index.trec",
    ]
    assert outcome.evaluation.mean("my.index", "R@100") == pytest.approx(0.75)
    assert set(outcome.comparisons) == {"one", "two"}
    rows = [json.loads(line) for line in (tmp_path / "queries.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert "mean over 2 data sets" in (tmp_path / "report.html").read_text("utf-8")


def test_queries_and_judgments_over_an_existing_collection(lines_file, tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    with Collection.create(path) as collection:
        collection.add([Document("a", "heat", title="on heat"), Document("b", "waves")])
    request = EvaluationRequest(
        work=tmp_path / "work",
        queries=lines_file("topics.tsv", ["1\theat", "2\twaves"]),
        qrels=lines_file("qrels.txt", ["1 0 a 1", "2 0 a 1"]),
        collections=(path,),
        options=OPTIONS,
        report=tmp_path / "report.html",
    )
    outcome = run_evaluation(request)
    assert outcome.evaluation.parts[0].of("R@100").per_query == {"1": 1.0, "2": 0.0}
    assert "on heat" in (tmp_path / "report.html").read_text("utf-8"), "words come from the collection"


def test_no_cell_of_csv_is_a_formula(lines_file, tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    with Collection.create(path) as collection:
        collection.add([Document("a", "heat")])
    texts = ["=1+heat", "@heat", "+heat", "-heat", "=heat", "heat = 1", "-2.5e3", "\uff1dheat"]
    request = EvaluationRequest(
        work=tmp_path / "work",
        queries=lines_file("q.jsonl", [json.dumps({"id": f"-{n}", "text": text}) for n, text in enumerate(texts)]),
        qrels=lines_file("qrels.txt", [f"-{n} 0 a 1" for n in range(len(texts))]),
        collections=(path,),
        options=OPTIONS,
        per_query=tmp_path / "queries.csv",
    )
    run_evaluation(request)
    with (tmp_path / "queries.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["query_id"] for row in rows} == {f"-{n}" for n in range(len(texts))}  # numbers, as they are
    guarded = {"=1+heat", "@heat", "+heat", "-heat", "=heat", "\uff1dheat"}
    assert {row["query"] for row in rows} == {f"'{text}" if text in guarded else text for text in texts}


def test_requests_that_lack_something(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no data set to evaluate on"):
        run_evaluation(EvaluationRequest(work=tmp_path))
    with pytest.raises(DatasetError, match="go together"):
        run_evaluation(EvaluationRequest(work=tmp_path, queries=tmp_path / "q.tsv"))


def test_a_mode_without_dense_vectors_says_how_to_have_them(samples: Path, tmp_path: Path) -> None:
    asked = EvaluationRequest(tmp_path / "work", (str(samples / "cranfield"),), modes=("sparse", "hybrid"))
    for encoders, dense, hint in (
        (
            ("bm25", "lexhound-mini"),
            None,
            "Say --dense lexhound-mini for those that lexhound-mini makes in the same pass",
        ),
        (("bm25",), None, "--dense MODEL"),
        (("lexhound-mini",), "none", "--dense MODEL"),
    ):
        with pytest.raises(DatasetError, match="mode hybrid needs dense vectors") as error:
            run_evaluation(replace(asked, encoders=encoders, dense=dense))
        assert hint in error.value.hint
    assert not (tmp_path / "work" / "indexes").exists()


def test_results_that_cannot_be_written(make_folder, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    request = EvaluationRequest(
        work=tmp_path / "work", datasets=(str(make_folder()),), options=OPTIONS, json=blocked / "figures.json"
    )
    with pytest.raises(DatasetError, match="results cannot be written"):
        run_evaluation(request)


@pytest.fixture
def runs(make_folder, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two runs over a small folder, and its judgments."""
    folder = make_folder()
    first, second = tmp_path / "a.trec", tmp_path / "b.trec"
    write_run(first, Run("lexhound", {"q1": [("d1", 2.0), ("d2", 1.0)], "q2": [("d3", 1.0)]}))
    write_run(second, Run("lexhound", {"q1": [("d2", 2.0), ("d1", 1.0)], "q2": [("d3", 1.0)]}))
    return first, second, folder / "qrels" / "test.tsv"


def test_a_comparison_finds_queries_and_documents_by_itself(runs, tmp_path: Path) -> None:
    first, second, qrels = runs
    request = ComparisonRequest((first, second), qrels, json=tmp_path / "c.json", report=tmp_path / "c.html")
    comparison = run_comparison(request)
    assert [run.name for run in comparison.runs] == ["a.trec", "b.trec"], "equal tags give way to file names"
    (changed,) = comparison.changed
    assert changed.text == "heat over plate"
    assert changed.system_ranking[0].text is not None
    assert changed.system_ranking[0].text.title == "wings"
    assert json.loads((tmp_path / "c.json").read_bytes())["differences"][0]["measure"] == "nDCG@10"
    assert "heat over plate" in (tmp_path / "c.html").read_text("utf-8")


def test_judgments_alone_are_enough(runs, lines_file) -> None:
    first, second, _ = runs
    qrels = lines_file("alone.qrels", ["q1 0 d1 1", "q2 0 d3 1", "q2 0 d4 much"])
    comparison = run_comparison(ComparisonRequest((first, second), qrels))
    assert comparison.changed[0].text is None
    assert re.search(r"1 broken lines of the judgments left out; the first: .*line 3", comparison.notices[0])


def test_bad_runs_are_named(runs, lines_file, tmp_path: Path) -> None:
    first, _, qrels = runs
    broken = lines_file("broken.trec", ["q1 Q0 d1 1 9.5 tag", "q1 Q0 d2 2"])
    with pytest.raises(RunFormatError, match=r"broken\.trec, line 2: 4 columns instead of 6"):
        run_comparison(ComparisonRequest((first, broken), qrels))
    part = lines_file("part.trec", ["q1 Q0 d1 1 9.5 tag"])
    with pytest.raises(ComparisonError, match="different judged queries"):
        run_comparison(ComparisonRequest((first, part), qrels))
    told = run_comparison(ComparisonRequest((first, part), qrels, options=ComparisonOptions(missing="zero")))
    assert told.queries == 2
    with pytest.raises(DatasetError, match="there is no such run"):
        run_comparison(ComparisonRequest((first, tmp_path / "none.trec"), qrels))
    with pytest.raises(ComparisonError, match="two runs are called"):
        run_comparison(ComparisonRequest((first, first), qrels))


def test_the_room_is_light_until_it_is_used() -> None:
    """Nothing of evaluation is imported with a search, and no measures before they are needed."""
    import subprocess
    import sys

    code = (
        "import sys; import lexhound.retrieval; assert not any(n.startswith('lexhound.eval') for n in sys.modules);"
        "import lexhound.eval.commands; heavy = {'ir_measures', 'pytrec_eval', 'torch', 'transformers', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
