"""Corpora of lines and records: JSON Lines, BEIR folders, CSV, TSV; compressed; from a pipe."""

from __future__ import annotations

import csv
import gzip
import io
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lexhound.core import rows as tables
from lexhound.core.streams import MAX_ROW_BYTES, InputStream
from lexhound.retrieval.corpus import BadRow, Corpus, open_corpus
from lexhound.retrieval.corpus.base import corpus_fault
from lexhound.retrieval.corpus.jsonl import JsonLinesCorpus
from lexhound.retrieval.corpus.rows import FieldNames
from lexhound.retrieval.corpus.table import CsvCorpus
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import BadRowError, CorpusError

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def from_bytes(content: bytes, format: str = "jsonl", **options: Any) -> Corpus:
    return open_corpus("-", format=format, stdin=io.BytesIO(content), **options)


def rows(content: bytes, format: str = "jsonl", **options: Any) -> list[Document | BadRow]:
    return list(from_bytes(content, format, **options))


def bad(content: bytes, format: str = "jsonl", **options: Any) -> list[tuple[int | None, str]]:
    return [(row.line, row.reason) for row in rows(content, format, **options) if isinstance(row, BadRow)]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# -- JSON Lines ------------------------------------------------------------------------------------------------


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


def small_rows(content: bytes, kind: type[JsonLinesCorpus] | type[CsvCorpus]) -> list[Document | BadRow]:
    return list(kind("c", lambda: InputStream(io.BytesIO(content), "c", corpus_fault), None, FieldNames(), 100))


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


# -- BEIR folders and file names -------------------------------------------------------------------------------

LINE = b'{"_id": "a", "title": "T", "text": "t"}\n'


@pytest.mark.parametrize("compression", sorted(COMPRESS))
def test_beir_folder(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / f"corpus.jsonl{compression}", COMPRESS[compression](LINE))
    write(tmp_path / "queries.jsonl", b"{}\n")
    corpus = open_corpus(tmp_path)
    assert corpus.name == str(path)
    assert list(corpus) == [Document("a", "t", "T")]
    assert list(open_corpus(str(tmp_path), format="jsonl")) == [Document("a", "t", "T")]


@pytest.mark.parametrize("compression", sorted(COMPRESS))
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".JSONL"])
def test_files_by_name(tmp_path: Path, suffix: str, compression: str) -> None:
    path = write(tmp_path / f"c{suffix}{compression}", COMPRESS[compression](LINE * 3))
    corpus = open_corpus(path)
    assert corpus.total_bytes == path.stat().st_size
    assert corpus.bytes_read == 0
    for _ in range(2):
        assert list(corpus) == [Document("a", "t", "T")] * 3
        assert corpus.bytes_read == corpus.total_bytes


def test_format_overrides_the_name(tmp_path: Path) -> None:
    assert list(open_corpus(write(tmp_path / "c.csv", LINE), format="jsonl")) == [Document("a", "t", "T")]
    assert list(open_corpus(write(tmp_path / "data", LINE), format="jsonl")) == [Document("a", "t", "T")]
    table = gzip.compress(b"id,text\na,t\n")
    assert list(open_corpus(write(tmp_path / "c.gz", table), format="csv")) == [Document("a", "t")]


def test_compression_is_recognised_without_a_name(tmp_path: Path) -> None:
    for compress in COMPRESS.values():
        assert list(open_corpus(write(tmp_path / "c.jsonl", compress(LINE)))) == [Document("a", "t", "T")]


