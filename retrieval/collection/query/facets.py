"""Facets: which values the metadata of a collection's documents has, for a page of filters or a first look at it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from lexhound.retrieval.collection.result import Facet, FacetValue
from lexhound.retrieval.deadline import check_deadline
from lexhound.retrieval.documents.document import is_encodable

# Metadata made of free keys can have any number of fields; nobody looks at more.
MAX_FIELDS = 200

_LIVE = "FROM metadata CROSS JOIN rows USING (seq) WHERE metadata.field = ? AND rows.run NOT IN (SELECT run FROM runs)"
_VALUES = f"SELECT value, count(*) AS documents {_LIVE} GROUP BY value ORDER BY documents DESC, value LIMIT ?"
_RANGE = (
    "SELECT count(DISTINCT seq), total(typeof(value) = 'text'),"
    " min(CASE WHEN typeof(value) != 'text' THEN value END), max(CASE WHEN typeof(value) != 'text' THEN value END)"
    f" {_LIVE}"
)


def find_facets(connection: sqlite3.Connection, fields: Sequence[str] | None, limit: int) -> list[Facet]:
    """Return the facets of fields (all of them, by name, unless given), at most `limit` values each.

    Fields that no live document has are left out. Cost: two scans of the fields' rows, a look-up for each.
    """
    names = _fields(connection) if fields is None else [name for name in dict.fromkeys(fields) if is_encodable(name)]
    facets = [_facet(connection, name, limit) for name in names]
    return [facet for facet in facets if facet is not None]


def _fields(connection: sqlite3.Connection) -> list[str]:
    """Return every field, in ascending order: jumps from one to the next in the primary key, not a scan."""
    names: list[str] = []
    row = connection.execute("SELECT min(field) FROM metadata").fetchone()
    while row[0] is not None and len(names) < MAX_FIELDS:
        names.append(row[0])
        row = connection.execute("SELECT min(field) FROM metadata WHERE field > ?", row).fetchone()
    return names


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
