"""Exact search over dense vectors: every row is compared with the query, by inner product. Immutable.

Useful for small collections (some hundred thousand rows), where a matrix product takes a few milliseconds and nothing
has to be built; cosines are inner products of vectors of unit length. Not useful beyond: time grows with the rows.

A score is the inner product of the two float32 vectors computed in float64, in one order (`exact`), so that it is the
same whether a row is found by a search, in a batch of any size, under any filter, or scored by itself. A search finds
its candidates by a matrix product in float32, whose error is bounded, and scores those that could be among the best.

On disk, an array directory (see `files`):

    vectors   float32 [n, width]   C-contiguous, a row a vector
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import Pace, no_pace
from lexhound.index.array_files import (
    HEADER,
    ArrayDirectory,
    ArrayDirectoryWriter,
    FileProblem,
)
from lexhound.index.array_verification import verify_arrays
from lexhound.index.errors import CorruptFileError
from lexhound.index.jit import frozen
from lexhound.index.topk import SearchStats, TopK

from .exact import exact_scores

KIND = "flat"
FORMAT = 1

# Products that are held at a time, 4 bytes each: 64 MB, unless a single query has more rows.
_PRODUCTS = 1 << 24
# Below this share of rows that may be returned, only those are multiplied: copying a row costs about as much as four.
_FEW = 0.25
_COPY_ROWS = 1 << 14  # rows copied, or scored in float64, at a time


@runtime_checkable
class VectorIndex(Protocol):
    """An index of dense vectors, exact or not, as a collection uses it."""

    @property
    def n_rows(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def resident_bytes(self) -> int: ...

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
    ) -> TopK: ...

    def search_with_stats(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
    ) -> tuple[TopK, SearchStats]: ...

    def search_many(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> list[TopK]: ...

    def scores_of(self, rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float64]: ...

    def vectors_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]: ...

    def cut_short(self) -> Path | None: ...

    @property
    def flat(self) -> FlatIndex: ...


class FlatIndex:
    """Rows of dense vectors, searched exactly. Safe to use from many threads at once."""

    def __init__(
        self, vectors: NDArray[np.float32], *, largest_norm: float, directory: ArrayDirectory | None = None
    ) -> None:
        """Use `from_vectors` or `open`. `largest_norm` is that of the longest row."""
        self.vectors = vectors
        self._largest_norm = largest_norm
        self._directory = directory

    @classmethod
    def from_vectors(cls, vectors: NDArray[np.float32]) -> FlatIndex:
        """Return an index in memory of float32[n, width]. Raises ValueError for other arrays, NaN and infinity."""
        checked = _checked(vectors)
        return cls(checked, largest_norm=_largest_norm(checked))

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> FlatIndex:
        """Return an index from the directory that `build_flat` or `merge_flat` wrote, mapped into memory.

        Checks sizes; the vectors are not read. Raises FileNotFoundError, CorruptFileError (naming the file),
        UnsupportedFormatError, IndexStorageError.
        """
        stored = ArrayDirectory(directory, kind=KIND, format=FORMAT)
        vectors = stored.array("vectors")
        try:
            norm = float(stored.attributes["largest_norm"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(stored.path / HEADER, f"lacks what a flat index needs: {error}") from error
        if vectors.ndim != 2 or vectors.dtype != np.float32 or not np.isfinite(norm):
            raise CorruptFileError(stored.path / HEADER, "does not describe float32 vectors of one width")
        return cls(vectors, largest_norm=norm, directory=stored)

    @staticmethod
    def verify(directory: str | os.PathLike[str], pace: Pace = no_pace) -> Iterator[FileProblem]:
        """Read every byte of an index directory; yields what is wrong with which file, or nothing."""
        return verify_arrays(directory, kind=KIND, format=FORMAT, pace=pace)

    def cut_short(self) -> Path | None:
        """Return the first file that has become shorter since it was mapped, if any: it must not be read any more."""
        return self._directory.cut_short() if self._directory else None

    @property
    def flat(self) -> FlatIndex:
        """The index itself, which compares all vectors."""
        return self

    @property
    def path(self) -> Path | None:
        """The directory it was opened from, if any."""
        return self._directory.path if self._directory else None

    @property
    def n_rows(self) -> int:
        """Rows."""
        return int(self.vectors.shape[0])

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def largest_norm(self) -> float:
        """Length of the longest row, in the sense of Euclid."""
        return self._largest_norm

    @cached_property
    def words(self) -> tuple[NDArray[np.float32], int]:
        """The memory of the vectors as one row of floats, and how many of them lie between two rows; for kernels."""
        return flat_words(self.vectors)

    @property
    def nbytes(self) -> int:
        """Bytes on disk, or in memory for an index that has no directory."""
        return self._directory.nbytes if self._directory else self.vectors.nbytes

    @property
    def resident_bytes(self) -> int:
        """Bytes that must be in memory: those of an index that is nowhere else; what is mapped does not count."""
        return 0 if self._directory else self.vectors.nbytes

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
    ) -> TopK:
        """Return the best `k` rows for float32[width], or all if fewer: score descending, then row ascending.

        `allowed` (bool[n_rows]) restricts the rows, and is consulted before the cut. Exact, whatever the `recall`.
        Raises ValueError when `k` is below one, or query or mask do not fit.
        """
        return self.search_many(np.asarray(query)[np.newaxis], k, allowed=allowed)[0]

    def search_with_stats(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
    ) -> tuple[TopK, SearchStats]:
        """Return what `search` returns, and how many rows it compared: all that are allowed."""
        hits = self.search(query, k, allowed=allowed)
        return hits, SearchStats(0, self.n_rows if allowed is None else int(np.count_nonzero(allowed)))

    def search_many(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> list[TopK]:
        """Run `search` for each row of float32[m, width], with the same results to the last bit.

        Uses the threads of NumPy's matrix product, however many `threads` says; memory: 4 bytes a row and query, for so
        many queries at a time that it stays at 64 MB, or for one.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        queries = self.checked_queries(queries)
        rows = self._rows(allowed)
        available = self.n_rows if rows is None else len(rows)
        depth = min(k, available)
        if not depth:
            return [TopK.empty() for _ in queries]
        few = rows is not None and available < _FEW * self.n_rows
        vectors = self.vectors[rows] if few else self.vectors
        results = []
        together = max(1, _PRODUCTS // max(1, len(vectors)))
        for start in range(0, len(queries), together):
            some = queries[start : start + together]
            with np.errstate(over="ignore", invalid="ignore"):  # then float64 decides, in `_candidates`
                products = some @ vectors.T
            for query, products_of_query in zip(some, products, strict=True):
                if rows is not None and not few:
                    products_of_query = products_of_query[rows]
                candidates = self._candidates(products_of_query, query, depth)
                results.append(self.best(query, candidates if rows is None else rows[candidates], depth))
        return results

    def scores_of(self, rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores of some rows, in the order given: float64[len(rows)]. Raises ValueError and IndexError."""
        checked = self.checked_queries(np.asarray(query)[np.newaxis])[0]
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self.n_rows:
            raise IndexError(f"rows must be from 0 to {self.n_rows - 1}")
        return self._scores(np.asarray(rows, np.int64), checked)

    def best(self, query: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> TopK:
        """Return the best `k` of some rows (none twice) for a query of `checked_queries`, ranked as by `search`."""
        scores = self._scores(rows, query)
        order = np.lexsort((rows, -scores))[:k]
        return TopK(rows[order].astype(np.int64, copy=False), scores[order])

    def _scores(self, rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float64]:
        return exact_scores(*self.words, frozen(rows), frozen(query.astype(np.float64)))

    def vectors_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some rows, a copy: float32[len(rows), width]."""
        chosen: NDArray[np.float32] = np.asarray(self.vectors[rows])
        return chosen

    def checked_queries(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `queries`, contiguous. Raises ValueError where they are not finite float32[m, width]."""
        if queries.ndim != 2 or queries.shape[1] != self.width or queries.dtype != np.float32:
            raise ValueError(
                f"queries must be float32[m, {self.width}], not {queries.dtype}{list(queries.shape)}: an index compares"
                " vectors of its own width"
            )
        if not np.isfinite(queries).all():
            raise ValueError("a query has a value that is not finite")
        return np.ascontiguousarray(queries)

    def _rows(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.int64] | None:
        """Return the rows that may be returned, ascending; None for all."""
        if allowed is None:
            return None
        if allowed.dtype != np.bool_ or allowed.shape != (self.n_rows,):
            raise ValueError(
                f"a mask of rows must be bool[{self.n_rows}], one per row, not {allowed.dtype}{list(allowed.shape)}"
            )
        return None if allowed.all() else np.flatnonzero(allowed)

    def _candidates(self, products: NDArray[np.float32], query: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
        """Return the positions of all products whose exact value may be among the best `depth`."""
        if len(products) == depth:
            return np.arange(depth)
        least = float(np.partition(products, len(products) - depth)[len(products) - depth])
        # |computed - exact| <= n u / (1 - n u) |x| |y| in any order of summation (Higham, "Accuracy and Stability of
        # Numerical Algorithms", 2002, section 3.1), u = 2**-24; twice that between two products. Denormals: the rest.
        length = self.width * 2.0**-24
        bound = length / (1.0 - length) if length < 0.5 else np.inf
        norm = float(np.linalg.norm(query.astype(np.float64)))
        margin = 2.02 * bound * norm * self._largest_norm + self.width * 1e-37
        if not np.isfinite(least) or not np.isfinite(margin):
            return np.arange(len(products))
        # Not `>=`: an infinity less an infinity is not a number, and such a row may be any.
        with np.errstate(over="ignore"):
            cut = np.nextafter(np.float32(least - margin), np.float32(-np.inf))
        return np.flatnonzero(~(products < cut))


def build_flat(directory: str | os.PathLike[str], vectors: NDArray[np.float32]) -> FlatIndex:
    """Write float32[n, width] into a new directory, and open it.

    Raises ValueError for other arrays, NaN and infinity; IndexStorageError when the directory is not empty, OSError
    when the disk refuses: nothing is left behind.
    """
    checked = _checked(vectors)
    with ArrayDirectoryWriter(directory, kind=KIND, format=FORMAT) as writer:
        writer.write("vectors", checked)
        writer.finish({"largest_norm": _largest_norm(checked)})
    return FlatIndex.open(directory)


@dataclass(frozen=True, slots=True, eq=False)
class FlatPart:
    """An index and what becomes of its rows: `new_rows` int64[n_rows], -1 for those that are dropped."""

    index: VectorIndex
    new_rows: NDArray[np.int64]


def merge_flat(
    directory: str | os.PathLike[str], parts: Sequence[FlatPart], n_rows: int, width: int, pace: Pace = no_pace
) -> FlatIndex:
    """Write the union of `parts` into a new directory as an index of `n_rows` rows, and open it.

    Each new row must be that of exactly one part. Memory: that of 16,384 rows, and 12 bytes a row. `pace` is told of
    rows.
    Raises ValueError when the maps do not fit, or widths differ; otherwise as `build_flat`.
    """
    owner = np.full(n_rows, -1, np.int32)
    old_rows = np.zeros(n_rows, np.int64)
    for number, part in enumerate(parts):
        if part.new_rows.shape != (part.index.n_rows,) or part.index.width != width:
            raise ValueError(f"part {number} does not fit: one new row a row, and vectors of width {width}, are needed")
        surviving = np.flatnonzero(part.new_rows >= 0)
        target = part.new_rows[surviving]
        if len(target) and (int(target.max()) >= n_rows or len(np.unique(target)) != len(target)):
            raise ValueError(f"part {number} has new rows outside of -1..{n_rows - 1}, or twice the same")
        if (owner[target] >= 0).any():
            raise ValueError(f"part {number} maps a row to a new row that is taken already")
        owner[target] = number
        old_rows[target] = surviving
    if (owner < 0).any():
        raise ValueError(f"{int((owner < 0).sum())} of {n_rows} rows come from no part")
    norm = 0.0
    with ArrayDirectoryWriter(directory, kind=KIND, format=FORMAT) as writer:
        writer.declare("vectors", np.float32, item_shape=(width,))
        for start in range(0, n_rows, _COPY_ROWS):
            stop = min(start + _COPY_ROWS, n_rows)
            some = np.empty((stop - start, width), np.float32)
            for number, part in enumerate(parts):
                targets = np.flatnonzero(owner[start:stop] == number)
                if len(targets):
                    some[targets] = part.index.vectors_of(old_rows[start:stop][targets])
            norm = max(norm, _largest_norm(some))
            writer.append("vectors", some)
            pace(len(some))
        writer.finish({"largest_norm": norm})
    return FlatIndex.open(directory)


def _checked(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    if vectors.ndim != 2 or vectors.dtype != np.float32 or not vectors.shape[1]:
        raise ValueError(f"vectors must be float32[n, width], not {vectors.dtype}{list(vectors.shape)}")
    checked = np.ascontiguousarray(vectors)
    if not np.isfinite(checked).all():
        row = int(np.flatnonzero(~np.isfinite(checked).all(axis=1))[0])
        raise ValueError(f"the vector of row {row} has a value that is not finite")
    return checked


def flat_words(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Return the memory of a matrix as one row of floats, and how many of them lie between two rows; no copy."""
    if vectors.flags.c_contiguous:
        return frozen(vectors.reshape(-1)), vectors.shape[1]
    stride = vectors.strides[0] // 4 if len(vectors) > 1 else vectors.shape[1]
    length = (len(vectors) - 1) * stride + vectors.shape[1]
    return frozen(np.lib.stride_tricks.as_strided(vectors, (length,), (4,))), stride


def _largest_norm(vectors: NDArray[np.float32]) -> float:
    """Return the Euclidean length of the longest row, a little above rather than below."""
    largest = 0.0
    for start in range(0, len(vectors), _COPY_ROWS):
        some = vectors[start : start + _COPY_ROWS].astype(np.float64)
        largest = max(largest, float(np.multiply(some, some, out=some).sum(axis=1).max()))
    return float(np.sqrt(largest) * (1 + 1e-12))
