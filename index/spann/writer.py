"""The one who changes an index: logs a change, works it in, and saves states from time to time.

A change is synced to the log first, then worked into data files and tables. Data files are only ever written where the
saved state does not look, so after a crash the saved state and the log together give the index back.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.index.errors import CorruptFileError, IndexStorageError

from .builder import remove_unfinished
from .centroids import Router
from .draft import Draft
from .log import Change, Log, create_log, log_path, read_log
from .measurement import calibrate, postings_of
from .search import Searcher
from .space import Space
from .state import Settings, State, save_state, switch

_LOG_BYTES = 64 << 20  # of log before a state is saved
_GARBAGE = 0.12  # share of outdated entries from which postings are rewritten
_DEAD = 0.2  # share of dropped centroids from which the graph is built anew


class Writer:
    """Changes an index that no one else changes. Not safe to use from two threads at once."""

    def __init__(self, path: Path, number: int, settings: Settings, searcher: Searcher, state: State) -> None:
        """Works in what the log holds. Raises CorruptFileError for a damaged log."""
        self.settings, self.state = settings, state
        self._path, self._number, self._searcher = path, number, searcher
        self._failed = False
        self._older: list[weakref.ref[State]] = []
        remove_unfinished(path, number)
        self._space = Space([state])
        end = 0
        for change, position in read_log(path, number, settings.geometry.dimension):
            self._apply(change)
            end = position
        self._log = Log(path, number)
        self._log.cut(end)
        if end:
            self.checkpoint()

    @staticmethod
    def has_work(path: Path, number: int) -> bool:
        """Whether the log of a state holds anything."""
        log = log_path(path, number)
        try:
            return log.stat().st_size > 0
        except FileNotFoundError:
            raise CorruptFileError(log, "is missing") from None

    def insert(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add or replace rows; vectors are prepared, float32[m, d]."""
        if len(rows):
            self._change(Change(rows, self._searcher.vectors.rounded(vectors)))

    def delete(self, rows: NDArray[np.int64]) -> int:
        """Take out rows; how many of them were there."""
        live = self.state.live
        known = rows[rows < len(live)]
        known = known[live[known]]
        if len(known):
            self._change(Change(known, None))
        return len(known)

    def _change(self, change: Change) -> None:
        self._check()
        self._log.append(change)
        self._failed = True  # until the change is worked in
        tidied = self._apply(change)
        self._failed = False
        if tidied or self._log.nbytes > _LOG_BYTES:
            self.checkpoint()

    def _apply(self, change: Change) -> bool:
        draft = Draft(self.state, self._searcher, self.settings.options, self._space)
        if change.vectors is None:
            draft.delete(change.rows)
        else:
            draft.insert(change.rows, change.vectors)
        tidied = draft.tidy(share=_GARBAGE)
        self._become(draft.state())
        return tidied

    def _become(self, state: State) -> None:
        self._older.append(weakref.ref(self.state))
        self.state = state

    def _check(self) -> None:
        if self._failed:
            raise IndexStorageError(
                f"{self._path}: a change could not be finished",
                path=self._path,
                hint="close the index and open it again",
            )

    def checkpoint(self) -> None:
        """Save the state, begin a new log, and free the pages that nothing refers to any more."""
        self._check()
        self._failed = True
        if self.state.router.n_live < (1 - _DEAD) * len(self.state.router):
            self._become(_renumbered(self.state, self.settings))
        self._searcher.vectors.file.sync()
        self._searcher.postings.sync()
        number = self._number + 1
        remove_unfinished(self._path, self._number)
        save_state(self._path, number, self.settings, self.state)
        create_log(self._path, number)
        switch(self._path, number, self.settings.format)
        self._log.close()
        self._number = number
        self._log = Log(self._path, number)
        remove_unfinished(self._path, number)
        older = [(reference, state) for reference in self._older if (state := reference()) is not None]
        self._space = Space([self.state, *(state for _, state in older)])
        self._older = [reference for reference, _ in older]
        self._failed = False

    def calibrate(self, queries: NDArray[np.float32] | None) -> None:
        """Measure the dial anew, on the present rows, and save it. Reads the whole index."""
        rows = np.flatnonzero(self.state.live)
        options = self.settings.options
        chosen = postings_of(self._searcher, self.state, rows, options.replicas)
        vectors = self._searcher.vectors.read(rows)
        found = calibrate(self._searcher, self.state, options, vectors, rows, chosen, queries)
        self.settings = replace(self.settings, calibration=found)
        self.checkpoint()

    def close(self) -> None:
        """Save what is only in the log."""
        try:
            if not self._failed and self._log.nbytes:
                self.checkpoint()
        finally:
            self._log.close()


def _renumbered(state: State, settings: Settings) -> State:
    """The same postings without those that are gone, and a new graph."""
    options = settings.options
    living = np.flatnonzero(~state.router.dead)
    router = Router.build(
        state.router.centroids(living),
        graph_from=options.graph_from,
        links=options.graph_links,
        effort=options.graph_effort,
        rotation=settings.rotation,
    )
    return State(
        router,
        state.pages[living],
        state.capacities[living],
        state.counts[living],
        state.checksums[living],
        state.versions,
        state.garbage,
    )
