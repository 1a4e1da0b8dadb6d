"""The next state in the making: LIRE, the update protocol of SPFresh (Xu et al., SOSP 2023, section 3).

Rows are appended to the postings that closure assignment chooses. A posting that grows too long is rid of outdated
entries, and if that does not help halves; then rows for which a new centroid may be nearer than what they have are
assigned anew. A row that is assigned anew gets the next version, and entries of older versions no longer count. Short
postings dissolve.
"""

from __future__ import annotations

import zlib
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from lexhound.index.errors import IndexStorageError

from .assignment import assign
from .clustering import halves
from .options import SpannOptions
from .search import Searcher
from .space import Space
from .state import State
from .storage import PAGE

_SLACK = 1.25  # room in a posting that moves, so that it need not move again soon
_NEIGHBOURS = 32  # postings beside one that splits whose rows are looked at
_LAST_VERSION = (1 << 16) - 3
_SWEEP_BYTES = 1 << 23


class Draft:
    """A mutable copy of a state's tables; `state()` makes the next state of it."""

    def __init__(self, state: State, searcher: Searcher, options: SpannOptions, space: Space) -> None:
        self._searcher, self._options, self._space = searcher, options, space
        self._entries, self._postings, self._vectors = searcher.entries, searcher.postings, searcher.vectors
        self._geometry = searcher.geometry
        self._router = state.router
        self._pages: list[int] = state.pages.tolist()
        self._capacities: list[int] = state.capacities.tolist()
        self._counts: list[int] = state.counts.tolist()
        self._checksums: list[int] = state.checksums.tolist()
        self._versions = state.versions.copy()
        self._garbage = state.garbage
        self._long: set[int] = set()

    def state(self) -> State:
        """What the tables say now."""
        return State(
            self._router,
            np.array(self._pages, np.int64),
            np.array(self._capacities, np.int64),
            np.array(self._counts, np.int64),
            np.array(self._checksums, np.uint32),
            self._versions,
            max(0.0, self._garbage),
        )

    # Changes

    def insert(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add or replace rows, whose vectors are as the exact copy holds them."""
        self.delete(rows)
        size = int(rows.max(initial=-1)) + 1
        if size > len(self._versions):
            self._versions = np.concatenate([self._versions, np.zeros(size - len(self._versions), np.uint16)])
            self._vectors.file.extend(size * self._vectors.record_bytes)
        self._bump(rows, 1)
        order = np.argsort(rows)
        self._vectors.write(rows[order], vectors[order])
        self._place(rows, vectors)
        self._settle()

    def delete(self, rows: NDArray[np.int64]) -> int:
        """Take out those of `rows` that live; how many they were."""
        known = rows[rows < len(self._versions)]
        gone = known[self._versions[known] & 1 == 1]
        self._garbage += len(gone) * self._replication()
        self._bump(gone, 1)
        return len(gone)

    def tidy(self, *, share: float) -> bool:
        """Rewrite postings without their outdated entries and dissolve short ones, if more than `share` is outdated."""
        total = sum(self._counts)
        if self._garbage <= share * max(1, total):
            return False
        self._garbage = 0.0
        short: list[int] = []
        least = max(1, self._options.posting_limit // 12)
        for number in sorted(np.flatnonzero(self._counts).tolist(), key=self._pages.__getitem__):
            entries = self._read(number)
            kept = entries[self._current(entries)]
            if len(kept) < least:
                short.append(number)
            elif len(kept) < 0.95 * len(entries):
                self._write(number, kept)
            else:
                self._garbage += len(entries) - len(kept)
        self._dissolve(short)
        self._settle()
        return True

    def _bump(self, rows: NDArray[np.int64], by: int) -> None:
        if len(rows) and int(self._versions[rows].max()) > _LAST_VERSION:
            raise IndexStorageError(
                f"{self._postings.path.parent}: a row was changed more than {_LAST_VERSION // 2:,} times",
                path=self._postings.path.parent,
                hint="build the index again",
            )
        self._versions[rows] += np.uint16(by)

    def _replication(self) -> float:
        """Entries that a living row has, about."""
        live = np.count_nonzero(self._versions & 1)
        return max(0.0, sum(self._counts) - self._garbage) / live if live else 0.0

    # Postings

    def _read(self, number: int) -> NDArray[np.uint8]:
        size = self._entries.entry_bytes
        entries = np.empty((self._counts[number], size), np.uint8)
        if len(entries):
            run = (0, self._pages[number] * PAGE, entries.size)
            self._postings.read_runs(memoryview(entries).cast("B"), [run])  # type: ignore[arg-type]
        return entries

    def _current(self, entries: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which entries count: bool[m]."""
        rows, versions = self._entries.rows(entries)
        inside = rows < len(self._versions)
        current = np.zeros(len(rows), np.bool_)
        found = self._versions[rows[inside]]
        current[inside] = (found == versions[inside]) & (found & 1 == 1)
        return current

    def _write(self, number: int, entries: NDArray[np.uint8]) -> None:
        """Put a posting elsewhere: its old pages stay as they are."""
        if not len(entries):
            self._pages[number] = self._capacities[number] = self._counts[number] = self._checksums[number] = 0
            return
        pages = -(-int(entries.size * _SLACK) // PAGE)
        self._pages[number] = self._space.take(pages)
        self._capacities[number] = pages
        self._counts[number] = len(entries)
        self._checksums[number] = zlib.crc32(entries.reshape(-1))  # type: ignore[arg-type]
        self._postings.extend(self._space.end * PAGE)
        self._postings.write(entries, self._pages[number] * PAGE)

    def _append(self, number: int, entries: NDArray[np.uint8]) -> None:
        """Write behind what a posting holds, where the saved state does not look; or move it."""
        count, size = self._counts[number], self._entries.entry_bytes
        if (count + len(entries)) * size <= self._capacities[number] * PAGE:
            self._postings.write(entries, self._pages[number] * PAGE + count * size)
            self._checksums[number] = zlib.crc32(entries.reshape(-1), self._checksums[number])  # type: ignore[arg-type]
            self._counts[number] += len(entries)
        else:
            old = self._read(number)
            kept = old[self._current(old)]
            self._garbage -= len(old) - len(kept)
            self._write(number, np.concatenate([kept, entries]))
        if self._counts[number] > self._options.posting_limit:
            self._long.add(number)

    def _add_postings(self, centroids: NDArray[np.float32], gone: list[int]) -> list[int]:
        """Numbers of new, empty postings; those of `gone` are dropped."""
        first = len(self._router)
        self._router = self._router.with_centroids(centroids, np.array(gone, np.int64))
        for table in (self._pages, self._capacities, self._counts, self._checksums):
            table.extend([0] * len(centroids))
        for number in gone:
            self._write(number, np.empty((0, self._entries.entry_bytes), np.uint8))
            self._long.discard(number)
        return list(range(first, first + len(centroids)))

    # Rows

    def _place(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        if not len(rows):
            return
        routed = self._geometry.routed(vectors)
        if self._router.n_live == 0:
            self._add_postings(routed.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32), [])
        self._enter(rows, vectors, assign(self._router, routed, self._options))

    def _enter(self, rows: NDArray[np.int64], vectors: NDArray[np.float32], chosen: NDArray[np.int64]) -> None:
        """Append rows to the postings that were chosen for them, int64[m, replicas]."""
        encoded = self._entries.encode(rows, self._versions[rows], vectors)
        order = np.argsort(chosen, axis=None, kind="stable")
        order = order[np.count_nonzero(chosen < 0) :]
        numbers = chosen.reshape(-1)[order]
        breaks = (np.flatnonzero(np.diff(numbers)) + 1).tolist()
        for start, end in zip([0, *breaks], [*breaks, len(order)], strict=True):
            self._append(int(numbers[start]), encoded[order[start:end] // chosen.shape[1]])

    def _settle(self) -> None:
        """Shorten postings until none is too long."""
        while self._long:
            number = self._long.pop()
            entries = self._read(number)
            kept = entries[self._current(entries)]
            self._garbage -= len(entries) - len(kept)
            if len(kept) > 0.9 * self._options.posting_limit:
                self._split(number, kept)
            else:
                self._write(number, kept)

    def _split(self, number: int, entries: NDArray[np.uint8]) -> None:
        rows, _ = self._entries.rows(entries)
        routed = self._geometry.routed(self._vectors.read(rows))
        second = halves(routed)
        old = self._router.centroids(np.array([number]))[0]
        new = np.array([routed[~second].mean(axis=0), routed[second].mean(axis=0)], np.float32)
        a, b = self._add_postings(new, [number])
        for posting, part in ((a, ~second), (b, second)):
            self._write(posting, entries[part])
            if int(part.sum()) > self._options.posting_limit:
                self._long.add(posting)
        far = _squares(routed, old)
        own = np.where(second, _squares(routed, new[1]), _squares(routed, new[0])) > far
        candidates = [rows[own]]
        near, _ = self._router.nearest(old[None], _NEIGHBOURS + 2)
        for neighbour in near[0].tolist():
            if neighbour in (a, b, -1):
                continue
            there = self._read(neighbour)
            there = there[self._current(there)]
            points = self._geometry.routed(self._entries.decode(there))
            nearest = np.minimum(_squares(points, new[0]), _squares(points, new[1]))
            home = self._router.centroids(np.array([neighbour]))[0]
            better = (nearest < _squares(points, old)) & (nearest < _squares(points, home))
            candidates.append(self._entries.rows(there[better])[0])
        self._reassign(np.unique(np.concatenate(candidates)))

    def _reassign(self, rows: NDArray[np.int64]) -> None:
        """Assign rows anew, except those that stand in their nearest posting already."""
        if not len(rows):
            return
        vectors = self._vectors.read(rows)
        chosen = assign(self._router, self._geometry.routed(vectors), self._options)
        homes: dict[int, list[int]] = defaultdict(list)
        for place, home in enumerate(chosen[:, 0].tolist()):
            homes[home].append(place)
        moving: list[int] = []
        for home, places in homes.items():
            entries = self._read(home)
            there = set(self._entries.rows(entries[self._current(entries)])[0].tolist())
            moving.extend(place for place in places if int(rows[place]) not in there)
        if not moving:
            return
        moved = np.array(sorted(moving), np.int64)
        self._garbage += len(moved) * self._replication()
        self._bump(rows[moved], 2)
        self._enter(rows[moved], vectors[moved], chosen[moved])

    def _dissolve(self, numbers: list[int]) -> None:
        """Drop short postings; their rows go where they belong without them."""
        if len(numbers) >= self._router.n_live:
            numbers = numbers[1:]  # some posting has to stay for the rows
        if not numbers:
            return
        parts = [self._read(number) for number in numbers]
        rows = np.unique(np.concatenate([self._entries.rows(part[self._current(part)])[0] for part in parts]))
        self._add_postings(np.empty((0, self._router.dimension), np.float32), numbers)
        vectors = self._vectors.read(rows)
        self._garbage += len(rows) * max(0.0, self._replication() - 1)
        self._bump(rows, 2)
        self._place(rows, vectors)


def _squares(points: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances, float32[m]."""
    differences = points - centre
    squares: NDArray[np.float32] = np.einsum("ij,ij->i", differences, differences)
    return squares
