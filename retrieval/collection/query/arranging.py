"""Hits in the order of a field, and one hit of each value of a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.deadline import check_deadline
from lexhound.retrieval.documents.metadata import Value
from lexhound.retrieval.errors import QueryError, UnknownFieldError
from lexhound.retrieval.filters import Column
from lexhound.retrieval.filters.known_fields import check_field
from lexhound.retrieval.filters.sort_keys import SortKey

from .candidates import Candidates
from .known_fields import StoredFields
from .ranked_rows import RankedRows
from .row_filter import Masks, PartColumns
from .snapshot import Snapshot

# How much deeper a ranking is looked into when it holds too few values: at most a third more is ranked than in one go.
_DEEPER = 4

_MISSING = np.iinfo(np.int64).max
"""The place of documents without a value: after all others, in either direction."""


def arranged(snapshot: Snapshot, candidates: Candidates, request: SearchRequest) -> RankedRows:
    """Return the best `depth` candidates as a request sorts and collapses them.

    Raises:
        UnknownFieldError: no document has one of the fields, and it is not allowed. QueryError: a document has several
        values of the field to collapse by. DeadlineError: the time for it is over.
    """
    check_arrangement(snapshot, request)
    if request.collapse is None:
        return _in_order(snapshot, candidates, request.sort_keys, request.depth)
    column = _Places(snapshot, SortKey(request.collapse))
    depth = request.depth
    while True:
        ranked = _in_order(snapshot, candidates, request.sort_keys, depth)
        values = column.values(ranked, single=True)
        first = _first_of_each(values)
        if len(first) >= request.depth or len(ranked.rows) < depth:
            return ranked.at(first[: request.depth])
        depth *= _DEEPER


def check_arrangement(snapshot: Snapshot, request: SearchRequest) -> None:
    """Refuse fields that no document has, as those of a filter; raises UnknownFieldError."""
    named = [("sort", key.field) for key in request.sort_keys]
    named += [] if request.collapse is None else [("collapse", request.collapse)]
    if not named or request.allow_unknown_fields or not snapshot.n_documents:
        return
    with snapshot.reading() as connection:
        stored = StoredFields(connection, snapshot.prefix)
        for where, field in named:
            try:
                check_field(field, stored)
            except UnknownFieldError as error:
                error.where = where
                raise


def _in_order(snapshot: Snapshot, candidates: Candidates, keys: Sequence[SortKey], depth: int) -> RankedRows:
    """Return the best `depth` candidates: by the values of fields, then score, then insertion."""
    if not keys:
        return candidates.best(depth)
    first = _Places(snapshot, keys[0])
    ranked = candidates.within(first.best(candidates.matching(), depth))
    by_keys = [first.ranks(ranked), *(_Places(snapshot, key).ranks(ranked) for key in keys[1:])]
    order = np.lexsort((ranked.internal_ids, -ranked.scores, *reversed(by_keys)))[:depth]
    return ranked.at(order)


def _first_of_each(values: Sequence[Value | None]) -> NDArray[np.int64]:
    """Return the places at which each value is there for the first time."""
    seen: set[Value | None] = set()
    places = []
    for place, value in enumerate(values):
        if value not in seen:
            seen.add(value)
            places.append(place)
    return np.array(places, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A field in one part: its column, and the place of each row's value among the distinct ones, -1 without."""

    column: Column
    places: NDArray[np.int64]


class _Places:
    """The values of a field by which rows of a snapshot are put in order."""

    def __init__(self, snapshot: Snapshot, key: SortKey) -> None:
        self._snapshot = snapshot
        self._key = key
        self._parts: list[_Part] = []
        for view in snapshot.segments:
            check_deadline()
            column = PartColumns(snapshot, view).field(key.field)
            places = column.place_of_rows(view.segment.n_rows, greatest=key.descending)
            self._parts.append(_Part(column, places))

    def best(self, masks: Masks, depth: int) -> Masks:
        """Return, of the rows that masks let through, those that can be among the first `depth`, equals included."""
        return [self._best_of(part, mask, depth) for part, mask in zip(self._parts, masks, strict=True)]

    def _best_of(self, part: _Part, mask: NDArray[np.bool_], depth: int) -> NDArray[np.bool_]:
        order = self._order(part.places)
        found = order[mask]
        if len(found) <= depth:
            return mask
        last = np.partition(found, depth - 1)[depth - 1]
        kept: NDArray[np.bool_] = mask & (order <= last)
        return kept

    def _order(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what ascends in the order of the key within a part: int64, one a row."""
        order: NDArray[np.int64] = np.where(places < 0, _MISSING, -places if self._key.descending else places)
        return order

    def ranks(self, ranked: RankedRows) -> NDArray[np.int64]:
        """Return what ascends in the order of the key over all parts: int64, one a ranked row."""
        values = self.values(ranked)
        known = sorted({value for value in values if value is not None}, key=lambda value: (_is_text(value), value))
        number = {value: place for place, value in enumerate(known)}
        places = np.fromiter((-1 if value is None else number[value] for value in values), np.int64, len(values))
        return self._order(places)

    def values(self, ranked: RankedRows, *, single: bool = False) -> list[Value | None]:
        """Return the value of each ranked row, None without; with `single` a row has one at most.

        Raises:
            QueryError: with `single`, a row has several.
        """
        values: list[Value | None] = [None] * len(ranked.rows)
        for number, part in enumerate(self._parts):
            at = np.flatnonzero(ranked.parts == number)
            rows = ranked.rows[at]
            if single:
                self._refuse_several(number, part, rows)
            places = part.places[rows]
            having = np.flatnonzero(places >= 0)
            distinct, which = np.unique(places[having], return_inverse=True)
            decoded = part.column.values_at(distinct)
            for position, value in zip(at[having].tolist(), which.tolist(), strict=True):
                values[position] = decoded[value]
        return values

    def _refuse_several(self, number: int, part: _Part, rows: NDArray[np.int64]) -> None:
        counts = np.bincount(part.column.rows, minlength=len(part.places))
        several = rows[counts[rows] > 1]
        if len(several):
            identifier = self._snapshot.segments[number].segment.ids[int(several[0])]
            raise QueryError(
                f"the document {identifier!a} has several values of the field {self._key.field!r}",
                where="collapse",
                hint="collapse by a field of which each document has one value at most",
            )


def _is_text(value: Value | None) -> bool:
    return isinstance(value, str)
