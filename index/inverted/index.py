"""The inverted index: top-k over 8-bit impacts, exact or nearly so, in memory or mapped from a directory. Immutable.

Useful for sparse vectors of any origin (BM25, SPLADE) over up to some ten million rows on one machine. Not useful for
dense vectors, and it does not know documents: rows are numbers, terms are numbers.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import Pace, no_pace
from lexhound.index.array_files import HEADER, ArrayDirectory, FileProblem
from lexhound.index.array_verification import verify_arrays
from lexhound.index.errors import CorruptFileError
from lexhound.index.jit import as_python, frozen
from lexhound.index.topk import SearchStats, TopK

from . import format as layout
from .arguments import EXACT_FACTOR, BatchArrays, IndexArrays, counted_factor
from .calibration import RecallCalibration
from .format import Postings
from .inversion import SparseRows, invert
from .plain import count_live_postings, is_plain, mark_posting_rows, search_postings
from .postings import count_live, count_postings_of, entry_ranges, impacts_of_row, mark_rows, score_rows
from .quantization import QuantisationLoss, Query
from .traversal import ThreadWorkspaces, Workspace, search_batch, search_windows

# Queries that a thread takes at a time, at most: enough that it seldom waits for Python's lock.
_BATCH = 32
# Hits that it makes room for at a time, at most (16 bytes each), unless a single query asks for more.
_BATCH_HITS = 1 << 20

# Above every integer score.
_GREATEST_SCORE = float(1 << 31)

_NO_MASK: NDArray[np.bool_] = frozen(np.empty(0, np.bool_))

_scratch = ThreadWorkspaces()


class InvertedIndex:
    """Rows of sparse vectors, searchable by sparse queries. Safe to use from many threads at once."""

    def __init__(
        self,
        postings: Postings,
        *,
        scale: float,
        loss: QuantisationLoss,
        directory: ArrayDirectory | None = None,
        recall_calibration: RecallCalibration | None = None,
        mean_length: float | None = None,
    ) -> None:
        """Use `from_csr` or `open`. scale: the weight of an impact of 1; mean_length: of rows, by which it was made."""
        self.postings = postings
        self.scale = scale
        self.mean_length = mean_length
        self.loss = loss
        self.recall_calibration = recall_calibration or RecallCalibration()
        self.directory = directory
        self._arrays: tuple[Any, ...] = tuple(IndexArrays(*(getattr(postings, name) for name in IndexArrays._fields)))

    # Making one

    @classmethod
    def from_csr(
        cls,
        weights: SparseRows,
        scale: float,
        *,
        frequencies: NDArray[np.uint8] | None = None,
        lengths: NDArray[np.uint32] | None = None,
        mean_length: float | None = None,
        window_bits: int | None = None,
    ) -> InvertedIndex:
        """Return an index in memory; the arguments are those of `builder.build_inverted`."""
        postings, loss, exact = invert(
            weights,
            scale=scale,
            frequencies=frequencies,
            lengths=lengths,
            window_bits=window_bits,
        )
        return cls(postings, scale=exact, loss=loss, mean_length=mean_length)

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> InvertedIndex:
        """Return an index from the directory that `build_inverted` or `merge_inverted` wrote, mapped into memory.

        Checks sizes and the checksums of the directory of postings; the postings themselves are not read.
        Raises FileNotFoundError, CorruptFileError (naming the file), UnsupportedFormatError, IndexStorageError.
        """
        stored = ArrayDirectory(directory, kind=layout.KIND, format=layout.FORMAT)
        attributes = stored.attributes
        try:
            postings = Postings.of(stored)
            scale = float(attributes["scale"])
            loss = QuantisationLoss(**attributes["loss"])
            recall_calibration = RecallCalibration.from_json(attributes.get("dial", []))
            mean_length = None if attributes.get("mean_length") is None else float(attributes["mean_length"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(stored.path / HEADER, f"lacks what an inverted index needs: {error}") from error
        if problem := postings.problem():
            raise CorruptFileError(stored.path / HEADER, problem)
        return cls(
            postings,
            scale=scale,
            loss=loss,
            directory=stored,
            recall_calibration=recall_calibration,
            mean_length=mean_length,
        )

    @staticmethod
    def verify(directory: str | os.PathLike[str], pace: Pace = no_pace) -> Iterator[FileProblem]:
        """Read every byte of an index directory; yields what is wrong with which file, or nothing."""
        return verify_arrays(directory, kind=layout.KIND, format=layout.FORMAT, pace=pace)

    def cut_short(self) -> Path | None:
        """Return the first file that has become shorter since it was mapped, if any: it must not be read any more."""
        return self.directory.cut_short() if self.directory else None

    # What it is

    @property
    def path(self) -> Path | None:
        """The directory it was opened from, if any."""
        return self.directory.path if self.directory else None

    @property
    def n_rows(self) -> int:
        """Rows, those without any term included."""
        return self.postings.n_rows

    @property
    def n_postings(self) -> int:
        """Non-zero weights."""
        return len(self.postings.rows)

    @property
    def n_terms(self) -> int:
        """Terms that occur in at least one row."""
        return len(self.postings.terms)

    @property
    def lengths(self) -> NDArray[np.uint32] | None:
        """The length of each row, when the index was built with them (uint32[n_rows])."""
        return self.postings.lengths

    @property
    def greatest_weight(self) -> float:
        """The largest weight of a posting, as its impact stands for it; 0 without postings. Reads the directory."""
        maxima = self.postings.entry_maxima
        return int(maxima.max()) * self.scale if len(maxima) else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes on disk, or in memory for an index that has no directory."""
        return self.directory.nbytes if self.directory else self.postings.nbytes

    # Searching

    def search(
        self,
        query: Query,
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        bound_factor: float = 1.0,
        at_least: float = 0.0,
    ) -> TopK:
        """Return the best `k` rows that hold at least one term of the query: score descending, then row ascending.

        `allowed` (bool[n_rows]) restricts the rows; it is consulted before a row is ranked, so there are `k` hits
        whenever `k` allowed rows match. The scores are always those of the definition in `quantization`. With a
        `bound_factor` of 1 the rows are, too; below it, down to 0, upper bounds are scaled by it, so that less is read
        and a row may be missed. Rows that score less than `at_least` may be left out: when several indexes are
        searched, the k-th score of those before.

        Raises ValueError when `k` is below one, the mask does not fit or `bound_factor` is not in 0 to 1.
        """
        return self.search_with_stats(query, k, allowed=allowed, bound_factor=bound_factor, at_least=at_least)[0]

    def search_with_stats(
        self,
        query: Query,
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        bound_factor: float = 1.0,
        at_least: float = 0.0,
    ) -> tuple[TopK, SearchStats]:
        """Return what `search` returns, and how much work it was."""
        depth, mask = self._checked(k, allowed)
        return self._search(query, depth, mask, counted_factor(bound_factor), self._above(query, at_least))

    def _above(self, query: Query, at_least: float) -> int:
        """Return the integer score that a row must exceed to score at least so much."""
        # A row of just that score may still win by its place in the collection, so only lower ones are cut off.
        return max(0, math.ceil(min(at_least / (query.scale * self.scale), _GREATEST_SCORE)) - 1)

    def search_many(
        self,
        queries: Sequence[Query],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        bound_factor: float = 1.0,
        at_least: Sequence[float] | None = None,
        threads: int | None = None,
    ) -> list[TopK]:
        """Run `search` for each of the queries, on `threads` threads (by default one per processor).

        `at_least` is one score a query, as for `search`. The results do not depend on the number of threads.
        """
        depth, mask = self._checked(k, allowed)
        parts = counted_factor(bound_factor)
        floors = [0.0] * len(queries) if at_least is None else at_least
        above = frozen(np.array([self._above(*pair) for pair in zip(queries, floors, strict=True)], np.int64))
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        workers = min(threads or os.cpu_count() or 1, len(queries))
        share = len(queries) // (4 * max(1, workers))  # four turns each even out short and long queries
        size = max(1, min(_BATCH, share, _BATCH_HITS // max(1, depth)))
        batches = [slice(start, start + size) for start in range(0, len(queries), size)]
        results: list[list[TopK]] = [[]] * len(batches)
        turns = itertools.count()

        def work() -> None:
            workspace = Workspace()
            while (turn := next(turns)) < len(batches):
                batch = batches[turn]
                results[turn] = self._search_batch(queries[batch], depth, mask, parts, above[batch], workspace)

        if workers <= 1:
            work()
        else:
            with ThreadPoolExecutor(workers) as pool:
                for done in [pool.submit(work) for _ in range(workers)]:
                    done.result()
        return [top for batch in results for top in batch]

    def _checked(self, k: int, allowed: NDArray[np.bool_] | None) -> tuple[int, NDArray[np.bool_] | None]:
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        return min(k, self.n_rows), None if allowed is None else self._mask(allowed)

    def _mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if mask.dtype != np.bool_ or mask.shape != (self.n_rows,):
            raise ValueError(
                f"a mask of rows must be bool[{self.n_rows}], one per row, not {mask.dtype}{list(mask.shape)}"
            )
        mask = np.ascontiguousarray(mask)
        if mask.__array_interface__["data"][0] % 8:  # the kernel looks at eight rows at a time
            mask = mask.copy()
        return frozen(mask)

    def _limits(self, mask: NDArray[np.bool_] | None, bound_factor: int) -> tuple[Any, ...]:
        """Return the fields of `Limits`."""
        return (_NO_MASK if mask is None else mask, mask is not None, bound_factor, 0, self.n_rows, 0)

    def _search(
        self, query: Query, k: int, mask: NDArray[np.bool_] | None, bound_factor: int, above: int
    ) -> tuple[TopK, SearchStats]:
        if len(query) == 0 or k == 0:
            return TopK.empty(), SearchStats(0, 0)
        unit = query.scale * self.scale
        if bound_factor == EXACT_FACTOR and is_plain(self.postings, query.terms):
            return search_postings(self.postings, query, k, mask, above, unit)
        workspace = _scratch.workspace(self.postings.window_bits)
        rows, scores = np.empty(k, np.int64), np.empty(k, np.float64)
        stats = np.zeros(3, np.int64)
        hits = search_windows(
            (query.terms, query.weights, unit, above),
            self._arrays,
            self._limits(mask, bound_factor),
            workspace.scratch(len(query), k),
            rows,
            scores,
            stats,
        )
        return TopK(rows[:hits], scores[:hits]), SearchStats(*stats.tolist())

    def _search_batch(
        self,
        queries: Sequence[Query],
        k: int,
        mask: NDArray[np.bool_] | None,
        bound_factor: int,
        above: NDArray[np.int64],
        workspace: Workspace,
    ) -> list[TopK]:
        if k == 0:
            return [TopK.empty()] * len(queries)
        sizes = [len(query) for query in queries]
        rows, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float64)
        hits = np.empty(len(queries), np.int64)
        batch = BatchArrays(
            starts=frozen(np.cumsum([0, *sizes])),
            terms=frozen(np.concatenate([query.terms for query in queries])),
            weights=frozen(np.concatenate([query.weights for query in queries])),
            units=frozen(np.array([query.scale * self.scale for query in queries], np.float64)),
            above=above,
        )
        search_batch(
            tuple(batch),
            self._arrays,
            self._limits(mask, bound_factor),
            workspace.scratch(max(sizes), k),
            rows,
            scores,
            np.zeros(3, np.int64),
            hits,
        )
        # Copies: a view of a short ranking would keep the whole batch in memory.
        return [TopK(rows[i, :n].copy(), scores[i, :n].copy()) for i, n in enumerate(hits.tolist())]

    # Looking closer

    def document_frequencies(
        self, terms: NDArray[np.int32], live: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Return how many rows hold each term: all rows, or those that are true in `live` (bool[n_rows]).

        terms: int32[m] in any order; returns int64[m]. Without `live` the lists are not read.
        """
        entries = entry_ranges(self.postings, terms)
        if live is None:
            return count_postings_of(entries, self.postings.entry_ends)
        postings, mask = self.postings, self._mask(live)
        if is_plain(postings, terms):
            return count_live_postings(postings, terms, mask)
        counts = np.empty(len(entries), np.int64)
        count_live(
            frozen(entries),
            postings.entry_windows,
            postings.entry_ends,
            postings.rows,
            postings.window_bits,
            mask,
            counts,
        )
        return counts

    def matching(
        self, terms: NDArray[np.int32], allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.bool_], int]:
        """Return which rows hold at least one of the terms, those that `search` ranks: bool[n_rows], the caller's own.

        terms: int32[m] in any order; `allowed` (bool[n_rows]) restricts the rows. Also returns how many postings were
        read: all of the terms.
        """
        postings = self.postings
        marks = np.zeros(self.n_rows, np.bool_)
        entries = entry_ranges(postings, terms)
        if is_plain(postings, terms):
            mark_posting_rows(postings, terms, marks)
        else:
            windows, ends, rows = postings.entry_windows, postings.entry_ends, postings.rows
            mark_rows(frozen(entries), windows, ends, rows, postings.window_bits, 0, marks)
        if allowed is not None:
            marks &= self._mask(allowed)
        return marks, int(count_postings_of(entries, postings.entry_ends).sum())

    def score_rows(self, query: Query, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the scores of few rows (int64[n], all of the index): float64[n], 0 for those without a term."""
        return score_rows(self.postings, query, rows, plain=is_plain(self.postings, query.terms)) * self.scale

    def contributions(self, row: int, query: Query) -> NDArray[np.float64]:
        """Return what each term of the query adds to the score of `row`: float64[m], 0 for terms that the row lacks.

        Their sum, in any order, is the score exactly. Raises ValueError when there is no such row.
        """
        if not 0 <= row < self.n_rows:
            raise ValueError(f"there is no row {row}: the index has {self.n_rows}")
        impacts = np.empty(len(query), np.int64)
        postings = self.postings
        compute = as_python(impacts_of_row) if is_plain(postings, query.terms) else impacts_of_row
        compute(
            row,
            frozen(entry_ranges(postings, query.terms)),
            postings.entry_windows,
            postings.entry_ends,
            postings.rows,
            postings.impacts,
            postings.window_bits,
            impacts,
        )
        return (impacts * query.weights).astype(np.float64) * (query.scale * self.scale)
