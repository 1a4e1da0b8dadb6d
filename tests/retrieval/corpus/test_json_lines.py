"""Corpora of JSON Lines."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from inputs.corpus_bytes import COMPRESS, bad, from_bytes, rows, small_rows, write

from lexhound.core.streams import MAX_ROW_BYTES
from lexhound.retrieval.corpus import BadRow, open_corpus
from lexhound.retrieval.corpus.jsonl import JsonLinesCorpus
from lexhound.retrieval.corpus.rows import FieldNames
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import BadRowError, CorpusError


@pytest.mark.parametrize(
    ("line", "document"),
    [
        (b'{"id": "a", "text": "t"}', Document("a", "t")),
        (b'{"_id": "a", "title": "T", "text": "t", "metadata": {}}', Document("a", "t", "T")),
        (b'{"docid": 17, "contents": "t"}', Document("17", "t")),
        (b'{"id": -3, "body": "t", "title": null}', Document("-3", "t")),
        (
            b'{"id": 12345678901234567890123, "text": "t", "n": 0.12345678901234567890}',
            Document("12345678901234567890123", "t", metadata={"n": 0.12345678901234568}),
        ),
        (
            b'{"id": "12345678901234567890123", "text": "a: b, \\"c\\": \\\\", "n": {"x": 1, "y": {"x": 1}}}',
            Document("12345678901234567890123", 'a: b, "c": \\', metadata={"n": {"x": 1, "y": {"x": 1}}}),
        ),
        (b'{"id": "a", "text": ""}', Document("a", "")),
        (b'{"id": "", "_id": "a", "text": "t"}', None),
        (b'{"id": null, "_id": "a", "text": null, "body": "b"}', Document("a", "b")),
        (
            b'{"docid": "c", "_id": "b", "id": "a", "body": "3", "contents": "2", "text": "1"}',
            Document("a", "1", metadata={"docid": "c", "_id": "b", "body": "3", "contents": "2"}),
        ),
        (
            b'{"_id": "a", "text": "t", "year": 1990, "metadata": {"year": 1, "url": "u", "x": {"y": [1]}}}',
            Document("a", "t", metadata={"year": 1990, "url": "u", "x": {"y": [1]}}),
        ),
        (b'{"id": "a", "text": "t", "metadata": "m"}', Document("a", "t", metadata={"metadata": "m"})),
        (b'{"id": "a", "text": "\\u0000 \\ud83d\\ude00"}', Document("a", "\0 \U0001f600")),
        (b' {"id": "a", "text": "t"} \r', Document("a", "t")),
    ],
)
def test_rows_of_json(line: bytes, document: Document | None) -> None:
    (row,) = rows(line)
    if document is None:
        assert isinstance(row, BadRow)
    else:
        assert row == document


def test_named_fields() -> None:
    line = b'{"id": "i", "url": "u", "text": "t", "abstract": "a", "title": "T", "name": "N"}'
    (row,) = rows(line, id_field="url", text_field="abstract", title_field="name")
    assert row == Document("u", "a", "N", {"id": "i", "text": "t", "title": "T"})
    found = "found 'id', 'url', 'text', 'abstract', 'title', 'name'"
    assert bad(line, id_field="uri") == [(1, f"no id: there is no field 'uri', {found}")]
    assert bad(line, text_field="contents") == [(1, f"no text: there is no field 'contents', {found}")]


@pytest.mark.parametrize(
    ("line", "reason", "hint"),
    [
        (b'{"text": "t"}', "no id: there is no field 'id', '_id' or 'docid'", "--id-field"),
        (b'{"id": "a"}', "no text: there is no field 'text', 'contents' or 'body'", "--text-field"),
        (b'{"id": "a", "text": null}', "no text: the field 'text' is null", "may be empty"),
        (b'{"id": "a", "text": ["t"]}', "the text must be a string, not a list", ""),
        (b'{"id": "a", "text": 5}', "the text must be a string, not an integer", ""),
        (b'{"id": "a", "text": "t", "title": {}}', "the title must be a string, not an object", ""),
        (b'{"id": "", "text": "t"}', "the id is empty", "Give every document an id"),
        (b'{"id": true, "text": "t"}', "the id must be a string, not a boolean (True)", ""),
        (b'{"id": 1.5, "text": "t"}', "the id must be a string, not a floating-point number (1.5)", ""),
        (b'{"id": ["a"], "text": "t"}', "the id must be a string, not a list (['a'])", ""),
        (b'{"id": "a\\u0000", "text": "t"}', r"the id 'a\x00' contains a NUL byte", ""),
        (b'{"id": "' + b"x" * 10_240 + b'", "text": "t"}', "has 10,240 bytes; at most 512", ""),
        (b'{"id": "a", "text": "t", "n": 18446744073709551615}', "an integer of more than 64 bits", ""),
        (
            b'{"id": "a", "text": "t", "n": 18446744073709551616}',
            "'n' holds an integer of more than 64 bits",
            "as text",
        ),
        (
            b'{"id": "a", "text": "t", "n": {"m": [-99999999999999999999]}}',
            "the metadata field 'n.m' holds an integer",
            "",
        ),
        (b'{"id": "a", "text": "t", "n": 1e999}', "not JSON: number is infinity", ""),
        (b'{"id": "a", "id": "b", "text": "t"}', "the key 'id' occurs twice in one object", ""),
        (b'{"id": "a", "text": "t: u", "n": [{"\\u006d": 1, "m": 1}]}', "the key 'm' occurs twice in one object", ""),
        (b"not json", "not JSON: ", "one JSON object a line"),
        (b'{"id": "a", "text": "t"', "not JSON: unexpected end of data at column", ""),
        (b'{"id": "a", "text": "\\ud800"}', "not JSON: half of a surrogate pair", ""),
        (b'{"id": "a", "text": NaN}', "not JSON: ", ""),
        (b'{"id": "a", "text": "\xff"}', "not UTF-8: byte 22 of the line is 0xff", "Convert"),
        (b'["a", "t"]', "JSON, but not an object", "jq -c '.[]'"),
        (b"[", "not JSON: ", "jq -c '.[]'"),
        (b"{", "not JSON: ", "jq -c . FILE"),
        (b"5", "JSON, but not an object", ""),
        (b"[" * 5000, "not JSON: depth limit exceeded", ""),
        (b"\0", "not JSON: ", ""),
    ],
)
def test_bad_rows_of_json(tmp_path: Path, line: bytes, reason: str, hint: str) -> None:
    path = write(tmp_path / "c.jsonl", b'{"id": "1", "text": "one"}\n\n' + line + b'\n{"id": "3", "text": "x"}\n')
    corpus = open_corpus(path)
    first, row, last = list(corpus)
    assert isinstance(row, BadRow)
    assert row.line == 3
    assert row.where == f"{path}, line 3"
    assert reason in row.reason
    assert hint in row.hint
    assert row.raw == line[:200]
    assert str(row).startswith(f"{path}, line 3: ")
    assert isinstance(row.error(), BadRowError)
    assert (first, last) == (Document("1", "one"), Document("3", "x"))


def test_marks_blank_lines_and_missing_last_line_break() -> None:
    content = b'\xef\xbb\xbf{"id": "a", "text": "t"}\r\n \t\n\r\n{"id": "b", "text": "u"}'
    assert rows(content) == [Document("a", "t"), Document("b", "u")]
    assert rows(b"") == []
    assert rows(b"\n\n") == []
    assert rows(b"\xef\xbb\xbf") == []


def test_utf16_is_one_clear_error() -> None:
    with pytest.raises(CorpusError, match=r"standard input: the text is UTF-16, not UTF-8\. Convert it: iconv"):
        rows('{"id": "a", "text": "t"}'.encode("utf-16"))


def test_overlong_lines_are_bad_and_the_next_line_is_read() -> None:
    exactly = b'{"id": "a", "text": "%s"}' % (b"x" * 77)
    assert len(exactly) == 100
    content = exactly + b"\n" + exactly[:-2] + b'x"}\n' + b"y" * 5000 + b"\n" + exactly + b"\n" + b"z" * 500
    first, second, third, fourth, fifth = small_rows(content, JsonLinesCorpus)
    assert first == fourth == Document("a", "x" * 77)
    for row, line in ((second, 2), (third, 3), (fifth, 5)):
        assert isinstance(row, BadRow)
        assert (row.line, row.reason) == (line, "longer than 100 bytes")
    assert isinstance(third, BadRow)
    assert third.raw == b"y" * 101 or third.raw == b"y" * 200


def test_a_huge_line_does_not_fill_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.jsonl.zst"
    line = zstandard.compress(b"x" * (6 * MAX_ROW_BYTES) + b'\n{"id": "a", "text": "t"}\n')
    corpus = open_corpus(write(path, line))
    tracemalloc.start()
    found = list(corpus)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row.line if isinstance(row, BadRow) else row.id for row in found] == [1, "a"]
    assert peak < 4 * MAX_ROW_BYTES


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus() -> None:
    def peak(n_rows: int) -> int:
        content = zstandard.compress(b"".join(b'{"id": "%d", "text": "some words"}\n' % n for n in range(n_rows)))
        corpus = from_bytes(content)
        tracemalloc.start()
        assert sum(isinstance(row, Document) for row in corpus) == n_rows
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(10)
    assert peak(100_000) < peak(25_000) + 2**20


documents = st.builds(
    Document,
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
    st.text(max_size=20),
    st.text(max_size=8),
    st.dictionaries(
        st.text(max_size=4).filter(lambda name: name not in {"metadata", *FieldNames().id, *FieldNames().text}),
        st.one_of(st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text(max_size=4), st.lists(st.text(max_size=3))),
        max_size=3,
    ),
)


@given(st.lists(documents, max_size=6), st.sampled_from(sorted(COMPRESS)))
def test_json_round_trip(expected: list[Document], compression: str) -> None:
    lines = [
        orjson.dumps({**row.metadata, "id": row.id, "text": row.text, "title": row.title}) + b"\n" for row in expected
    ]
    assert rows(COMPRESS[compression](b"".join(lines))) == expected


@given(st.binary(max_size=60), st.sampled_from(["jsonl", "csv", "tsv"]))
def test_any_bytes_give_rows_or_one_clear_error(content: bytes, format: str) -> None:
    prefix = b"" if format == "jsonl" else b"id,text\n" if format == "csv" else b"id\ttext\n"
    n_lines = (prefix + content).count(b"\n") + 1
    try:
        found = rows(prefix + content, format)
    except CorpusError:
        assert content.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"\xfe\xff"))
        return
    for row in found:
        if isinstance(row, BadRow):
            assert row.line is not None
            assert 1 <= row.line <= n_lines
