"""Data frames as corpora, query sets and results, beside the same rows as JSON Lines."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from command import run
from service import running

from lexhound.core.arrow_rows import is_table
from lexhound.eval.datasets.topics import read_queries
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.corpus import BadRow, open_corpus
from lexhound.retrieval.errors import CorpusError, InvalidDocumentError, QueryError
from lexhound.retrieval.frames import query_rows, search_frame

ROWS: list[dict[str, Any]] = [
    {"id": "007", "text": "heat transfer", "title": "Heat", "year": 1958, "tags": ["a", "b"], "share": 0.5},
    {"id": " 8", "text": "flow of heat", "title": None, "year": None, "tags": None, "share": None},
    {"id": "传/9", "text": "a wing", "title": "<b>Wing</b>", "year": 2**60, "tags": [], "share": 1.0},
]


def from_json(tmp_path: Path, rows: list[dict[str, Any]]) -> list[Any]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(open_corpus(path))


KINDS: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(ROWS).astype({"year": "Int64"}),
    "polars": lambda: pl.DataFrame(ROWS),
    "polars lazy": lambda: pl.DataFrame(ROWS).lazy(),
    "pyarrow": lambda: pa.Table.from_pylist(ROWS),
    "pyarrow batch": lambda: pa.RecordBatch.from_pylist(ROWS),
    "datasets": lambda: datasets.Dataset.from_list(ROWS),
    "datasets stream": lambda: datasets.Dataset.from_list(ROWS).to_iterable_dataset(),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.model if kind == "datasets stream" else ()) for kind in KINDS]
)
def test_a_frame_is_the_corpus_that_its_rows_are(kind: str, tmp_path: Path) -> None:
    expected = from_json(tmp_path, ROWS)
    corpus = open_corpus(KINDS[kind]())
    assert list(corpus) == expected
    assert list(corpus) == expected, "it can be read again"
    with Collection.create(tmp_path / "my.index", encoder="bm25") as made:
        assert made.add(KINDS[kind]()).added == 3
        assert [made.get(row["id"]) for row in ROWS] == expected, "ids are kept as given"
    with Collection.create(tmp_path / "other.index", encoder="bm25") as made:
        assert made.ingest(open_corpus(KINDS[kind]()), source=kind).added == 3
        assert made.get("007") == expected[0]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather", ".stream.arrow", ".csv", ".parquet.gz"])
def test_files_of_tables(suffix: str, tmp_path: Path) -> None:
    import gzip

    rows = [{"id": f"d{n}", "text": f"heat {n}", "year": n} for n in range(3000)]
    table, path = pa.Table.from_pylist(rows), tmp_path / f"rows{suffix}"
    if suffix == ".csv":
        table.to_pandas().to_csv(path, index=False)
    elif suffix == ".feather":
        pyarrow.feather.write_feather(table, path, compression="zstd")
    elif suffix.endswith(".arrow"):
        new = pa.ipc.new_stream if suffix.startswith(".stream") else pa.ipc.new_file
        with new(path, table.schema) as writer:
            writer.write_table(table, 1000)
    elif suffix == ".parquet":
        pq.write_table(table, path)
    else:
        pq.write_table(table, tmp_path / "plain")
        path.write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    assert list(open_corpus(path)) == [Document(row["id"], row["text"], "", {"year": row["year"]}) for row in rows]
    if suffix == ".arrow":
        assert run("index", path, "--into", tmp_path / "my.index", "--encoder", "bm25").code == 0
        assert run("info", tmp_path / "my.index", "--json").json["documents"] == 3000
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(CorpusError, match="not a readable Arrow file"):
            list(open_corpus(path))


def test_indexes_dates_and_missing_values_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"text": ["a", "b"], "when": [pd.Timestamp("2020-01-02T03:04:05.000000006"), pd.NaT], "n": [1.5, np.nan]},
        index=pd.Index([5, 6], name="id"),
    )
    assert list(open_corpus(frame)) == [
        Document("5", "a", "", {"when": "2020-01-02T03:04:05", "n": 1.5}),
        Document("6", "b", "", {"when": None, "n": None}),
    ]
    assert list(open_corpus(frame.reset_index(), id_field="id", text_field="text")) == list(open_corpus(frame))
    large = pd.DataFrame({"id": range(20_000), "text": "heat"})
    assert sum(1 for _ in open_corpus(large)) == 20_000


def test_what_is_wrong_with_a_frame_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="pandas DataFrame: no column for the text"):
        list(open_corpus(pd.DataFrame({"id": ["a"], "body_of_it": ["b"]})))
    with pytest.raises(CorpusError, match="no column for the id"):
        list(open_corpus(pl.DataFrame({"text": []})))
    with pytest.raises(CorpusError, match="that Arrow can hold"):
        list(open_corpus(pd.DataFrame({"id": ["a", "b"], "text": ["a", 1]})))
    with pytest.raises(CorpusError, match="has no format"):
        open_corpus(pl.DataFrame({"text": []}), format="csv")
    (row, _) = open_corpus(pd.DataFrame({"id": [1.5, 2.5], "text": ["a", "b"]}))
    assert isinstance(row, BadRow)
    assert row.where == "pandas DataFrame, row 1"
    reader = pa.table({"id": ["a"], "text": ["b"]}).to_reader()
    corpus = open_corpus(reader)
    assert len(list(corpus)) == 1
    with pytest.raises(CorpusError, match="only once"):
        list(corpus)
    with Collection.create(tmp_path / "my.index", encoder="bm25") as made:
        with pytest.raises(InvalidDocumentError, match="row 2"):
            made.add(pl.DataFrame({"id": ["a", ""], "text": ["b", "c"]}))
        assert made.add(pl.DataFrame({"id": [], "text": []})).added == 0
    assert not is_table({"id": ["a"]})
    assert not is_table(pl.Series(["a"]))
    assert not is_table(pa.array(["a"]))


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection.create(tmp_path_factory.mktemp("frames") / "my.index", encoder="bm25") as made:
        made.add(pl.DataFrame(ROWS))
        yield made


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, datasets.Dataset.from_dict])
def test_queries_and_hits_are_frames(collection: Collection, make: Callable[[Any], Any]) -> None:
    queries = make({"query_id": [7, 8], "query": ["heat", "wing of a plane"]})
    table = search_frame(collection, queries, k=2)
    expected = [
        (str(query_id), rank, *hit)
        for query_id, hits in zip((7, 8), collection.search_many(["heat", "wing of a plane"], k=2), strict=True)
        for rank, hit in enumerate(hits, 1)
    ]
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    assert table.column_names == ["query_id", "rank", "id", "score"]
    numbered = search_frame(collection, make({"words": ["heat"]}), text_field="words")
    assert set(numbered["query_id"].to_pylist()) == {"1"}
    assert search_frame(collection, make({"query": []})).num_rows == 0


def test_queries_that_are_none(collection: Collection) -> None:
    for queries, says in (
        (["heat"], "the queries are a list"),
        (pl.DataFrame({"words": ["a"]}), "no column of queries"),
        (pl.DataFrame({"query": ["a", None]}), "row 2 has no text"),
        (pl.DataFrame({"id": [1.5], "query": ["a"]}), "row 1 has the id 1.5"),
    ):
        with pytest.raises(QueryError, match=says):
            query_rows(queries)
    with pytest.raises(QueryError, match="no column 'other'"):
        query_rows(pl.DataFrame({"query": ["a"]}), id_field="other")


def test_results_as_frames_and_in_notebooks(collection: Collection) -> None:
    result = collection.search("heat wing", highlight=True)
    frame = result.to_pandas()
    assert list(frame["id"]) == [hit.id for hit in result]
    assert list(frame.columns[:3]) == ["rank", "id", "score"]
    assert {"title", "text", "snippet", "metadata.year", "metadata.tags"} <= set(frame.columns)
    polars = result.to_polars()
    assert polars["score"].to_list() == [hit.score for hit in result]
    assert polars.filter(pl.col("id") == "传/9")["metadata.year"].to_list() == [2**60]
    html = result._repr_html_()
    assert "<mark>heat</mark>" in html
    assert "&lt;b&gt;Wing&lt;/b&gt;" in html
    assert "<b>" not in html
    empty = collection.search("nowhere")
    assert empty.to_pandas().empty
    assert "0 hits" in empty._repr_html_()


def test_a_frame_goes_over_rest(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with running(tmp_path / "data") as service, service.client() as client:
        client.create_collection("my", encoder="bm25")
        assert client.put("my", KINDS["pandas"](), refresh=True).added == 3
        document = client.get("my", "007")
        assert document is not None
        assert document.metadata == {"year": 1958, "tags": ["a", "b"], "share": 0.5}
        assert len(client.search("my", "heat").to_polars()) == 2


def test_query_files_of_tables(collection: Collection, tmp_path: Path) -> None:
    table = pa.table({"query_id": ["q7", "q8"], "text": ["heat", "wing"], "day": [datetime.date(2020, 1, 2)] * 2})
    pq.write_table(table, tmp_path / "queries.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "queries.arrow")
    for name in ("queries.parquet", "queries.arrow"):
        assert read_queries(tmp_path / name) == {"q7": "heat", "q8": "wing"}
        outcome = run("search", collection.path, "--queries", tmp_path / name, "-k", "1")
        assert [line.split("\t")[0] for line in outcome.out.splitlines()] == ["q7", "q8"], outcome
