"""Facets: which values the metadata of a collection's documents has, for a page of filters or a first look at it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.result import Facet, FacetValue
from lexhound.retrieval.deadline import check_deadline
from lexhound.retrieval.documents.document import is_encodable
from lexhound.retrieval.documents.metadata import Value
from lexhound.retrieval.filters import Column
from lexhound.retrieval.filters.known_fields import check_field
from lexhound.retrieval.tenants.keys import end_of

from .known_fields import StoredFields
from .row_filter import Masks, PartColumns

if TYPE_CHECKING:
    from .snapshot import Snapshot

FACETED_HITS = 1_000
"""Of a query, the best hits whose values are counted."""

_LIVE = "FROM metadata CROSS JOIN rows USING (seq) WHERE metadata.field = ? AND rows.run NOT IN (SELECT run FROM runs)"
_VALUES = f"SELECT value, count(*) AS documents {_LIVE} GROUP BY value ORDER BY documents DESC, value LIMIT ?"
_RANGE = (
    "SELECT count(DISTINCT seq), total(typeof(value) = 'text'),"
    " min(CASE WHEN typeof(value) != 'text' THEN value END), max(CASE WHEN typeof(value) != 'text' THEN value END)"
    f" {_LIVE}"
)


def find_facets(
    connection: sqlite3.Connection,
    fields: Sequence[str] | None,
    limit: int,
    *,
    allow_unknown_fields: bool = False,
    prefix: str = "",
) -> list[Facet]:
    """Return the facets of fields (all of them, by name, unless given), at most `limit` values each.

    Fields that no live document has are left out; a `prefix` is that of the tenant whose documents count alone. Cost:
    two scans of the fields' rows, a look-up for each.

    Raises:
        UnknownFieldError: no document has a field that is named, and it is not allowed.
    """
    stored = StoredFields(connection, prefix)
    names = stored.names() if fields is None else [name for name in dict.fromkeys(fields) if is_encodable(name)]
    if fields is not None and not allow_unknown_fields and _has_rows(connection, prefix):
        for name in names:
            check_field(name, stored)
    facets = [_facet(connection, name, limit, prefix) for name in names]
    return [facet for facet in facets if facet is not None]


def _has_rows(connection: sqlite3.Connection, prefix: str) -> bool:
    if not prefix:
        return connection.execute("SELECT 1 FROM rows").fetchone() is not None
    bounds = prefix, end_of(prefix)
    return connection.execute("SELECT 1 FROM rows WHERE id >= ? AND id < ?", bounds).fetchone() is not None


def _facet(connection: sqlite3.Connection, name: str, limit: int, prefix: str) -> Facet | None:
    check_deadline()
    documents, texts, minimum, maximum = connection.execute(_RANGE, (prefix + name,)).fetchone()
    if not documents:
        return None
    values = connection.execute(_VALUES, (prefix + name, limit)).fetchall()
    return Facet(
        name,
        "text" if texts else "number",
        tuple(FacetValue(value, count) for value, count in values),
        minimum,
        maximum,
        documents,
    )


def count_facets(
    snapshot: Snapshot, masks: Masks, fields: Sequence[str] | None, limit: int, *, allow_unknown_fields: bool
) -> list[Facet]:
    """Return the facets of the documents that masks, bool[rows] for each part, let through; else as `find_facets`.

    Cost: the columns of the fields, which are kept for filters, and a look at each of their rows.
    """
    with snapshot.reading() as connection:
        stored = StoredFields(connection, snapshot.prefix)
        names = stored.names() if fields is None else [name for name in dict.fromkeys(fields) if is_encodable(name)]
        if fields is not None and not allow_unknown_fields and snapshot.n_documents:
            for name in names:
                check_field(name, stored)
    columns = [PartColumns(snapshot, view) for view in snapshot.segments]
    facets = []
    for name in names:
        parts = [(each.field(name), mask) for each, mask in zip(columns, masks, strict=True)]
        facets.append(_counted(name, parts, limit))
    return [facet for facet in facets if facet is not None]


def _counted(name: str, parts: Sequence[tuple[Column, NDArray[np.bool_]]], limit: int) -> Facet | None:
    check_deadline()
    totals: Counter[Value] = Counter()
    documents = 0
    for column, mask in parts:
        totals.update(dict(column.counts(mask)))
        having = np.zeros(len(mask), np.bool_)
        having[column.rows] = True
        documents += int(np.count_nonzero(having & mask))
    if not documents:
        return None
    numbers = [value for value in totals if not isinstance(value, str)]
    ranked = sorted(totals.items(), key=lambda pair: (-pair[1], isinstance(pair[0], str), pair[0]))
    return Facet(
        name,
        "number" if len(numbers) == len(totals) else "text",
        tuple(FacetValue(value, count) for value, count in ranked[:limit]),
        min(numbers, default=None),
        max(numbers, default=None),
        documents,
    )