def test_place_of_the_latest_row(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", b"\n" + LINE + b"\n" + LINE)
    corpus = open_corpus(path)
    seen = []
    for row in corpus:
        assert isinstance(row, Document)
        seen.append((corpus.where, corpus.bad_row("twice", "Keep one.")))
    assert [where for where, _ in seen] == [f"{path}, line 2", f"{path}, line 4"]
    assert seen[1][1] == BadRow(str(path), 4, "twice", "Keep one.", LINE.strip())


def test_sample_corpus(samples: Path) -> None:
    found = list(open_corpus(samples / "cranfield"))
    assert len(found) == 1400
    assert all(isinstance(row, Document) for row in found)
    assert sum(isinstance(row, Document) and not row.text for row in found) == 2


# -- what cannot be opened -------------------------------------------------------------------------------------


def failure(source: str | Path, **options: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        open_corpus(source, **options)
    assert caught.value.hint
    return str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl", LINE)
    message = failure(tmp_path / "corpsu.jsonl")
    assert message == (f"{tmp_path}/corpsu.jsonl: no such file or folder. Did you mean {tmp_path}/corpus.jsonl?")
    assert "Check the path." in failure(tmp_path / "nothing-like-it")
    assert f"There is no folder {tmp_path}/a/b." in failure(tmp_path / "a" / "b" / "c.jsonl")
    assert "cannot be read: Not a directory" in failure(tmp_path / "corpus.jsonl" / "c.jsonl")
    assert "embedded null byte" in failure("a\0b.jsonl")


def test_unknown_formats(tmp_path: Path) -> None:
    assert ".xml is no format that can be read. Known are .jsonl, " in failure(write(tmp_path / "c.xml", LINE))
    assert "Name the folder that holds it" in failure(write(tmp_path / "c.txt", LINE))
    assert "the name does not tell the format" in failure(write(tmp_path / "corpus", LINE))
    assert "the name does not tell the format" in failure(write(tmp_path / "corpus.gz", gzip.compress(LINE)))
    assert "there is no format 'xml'" in failure(tmp_path / "c.xml", format="xml")
    assert "not a folder" in failure(tmp_path / "c.xml", format="folder")
    assert "a folder cannot be read as csv" in failure(tmp_path, format="csv")
    assert "standard input is not a folder" in failure("-", format="folder")


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root may read every file: as root, be another user for the length of a test."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.mark.usefixtures("nobody")
def test_unreadable_file() -> None:
    with tempfile.TemporaryDirectory() as folder:  # `tmp_path` belongs to the user who runs the tests
        path = write(Path(folder) / "c.jsonl", LINE)
        path.chmod(0)
        assert failure(path).startswith(f"{path}: cannot be opened: Permission denied.")


def test_empty_corpus_error(tmp_path: Path) -> None:
    corpus = open_corpus(write(tmp_path / "c.jsonl", b"\n"))
    assert list(corpus) == []
    assert str(corpus.empty_error()).startswith(f"{tmp_path}/c.jsonl: the corpus is empty")


# -- damaged compression ---------------------------------------------------------------------------------------

MANY = b"".join(b'{"id": "%d", "text": "%s"}\n' % (n, os.urandom(8).hex().encode()) for n in range(20_000))


def until_error(path: Path) -> tuple[int, str]:
    """How many documents come before the error, and what it says."""
    count = 0
    with pytest.raises(CorpusError) as caught:  # noqa: PT012
        for row in open_corpus(path):
            count += isinstance(row, Document)
    return count, str(caught.value)


@pytest.mark.parametrize(("compression", "kind"), [(".gz", "gzip"), (".zst", "zstd")])
def test_truncated_and_damaged_compression(tmp_path: Path, compression: str, kind: str) -> None:
    whole = COMPRESS[compression](MANY)
    path = tmp_path / f"c.jsonl{compression}"
    for size in (len(whole) // 2, len(whole) - 1, 5):
        count, message = until_error(write(path, whole[:size]))
        assert count < 20_001
        assert message == f"{path}: the {kind} data is truncated. Fetch or compress the file again."
    middle = len(whole) // 2
    _, message = until_error(write(path, whole[:middle] + b"\xff" * 40 + whole[middle + 40 :]))
    assert f"{path}: the {kind} data is " in message
    _, message = until_error(write(path, COMPRESS[compression](LINE) + b"rubbish at the end"))
    assert f"{path}: the {kind} data is damaged" in message


@pytest.mark.parametrize(("compression", "kind"), [(".gz", "gzip"), (".zst", "zstd")])
def test_named_compressed_but_is_not(tmp_path: Path, compression: str, kind: str) -> None:
    path = tmp_path / f"c.jsonl{compression}"
    assert f"named like a {kind} file but does not hold {kind} data" in failure(write(path, LINE))
    assert f"named like a {kind} file but is empty" in failure(write(path, b""))


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_several_members_and_padding(tmp_path: Path, compression: str) -> None:
    compress = COMPRESS[compression]
    content = compress(LINE) + compress(b"") + compress(LINE[:10]) + compress(LINE[10:])
    if compression == ".gz":
        content += b"\0" * 512
    else:
        content = b"\x50\x2a\x4d\x18\x03\0\0\0abc" + content  # a skippable frame first
    path = write(tmp_path / f"c.jsonl{compression}", content)
    assert list(open_corpus(path)) == [Document("a", "t", "T")] * 2


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.sampled_from([".gz", ".zst"]), st.data())
def test_compressed_streams_are_whole_or_an_error(parts: list[bytes], compression: str, data: st.DataObject) -> None:
    members = [COMPRESS[compression](part) for part in parts]
    content = b"".join(members)
    assert io.BufferedReader(InputStream(io.BytesIO(content), "c", corpus_fault)).read() == b"".join(parts)
    size = data.draw(st.integers(4, len(content) - 1))
    ends = [sum(map(len, members[: n + 1])) for n in range(len(members))]
    reader = io.BufferedReader(InputStream(io.BytesIO(content[:size]), "c", corpus_fault))
    if size in ends:
        assert reader.read() == b"".join(parts[: ends.index(size) + 1])
    else:
        with pytest.raises(CorpusError, match=r"truncated|damaged"):
            reader.read()


class BrokenDisk(io.BytesIO):
    """A file of which the second read fails."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > 2:
            raise OSError(5, "Input/output error")
        return super().read(min(size or 0, 50))


def test_a_failing_disk_is_a_corpus_error() -> None:
    found = []
    with pytest.raises(CorpusError, match="standard input: cannot be read: Input/output error"):
        found.extend(open_corpus("-", stdin=BrokenDisk(LINE * 100)))
    assert found == [Document("a", "t", "T")]


# -- standard input --------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from lexhound.retrieval.corpus import open_corpus
corpus = open_corpus("-", format=sys.argv[1] if len(sys.argv) > 1 else None)
for row in corpus:
    sys.stdout.write(f"{corpus.where} {row}\\n")
sys.stdout.write(f"{corpus.name} {corpus.total_bytes} {corpus.bytes_read}\\n")
"""


def piped(content: bytes, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], input=content, capture_output=True, check=True, timeout=120
    )
    return done.stdout.decode().splitlines()


def test_standard_input_of_a_process() -> None:
    lines = piped(LINE + b"oops\n")
    assert lines[0].startswith("standard input, line 1 Document(id='a', text='t', title='T'")
    assert lines[1].startswith("standard input, line 2 standard input, line 2: not JSON")
    assert lines[2] == f"standard input None {len(LINE) + 5}"
    assert piped(gzip.compress(b"id,text\na,t\n"), "csv")[0].startswith("standard input, line 2 Document(id='a'")


def test_standard_input_can_be_read_once() -> None:
    corpus = from_bytes(LINE)
    assert len(list(corpus)) == 1
    with pytest.raises(CorpusError, match="standard input: can be read only once"):
        list(corpus)


class Trickle(io.RawIOBase):
    """A pipe that gives one byte at a time."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._bytes: Iterator[int] = iter(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return bytes([byte for byte in [next(self._bytes, None)] if byte is not None])


@pytest.mark.parametrize("compression", sorted(COMPRESS))
def test_slow_pipes(compression: str) -> None:
    stream: Any = Trickle(COMPRESS[compression](LINE * 2))
    assert list(open_corpus("-", stdin=stream)) == [Document("a", "t", "T")] * 2


def test_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    with subprocess.Popen(["sh", "-c", f"cat > '{path}'"], stdin=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        writer.stdin.write(LINE)
        writer.stdin.close()
        corpus = open_corpus(path)
        assert corpus.total_bytes is None
        assert list(corpus) == [Document("a", "t", "T")]


# -- CSV and TSV -----------------------------------------------------------------------------------------------


def test_csv() -> None:
    content = (
        b"\xef\xbb\xbfid, title ,text,year,score,code,lang,big\r\n"
        b'1,T,"a, ""b""\nc",1990,-2.50,007,,9223372036854775808\r\n'
        b"\r\n"
        b"2,,,-0,1e5,+1,de,0\n"
    )
    assert rows(content, "csv") == [
        Document("1", 'a, "b"\nc', "T", {"year": 1990, "score": -2.5, "code": "007", "big": "9223372036854775808"}),
        Document("2", "", "", {"year": "-0", "score": "1e5", "code": "+1", "lang": "de", "big": 0}),
    ]


def test_ids_titles_and_texts_of_tables_stay_text() -> None:
    assert rows(b"_id\ttitle\ttext\tid2\n007\t1984\t42\t007\n", "tsv") == [
        Document("007", "42", "1984", {"id2": "007"})
    ]
    (row,) = rows(b"url,body,id,text,\nu,b,5,6,7\n", "csv", id_field="url", text_field="body")
    assert row == Document("u", "b", "", {"id": 5, "text": 6, "column_5": 7})


def test_bad_records_are_located_by_the_line_they_start_on() -> None:
    content = (
        b"id,text\n"
        b"1,one\n"  # 2
        b"2,two,too many\n"  # 3
        b"3\n"  # 4
        b'"4","four\nlines\n\nlong",5\n'  # 5 to 8
        b",no id\n"  # 9
        b"6,\xff\n"  # 10
        b'"7","\nx\xe9\n"\n'  # 11 to 13
        b'"8"x,eight\n'  # 14
        b"9,nine\rten\n"  # 15
        b"10,ten\n"  # 16
        b'"11","never closed\n'  # 17
        b"12,read again\n"
    )
    found = rows(content, "csv")
    assert [row.id for row in found if isinstance(row, Document)] == ["1", "10", "12"]
    assert bad(content, "csv") == [
        (3, "3 fields where the header has 2"),
        (4, "1 fields where the header has 2"),
        (5, "3 fields where the header has 2"),
        (9, "the id is empty"),
        (10, "not UTF-8 in line 10"),
        (11, "not UTF-8 in line 12"),
        (14, "badly quoted: ',' expected after '\"'"),
        (15, bad(content, "csv")[7][1]),
        (17, "badly quoted: a quote is opened and never closed; reading goes on at line 18"),
    ]
    assert "new-line" in bad(content, "csv")[7][1]
    raws = [row.raw for row in found if isinstance(row, BadRow)]
    assert raws[:3] == [b"2,two,too many", b"3", b'"4","four\nlines\n\nlong",5']
    assert [row.lines for row in found if isinstance(row, BadRow)] == [1, 1, 4, 1, 1, 3, 1, 1, 1]


def test_overlong_records() -> None:
    long = b'"3","' + b"line\n" * 40 + b'""quoted"" and\n ""","then\n' + b"more\n" * 40 + b'"\n'
    content = b"id,text\n" + b"1," + b"x" * 500 + b"\n2,two\n" + long + b"4,four\n"
    found = small_rows(content, CsvCorpus)
    assert found[1] == Document("2", "two")
    assert found[-1] == Document("4", "four")
    first, second = found[0], found[2]
    assert isinstance(first, BadRow)
    assert isinstance(second, BadRow)
    assert (first.line, first.reason) == (2, "longer than 100 bytes")
    assert (second.line, second.reason, second.lines) == (4, "longer than 100 bytes", 83)


def test_long_cells_are_read() -> None:
    assert rows(b"id,text\n1," + b"x" * 300_000 + b"\n", "csv") == [Document("1", "x" * 300_000)]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"name,text\n", "no column for the id: looked for 'id', '_id' or 'docid', found 'name', 'text'"),
        (b"id,abstract\n", "no column for the text: looked for 'text', 'contents' or 'body'"),
        (b"id;text\n", "Are the columns separated by something else?"),
        (b"id,text,year,year\n", "the header names the column 'year' more than once"),
        (b"id,t\xffxt\n", "line 1: the header row is not UTF-8 in line 1"),
        (b'\n\n"id"x,text\n', "line 3: the header row is badly quoted"),
    ],
)
def test_bad_headers(header: bytes, message: str) -> None:
    with pytest.raises(CorpusError) as caught:
        rows(header + b"1,one\n", "csv")
    assert message in str(caught.value)
    assert str(caught.value).startswith("standard input")


