"""Training files: what is read, and what one wrong row is told."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from zstandard import ZstdCompressor

from lexhound.encoders.errors import TrainingDataError
from lexhound.training.data.files import (
    Identified,
    Pair,
    Scored,
    Text,
    Triple,
    read_documents,
    read_ids,
    read_pairs,
    read_queries,
    read_scores,
    read_triples,
)

Reader = Callable[[Path], Iterator[Any]]


def packed(content: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(content)
    if suffix == ".zst":  # two frames, as `cat a.zst b.zst` makes them
        half = len(content) // 2
        return ZstdCompressor().compress(content[:half]) + ZstdCompressor().compress(content[half:])
    return content


def written(folder: Path, rows: list[object], suffix: str = "") -> Path:
    path = folder / f"rows.jsonl{suffix}"
    content = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_bytes(packed(content.encode(), suffix))
    return path


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_pairs_by_any_name(tmp_path: Path, suffix: str) -> None:
    rows: list[object] = [
        {"query": "wing?", "positive": "a wing"}, "", {"anchor": "b", "text": "B", "title": "t", "source": "s"},
        {"question": "東京", "answer": "京", "id": 3}, {"query": "d", "document": "D", "metadata": {"x": 1}},
        {"query": "e", "pos": "E", "anchor": None},
    ]  # fmt: skip
    assert list(read_pairs(written(tmp_path, rows, suffix))) == [
        Pair("wing?", "a wing"), Pair("b", "B", "t"), Pair("東京", "京"), Pair("d", "D"), Pair("e", "E"),
    ]  # fmt: skip


def test_triples_ids_and_scores(tmp_path: Path) -> None:
    triples = [
        {"query": "a", "positive": "b", "negative": "c"},
        {"query": "a", "positive": "b", "negatives": ["c", "d"]},
        {"query": "a", "pos": "b", "neg": ["c"]},
    ]
    assert list(read_triples(written(tmp_path, [*triples]))) == [
        Triple("a", "b", ("c",)), Triple("a", "b", ("c", "d")), Triple("a", "b", ("c",)),
    ]  # fmt: skip
    ids = written(tmp_path, [{"query_id": 7, "document_ids": ["x", 3]}])
    assert list(read_ids(ids, queries={"7"}, documents={"x", "3"})) == [Identified("7", ("x", "3"))]
    scores = written(tmp_path, [{"query_id": "q", "document_ids": ["x", "y"], "scores": [0.5, 3]}])
    assert list(read_scores(scores)) == [Scored("q", ("x", "y"), (0.5, 3.0))]


def test_documents_and_queries_are_read_with_whatever_else_they_hold(tmp_path: Path) -> None:
    rows: list[object] = [
        {"_id": 3, "title": "t", "text": "a", "url": "u"}, {"id": "4", "contents": "b"}, {"_id": "5", "text": ""},
    ]  # fmt: skip
    assert list(read_documents(written(tmp_path, rows))) == [Text("a", "3", "t"), Text("b", "4"), Text("", "5")]
    asked: list[object] = [{"_id": "q", "text": "why", "metadata": {}}, {"query": "how", "source": "s", "answers": []}]
    assert list(read_queries(written(tmp_path, asked))) == [Text("why", "q"), Text("how", source="s")]
    (tmp_path / "a.tsv").write_text("1\tone\n2\ttwo\n")
    for reader in (read_documents, read_queries):
        assert list(reader(tmp_path / "a.tsv")) == [Text("one", "1"), Text("two", "2")]
    with pytest.raises(TrainingDataError, match="line 1: the row has no query"):
        list(read_queries(written(tmp_path, [{"_id": "q", "txt": "why"}])))
    with pytest.raises(TrainingDataError, match="line 1: the text is list, not text"):
        list(read_documents(written(tmp_path, [{"text": ["a"]}])))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_tables(tmp_path: Path, suffix: str) -> None:
    def table(*rows: str) -> Path:
        path = tmp_path / f"rows.tsv{suffix}"
        path.write_bytes(packed("\r\n".join(rows).encode(), suffix))
        return path

    assert list(read_pairs(table("a\tb c", "d\te"))) == [Pair("a", "b c"), Pair("d", "e")]
    assert list(read_triples(table("a\tb\tc", "a\tb\tc\td"))) == [
        Triple("a", "b", ("c",)),
        Triple("a", "b", ("c", "d")),
    ]
    assert list(read_ids(table("q\tx\ty"))) == [Identified("q", ("x", "y"))]
    assert list(read_scores(table("q\tx\t1.5", "q\ty\t-2", "r\tx\t0"))) == [
        Scored("q", ("x", "y"), (1.5, -2.0)), Scored("r", ("x",), (0.0,)),
    ]  # fmt: skip
    for reader, rows in ((read_pairs, "a\tb\tc"), (read_pairs, "a"), (read_triples, "a\tb"), (read_scores, "q\tx\ty")):
        with pytest.raises(TrainingDataError, match=r"line 2: (\d columns|'y' is not a number)") as caught:
            list(reader(table("", rows)))
        assert caught.value.hint


GOOD = {"query": "a", "positive": "b"}


@pytest.mark.parametrize(
    ("reader", "row", "message"),
    [
        (read_pairs, {"query": "a"}, "no positive"),
        (read_pairs, {"positive": "a"}, "no query"),
        (read_pairs, {"query": "a", "text": "b", "answer": "c"}, "both 'text' and 'answer'"),
        (read_pairs, {"query": " ", "text": "b"}, "query is empty"),
        (read_pairs, {"query": 3, "text": "b"}, "query is int, not text"),
        (read_pairs, {"query": "a", "text": ["b"]}, "positive is list, not text"),
        (read_pairs, {"query": "a", "text": "b", "positve": "c"}, "unknown field 'positve'"),
        (read_pairs, "[1]", "not an object"),
        (read_pairs, '{"query": ', "not JSON"),
        (read_triples, {**GOOD}, "no negative"),
        (read_triples, {**GOOD, "negatives": []}, "negatives is empty"),
        (read_triples, {**GOOD, "negatives": ["c", ""]}, "negatives is empty"),
        (read_ids, {"query_id": "q"}, "no document_ids"),
        (read_ids, {"query_id": True, "document_ids": ["x"]}, "query_id is bool"),
        (read_scores, {"query_id": "q", "document_ids": ["x"], "scores": [1, 2]}, "1 documents and 2 scores"),
        (read_scores, {"query_id": "q", "document_ids": ["x"], "scores": ["1"]}, "is not a number"),
        (read_scores, {"query_id": "q", "document_ids": ["x"], "scores": [True]}, "is not a number"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, reader: Reader, row: object, message: str) -> None:
    path = written(tmp_path, ["", row])
    with pytest.raises(TrainingDataError, match=message) as caught:
        list(reader(path))
    assert f"{path}, line 2" in caught.value.message
    assert caught.value.hint


def test_the_nearest_known_field_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="did you mean 'positive'"):
        list(read_pairs(written(tmp_path, [{"query": "a", "positve": "c"}])))


def test_rows_that_point_at_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, [{"query_id": "q", "document_ids": ["x"]}, {"query_id": "q", "document_ids": ["z"]}])
    with pytest.raises(TrainingDataError, match=r"line 2: there is no document 'z'"):
        list(read_ids(path, documents={"x"}))
    with pytest.raises(TrainingDataError, match=r"line 1: there is no query 'q'"):
        list(read_ids(path, queries=set()))


@pytest.mark.parametrize("reader", [read_pairs, read_triples, read_ids, read_scores])
@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file(tmp_path: Path, reader: Reader, content: bytes) -> None:
    for name in ("a.jsonl", "a.tsv"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TrainingDataError, match="is empty"):
            list(reader(tmp_path / name))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("kept", [-3, 20, 0])
def test_damaged_and_foreign_files(tmp_path: Path, suffix: str, kept: int) -> None:
    path = written(tmp_path, [GOOD] * 50, suffix)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TrainingDataError, match=r"data is truncated|but is empty|does not hold"):
        list(read_pairs(path))
    path.write_bytes(b"plain text that is long enough")
    with pytest.raises(TrainingDataError, match="named like a"):
        list(read_pairs(path))


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="there is no file"):
        list(read_pairs(tmp_path / "none.jsonl"))
    with pytest.raises(TrainingDataError, match="cannot be opened: Is a directory"):
        list(read_pairs(tmp_path))


def test_files_are_read_as_streams(tmp_path: Path) -> None:
    rows = read_pairs(written(tmp_path, [GOOD, "rubbish"]))
    assert next(rows) == Pair("a", "b")
    with pytest.raises(TrainingDataError, match="line 2"):
        next(rows)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"\xef\xbb\xbfa\tb\n")
    assert list(read_pairs(tmp_path / "a.tsv")) == [Pair("a", "b")]
