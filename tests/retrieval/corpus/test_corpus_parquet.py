"""Corpora in Parquet files."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lexhound.retrieval.corpus import BadRow, open_corpus
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorpusError


def written(columns: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def test_rows_and_progress(tmp_path: Path) -> None:
    n_rows = 1000
    path = tmp_path / "c.parquet"
    columns = {
        "_id": list(range(n_rows)),
        "title": ["T"] * n_rows,
        "text": [f"text {number}" for number in range(n_rows)],
        "year": [1990] * n_rows,
    }
    path.write_bytes(written(columns, row_group_size=300))
    corpus = open_corpus(path)
    progress = []
    for _ in range(2):
        found = []
        for row in corpus:
            found.append(row)
            progress.append(corpus.bytes_read)
        assert found == [Document(str(number), f"text {number}", "T", {"year": 1990}) for number in range(n_rows)]
        assert corpus.bytes_read == corpus.total_bytes == path.stat().st_size
        assert corpus.where == f"{path}, row 1000"
    assert progress[:n_rows] == sorted(progress[:n_rows])
    assert progress[n_rows] == 0


def test_values_become_what_json_holds() -> None:
    moment = datetime.datetime(2026, 1, 31, 12, 30, tzinfo=datetime.UTC)
    content = written(
        {
            "id": ["a"],
            "text": pa.array([b"bytes that are UTF-8"], pa.binary()),
            "day": [datetime.date(2026, 1, 31)],
            "at": [moment],
            "nanoseconds": pa.array([1], pa.timestamp("ns")),
            "price": [decimal.Decimal("12.50")],
            "whole": [decimal.Decimal("3.00")],
            "missing": pa.array([float("nan")]),
            "nothing": pa.array([None], pa.int64()),
            "tags": [["x", "y"]],
            "author": [{"name": "Lin", "born": datetime.date(1990, 1, 1)}],
            "metadata": [{"url": "u"}],
        }
    )
    (row,) = open_corpus("-", format="parquet", stdin=io.BytesIO(content))
    assert row == Document(
        "a",
        "bytes that are UTF-8",
        "",
        {
            "url": "u",
            "day": "2026-01-31",
            "at": "2026-01-31T12:30:00+00:00",
            "nanoseconds": "1970-01-01T00:00:00",
            "price": 12.5,
            "whole": 3,
            "missing": None,
            "nothing": None,
            "tags": ["x", "y"],
            "author": {"name": "Lin", "born": "1990-01-01"},
        },
    )


def test_bad_rows_are_located(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    columns = {
        "id": ["a", None, "c", "", "e", "f", "g"],
        "text": ["t", "t", None, "t", "t", "t", ""],
        "raw": pa.array([b"x", b"x", b"x", b"x", b"\xff", b"x", None], pa.binary()),
        "when": pa.array([0, 0, 0, 0, 0, 2**60, 0], pa.timestamp("us")),
    }
    path.write_bytes(written(columns))
    found = list(open_corpus(path))
    assert [row.id for row in found if isinstance(row, Document)] == ["a", "g"]
    bad = [row for row in found if isinstance(row, BadRow)]
    assert [(row.line, row.unit, row.where) for row in bad] == [
        (number, "row", f"{path}, row {number}") for number in (2, 3, 4, 5, 6)
    ]
    for row, reason in zip(
        bad,
        ["no id", "no text", "the id is empty", "'raw' holds a value of type bytes", "Python cannot hold"],
        strict=True,
    ):
        assert reason in row.reason


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip"])
def test_compressed_inside(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(written({"id": ["a"], "text": ["t"]}, compression=compression))
    assert list(open_corpus(path)) == [Document("a", "t")]


def test_compressed_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet.gz"
    path.write_bytes(gzip.compress(written({"id": ["a"], "text": ["t"]})))
    corpus = open_corpus(path)
    for _ in range(2):
        assert list(corpus) == [Document("a", "t")]
        assert corpus.bytes_read == corpus.total_bytes == path.stat().st_size
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match="the gzip data is truncated"):
        list(open_corpus(path))


def test_named_fields_and_missing_columns(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(written({"url": ["u"], "abstract": ["t"]}))
    assert list(open_corpus(path, id_field="url", text_field="abstract")) == [Document("u", "t")]
    with pytest.raises(CorpusError, match=r"no column for the id: .*found 'url', 'abstract'.*--id-field"):
        list(open_corpus(path))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_not_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match="not a readable Parquet file") as caught:
        list(open_corpus(path))
    assert str(path) in str(caught.value)


def test_damaged_and_truncated(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    texts = [f"text {number}" for number in range(1000)]
    whole = written({"id": texts, "text": texts}, compression="zstd")
    for content in (whole[: len(whole) // 2], whole[:200] + b"\xff" * 500 + whole[700:]):
        path.write_bytes(content)
        with pytest.raises(CorpusError, match="not a readable Parquet file"):
            list(open_corpus(path))


def test_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(written({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}))
    assert list(open_corpus(path)) == []


def test_without_pyarrow_the_error_names_the_extra(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(written({"id": ["a"], "text": ["t"]}))
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from lexhound.retrieval.corpus import open_corpus\n"
        "from lexhound.retrieval.errors import CorpusError\n"
        "try:\n    list(open_corpus(sys.argv[1]))\n"
        "except CorpusError as error:\n    sys.stdout.write(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"{path}: reading Parquet needs pyarrow, which is not installed. Install it: pip install 'lexhound[parquet]'."
    )


def test_numbers_that_would_lose_digits_are_refused() -> None:
    table = {
        "id": ["kept", "beyond", "digits", "nested"],
        "text": ["t", "t", "t", "t"],
        "unsigned": pa.array([2**63 - 1, 2**64 - 1, 1, 1], pa.uint64()),
        "price": pa.array([decimal.Decimal("0.10"), None, decimal.Decimal("1.123456789012345678"), None]),
        "whole": pa.array([None, None, None, [decimal.Decimal(10**20)]]),
    }
    kept, *wrong = open_corpus("-", format="parquet", stdin=io.BytesIO(written(table)))
    assert isinstance(kept, Document)
    assert kept.metadata == {"unsigned": 2**63 - 1, "price": 0.1, "whole": None}
    reasons = [row.reason for row in wrong if isinstance(row, BadRow)]
    assert reasons == [
        "the metadata field 'unsigned' holds an integer of more than 64 bits",
        "the field 'price' holds 1.123456789012345678, which has more digits than a floating-point number keeps",
        "the metadata field 'whole' holds an integer of more than 64 bits",
    ]


@pytest.mark.parametrize("name", ["id", "year"])
def test_a_column_that_is_there_twice_is_refused(name: str) -> None:
    table = pa.Table.from_arrays([pa.array(["a"])] * 4, names=["id", "text", "year", name])
    sink = io.BytesIO()
    pq.write_table(table, sink)
    with pytest.raises(CorpusError, match=f"the file has the column '{name}' more than once"):
        list(open_corpus("-", format="parquet", stdin=io.BytesIO(sink.getvalue())))