def test_named_field_that_is_no_column() -> None:
    with pytest.raises(CorpusError, match="no column for the id: looked for 'url', found 'id', 'text'"):
        rows(b"id,text\n1,one\n", "csv", id_field="url")


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=8)
records_of = st.tuples(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5), cells, cells, cells
)


@given(st.lists(records_of, max_size=5))
def test_csv_round_trip(records: list[tuple[str, str, str, str]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "text", "title", "note"])
    # A letter before the note keeps it from looking like a number.
    writer.writerows([(*record[:3], f"n{record[3]}") for record in records])
    assert rows(buffer.getvalue().encode(), "csv") == [
        Document(name, text, title, {"note": f"n{note}"}) for name, text, title, note in records
    ]


@given(st.lists(records_of, max_size=5), st.sampled_from(["\n", "\r\n"]), st.sampled_from(sorted(COMPRESS)))
def test_tsv_round_trip(records: list[tuple[str, str, str, str]], end: str, compression: str) -> None:
    """Every character but a tab and a line break stands for itself."""
    plain = [tuple(cell.replace("\t", '"').replace("\n", "\\") for cell in record) for record in records]
    lines = ["id\ttext\ttitle\tnote", *(f"{name}\t{text}\t{title}\tn{note}" for name, text, title, note in plain)]
    content = COMPRESS[compression]("".join(line + end for line in lines).encode())
    assert rows(content, "tsv") == [
        Document(name, text, title, {"note": f"n{note}"}) for name, text, title, note in plain
    ]


