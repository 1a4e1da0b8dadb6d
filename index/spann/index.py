"""The clustered index: built once, never changed, with exact scores of any row.

Useful where comparing a query with every row takes too long. The exact copy of the vectors is mapped, and all exact
scores come from the flat index over that map: so a row has the same score in both kinds of index, to the last bit.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import OnStep, Pace, no_pace
from lexhound.index.array_files import FileProblem
from lexhound.index.dense.flat import FlatIndex
from lexhound.index.spann.builder import build_files
from lexhound.index.spann.calibration import Calibration
from lexhound.index.spann.geometry import check_vectors
from lexhound.index.spann.options import Effort, SpannOptions
from lexhound.index.spann.search import Searcher, SpannStats
from lexhound.index.spann.storage import POSTINGS_FILE, VECTORS_FILE, PostingsFile, VectorsFile
from lexhound.index.spann.tables import Settings, Tables, load_tables
from lexhound.index.spann.verification import verify_index
from lexhound.index.topk import SearchStats, TopK

_CALIBRATED = 128
_SHARE_OF_ANOTHER = 0.5
_MANY = 4  # times k is at least the number of rows: most vectors would be read, one by one

_Chosen = tuple[Searcher, Effort]


class ClusteredIndex:
    """Rows of dense vectors by inner product, found through clusters on disk. Safe to use from many threads at once."""

    def __init__(self, path: Path, settings: Settings, tables: Tables | None, vectors: VectorsFile) -> None:
        """Use `build_clustered` or `open`. Without tables every search compares all rows."""
        self.path = path
        self._settings = settings
        # The radius was summed up in another order than the flat index would.
        self._flat = FlatIndex(vectors.vectors, largest_norm=settings.geometry.radius * (1 + 1e-9))
        self._files: list[PostingsFile | VectorsFile] = [vectors]
        self._searcher: Searcher | None = None
        if tables is not None:
            postings = PostingsFile(path / POSTINGS_FILE)
            tables.check(path, postings)
            self._files.append(postings)
            self._searcher = Searcher(settings.geometry, tables, postings, vectors)

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> ClusteredIndex:
        """Open the directory that `build_clustered` wrote.

        Checks the checksums of all tables; postings and vectors are mapped and not read.
        Raises FileNotFoundError, CorruptFileError (naming the file), UnsupportedFormatError.
        """
        path = Path(directory)
        settings, tables = load_tables(path)
        return cls(
            path, settings, tables, VectorsFile(path / VECTORS_FILE, settings.n_rows, settings.geometry.dimension)
        )

    @staticmethod
    def verify(directory: str | os.PathLike[str], pace: Pace = no_pace) -> Iterator[FileProblem]:
        """Read every byte of an index; yield what is wrong with which file, or nothing."""
        return verify_index(Path(directory), pace)

    def cut_short(self) -> Path | None:
        """Return the first data file that has become shorter since it was opened, if any; see `ArrayDirectory`."""
        return next((file.path for file in self._files if file.cut_short), None)

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
        """Bytes of centroids and the tables, which stay in memory; what is mapped does not count."""
        return 0 if self._searcher is None else self._searcher.tables.nbytes

    @property
    def is_former(self) -> bool:
        """Whether an earlier version built it: its postings are not read, and searches compare all rows."""
        return self._searcher is None

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
        effort: Effort | None = None,
    ) -> TopK:
        """Return the best `k` rows for float32[width], or nearly so: score descending, then row ascending.

        `allowed` (bool[n_rows]) restricts the rows; it is consulted before a row is scored, and there are fewer than
        `k` hits only where fewer rows are allowed. `recall` aims at a share of the true best `k`, by what was measured
        at build (None: at that of the options); with 1 every row is compared, and the result is that of a flat index.
        `effort` says instead how much to look at. Raises ValueError when `k` is below one, or query or mask do not fit.
        """
        return self.search_with_stats(query, k, allowed=allowed, recall=recall, effort=effort)[0]

    def search_with_stats(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
        effort: Effort | None = None,
    ) -> tuple[TopK, SearchStats]:
        """Return what `search` returns, and of how many rows it read the vectors."""
        top, work = self.search_with_work(query, k, allowed=allowed, recall=recall, effort=effort)
        return top, SearchStats(0, work.vectors_read)

    def search_with_work(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
        effort: Effort | None = None,
    ) -> tuple[TopK, SpannStats]:
        """Return what `search` returns, and what it read for that."""
        chosen = self._effort(k, recall, effort)
        if chosen is None:
            top, stats = self._flat.search_with_stats(query, k, allowed=allowed)
            return top, SpannStats(0, 0, stats.rows_scored, stats.rows_scored * 4 * self.width)
        checked = self._flat.checked_queries(np.asarray(query)[np.newaxis])[0]
        return self._near(checked, k, chosen, self._mask(allowed))

    def search_many(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> list[TopK]:
        """Run `search` for each row of float32[m, width], on `threads` threads (by default one a processor).

        The results do not depend on the number of threads.
        """
        chosen = self._effort(k, recall)
        if chosen is None:
            return self._flat.search_many(queries, k, allowed=allowed)
        checked, mask = self._flat.checked_queries(queries), self._mask(allowed)
        rankings = [TopK.empty()] * len(checked)
        turns = itertools.count()

        def work() -> None:
            while (turn := next(turns)) < len(checked):
                rankings[turn] = self._near(checked[turn], k, chosen, mask)[0]

        workers = min(threads or os.cpu_count() or 1, len(checked))
        if workers <= 1:
            work()
        else:
            with ThreadPoolExecutor(workers) as pool:
                for done in [pool.submit(work) for _ in range(workers)]:
                    done.result()
        return rankings

    def scores_of(self, rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the exact scores of rows, in their order: float64[len(rows)]. Raises ValueError and IndexError."""
        return self._flat.scores_of(rows, query)

    def vectors_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some rows, a copy: float32[len(rows), width]."""
        return self._flat.vectors_of(rows)

    def _effort(self, k: int, recall: float | None, effort: Effort | None = None) -> _Chosen | None:
        """Return how much to look at; None where comparing all rows is less work, or is what `recall` wants."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if effort is not None and recall is not None:
            raise ValueError("say recall or effort, not both")
        aim = self._settings.options.recall if recall is None else recall
        if not 0 < aim <= 1:
            raise ValueError(f"recall must be above 0 and at most 1, not {aim}")
        if self._searcher is None or not self.n_rows:
            return None
        if effort is None:
            effort = self.calibration.effort(aim, k)
            if aim == 1 or np.isinf(effort.doubt) or _MANY * k >= self.n_rows:
                return None
        elif effort == Effort.everything():  # the scores of a scan are float32 sums, which may have close ones swapped
            return None
        return self._searcher, effort

    def _mask(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (self.n_rows,)):
            raise ValueError(
                f"a mask of rows must be bool[{self.n_rows}], one per row, not {allowed.dtype}{list(allowed.shape)}"
            )
        return allowed

    def _near(
        self, query: NDArray[np.float32], k: int, chosen: _Chosen, allowed: NDArray[np.bool_] | None
    ) -> tuple[TopK, SpannStats]:
        searcher, effort = chosen
        rows, stats = searcher.candidates(query, k, effort, allowed)
        return self._flat.best(query, rows, k), stats


