# ruff: noqa: E501
"""The sample that moves an index from OpenSearch into Lexhound, and the example of docs/opensearch.md, as they are.

Our own endpoint stands in for both ends: what the sample asks of the old one is what OpenSearch answers.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from command import run
from opensearchpy import OpenSearch, helpers
from service import Service, running


def test_the_sample_moves_an_index(
    root: Path, client: OpenSearch, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    sources = {
        str(n): {"title": f"Heat {n}", "text": f"heat transfer {n}", "n": n, "version": n, "tags": ["a", "b"]} for n in range(2500)
    }  # fmt: skip
    client.indices.create(index="old", body={"mappings": {"properties": {"n": {"type": "integer"}}}})
    helpers.bulk(client, ({"_index": "old", "_id": k, "_source": v} for k, v in sources.items()), refresh=True)
    (tmp_path / "data").mkdir()
    with running(tmp_path / "data", "--opensearch", "--encoders", "bm25") as target:
        arguments = [f"{service.url}/opensearch", f"{target.url}/opensearch", "old"]
        monkeypatch.chdir(tmp_path)
        (tmp_path / "questions.tsv").write_text("q1\theat 77\nq2\ttransfer 3\n", "utf-8")
        (tmp_path / "judgments.txt").write_text("q1 0 77 1\nq2 0 3 1\n", "utf-8")
        monkeypatch.setattr("sys.argv", ["from_opensearch.py", *arguments, "questions.tsv"])
        runpy.run_path(str(root / "samples" / "from_opensearch.py"), run_name="__main__")
        told = capsys.readouterr().out.splitlines()
        assert told[0] == "2,500 documents moved"
        assert len(told) == 4
        compared = run("compare", "old.trec", "new.trec", "--qrels", "judgments.txt", "--measure", "RR@10", "--json")
        assert compared.code == 0
        assert (tmp_path / "old.trec").read_text().replace(" old", "") == (tmp_path / "new.trec").read_text().replace(
            " new", ""
        )
        moved = OpenSearch(f"{target.url}/opensearch")
        assert {hit["_id"]: hit["_source"] for hit in helpers.scan(moved, index="old")} == sources
        query = {"query": {"match": {"text": "heat 77"}}, "aggs": {"tags": {"terms": {"field": "tags"}}}}
        before, after = client.search(index="old", body=query), moved.search(index="old", body=query)
        assert before["hits"] == after["hits"]
        assert before["aggregations"] == after["aggregations"]
        moved.close()
    client.indices.delete(index="old")


def test_the_documentation_s_example_runs(root: Path, service: Service, client: OpenSearch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    page = (root / "docs" / "opensearch.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code.replace("http://127.0.0.1:8080", service.url), {})  # noqa: S102  our own documentation
    assert "<em>Heat</em> transfer" in capsys.readouterr().out
    client.indices.delete(index="articles")
