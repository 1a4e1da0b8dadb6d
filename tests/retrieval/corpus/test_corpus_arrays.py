"""JSON arrays as corpora, and what is said of input that is something else than it seems."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

from lexhound.retrieval.corpus import BadRow, open_corpus
from lexhound.retrieval.documents.document import Document

ROWS = [{"id": n, "text": f"text {n}", "year": 1990 + n} for n in range(3)]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson", "a.json.gz"])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_gives_what_its_lines_would(tmp_path: Path, name: str, indent: int | None) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in ROWS), "utf-8")
    data = b"\xef\xbb\xbf\r\n" + json.dumps(ROWS, indent=indent).replace("\n", "\r\n").encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = list(open_corpus(tmp_path / name))
    assert found == list(open_corpus(lines))
    assert [row.id for row in found if isinstance(row, Document)] == ["0", "1", "2"]


def test_objects_a_line_in_a_json_file_and_an_array_in_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text("\n".join(json.dumps(row) for row in ROWS), "utf-8")
    assert len(list(open_corpus(tmp_path / "lines.json"))) == 3
    assert len(list(open_corpus("-", stdin=io.BytesIO(json.dumps(ROWS).encode())))) == 3
    assert list(open_corpus("-", stdin=io.BytesIO(b" [ ] "))) == []
    assert list(open_corpus("-", format="json", stdin=io.BytesIO(b""))) == []


def test_bad_elements_cost_themselves_alone_and_are_told_by_line() -> None:
    data = b'[{"id": 1, "text": "a"},\n 5,\n {"id": 2},\n {"id": 3, "text": "b", "id": 4},\n {"id": 5, "text": "c"}]\nx'
    rows = list(open_corpus("-", stdin=io.BytesIO(data)))
    good = [row.id for row in rows if isinstance(row, Document)]
    bad = [(row.line, row.reason.partition(":")[0]) for row in rows if isinstance(row, BadRow)]
    assert good == ["1", "5"]
    assert [line for line, _ in bad] == [2, 3, 4, 6]
    assert bad[0][1] == "JSON, but not an object"
    assert bad[-1][1] == "something stands behind the end of the array"
    (broken,) = (row for row in open_corpus("-", stdin=io.BytesIO(b'[{"id": 1,')) if isinstance(row, BadRow))
    assert broken.reason == "the array breaks off after element 0"


@pytest.mark.parametrize(
    ("data", "reason", "hint"),
    [
        (b'{"docno": 1, "content": "x"}', "no field 'id', '_id' or 'docid', found 'docno', 'content'", "--id-field"),
        (b'{"id": 1, "content": "x"}', "no field 'text', 'contents' or 'body', found 'id', 'content'", "--text-field"),
        (b'{"id": null, "text": "x"}', "the field 'id' is null", ""),
        (b"{}", "the row has no fields", ""),
        (b"id,text\n1,hello", "not JSON", "--format csv"),
        (b'"docid","body"\n1,hello', "not JSON", "--format csv"),
        (b"id\ttext\n1\thello", "not JSON", "--format tsv"),
        (b"hello, world", "not JSON", "one JSON object a line"),
    ],
)
def test_what_is_found_is_told(data: bytes, reason: str, hint: str) -> None:
    first = next(iter(open_corpus("-", stdin=io.BytesIO(data))))
    assert isinstance(first, BadRow)
    assert reason in first.reason
    assert hint in first.hint


def test_files_of_a_folder_that_are_not_read_are_counted_by_kind(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "sub/b.md", "c.odt", "sub/d.ODT", "e.pptx", "README", ".hidden.pdf"):
        (tmp_path / name).write_text("hello", "utf-8")
    corpus = open_corpus(tmp_path)
    for _ in range(2):  # each walk counts anew
        assert len(list(corpus)) == 2
        (notice,) = corpus.notices()
        assert notice.startswith(f"{tmp_path}: 4 files are of a kind that is not read: 2 .odt, ")
        assert "1 .pptx" in notice
        assert "1 without a suffix" in notice
    for path in (*tmp_path.glob("*.*"), *tmp_path.glob("sub/*.ODT"), tmp_path / "README"):
        path.unlink() if path.suffix not in (".txt", ".md") and path.is_file() else None
    clean = open_corpus(tmp_path)
    assert len(list(clean)) == 2
    assert clean.notices() == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"id": 7, "text": "heat"}\n{"id": "8", "text": "flow"}\n'),
        ("a.json", '[{"id": 7, "text": "heat"},\n{"id": "8", "text": "flow"}]\n'),
        ("a.csv", "id,text\n7,heat\n8,flow\n"),
        ("a.tsv", "id\ttext\n7\theat\n8\tflow\n"),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_marks_line_ends_and_numbers_as_ids(tmp_path: Path, name: str, text: str, mark: bytes, ending: str) -> None:
    (tmp_path / name).write_bytes(mark + text.replace("\n", ending).encode())
    assert list(open_corpus(tmp_path / name)) == [Document("7", "heat"), Document("8", "flow")]


def test_other_numbers_are_no_ids() -> None:
    for written in ("7.5", "true", "[7]"):
        (row,) = open_corpus("-", stdin=io.BytesIO(f'{{"id": {written}, "text": "heat"}}'.encode()))
        assert isinstance(row, BadRow)
        assert "the id must be a string" in row.reason