def build_clustered(
    directory: str | os.PathLike[str],
    vectors: NDArray[np.float32],
    options: SpannOptions | None = None,
    *,
    queries: NDArray[Any] | None = None,
    progress: OnStep | None = None,
) -> ClusteredIndex:
    """Write float32[n, width] into a new directory, and open it.

    Recall is calibrated with `queries` (float32[m, width], examples of what will be searched for). Without them sums of
    a vector and half of another stand for them: queries as a rule lie farther from the vectors than these from each
    other, and vectors themselves would promise too much. Without options these are 128 where there are at least twice
    as many vectors, and otherwise none, so that every row is compared.

    Temporary memory: `vectors` once more. Deterministic for given options. Needs faiss (ImportError). Raises ValueError
    for other arrays, for NaN, infinity, and lengths beyond 1e18; IndexStorageError when the directory is not empty,
    OSError when the disk refuses: nothing is left behind. `progress` is told of the stages.
    """
    checked = check_vectors(vectors)
    usual = SpannOptions(calibration_queries=_CALIBRATED if len(vectors) >= 2 * _CALIBRATED else 0)
    chosen = options or usual
    if queries is None:
        queries = _between(checked, 2 * chosen.calibration_queries, chosen.seed)
    elif check_vectors(queries, "queries").shape[1] != checked.shape[1]:
        raise ValueError(f"queries must be float32[m, {checked.shape[1]}], as the vectors are")
    build_files(Path(directory), checked, chosen, queries, progress)
    return ClusteredIndex.open(directory)


def _between(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32] | None:
    """Return queries that lie off the vectors: float32[count or fewer, width]."""
    if len(vectors) < 2 or count == 0:
        return None
    draw = np.random.default_rng(seed)
    chosen = np.sort(draw.choice(len(vectors), min(count, len(vectors)), replace=False))
    others = draw.integers(0, len(vectors), len(chosen))
    return vectors[chosen] + np.float32(_SHARE_OF_ANOTHER) * vectors[others]
