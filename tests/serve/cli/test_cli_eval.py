"""`lexhound eval` and `lexhound compare` on a small data set, as a user would."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command import lines, run

pytest.importorskip("ir_measures", reason="needs the extra lexhound[eval]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("beir") / "tiny"
    (path / "qrels").mkdir(parents=True)
    words = ["heat transfer", "hypersonic flow", "slipstream wing", "boundary layer", "shock wave", "heat flow"]
    documents = ({"_id": f"d{n}", "title": word, "text": f"a study of {word}"} for n, word in enumerate(words))
    (path / "corpus.jsonl").write_bytes(lines(*documents))
    asked = ({"_id": f"q{n}", "text": word} for n, word in enumerate(words))
    (path / "queries.jsonl").write_bytes(lines(*asked))
    judged = "".join(f"q{n}\td{n}\t1\n" for n in range(len(words)))
    (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, "utf-8")
    return path


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def test_every_figure_on_the_screen_is_in_the_json(folder: Path, work: Path, tmp_path: Path) -> None:
    command = ("eval", folder, "--work", work, "--measure", "nDCG@10", "--measure", "RR@10")
    files = ("--run", tmp_path / "a.trec", "--per-query", tmp_path / "q.csv", "--report", tmp_path / "r.html")
    shown = run(*command, *files)
    assert shown.code == 0, shown.err
    figures = run(*command, "--json").json
    (result,) = figures["results"]
    assert result["reused"] is True
    row = re.search(r"^  bm25 +(\S+) +(\S+)$", shown.out, re.MULTILINE)
    assert row is not None
    assert row.groups() == tuple(f"{result['measures'][name]:.4f}" for name in ("nDCG@10", "RR@10"))
    assert result["measures"]["RR@10"] == 1.0
    costs = re.search(r"^  bm25 +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+)$", shown.out, re.MULTILINE)
    assert costs is not None
    assert costs.group(1) == f"{result['cost']['document_dimensions']:.1f}"
    for path in (tmp_path / "a.trec", tmp_path / "q.csv", tmp_path / "r.html"):
        assert path.stat().st_size > 0
        assert f"written: {path}" in shown.err


def test_several_systems_are_compared(folder: Path, work: Path, tmp_path: Path) -> None:
    assert run("index", folder, "--into", tmp_path / "x", "--no-stemming").code == 0
    outcome = run("eval", folder, "--work", work, "--encoder", "bm25", "--collection", tmp_path / "x")
    assert outcome.code == 0, outcome.err
    assert "x against bm25" in outcome.out
    assert "95% interval" in outcome.out


def test_compare(folder: Path, tmp_path: Path) -> None:
    for name, best in (("a", "d0"), ("b", "d1")):
        rows = [f"q{n} Q0 {best if n == 0 else f'd{n}'} 1 1.0 {name}\n" for n in range(6)]
        (tmp_path / f"{name}.trec").write_text("".join(rows), "utf-8")
    command = ("compare", tmp_path / "a.trec", tmp_path / "b.trec", "--qrels", folder / "qrels" / "test.tsv")
    outcome = run(*command)
    assert outcome.code == 0, outcome.err
    assert "b against a" in outcome.out
    assert "−1.0000  q0  heat transfer" in outcome.out
    assert "1. [?] d1  hypersonic flow" in outcome.out
    figures = run(*command, "--json", "--seed", "3").json
    (difference, *_) = figures["differences"]
    assert (difference["wins"], difference["ties"], difference["losses"]) == (0, 5, 1)


def test_bad_input(folder: Path, collection: Path, tmp_path: Path, fails: Callable[..., None]) -> None:
    qrels = ("--qrels", folder / "qrels" / "test.tsv")
    run_a, run_b, broken = (tmp_path / name for name in ("a.trec", "b.trec", "broken.trec"))
    run_a.write_text("q0 Q0 d0 1 1.0 a\n", "utf-8")
    run_b.write_text("q1 Q0 d1 1 1.0 b\n", "utf-8")
    broken.write_text("q0 Q0 d0 1 1.0 a\nq1 only\n", "utf-8")
    work = ("--work", tmp_path / "work")
    fails("eval", code=2, says="no data set")
    fails("eval", "--queries", folder / "queries.jsonl", code=2, says="go together")
    fails("eval", "scifcat", *work, "--offline", code=2, says="scifact")
    fails("eval", tmp_path / "nowhere", *work, code=1, says="no such folder or file")
    fails("eval", folder, *work, "--measure", "nDGC@10", code=2, says="nDCG")
    fails("eval", folder, *work, "--split", "dev", code=1, says="dev")
    fails("eval", folder, *work, "--collection", tmp_path / "none", code=1, says="no such collection")
    fails("eval", "scifact", *work, "--offline", "--cache", tmp_path / "cache", code=1, says="scifact.zip")
    fails("compare", run_a, *qrels, code=1, says="at least two runs")
    fails("compare", run_a, code=2, says="--qrels")
    fails("compare", run_a, broken, *qrels, code=1, says="line 2")
    fails("compare", run_a, run_b, *qrels, code=1, says="no judged query in common")
    fails("compare", run_a, tmp_path / "none.trec", *qrels, code=1, says="none.trec")
