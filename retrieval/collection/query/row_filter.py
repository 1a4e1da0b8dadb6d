"""Which rows of a snapshot a search may return: those that are live and pass a filter."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.filters import Column, parse_filter, read_column, read_within, select
from lexhound.retrieval.filters.known_fields import check_known
from lexhound.retrieval.tenants.keys import end_of

from .known_fields import StoredFields

if TYPE_CHECKING:
    import sqlite3

    from .snapshot import SegmentView, Snapshot

Masks: TypeAlias = list[NDArray[np.bool_]]

# What a snapshot keeps of the filters that were asked last, in bytes: a page and the next have the same filter.
_KEPT_BYTES = 32 * 2**20


class Passed:
    """The rows that passed the latest filters of a snapshot, by the filter's text; safe to use from several threads.

    Attributes:
        checked: those of the filters that name nothing unknown.
    """

    def __init__(self) -> None:
        self.checked: set[str] = set()
        self._lock = Lock()
        self._masks: OrderedDict[str, Masks] = OrderedDict()
        self._size = 0

    def get(self, filter: str) -> Masks | None:
        """Return the rows of each part, if they are known."""
        with self._lock:
            masks = self._masks.get(filter)
            if masks is not None:
                self._masks.move_to_end(filter)
            return masks

    def put(self, filter: str, masks: Masks) -> None:
        """Keep the rows of a filter."""
        with self._lock:
            if filter in self._masks:
                return
            self._masks[filter] = masks
            self._size += _bytes(filter, masks)
            while self._size > _KEPT_BYTES:
                dropped, gone = self._masks.popitem(last=False)
                self._size -= _bytes(dropped, gone)
                self.checked.discard(dropped)


def _bytes(filter: str, masks: Masks) -> int:
    return len(filter) + sum(mask.nbytes for mask in masks)


def rows_passing(
    snapshot: Snapshot, filter: str | None, *, allow_unknown_fields: bool = False
) -> list[NDArray[np.bool_] | None]:
    """Return, for each part, the rows that a search may return: live, and accepted by the filter expression if given.

    Raises:
        FilterSyntaxError: the expression does not parse. UnknownFieldError: no document has what it names, and it is
        not allowed. DeadlineError: the time for it is over.
    """
    if filter is None:
        return [view.live for view in snapshot.segments]
    return list(_passing(snapshot, filter, allow_unknown_fields))


def internal_ids_passing(snapshot: Snapshot, filter: str, *, allow_unknown_fields: bool = False) -> NDArray[np.int64]:
    """Return the row numbers of live documents that a filter expression accepts; ascending.

    Raises:
        FilterSyntaxError, UnknownFieldError, DeadlineError: as for `rows_passing`.
    """
    masks = _passing(snapshot, filter, allow_unknown_fields)
    pieces = [
        view.segment.internal_ids[view.first_passages(mask)]
        for view, mask in zip(snapshot.segments, masks, strict=True)
    ]
    return np.sort(np.concatenate(pieces)) if pieces else np.empty(0, np.int64)


def count_passing(snapshot: Snapshot, filter: str, *, allow_unknown_fields: bool = False) -> int:
    """Return how many live documents a filter expression accepts.

    Raises:
        FilterSyntaxError, UnknownFieldError, DeadlineError: as for `rows_passing`.
    """
    masks = _passing(snapshot, filter, allow_unknown_fields)
    return sum(
        int(np.count_nonzero(view.first_passages(mask))) for view, mask in zip(snapshot.segments, masks, strict=True)
    )


def is_known(snapshot: Snapshot, filter: str) -> bool:
    """Return whether it is known which rows pass a filter."""
    return snapshot.passed.get(filter) is not None


def _passing(snapshot: Snapshot, filter: str, allow_unknown_fields: bool) -> Masks:
    masks = snapshot.passed.get(filter)
    check = not allow_unknown_fields and snapshot.n_documents > 0 and filter not in snapshot.passed.checked
    if masks is None or check:
        expression = parse_filter(filter)
    if check:
        with snapshot.reading() as connection:
            check_known(expression, StoredFields(connection, snapshot.prefix))
    if masks is None:
        masks = []
        for view in snapshot.segments:
            mask = select(expression, PartColumns(snapshot, view), view.segment.n_rows)
            masks.append(mask if view.live is None else mask & view.live)
        snapshot.passed.put(filter, masks)
    if check:
        snapshot.passed.checked.add(filter)
    return masks


class PartColumns:
    """The columns of a part of a snapshot; those that have not been read yet are read."""

    def __init__(self, snapshot: Snapshot, view: SegmentView) -> None:
        self._snapshot = snapshot
        self._segment = view.segment

    def field(self, name: str) -> Column:
        """Return the values of a field."""
        return self._get(name, read_column, within=False)

    def within(self, name: str) -> Column:
        """Return the rows that have a field within this one."""
        return self._get(name, read_within, within=True)

    def _get(
        self,
        name: str,
        reader: Callable[[sqlite3.Connection, str, NDArray[np.int64], NDArray[np.int32], str], Column],
        *,
        within: bool,
    ) -> Column:
        def read() -> Column:
            with self._snapshot.reading() as connection:
                gone = self._deleted_rows(connection)
                return reader(connection, name, self._segment.documents, gone, self._snapshot.prefix)

        return self._snapshot.columns.get((self._segment, name, within), read)

    def _deleted_rows(self, connection: sqlite3.Connection) -> NDArray[np.int32]:
        """Return rows whose documents have been deleted since the snapshot was taken: their metadata may be gone
        too.
        """
        internal_ids = self._segment.documents
        (generation,) = connection.execute("SELECT value FROM properties WHERE name = 'generation'").fetchone()
        if not len(internal_ids) or int(generation) == self._snapshot.generation:
            return np.empty(0, np.int32)
        bounds: tuple[int, int] | tuple[str, str] = int(internal_ids[0]), int(internal_ids[-1])
        statement = "SELECT seq FROM rows WHERE seq BETWEEN ? AND ?"
        if self._snapshot.prefix:
            bounds = self._snapshot.prefix, end_of(self._snapshot.prefix)
            statement = "SELECT seq FROM rows WHERE id >= ? AND id < ?"
        rows = connection.execute(statement, bounds)
        present = np.fromiter((seq for (seq,) in rows), np.int64)
        unique = self._segment.passages is None
        return np.flatnonzero(~np.isin(internal_ids, present, assume_unique=unique)).astype(np.int32)
