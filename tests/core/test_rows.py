"""One reader of lines, tables and JSON Lines: numbers, faults, and ends within compressed data."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from lexhound.core.rows import (
    BadRecord,
    JsonRecord,
    Line,
    Record,
    RowError,
    column_names,
    read_csv,
    read_json_lines,
    read_text,
    read_tsv,
)
from lexhound.core.streams import InputStream, find_compressed, open_input, without_compression


class DamagedError(Exception):
    """What the readers are told to raise."""


def fault(message: str, where: str, hint: str) -> DamagedError:
    return DamagedError(f"{where}: {message}. {hint}")


def stream(content: bytes) -> InputStream:
    return InputStream(io.BytesIO(content), "f", fault)


READERS: list[Callable[[InputStream], Iterator[object]]] = [read_text, read_tsv, read_csv, read_json_lines]


def test_json_lines_have_their_numbers_and_faults() -> None:
    content = b'\xef\xbb\xbf{"a": 1}\r\n\n \t\n[1]\n{"a": 1, "a": 2}\n{"a": "caf\xe9"}\n{\n5\n{"b": 2}'
    rows = list(read_json_lines(stream(content)))
    assert [row.line for row in rows] == [1, 4, 5, 6, 7, 8, 9]
    assert [row.values for row in rows if isinstance(row, JsonRecord)] == [{"a": 1}, {"b": 2}]
    bad = [row for row in rows if isinstance(row, BadRecord)]
    assert [row.reason for row in bad][:3] == [
        "JSON, but not an object",
        "the key 'a' occurs twice in one object",
        "not UTF-8: byte 11 of the line is 0xe9",
    ]
    assert [row.undecodable for row in bad] == [False, False, True, False, False]
    assert "jq -c '.[]'" in bad[0].hint
    assert "jq -c ." in bad[3].hint
    assert bad[4].raw == b"5\n"


def test_lines_beyond_the_limit_are_bad_and_reading_goes_on() -> None:
    content = b'{"a": "' + b"x" * 100 + b'"}\n{"a": 1}\n'
    first, second = read_json_lines(stream(content), 50)
    assert isinstance(first, BadRecord)
    assert first.reason == "longer than 50 bytes"
    assert isinstance(second, JsonRecord)
    assert second.line == 2
    first, second = read_text(stream(content), 50)
    assert isinstance(first, BadRecord)
    assert second == Line('{"a": 1}', 2, b'{"a": 1}\n')


def test_tabs_separate_and_nothing_else() -> None:
    rows = list(read_tsv(stream(b'a\t"b c"\r\n\na\rb\tc\n\t\n\xff\tx\n1\t\n')))
    assert [row.cells for row in rows if isinstance(row, Record)] == [["a", '"b c"'], ["1", ""]]
    assert [(row.line, row.reason) for row in rows if isinstance(row, BadRecord)] == [
        (3, "a carriage return in the middle of the line"),
        (5, "not UTF-8: byte 1 of the line is 0xff"),
    ]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_file_that_is_cut_short_is_an_error_of_every_reader(
    reader: Callable[[InputStream], Iterator[object]], compress: Callable[[bytes], bytes]
) -> None:
    whole = compress(b'{"id": 1}\n' * 5000)
    assert len(list(reader(stream(whole)))) == 5000
    for end in (len(whole) - 1, len(whole) // 2, 5):
        with pytest.raises(DamagedError, match=r"f: the .* data is (truncated|damaged)"):
            list(reader(stream(whole[:end])))


@pytest.mark.parametrize("reader", READERS)
def test_utf_16_is_an_error_of_every_reader(reader: Callable[[InputStream], Iterator[object]]) -> None:
    with pytest.raises(DamagedError, match="UTF-16"):
        list(reader(stream("a\tb\n".encode("utf-16"))))


def test_columns_have_names_of_their_own() -> None:
    assert column_names(["id", "", " text "]) == ["id", "column_2", "text"]
    with pytest.raises(RowError, match="the column 'id' more than once"):
        column_names(["id", "id "])


def test_names_of_compressed_files(tmp_path: Path) -> None:
    assert without_compression(Path("a/q.jsonl.GZ")) == Path("a/q.jsonl")
    assert without_compression(Path("q.tsv")) == Path("q.tsv")
    assert find_compressed(tmp_path / "q.jsonl") is None
    (tmp_path / "q.jsonl.zst").write_bytes(zstandard.compress(b"{}\n"))
    assert find_compressed(tmp_path / "q.jsonl") == tmp_path / "q.jsonl.zst"
    (tmp_path / "q.jsonl.gz").write_bytes(b"{}\n")
    with pytest.raises(DamagedError, match="does not hold gzip data"):
        open_input(tmp_path / "q.jsonl.gz", "q", fault)
