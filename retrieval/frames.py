"""Searches whose queries or answers are data frames; Arrow is what goes between, so that none of it is copied twice.

>>> table = search_frame(collection, pandas.DataFrame({"id": ["q1"], "query": ["heat transfer"]}), k=10)
>>> table.to_pandas()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import orjson

from lexhound.core.arrow_rows import CellError, is_table, table_name, table_rows
from lexhound.core.extras import extra
from lexhound.core.field_names import QUERY_ID, QUERY_TEXT, normalise
from lexhound.retrieval.collection.request import BatchKeywords
from lexhound.retrieval.errors import QueryError

if TYPE_CHECKING:
    import pyarrow as pa

    from lexhound.retrieval.collection.result import Hit, RankedIds

_QUERIES_AT_ONCE = 1024


class ManySearcher(Protocol):
    """What answers many queries: a collection."""

    def search_many(
        self, queries: Sequence[str], k: int | None = None, **options: Unpack[BatchKeywords]
    ) -> list[RankedIds]: ...


def query_rows(
    queries: Any, *, id_field: str | None = None, text_field: str | None = None
) -> tuple[list[str], list[str]]:
    """Return the ids and the texts of the queries of a table; without a column for ids, rows are numbered from 1.

    Args:
        id_field, text_field: the columns; by default those that files of queries may have (`query_id`, `id`, `_id`;
            `query`, `text`, `question`).

    Raises:
        QueryError: it is no table, lacks a column, or a row has no text.
    """
    if not is_table(queries):
        raise QueryError(
            f"the queries are a {type(queries).__name__}", hint="give a data frame, or texts to `search_many`"
        )
    ids: list[str] = []
    texts: list[str] = []
    chosen: tuple[str | None, str] | None = None
    try:
        for number, row in enumerate(table_rows(queries), 1):
            if chosen is None:
                chosen = _column(row, QUERY_ID, id_field), _required(row, text_field, table_name(queries))
            text = row[chosen[1]]
            if not isinstance(text, str):
                raise QueryError(
                    f"row {number:,} has no text in the column {chosen[1]!r}",
                    hint="leave the row out, or give its text",
                )
            identifier = number if chosen[0] is None else row[chosen[0]]
            if isinstance(identifier, bool) or not isinstance(identifier, str | int):
                raise QueryError(f"row {number:,} has the id {identifier!r}", hint="ids are texts or whole numbers")
            ids.append(str(identifier))
            texts.append(text)
    except CellError as error:
        raise QueryError(error.message, hint=error.hint) from error
    return ids, texts


def search_frame(
    collection: ManySearcher,
    queries: Any,
    k: int | None = None,
    *,
    id_field: str | None = None,
    text_field: str | None = None,
    **options: Unpack[BatchKeywords],
) -> pa.Table:
    """Return the hits of all queries of a table: a row a hit, with `query_id`, `rank`, `id` and `score`.

    Args:
        queries: a data frame of pandas or polars, a data set, or what `query_rows` reads beside.
        options: as of `search_many`.

    Raises:
        QueryError: as for `query_rows` and `search_many`. MissingExtraError: pyarrow is not installed.
    """
    with extra("parquet", "tables of hits"):
        import pyarrow as pa
    ids, texts = query_rows(queries, id_field=id_field, text_field=text_field)
    columns: dict[str, list[Any]] = {"query_id": [], "rank": [], "id": [], "score": []}
    kinds = {"query_id": pa.string(), "rank": pa.int32(), "id": pa.string(), "score": pa.float64()}
    batches = []
    for start in range(0, len(texts), _QUERIES_AT_ONCE):
        rankings = collection.search_many(texts[start : start + _QUERIES_AT_ONCE], k, **options)
        for query_id, ranking in zip(ids[start : start + _QUERIES_AT_ONCE], rankings, strict=True):
            columns["query_id"] += [query_id] * len(ranking)
            columns["rank"] += range(1, len(ranking) + 1)
            columns["id"] += [identifier for identifier, _ in ranking]
            columns["score"] += [score for _, score in ranking]
        batches.append(pa.table(columns, schema=pa.schema(list(kinds.items()))))
        columns = {name: [] for name in columns}
    return pa.concat_tables(batches) if batches else pa.table(columns, schema=pa.schema(list(kinds.items())))


def hits_table(hits: Iterable[Hit]) -> pa.Table:
    """Return hits as a table: rank, id, score, and of title, text, snippet and `metadata.NAME` what they have.

    A field of metadata whose values are of several kinds, or lists and objects, is a column of JSON.
    """
    with extra("parquet", "tables of hits"):
        import pyarrow as pa
    found = list(hits)
    columns: dict[str, Any] = {
        "rank": pa.array([hit.rank for hit in found], pa.int32()),
        "id": pa.array([hit.id for hit in found], pa.string()),
        "score": pa.array([hit.score for hit in found], pa.float64()),
    }
    for name in ("title", "text"):
        values = [getattr(hit, name) for hit in found]
        if any(value is not None for value in values):
            columns[name] = pa.array(values, pa.string())
    if any(hit.snippet is not None for hit in found):
        columns["snippet"] = pa.array([None if hit.snippet is None else hit.snippet.text for hit in found], pa.string())
    for name in dict.fromkeys(name for hit in found for name in hit.metadata or {}):
        columns[f"metadata.{name}"] = _array([(hit.metadata or {}).get(name) for hit in found])
    return pa.table(columns)


def _array(values: list[Any]) -> Any:
    """Return values as a column of their one kind, whole and other numbers being one; otherwise as JSON."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {str}:
        return pa.array(values, pa.string())
    if kinds == {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float} and all(value is None or abs(value) <= 2**53 for value in values):
        return pa.array(values, pa.float64())
    return pa.array([None if value is None else orjson.dumps(value).decode() for value in values], pa.string())


def _column(row: Mapping[str, Any], names: Sequence[str], chosen: str | None) -> str | None:
    if chosen is not None:
        if chosen not in row:
            raise QueryError(f"there is no column {chosen!r}", hint=f"there are {', '.join(row)}")
        return chosen
    normalised = {normalise(name): name for name in row}
    return next((normalised[name] for name in names if name in normalised), None)


def _required(row: Mapping[str, Any], text_field: str | None, where: str) -> str:
    found = _column(row, QUERY_TEXT, text_field)
    if found is None:
        raise QueryError(
            f"the {where} has no column of queries: none of {', '.join(QUERY_TEXT)} is among {', '.join(row)}",
            hint="name the column (text_field)",
        )
    return found
