"""The fields that hits are sorted by, as a request names them; needs neither NumPy nor an index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lexhound.retrieval.errors import QueryError

MAX_SORT_KEYS = 8

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class SortKey:
    """One field that hits are sorted by: of several values of a document the least, with `descending` the greatest."""

    field: str
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> SortKey:
        """Return the key that `field`, `field:asc` or `field:desc` writes."""
        field, _, order = text.rpartition(":")
        return cls(field, order == "desc") if field and order in ("asc", "desc") else cls(text)

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.field}:{'desc' if self.descending else 'asc'}"


def sort_keys_of(sort: object) -> tuple[SortKey, ...]:
    """Return what a request is to sort by, as one key or several.

    Raises:
        QueryError: it is something else, or too much.
    """
    given = (sort,) if isinstance(sort, str | SortKey) else sort
    if not isinstance(given, Sequence) or not all(isinstance(each, str | SortKey) for each in given):
        raise QueryError(f"sort is {sort!r}", hint="it must be a field, such as year:desc, or several")
    keys = tuple(SortKey.parse(each) if isinstance(each, str) else each for each in given)
    if len(keys) > MAX_SORT_KEYS:
        raise QueryError(f"there are {len(keys)} fields to sort by", hint=f"give at most {MAX_SORT_KEYS}")
    for key in keys:
        if not is_field_name(key.field):
            raise QueryError(
                f"the field to sort by is {key.field!a}", hint="write it as FIELD, FIELD:asc or FIELD:desc"
            )
    return keys


def is_field_name(field: object) -> bool:
    """Return whether something can be the name of a field."""
    return isinstance(field, str) and bool(field) and not _SURROGATE.search(field)