def test_tsv_has_no_quoting() -> None:
    content = b'id\ttext\n1\t"opening\n2\tharbour\n3\ttug wages"\n4\t"whole"\n5\t6" pipe \\t\n'
    assert rows(content, "tsv") == [
        Document("1", '"opening'),
        Document("2", "harbour"),
        Document("3", 'tug wages"'),
        Document("4", '"whole"'),
        Document("5", '6" pipe \\t'),
    ]
    assert bad(b"id\ttext\n1\ta\tb\n2\n3\tx\ry\n4\t\xff\n", "tsv") == [
        (2, "3 fields where the header has 2"),
        (3, "1 fields where the header has 2"),
        (4, "a carriage return in the middle of the line"),
        (5, "not UTF-8: byte 3 of the line is 0xff"),
    ]


def test_tsv_of_20000_rows_with_quotes_is_20000_documents() -> None:
    quoted = ['"an opening quote', 'a closing one"', '"both"', 'an inch: 6"', "none", '""', '"', "'"]
    texts = [f"{quoted[number % len(quoted)]} {number}"[:: -1 if number % 3 == 0 else 1] for number in range(20_000)]
    content = "id\ttext\n" + "".join(f"{number}\t{text}\n" for number, text in enumerate(texts))
    assert rows(content.encode(), "tsv") == [Document(str(number), text) for number, text in enumerate(texts)]


