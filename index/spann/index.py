"""The clustered index: approximate nearest rows of dense vectors that stay on disk (SPANN, SPFresh).

Useful from some ten thousand vectors on, where memory is dearer than a warm disk. Not useful for fewer: comparing all
of them is exact and as fast. It does not know documents: rows are numbers from 0 on, and best dense ones, as tables of
three bytes a row are kept in memory.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.array_files import FileProblem
from lexhound.index.errors import IndexStorageError
from lexhound.index.topk import TopK

from .builder import build_files
from .calibration import Calibration
from .codec import EntryFormat
from .geometry import Geometry
from .lock import IndexLock
from .options import Effort, SpannOptions
from .search import Searcher, SpannStats
from .state import Settings, State, current_state, load_state
from .storage import POSTINGS_FILE, VECTORS_FILE, DataFile, VectorFile
from .verification import verify_index
from .writer import Writer

_MAX_ROWS = (1 << 32) - 2  # a row is a u32, and one value is kept free


class SpannIndex:
    """Rows of dense vectors on disk, searchable by dense queries. Safe to use from many threads at once.

    One process may have it open for writing, or any number for reading.
    """

    def __init__(
        self, path: Path, settings: Settings, state: State, searcher: Searcher, lock: IndexLock, writer: Writer | None
    ) -> None:
        """Use `build` or `open`."""
        self.path = path
        self._settings = settings
        self._state = state
        self._searcher = searcher
        self._lock = lock
        self._writer = writer
        self._writing = threading.Lock()

    # Making one

    @classmethod
    def build(
        cls,
        directory: str | os.PathLike[str],
        vectors: NDArray[Any],
        rows: NDArray[np.integer[Any]] | None = None,
        *,
        options: SpannOptions | None = None,
        queries: NDArray[Any] | None = None,
        writable: bool = False,
    ) -> SpannIndex:
        """Write an index of `vectors` (floats [n, d]) into a new directory, and open it.

        rows: integers [n], the number of each, different, from 0 on (default: 0 to n - 1). queries: floats [m, d],
        examples of what will be asked, to calibrate `recall` with; without them vectors of the collection are taken.
        Temporary memory: two to three times `vectors`. Deterministic for given options.

        Raises ValueError for vectors or rows that break these rules, IndexStorageError when the directory is not
        empty, OSError (naming the file) when the disk is full; a failed build leaves nothing behind.
        """
        chosen = options or SpannOptions()
        if vectors.ndim != 2 or vectors.shape[1] < 1:
            raise ValueError(f"vectors must be floats [n, d] with d above 0, not {list(vectors.shape)}")
        raw = Geometry(chosen.metric, vectors.shape[1])
        prepared = raw.checked(vectors)
        numbers = np.arange(len(prepared)) if rows is None else checked_rows(rows, len(prepared))
        asked = None if queries is None else raw.checked(queries, "queries")
        build_files(Path(directory), prepared, numbers, chosen, Geometry.of(chosen.metric, prepared), asked)
        return cls.open(directory, writable=writable)

    @classmethod
    def open(cls, directory: str | os.PathLike[str], *, writable: bool = False) -> SpannIndex:
        """An index from its directory. Changes that the last process did not save come back from its log.

        Checks the checksums of all tables; postings and vectors are not read. Without faiss installed an index can be
        searched, though all centroids are compared. Raises FileNotFoundError,
        CorruptFileError (naming the file), UnsupportedFormatError, IndexStorageError (another process has it).
        """
        path = Path(directory)
        current_state(path)  # says first what is wrong with a directory that is none
        lock = IndexLock(path, exclusive=writable)
        try:
            if not writable and Writer.has_work(path, current_state(path)):
                lock.close()
                cls.open(path, writable=True).close()
                lock = IndexLock(path, exclusive=False)
            number = current_state(path)
            settings, state = load_state(path, number)
            geometry, options = settings.geometry, settings.options
            searcher = Searcher(
                geometry,
                EntryFormat(options.codec, geometry.dimension, settings.rotation),
                DataFile(path / POSTINGS_FILE, writable=writable),
                VectorFile(path / VECTORS_FILE, geometry.dimension, options.copy, writable=writable),
            )
            state.check(path, searcher.entries.entry_bytes, searcher.postings, searcher.vectors)
            index = cls(path, settings, state, searcher, lock, None)
            if writable:
                index._writer = Writer(path, number, settings, searcher, state)
                index._adopt()
        except BaseException:
            lock.close()
            raise
        return index

    @staticmethod
    def verify(directory: str | os.PathLike[str]) -> Iterator[FileProblem]:
        """Read every byte of an index that no process is changing; yields what is wrong with which file, or nothing."""
        return verify_index(Path(directory))

    def close(self) -> None:
        """Save what is only in the log, and let go of the files. The index cannot be used afterwards."""
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._adopt()
                self._writer = None
            self._searcher.postings.close()
            self._searcher.vectors.file.close()
            self._lock.close()

    def __enter__(self) -> SpannIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What it is

    @property
    def options(self) -> SpannOptions:
        return self._settings.options

    @property
    def dimension(self) -> int:
        return self._settings.geometry.dimension

    @property
    def calibration(self) -> Calibration:
        """Which effort reaches which recall, as measured when the index was built."""
        return self._settings.calibration

    @property
    def n_rows(self) -> int:
        """One more than the largest row that was ever in the index: the length of a mask."""
        return len(self._state.versions)

    @property
    def n_live(self) -> int:
        """Rows that are in the index."""
        return self._state.n_live

    @property
    def live(self) -> NDArray[np.bool_]:
        """Which rows are in the index: bool[n_rows], read-only."""
        view = self._state.live.view()
        view.flags.writeable = False
        return view

    @property
    def n_postings(self) -> int:
        return self._state.router.n_live

    @property
    def n_entries(self) -> int:
        """Entries of all postings: a row has up to `replicas` of them, and outdated ones count."""
        return int(self._state.counts.sum())

    @property
    def resident_bytes(self) -> int:
        """Bytes of centroids, their graph and the tables. What a search touches of the data files is
        mapped: page cache, which the system takes back when it is short of memory."""
        return self._state.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def forget_pages(self) -> None:
        """Ask the system to drop the data files from its page cache: for measuring what a cold disk costs."""
        self._searcher.postings.forget()
        self._searcher.vectors.file.forget()

    # Searching

    def search(
        self,
        query: NDArray[Any],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
        effort: Effort | None = None,
    ) -> TopK:
        """The best `k` rows, or nearly so: score descending, then row ascending.

        query: floats [d]. Scores are the exact inner products, cosines or negative squared distances of the rows that
        were found. `allowed` (bool[n_rows]) restricts the rows; it is consulted before a row is scored, and postings
        are read until there are `k` hits or no more rows. `recall` aims at a share of the true best k, by what was
        measured at build (default: the options'); `effort` says instead how much to look at.
        Raises ValueError when `k` is below one or the query or the mask does not fit.
        """
        return self.search_with_stats(query, k, allowed=allowed, recall=recall, effort=effort)[0]

    def search_with_stats(
        self,
        query: NDArray[Any],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
        effort: Effort | None = None,
    ) -> tuple[TopK, SpannStats]:
        """`search`, and how much work it was."""
        prepared = self._settings.geometry.checked_query(np.asarray(query))
        state = self._state
        return self._searcher.search(state, prepared, k, self._effort(k, recall, effort), _mask(state, allowed))

    def search_many(
        self,
        queries: NDArray[Any],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
        effort: Effort | None = None,
        threads: int | None = None,
    ) -> list[TopK]:
        """`search` for each of the queries, floats [m, d], on `threads` threads (by default one per processor).

        All of them see one state of the index; the results do not depend on the number of threads.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        prepared = [self._settings.geometry.checked_query(query) for query in np.asarray(queries)]
        state, chosen = self._state, self._effort(k, recall, effort)
        mask = _mask(state, allowed)
        results = [TopK.empty()] * len(prepared)
        turns = itertools.count()

        def work() -> None:
            while (turn := next(turns)) < len(prepared):
                results[turn] = self._searcher.search(state, prepared[turn], k, chosen, mask)[0]

        workers = min(threads or os.cpu_count() or 1, len(prepared))
        if workers <= 1:
            work()
        else:
            with ThreadPoolExecutor(workers) as pool:
                for done in [pool.submit(work) for _ in range(workers)]:
                    done.result()
        return results

    def scores(self, query: NDArray[Any], rows: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """The exact scores of some rows that live, float64[m]: those that a search would give them.

        Raises ValueError for rows that are not in the index.
        """
        prepared = self._settings.geometry.checked_query(np.asarray(query))
        numbers = np.asarray(rows, np.int64)
        state = self._state
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(state.live) or not state.live[numbers].all()):
            raise ValueError("some of the rows are not in the index")
        return self._searcher.scores(prepared, numbers)

    def _effort(self, k: int, recall: float | None, effort: Effort | None) -> Effort:
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if effort is not None:
            if recall is not None:
                raise ValueError("say recall or effort, not both")
            return effort
        aim = self._settings.options.recall if recall is None else recall
        if not 0 < aim <= 1:
            raise ValueError(f"recall must be above 0 and at most 1, not {aim}")
        return self._settings.calibration.effort(aim, k)

    # Changing

    def insert(self, rows: NDArray[np.integer[Any]], vectors: NDArray[Any]) -> None:
        """Add rows, or replace those that are there. rows: integers [m], different; vectors: floats [m, d].

        Durable when it returns: a crash afterwards loses nothing, and one before leaves the rows as they were.
        Searches that run meanwhile see the index before or after. Raises ValueError for what does not fit,
        IndexStorageError when the index is open for reading, OSError when the disk refuses.
        """
        prepared = self._settings.geometry.checked(np.asarray(vectors))
        numbers = checked_rows(rows, len(prepared))
        with self._writing:
            self._open_writer().insert(numbers, prepared)
            self._adopt()

    def delete(self, rows: NDArray[np.integer[Any]]) -> int:
        """Take rows out; how many of them were there. Durable like `insert`, and raises what it raises."""
        numbers = np.unique(checked_rows(rows, len(rows), repeated=True))
        with self._writing:
            found = self._open_writer().delete(numbers)
            self._adopt()
        return found

    def checkpoint(self) -> None:
        """Save the present state, so that the next process does not repeat the log, and free space on disk."""
        with self._writing:
            self._open_writer().checkpoint()
            self._adopt()

    def calibrate(self, queries: NDArray[Any] | None = None) -> None:
        """Measure the dial anew: for other queries (floats [m, d]), or after much has changed.

        Reads the whole index, and holds all vectors in memory while it does. Raises what `insert` raises.
        """
        asked = None if queries is None else self._settings.geometry.checked(np.asarray(queries), "queries")
        with self._writing:
            self._open_writer().calibrate(asked)
            self._adopt()

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise IndexStorageError(
                f"{self.path}: is open for reading", path=self.path, hint="open it with writable=True"
            )
        return self._writer

    def _adopt(self) -> None:
        if self._writer is not None:
            self._settings, self._state = self._writer.settings, self._writer.state


def checked_rows(rows: NDArray[np.integer[Any]], count: int, *, repeated: bool = False) -> NDArray[np.int64]:
    """`rows` as int64[count]. Raises ValueError when they do not fit, or one occurs twice and may not."""
    numbers = np.asarray(rows)
    if numbers.shape != (count,) or (numbers.dtype.kind not in "iu" and count):
        raise ValueError(f"rows must be integers [{count}], one per vector, not {numbers.dtype}{list(numbers.shape)}")
    if count and not 0 <= int(numbers.min()) <= int(numbers.max()) <= _MAX_ROWS:
        raise ValueError(f"rows must be between 0 and {_MAX_ROWS:,}")
    if not repeated and len(np.unique(numbers)) != count:
        raise ValueError("rows must differ from each other")
    return numbers.astype(np.int64)


def _mask(state: State, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != state.live.shape):
        raise ValueError(
            f"a mask of rows must be bool[{len(state.live)}], one per row, not {allowed.dtype}{list(allowed.shape)}"
        )
    return allowed
