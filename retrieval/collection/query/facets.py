"""Facets: which values the metadata of a collection's documents has, for a page of filters or a first look at it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from lexhound.retrieval.collection.result import Facet, FacetValue
from lexhound.retrieval.deadline import check_deadline
from lexhound.retrieval.documents.document import is_encodable
from lexhound.retrieval.filters.known_fields import check_field

from .known_fields import StoredFields

_LIVE = "FROM metadata CROSS JOIN rows USING (seq) WHERE metadata.field = ? AND rows.run NOT IN (SELECT run FROM runs)"
_VALUES = f"SELECT value, count(*) AS documents {_LIVE} GROUP BY value ORDER BY documents DESC, value LIMIT ?"
_RANGE = (
    "SELECT count(DISTINCT seq), total(typeof(value) = 'text'),"
    " min(CASE WHEN typeof(value) != 'text' THEN value END), max(CASE WHEN typeof(value) != 'text' THEN value END)"
    f" {_LIVE}"
)


def find_facets(
    connection: sqlite3.Connection, fields: Sequence[str] | None, limit: int, *, allow_unknown_fields: bool = False
) -> list[Facet]:
    """Return the facets of fields (all of them, by name, unless given), at most `limit` values each.

    Fields that no live document has are left out. Cost: two scans of the fields' rows, a look-up for each.

    Raises:
        UnknownFieldError: no document has a field that is named, and it is not allowed.
    """
    stored = StoredFields(connection)
    names = stored.names() if fields is None else [name for name in dict.fromkeys(fields) if is_encodable(name)]
    if fields is not None and not allow_unknown_fields and connection.execute("SELECT 1 FROM rows").fetchone():
        for name in names:
            check_field(name, stored)
    facets = [_facet(connection, name, limit) for name in names]
    return [facet for facet in facets if facet is not None]


def _facet(connection: sqlite3.Connection, name: str, limit: int) -> Facet | None:
    check_deadline()
    documents, texts, minimum, maximum = connection.execute(_RANGE, (name,)).fetchone()
    if not documents:
        return None
    values = connection.execute(_VALUES, (name, limit)).fetchall()
    return Facet(
        name,
        "text" if texts else "number",
        tuple(FacetValue(value, count) for value, count in values),
        minimum,
        maximum,
        documents,
    )