@given(st.data())
def test_a_stray_quote_in_csv_costs_its_own_line_or_is_told(data: st.DataObject) -> None:
    """Whatever quotes are put before texts, no row is lost that is not a bad row or inside a record that is told."""
    count = data.draw(st.integers(1, 12))
    stray = data.draw(st.sets(st.integers(1, count)))
    ends = data.draw(st.sets(st.integers(1, count)))
    marks = ["", '"']
    content = "id,text\n" + "".join(f"{n},{marks[n in stray]}text {n}{marks[n in ends]}\n" for n in range(1, count + 1))
    corpus = from_bytes(content.encode(), "csv")
    found = list(corpus)
    lines = [row.lines if isinstance(row, BadRow) else 1 + row.text.count("\n") for row in found]
    assert sum(lines) == count
    spans = sum(isinstance(row, Document) and "\n" in row.text for row in found)
    assert all(row.lines == 1 for row in found if isinstance(row, BadRow))
    notices = corpus.notices()
    assert len(notices) == (spans > 0)
    if notices:
        assert f"{spans} record" in notices[0]
        assert "look like rows themselves" in notices[0]


def test_reading_goes_on_behind_a_badly_quoted_record() -> None:
    content = b'id,text\n1,one\n2,"never closed\n' + b"".join(b"%d,text\n" % n for n in range(3, 1000))
    found = rows(content, "csv")
    assert [row.id for row in found if isinstance(row, Document)] == ["1", *map(str, range(3, 1000))]
    assert bad(content, "csv") == [(3, "badly quoted: a quote is opened and never closed; reading goes on at line 4")]
    # Closed far behind, in a row that has a field too many then: the lines look like rows, so one is lost.
    found = rows(content + b'1000,"quoted", and more\n1001,last\n', "csv")
    assert [row.id for row in found if isinstance(row, Document)][-2:] == ["999", "1001"]
    assert [row.line for row in found if isinstance(row, BadRow)] == [3, 1001]


