"""The clustered index as a segment of a collection keeps it: built once, never changed, with exact scores of any row.

Useful where comparing a query with every row takes too long; not for vectors that change in place (`SpannIndex`). The
files are those of `SpannIndex`, with inner products for scores and an empty log. Its exact copy is mapped, and all that
is exact goes through the flat index over that map: so a row has the same score in both kinds of index, to the last bit.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.index.array_files import FileProblem, Pace, no_pace
from lexhound.index.dense.flat import FlatIndex
from lexhound.index.errors import CorruptFileError
from lexhound.index.topk import SearchStats, TopK

from .builder import build_files
from .calibration import Calibration
from .codec import EntryFormat
from .geometry import Geometry
from .log import log_path
from .options import Effort, SpannOptions
from .search import Searcher
from .state import CURRENT_FILE, Settings, State, current_state, load_state
from .storage import POSTINGS_FILE, VECTORS_FILE, DataFile, VectorFile
from .verification import verify_index
from .writer import Writer

_CALIBRATED = 128
_SHARE_OF_ANOTHER = 0.5


class ClusteredIndex:
    """Rows of dense vectors by inner product, found through clusters on disk. Safe to use from many threads at once."""

    def __init__(self, path: Path, settings: Settings, state: State, searcher: Searcher) -> None:
        """Use `build_clustered` or `open`."""
        self.path = path
        self._settings = settings
        self._state = state
        self._searcher = searcher
        vectors = searcher.vectors.mapped(len(state.versions))
        self._sizes = [(file, file.nbytes) for file in (searcher.postings, searcher.vectors.file)]
        # The radius was summed up in another order than the flat index would.
        self._flat = FlatIndex(vectors, largest_norm=settings.geometry.radius * (1 + 1e-9))

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> ClusteredIndex:
        """An index from the directory that `build_clustered` wrote.

        Checks the checksums of all tables; postings and vectors are mapped and not read. Raises FileNotFoundError,
        CorruptFileError (naming the file), UnsupportedFormatError.
        """
        path = Path(directory)
        number = current_state(path)
        if Writer.has_work(path, number):
            raise CorruptFileError(log_path(path, number), "holds changes, and an index of a segment has none")
        settings, state = load_state(path, number)
        geometry, options = settings.geometry, settings.options
        if geometry.metric != "ip" or options.copy != "float32" or not state.live.all():
            raise CorruptFileError(path / CURRENT_FILE, "names a state that is not that of an index of a segment")
        searcher = Searcher(
            geometry,
            EntryFormat(options.codec, geometry.dimension, settings.rotation),
            DataFile(path / POSTINGS_FILE, writable=False),
            VectorFile(path / VECTORS_FILE, geometry.dimension, options.copy, writable=False),
        )
        state.check(path, searcher.entries.entry_bytes, searcher.postings, searcher.vectors)
        return cls(path, settings, state, searcher)

    @staticmethod
    def verify(directory: str | os.PathLike[str], pace: Pace = no_pace) -> Iterator[FileProblem]:
        """Read every byte of an index; yields what is wrong with which file, or nothing."""
        return verify_index(Path(directory), pace)

    def cut_short(self) -> Path | None:
        """The first of its data files that has become shorter since it was opened, if any; see `ArrayDirectory`."""
        for file, size in self._sizes:
            if file.nbytes < size:
                return file.path
        return None

    @property
    def n_rows(self) -> int:
        """Rows."""
        return self._flat.n_rows

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self._flat.width

    @property
    def flat(self) -> FlatIndex:
        """The same vectors, mapped, as an index that compares all of them."""
        return self._flat

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    @property
    def resident_bytes(self) -> int:
        """Bytes of centroids, their graph and the tables, which stay in memory; what is mapped does not count."""
        return self._state.nbytes

    @property
    def calibration(self) -> Calibration:
        """Which effort reaches which recall, as measured at build."""
        return self._settings.calibration

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
    ) -> TopK:
        """The best `k` rows for float32[width], or nearly so: score descending, then row ascending.

        `allowed` (bool[n_rows]) restricts the rows; it is consulted before a row is scored, and there are fewer than
        `k` hits only where fewer rows are allowed. `recall` aims at a share of the true best `k`, by what was measured
        at build (None: at that of the options); with 1 every row is compared, and the result is that of a flat index.
        Raises ValueError when `k` is below one, or query or mask do not fit.
        """
        return self.search_with_stats(query, k, allowed=allowed, recall=recall)[0]

    def search_with_stats(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
    ) -> tuple[TopK, SearchStats]:
        """`search`, and how many rows it scored."""
        effort = self._effort(k, recall)
        return (
            self._flat.search_with_stats(query, k, allowed=allowed)
            if effort is None
            else self._near(
                self._flat.checked_queries(np.asarray(query)[np.newaxis])[0], k, effort, self._mask(allowed)
            )
        )

    def search_many(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> list[TopK]:
        """`search` for each row of float32[m, width], on `threads` threads (by default one a processor).

        The results do not depend on the number of threads.
        """
        effort = self._effort(k, recall)
        if effort is None:
            return self._flat.search_many(queries, k, allowed=allowed)
        checked, mask = self._flat.checked_queries(queries), self._mask(allowed)
        found = [TopK.empty()] * len(checked)
        turns = itertools.count()

        def work() -> None:
            while (turn := next(turns)) < len(checked):
                found[turn] = self._near(checked[turn], k, effort, mask)[0]

        workers = min(threads or os.cpu_count() or 1, len(checked))
        if workers <= 1:
            work()
        else:
            with ThreadPoolExecutor(workers) as pool:
                for done in [pool.submit(work) for _ in range(workers)]:
                    done.result()
        return found

    def scores_of(self, rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float64]:
        """The exact scores of some rows, in the order given: float64[len(rows)]. Raises ValueError and IndexError."""
        return self._flat.scores_of(rows, query)

    def vectors_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of some rows, a copy: float32[len(rows), width]."""
        return self._flat.vectors_of(rows)

    def _effort(self, k: int, recall: float | None) -> Effort | None:
        """How hard to try; None where comparing all rows is no more work, or is what is asked for."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        aim = self._settings.options.recall if recall is None else recall
        if not 0 < aim <= 1:
            raise ValueError(f"recall must be above 0 and at most 1, not {aim}")
        if aim == 1 or not len(self._state.counts):
            return None
        effort = self._settings.calibration.effort(aim, k)
        entries = effort.postings * float(self._state.counts.mean())
        return None if entries + k >= self.n_rows else effort

    def _mask(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (self.n_rows,)):
            raise ValueError(
                f"a mask of rows must be bool[{self.n_rows}], one per row, not {allowed.dtype}{list(allowed.shape)}"
            )
        return allowed

    def _near(
        self, query: NDArray[np.float32], k: int, effort: Effort, allowed: NDArray[np.bool_] | None
    ) -> tuple[TopK, SearchStats]:
        rows, stats = self._searcher.candidates(self._state, query, k, effort, allowed)
        return self._flat.best(query, rows, k), SearchStats(0, stats.rows_scored + stats.rows_rescored)


def build_clustered(
    directory: str | os.PathLike[str], vectors: NDArray[np.float32], options: SpannOptions | None = None
) -> ClusteredIndex:
    """Write float32[n, width] into a new directory, and open it. Metric and copy of the options are not looked at.

    The dial is calibrated with sums of a vector and half of another: queries as a rule lie farther from the vectors
    than these from each other, and vectors themselves would make it too low. Without options these are 128 where there
    are at least twice as many vectors, and otherwise none, so that every row is compared.

    Temporary memory: `vectors` once more. Deterministic for given options. Needs faiss (ImportError). Raises ValueError
    for other arrays, for NaN, infinity, and lengths beyond 1e18; IndexStorageError when the directory is not empty,
    OSError when the disk refuses: nothing is left behind.
    """
    if vectors.ndim != 2 or vectors.dtype != np.float32 or not vectors.shape[1]:
        raise ValueError(f"vectors must be float32[n, width], not {vectors.dtype}{list(vectors.shape)}")
    usual = SpannOptions(calibration_queries=_CALIBRATED if len(vectors) >= 2 * _CALIBRATED else 0)
    chosen = replace(options or usual, metric="ip", copy="float32")
    checked = Geometry("ip", vectors.shape[1]).checked(vectors)
    rows = np.arange(len(checked), dtype=np.int64)
    queries = _between(checked, 2 * chosen.calibration_queries, chosen.seed)
    build_files(Path(directory), checked, rows, chosen, Geometry.of("ip", checked), queries)
    return ClusteredIndex.open(directory)


def _between(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32] | None:
    """Queries that lie off the vectors: float32[count or fewer, width]."""
    if len(vectors) < 2 or count == 0:
        return None
    draw = np.random.default_rng(seed)
    chosen = np.sort(draw.choice(len(vectors), min(count, len(vectors)), replace=False))
    others = draw.integers(0, len(vectors), len(chosen))
    return vectors[chosen] + np.float32(_SHARE_OF_ANOTHER) * vectors[others]
