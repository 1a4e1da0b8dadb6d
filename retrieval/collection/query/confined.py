"""A snapshot of one tenant: what a snapshot of a collection of that tenant's documents alone would be.

Rows of a tenant stand together in every segment (`store.tenant_order`), so its part of a segment is a run of it, whose
searches, counts and document frequencies are those of a segment that holds nothing else. Documents, ids and fields have
their own names in it, without the tenant's prefix.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock

from lexhound.index.runs import IndexRun, vector_run
from lexhound.retrieval.collection.store.segment import Ids, MappedIds, Segment
from lexhound.retrieval.tenants.keys import prefix_of_key

from .snapshot import SegmentView, Snapshot

# Tenants whose part of a snapshot is kept, with its statistics and filters; another's is made in some ten microseconds,
# by steps that do not depend on others' rows.
KEPT = 1024
# Places of tenants in segments that are remembered: segments do not change, and finding one takes some time, too.
_RUNS = 1 << 16


class RunIds:
    """The ids of a run of a segment's rows, without their prefix."""

    def __init__(self, ids: Ids, first: int, stop: int, prefix: str) -> None:
        self._ids = ids
        self._first = first
        self._length = stop - first
        self._prefix = prefix

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> str:
        return self._ids[self._first + row].removeprefix(self._prefix)

    def rows_of(self, identifier: str) -> Iterator[int]:
        """See `Ids`; a look at each id of the run."""
        return (row for row in range(self._length) if self[row] == identifier)


class ConfinedSnapshot(Snapshot):
    """What a snapshot has of one tenant."""

    def __init__(
        self, whole: Snapshot, prefix: str, runs: Runs | None = None, *, views: list[SegmentView] | None = None
    ) -> None:
        """`views`: the tenant's part of each segment; found where they are not given."""
        if views is None:
            runs = runs or Runs()
            views = [view for view in (_view(each, prefix, runs) for each in whole.segments) if view is not None]
        super().__init__(
            whole.connections,
            None,
            whole.generation,
            whole.averages,
            views,
            whole.columns,
            whole.fusion,
            exact=whole.exact,
            prefix=prefix,
        )
        self.synonyms, self.rerank = whole.synonyms, whole.rerank
        self.whole = whole  # whose transaction, if it holds one, is this one's too
        self.held = whole.held

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with self.whole.reading() as connection:
            yield connection


def detached(snapshot: Snapshot, folder: Path) -> Snapshot:
    """Return a confined snapshot whose inverted indexes hold the tenant's postings alone, for what reads them whole.

    Args:
        folder: where they are written; it must be empty or missing, and stay for as long as the snapshot is used.

    Raises:
        IndexStorageError, OSError: they cannot be written.
    """
    if not isinstance(snapshot, ConfinedSnapshot):
        return snapshot
    folder.mkdir(exist_ok=True)
    views = []
    for number, view in enumerate(snapshot.segments):
        index = view.segment.index
        own = index.write_to(folder / str(number)) if isinstance(index, IndexRun) else index
        views.append(SegmentView(replace(view.segment, index=own), view.live))
    return ConfinedSnapshot(snapshot.whole, snapshot.prefix, views=views)


class Runs:
    """Where tenants stand in segments, as far as it has been asked. Safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[Segment, str], tuple[int, int]] = {}

    def of(self, segment: Segment, prefix: str) -> tuple[int, int]:
        """Return the first row of the tenant with a prefix and the end of its rows."""
        found = self._known.get((segment, prefix))
        if found is None:
            if len(self._known) >= _RUNS:
                self._known.clear()
            found = self._known[segment, prefix] = run_of(segment.ids, prefix)
        return found

    def retain(self, segments: Collection[Segment]) -> None:
        """Forget other segments than these."""
        self._known = {key: run for key, run in list(self._known.items()) if key[0] in segments}


class ConfinedSnapshots:
    """The parts of a snapshot that were asked for last, by prefix. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[str, ConfinedSnapshot] = OrderedDict()
        self._whole: Snapshot | None = None
        self._runs = Runs()

    def of(self, whole: Snapshot, prefix: str) -> ConfinedSnapshot:
        """Return what a snapshot has of the tenant with a prefix; those of the snapshot before are forgotten.

        Of a snapshot that holds its transaction nothing is kept: the transaction ends with its last use.
        """
        if whole.held is not None:
            return ConfinedSnapshot(whole, prefix, self._runs)
        with self._lock:
            if self._whole is not whole:
                self._whole = whole
                self._kept.clear()
                self._runs.retain({view.segment for view in whole.segments})
            found = self._kept.get(prefix)
            if found is not None:
                self._kept.move_to_end(prefix)
                return found
        made = ConfinedSnapshot(whole, prefix, self._runs)
        with self._lock:
            if self._whole is whole:
                self._kept[prefix] = made
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return made


def run_of(ids: Ids, prefix: str) -> tuple[int, int]:
    """Return the first row of the tenant with a prefix and the end of its rows: a binary search over sorted keys."""
    if isinstance(ids, MappedIds):
        return ids.rows_beginning(prefix.encode())

    def prefix_at(row: int) -> str:
        return prefix_of_key(ids[row])

    first = bisect_left(range(len(ids)), prefix, key=prefix_at)
    return first, bisect_right(range(len(ids)), prefix, lo=first, key=prefix_at)


def _view(view: SegmentView, prefix: str, runs: Runs) -> SegmentView | None:
    """Return the part of a segment that is one tenant's; None where it has none."""
    segment = view.segment
    first, stop = runs.of(segment, prefix)
    if first == stop:
        return None
    index, dense = segment.index, segment.dense
    if stop - first < segment.n_rows:
        index = IndexRun(index, first, stop)
        dense = None if dense is None else vector_run(dense, first, stop)
    live = None if view.live is None else view.live[first:stop]
    if live is not None and live.all():
        live = None
    ids = RunIds(segment.ids, first, stop, prefix)
    internal_ids = segment.internal_ids[first:stop]
    passages = None if segment.passages is None else segment.passages[first:stop]
    own = Segment(segment.name, internal_ids, ids, index, dense, condition=segment.condition, passages=passages)
    return SegmentView(own, live)
