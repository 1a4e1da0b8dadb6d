"""Queries, judgments and runs as others write them: whole, in UTF-8, by the names of their columns; or refused."""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lexhound.core import field_names as names
from lexhound.eval.commands import ComparisonRequest, run_comparison
from lexhound.eval.datasets.dataset import ProblemLog
from lexhound.eval.datasets.folder import load_folder
from lexhound.eval.datasets.own import load_judged_file
from lexhound.eval.datasets.qrels import read_qrels
from lexhound.eval.datasets.topics import read_queries
from lexhound.eval.errors import DatasetError
from lexhound.eval.runs import Run, read_run, write_run

COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
CASES = ("as it is", "Upper", "blanks")


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# -- whole or refused ------------------------------------------------------------------------------------------

FILES = {
    "qrels.tsv": ("query-id\tcorpus-id\tscore\n", "q{0}\td{1}\t1\n", read_qrels),
    "qrels.txt": ("", "q{0} 0 d{1} 1\n", read_qrels),
    "qrels.csv": ("query_id,document_id,relevance\n", "q{0},d{1},1\n", read_qrels),
    "qrels.jsonl": ("", '{{"query_id": {0}, "document_id": "d{1}", "score": 1}}\n', read_qrels),
    "queries.tsv": ("", "{0}\ttext {1}\n", read_queries),
    "queries.csv": ("id,text\n", "{0},text {1}\n", read_queries),
    "queries.jsonl": ("", '{{"_id": {0}, "text": "text {1}"}}\n', read_queries),
    "topics.txt": ("", "<top>\n<num> {0}\n<title> text {1}\n</top>\n", read_queries),
    "own.csv": ("query,document_id\n", "text {1},d{0}\n", load_judged_file),
    "own.tsv": ("query\tdocument_id\n", "text {1}\td{0}\n", load_judged_file),
    "own.jsonl": ("", '{{"query": "text {1}", "document_id": "d{0}"}}\n', load_judged_file),
    "run.trec": ("", "q{0} Q0 d{1} 1 9.5 tag\n", read_run),
}


def content_of(name: str) -> bytes:
    head, line, _ = FILES[name]
    return (head + "".join(line.format(number, number * 7919 % 10007) for number in range(1000))).encode()