def test_texts_of_several_lines_are_no_reason_for_a_notice() -> None:
    poem = '"Shall I compare thee,\nto a summer\'s day?\nThou art more lovely, and more temperate:\n\n1 of 3"'
    corpus = from_bytes(f"id,text\n1,{poem}\nd2,{poem}\n3,last\n".encode(), "csv")
    assert [row.id for row in corpus if isinstance(row, Document)] == ["1", "d2", "3"]
    assert corpus.notices() == []


def test_a_quote_that_is_never_closed_does_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MAX_ROW_LINES", 100)
    content = b'id,text\n1,"open\n' + b"".join(b"%d,text\n" % n for n in range(2, 1000))
    found = rows(content, "csv")
    assert [row.id for row in found if isinstance(row, Document)] == list(map(str, range(2, 1000)))
    (row,) = (row for row in found if isinstance(row, BadRow))
    assert (row.line, row.lines) == (2, 1)
    assert row.reason.startswith("badly quoted: a quote is opened and not closed within ")
    # Lines that look like no rows belong to the record, however long it is.
    found = rows(b'id,text\n1,"open\n' + b"some words\n" * 500 + b'the end"\n2,two\n', "csv")
    assert found[1:] == [Document("2", "two")]
    assert isinstance(found[0], BadRow)
    assert found[0].lines == 502


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("0123456789.-+e ", max_size=6))
def test_only_what_is_written_exactly_like_a_number_becomes_one(value: float | str) -> None:
    cell = str(value)
    (row,) = rows(f"id,text,n\n1,t,{cell}\n".encode(), "csv")
    assert isinstance(row, Document)
    read = row.metadata.get("n", "")
    assert isinstance(read, (int, float, str))
    if isinstance(read, str):
        assert read == cell
    else:
        assert float(cell) == read
        assert str(read) == cell or (isinstance(read, float) and cell.strip("-").replace(".", "").isdigit())
