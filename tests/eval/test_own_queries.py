"""TREC topics and qrels, and one's own judged queries in tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexhound.eval.datasets.dataset import ProblemLog
from lexhound.eval.datasets.own import load_judged_file, load_pair
from lexhound.eval.datasets.qrels import read_qrels
from lexhound.eval.datasets.resolve import open_dataset
from lexhound.eval.datasets.topics import read_queries
from lexhound.eval.errors import DatasetError

TOPICS = """
<top>
<num> Number: 301
<title> International Organized Crime
<desc> Description:
Identify organizations that participate in
international crime &amp; more.
<narr> Narrative:
A relevant document must as a minimum identify the organization.
</top>

<top>
<num> Number: 302 </num>
<title> Topic: Poliomyelitis and Post-Polio </title>
<desc> Description: Is it under control?
</top>
<top>
<title> a topic without a number
</top>
"""


def test_classic_topics(tmp_path: Path) -> None:
    path = tmp_path / "topics.txt"
    path.write_text(TOPICS)
    broken = ProblemLog()
    assert read_queries(path, broken) == {
        "301": "International Organized Crime",
        "302": "Poliomyelitis and Post-Polio",
    }
    assert broken.count == 1
    assert broken.shown[0].line == 17
    described = read_queries(path, topic_field="desc")
    assert described["301"] == "Identify organizations that participate in international crime & more."
    with pytest.raises(DatasetError, match="no topic field"):
        read_queries(path, topic_field="body")


def test_tab_separated_topics(lines_file) -> None:
    broken = ProblemLog()
    path = lines_file("topics.tsv", ["query_id\ttext", "1\ta question\twith a tab", "no tab here", "1\tagain", "2\tb"])
    assert read_queries(path, broken) == {"1": "a question\twith a tab", "2": "b"}
    assert [problem.line for problem in broken.shown] == [3, 4]


def test_trec_qrels(lines_file) -> None:
    broken = ProblemLog()
    path = lines_file(
        "qrels.txt", ["301 0 FBIS-1 1", "301\t0\tFBIS-2\t0", "301 0 FBIS-3", "302 0 LA-1 -1", "302 0 LA-2 x"]
    )
    judgments = read_qrels(path, broken)
    # A line of three columns is BEIR's form, where the relevance comes last: here it is not a number.
    assert judgments.qrels == {"301": {"FBIS-1": 1, "FBIS-2": 0}, "302": {"LA-1": -1}}
    assert [problem.line for problem in broken.shown] == [3, 5]


def test_topics_and_qrels_make_a_data_set(lines_file, tmp_path: Path) -> None:
    topics = tmp_path / "topics.txt"
    topics.write_text(TOPICS)
    dataset = load_pair(topics, lines_file("qrels.txt", ["301 0 a 1", "302 0 b 2"]))
    assert dataset.queries["301"] == "International Organized Crime"
    assert dataset.corpus is None
    with pytest.raises(DatasetError, match="nothing to index"):
        dataset.require_corpus()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("own.csv", ["query,document_id,relevance", '"heat, and flow",d1,2', '"heat, and flow",d2,0', "wings,d1,1"]),
        ("own.tsv", ["Query\tDoc ID\tGrade", "heat, and flow\td1\t2", "heat, and flow\td2\t0", "wings\td1\t1"]),
        (
            "own.jsonl",
            [
                '{"query": "heat, and flow", "document": "d1", "relevance": 2.0}',
                '{"query": "heat, and flow", "document": "d2", "relevance": false}',
                '{"query": "wings", "document": "d1"}',
            ],
        ),
        (
            "nested.jsonl",
            ['{"query": "heat, and flow", "relevant": {"d1": 2, "d2": 0}}', '{"query": "wings", "relevant": ["d1"]}'],
        ),
    ],
)
def test_one_file_of_judged_queries(lines_file, name: str, lines: list[str]) -> None:
    (dataset,) = open_dataset(lines_file(name, lines))
    assert dict(dataset.queries) == {"q1": "heat, and flow", "q2": "wings"}
    assert dataset.qrels == {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": 1}}
    assert dataset.report.notices() == []


def test_broken_rows_of_an_own_file_are_counted(lines_file) -> None:
    dataset = load_judged_file(
        lines_file(
            "own.csv",
            [
                "query_id,query,document_id,relevance",
                "1,heat,d1,1",
                "1,cold,d2,1",
                "2,wings,d 3,1",
                "2,wings",
                "2,wings,d4,2",
            ],
        )
    )
    assert dataset.qrels == {"1": {"d1": 1}, "2": {"d 3": 1, "d4": 2}}
    assert dataset.report.broken_judgments == 2


@pytest.mark.parametrize(
    ("header", "missing"), [("text_of_it,document_id", "query"), ("query,relevance", "document_id")]
)
def test_missing_columns_are_named(lines_file, header: str, missing: str) -> None:
    with pytest.raises(DatasetError, match=f"no column '{missing}'; found: "):
        load_judged_file(lines_file("own.csv", [header, "a,1"]))


def test_unknown_formats_are_refused(lines_file) -> None:
    with pytest.raises(DatasetError, match=r"cannot be told from the suffix '\.xlsx'"):
        load_judged_file(lines_file("own.xlsx", ["a"]))