@pytest.mark.parametrize("compression", sorted(COMPRESS))
@pytest.mark.parametrize("name", sorted(FILES))
def test_compressed_files_are_whole_or_refused(tmp_path: Path, name: str, compression: str) -> None:
    read = FILES[name][2]
    whole = COMPRESS[compression](content_of(name))
    path = tmp_path / f"{name}{compression}"
    read(written(path, whole))
    read(written(path, whole + COMPRESS[compression](b"")))
    for size in (len(whole) * 3 // 4, len(whole) // 2, len(whole) - 1, len(whole) - 7):
        with pytest.raises(DatasetError, match=re.escape(f"{path}: the ") + ".*data is (truncated|damaged)"):
            read(written(path, whole[:size]))
    with pytest.raises(DatasetError, match="is empty"):
        read(written(path, b""))
    with pytest.raises(DatasetError, match="does not hold"):
        read(written(path, content_of(name)))
    with pytest.raises(DatasetError, match="damaged"):
        read(written(path, whole + b"rubbish behind it"))


def test_judgments_of_a_folder_that_are_cut_short(shared_data: Path, tmp_path: Path) -> None:
    """At 75 % they used to be 148 judged queries in place of 323."""
    source = shared_data / "beir" / "nfcorpus"
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_bytes((source / "queries.jsonl").read_bytes())
    for compression, compress in COMPRESS.items():
        whole = compress((source / "qrels" / "test.tsv").read_bytes())
        path = written(tmp_path / "qrels" / f"test.tsv{compression}", whole)
        assert load_folder(tmp_path).report.queries == 323
        written(path, whole[: len(whole) * 3 // 4])
        with pytest.raises(DatasetError, match="data is truncated"):
            load_folder(tmp_path)
        path.unlink()


def with_bytes(path: Path, wrong: bytes) -> Path:
    """A file of its kind whose only line holds these bytes."""
    head, line, _ = FILES[path.name]
    return written(path, (head + line.format(1, "XX")).encode().replace(b"XX", wrong))


@pytest.mark.parametrize("name", sorted(FILES))
def test_what_is_not_utf8_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    path = with_bytes(tmp_path / name, "café".encode("latin-1"))
    with pytest.raises(DatasetError, match=re.escape(str(path)) + r", line \d: not UTF-8.*Convert the file to UTF-8"):
        FILES[name][2](path)


@pytest.mark.parametrize("name", [name for name in sorted(FILES) if not name.endswith(".csv")])
@pytest.mark.parametrize("wrong", [b"a\0b", b"a\rb"])
def test_lines_that_are_no_lines_are_refused(tmp_path: Path, name: str, wrong: bytes) -> None:
    with pytest.raises(DatasetError, match=r"NUL byte|carriage return|no judgments|no queries|control character"):
        FILES[name][2](with_bytes(tmp_path / name, wrong))


def test_marks_of_byte_order(tmp_path: Path) -> None:
    for name in sorted(FILES):
        content = content_of(name)
        read = FILES[name][2]
        plain = read(written(tmp_path / name, content))
        marked = read(written(tmp_path / name, b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")))
        for each in ("qrels", "queries", "rankings"):
            assert getattr(plain, each, None) == getattr(marked, each, None)
        if isinstance(plain, dict):
            assert plain == marked
        with pytest.raises(DatasetError, match="UTF-16"):
            read(written(tmp_path / name, content.decode().encode("utf-16")))


# -- columns by their names ------------------------------------------------------------------------------------


def spelled(name: str, case: str) -> str:
    return {"as it is": name, "Upper": name.upper().replace("_", "-"), "blanks": name.title().replace("_", " ")}[case]


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".txt"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))) + list(itertools.permutations(range(3))))
def test_judgments_go_by_the_header_in_any_order(tmp_path: Path, suffix: str, order: tuple[int, ...]) -> None:
    rows = [("query-id", "corpus-id", "score", "iteration"), ("1", "2", "1", "0"), ("2", "3", "3", "0")]
    separator = "," if suffix == ".csv" else "\t"
    text = "".join(separator.join(row[place] for place in order) + "\n" for row in rows)
    assert read_qrels(written(tmp_path / f"q{suffix}", text)).qrels == {"1": {"2": 1}, "2": {"3": 3}}


@pytest.mark.parametrize("query", names.QUERY)
@pytest.mark.parametrize("document", names.JUDGED_DOCUMENT)
def test_every_name_of_the_table_is_known_in_judgments(tmp_path: Path, query: str, document: str) -> None:
    for case, relevance in itertools.product(CASES, names.RELEVANCE):
        header = [spelled(name, case) for name in (relevance, document, query)]
        path = written(tmp_path / "q.tsv", "\t".join(header) + "\n2\td\tq\n")
        assert read_qrels(path).qrels == {"q": {"d": 2}}, header
        written(tmp_path / "q.csv", ",".join(header) + "\n2,d,q\n")
        assert read_qrels(tmp_path / "q.csv").qrels == {"q": {"d": 2}}, header


def test_a_header_that_names_too_little_is_refused(tmp_path: Path) -> None:
    for header in ("who\twhat\tscore", "query-id\twhat\tscore", "score\tcorpus-id\twho"):
        with pytest.raises(
            DatasetError, match=r"line 1: the header names no column for the (query|document) id; found: "
        ):
            read_qrels(written(tmp_path / "q.tsv", f"{header}\n1\t2\t1\n"))
    # Being listed says that a document is relevant.
    assert read_qrels(written(tmp_path / "q.tsv", "corpus-id\tquery-id\n1\t2\n")).qrels == {"2": {"1": 1}}


def test_one_form_a_file_and_blanks_within_tabs(tmp_path: Path) -> None:
    broken = ProblemLog()
    path = written(tmp_path / "q.tsv", "q1\ta file.txt\t1\nq1 a file.txt 1\nq 2\tb.txt\t2\nq1\t0\tc\t1\n")
    assert read_qrels(path, broken).qrels == {"q1": {"a file.txt": 1}, "q 2": {"b.txt": 2}}
    assert [problem.line for problem in broken.shown] == [2, 4]
    broken = ProblemLog()
    path = written(tmp_path / "q.txt", "q1\t0\ta file.txt\t1\nq1 0 b 2\nq1 b 2\n")
    assert read_qrels(path, broken).qrels == {"q1": {"a file.txt": 1, "b": 2}}
    assert [problem.line for problem in broken.shown] == [3]


@pytest.mark.parametrize("relevance", ["1_0", "0.5", "1e2", "99999999999999999999", "½", "", "nan"])
def test_what_is_no_relevance(tmp_path: Path, relevance: str) -> None:
    broken = ProblemLog()
    path = written(tmp_path / "q.tsv", f"q\ta\t2.0\nq\tb\t{relevance}\n")
    assert read_qrels(path, broken).qrels == {"q": {"a": 2}}
    assert broken.count == 1


@pytest.mark.parametrize("name", names.QUERY_ID)
@pytest.mark.parametrize("text", names.QUERY_TEXT)
def test_every_name_of_the_table_is_known_in_queries(tmp_path: Path, name: str, text: str) -> None:
    for case in CASES:
        identifier, words = spelled(name, case), spelled(text, case)
        for file, content in (
            ("q.jsonl", f'{{"{words}": "heat", "{identifier}": "x-1"}}\n{{"{words}": "flow", "{identifier}": 2}}\n'),
            ("q.csv", f"{words},other,{identifier}\nheat,a,x-1\nflow,b,2\n"),
            ("q.tsv", f"{identifier}\t{words}\nx-1\theat\n2\tflow\n"),
            ("r.tsv", f"{words}\tother\t{identifier}\nheat\ta\tx-1\nflow\tb\t2\n"),
        ):
            assert read_queries(written(tmp_path / file, content)) == {"x-1": "heat", "2": "flow"}, content


def test_queries_in_tabs(tmp_path: Path) -> None:
    """A first line that only looks like a header is a query; quotes are characters; texts may hold tabs."""
    path = written(tmp_path / "q.tsv", '1\ttopic\n2\t"heat\n3\tflow"\n4\ta\tb\n')
    assert read_queries(path) == {"1": "topic", "2": '"heat', "3": 'flow"', "4": "a\tb"}
    path = written(tmp_path / "q.tsv", "qid\twords\n1\theat\n")
    assert read_queries(path) == {"1": "heat"}
    with pytest.raises(DatasetError, match="the header names no column for the text; found: qid, words, more"):
        read_queries(written(tmp_path / "q.tsv", "qid\twords\tmore\n1\theat\tx\n"))
    broken = ProblemLog()
    path = written(tmp_path / "q.tsv", "text\tid\nheat\t1\nheat\tflow\t2\nwing\t1\n")
    assert read_queries(path, broken) == {"1": "heat"}
    assert [problem.line for problem in broken.shown] == [3, 4]


def test_names_that_are_one_when_normalised(tmp_path: Path) -> None:
    broken = ProblemLog()
    path = written(
        tmp_path / "q.jsonl", '{"query-id": 1, "query_id": 2, "text": "a"}\n{"id": null, "qid": "3", "text": "b"}\n'
    )
    assert read_queries(path, broken) == {"3": "b"}
    assert "both called 'query_id'" in broken.shown[0].reason
    with pytest.raises(DatasetError, match="names the column 'query_id' more than once"):
        read_queries(written(tmp_path / "q.csv", "query-id,query_id,text\n1,2,a\n"))


def test_lines_lost_with_badly_quoted_records_are_counted(tmp_path: Path) -> None:
    rows = [f"q{number},d{number},1" for number in range(1, 30)]
    rows[3] = '"q4,d4,1'
    rows[10] = '"q11","d11\nd11b",1,9'
    rows[20] = 'q21,"d21,1'
    rows[22] = 'q23,d23",1'
    broken = ProblemLog()
    path = written(tmp_path / "qrels.csv", "query_id,document_id,relevance\n" + "\n".join(rows) + "\n")
    judged = read_qrels(path, broken).qrels
    assert set(judged) == {f"q{number}" for number in range(1, 30)} - {"q4", "q11", "q21"}
    assert [(problem.line, problem.reason.partition(":")[0]) for problem in broken.shown] == [
        (5, "badly quoted"),
        (12, "4 fields where the header has 3 (2 lines)"),
        (23, "badly quoted"),
    ]
    assert broken.count == 4
    own = written(tmp_path / "own.csv", 'query,document_id\na,1\n"b,2\nc,3\n"d",4\ne,5\n')
    dataset = load_judged_file(own)
    assert list(dataset.queries.values()) == ["a", "c", "d", "e"]
    assert dataset.report.broken_judgments == 1


def test_what_is_left_out_of_a_comparison_is_told(tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        rankings = {f"q{number}": [("d1", 2.0), ("d2", 1.0)][:: 1 if name == "a" else -1] for number in range(4)}
        rankings = {
            query: [(document, 2.0 - rank) for rank, (document, _) in enumerate(row)] for query, row in rankings.items()
        }
        write_run(tmp_path / f"{name}.trec", Run(name, rankings))
        runs.append(tmp_path / f"{name}.trec")
    lines = [f"q{number}\td1\t1" for number in range(4)] + ["q0\td1\t2", "q1"]
    qrels = written(tmp_path / "q.tsv", "\n".join(lines) + "\n")
    queries = written(tmp_path / "queries.tsv", "".join(f"q{number}\ttext\n" for number in range(4)) + "no tab\n")
    notices = run_comparison(ComparisonRequest(tuple(runs), qrels, queries)).notices
    assert any("1 pairs judged more than once" in notice for notice in notices)
    assert any("1 broken lines of the judgments" in notice for notice in notices)
    assert any("1 broken lines of the queries" in notice for notice in notices)


# -- topics ----------------------------------------------------------------------------------------------------

OLD = """<top>
<head> A Made-up Topic Description
<num> Number:  901
<dom> Domain:  Shipping
<title> Topic:  Ferry <b>subsidies</b> &amp; more

<desc> Description:
A ferry line, x<y and z>0, gets
public money.

<smry> Summary:
Tugboat wages do not belong here.

<narr> Narrative:
A relevant document names the line.

<con> Concept(s):
1. harbour, dredging
<fac> Factor(s):
<nat> Nationality: U.S. </nat> <unheard-of kind="x"> nothing
<def> Definition(s):
</top>
<top>
<num> Number: MB902 </num>
<title> tug wages </title> <querytime> Tue Mar 01 2016 </querytime>
<querytweettime> 700000000000000001 </querytweettime>
<!-- <title> not this -->
<top>
<num> 903
<title> never closed
"""


def test_an_element_of_a_topic_ends_where_any_other_begins(tmp_path: Path) -> None:
    path = written(tmp_path / "t.txt", OLD)
    assert read_queries(path) == {"901": "Ferry subsidies & more", "MB902": "tug wages", "903": "never closed"}
    assert read_queries(path, topic_field="desc") == {"901": "A ferry line, x<y and z>0, gets public money."}
    assert read_queries(path, topic_field="narr") == {"901": "A relevant document names the line."}


ELEMENTS = st.from_regex(r"[a-z][a-z0-9-]{3,9}", fullmatch=True).filter(
    lambda name: name not in ("title", "desc", "narr", "span", "font", "small", "strong", "code")
)


@given(st.lists(ELEMENTS, min_size=4, max_size=4), st.booleans(), st.sampled_from(["\n", " ", "\n\n"]))
def test_elements_that_nobody_has_heard_of_are_passed_over(others: list[str], closed: bool, gap: str) -> None:
    def element(name: str, text: str) -> str:
        return f"<{name}> {text}" + (f" </{name}>" if closed else "") + gap

    pairs = [("num", "Number: 7"), ("title", "heat flow"), ("desc", "Description: of plates"), ("narr", "all of it")]
    body = "".join(
        element(*pair) + element(other, "beside the point") for pair, other in zip(pairs, others, strict=True)
    )
    from lexhound.eval.datasets.topics import _read_topics  # the text alone, without a file
    from lexhound.eval.files import TextFile

    file = TextFile.at(Path("t"))
    for field, wanted in (("title", "heat flow"), ("desc", "of plates"), ("narr", "all of it")):
        ((_, identifier, text),) = _read_topics(file, f"<top>\n{body}</top>", field, ProblemLog())
        assert (identifier, text) == ("7", wanted)


def test_topics_that_cannot_be_told_apart(tmp_path: Path) -> None:
    broken = ProblemLog()
    double = "<top><num> 1 <title> a <title> b </top>\n<top><num> 2 <title> c</top>\n"
    assert read_queries(written(tmp_path / "t.txt", double), broken) == {"2": "c"}
    assert broken.shown[0].reason == "the topic has more than one <title>"
    with pytest.raises(DatasetError, match="marked up, but not with the <top> of TREC topics"):
        read_queries(written(tmp_path / "t.xml", '<?xml version="1.0"?>\n<topics>\n\t<topic number="1">\ta\n'))
