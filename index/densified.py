"""Densified sparse vectors: sparse and dense vectors in one index of dense vectors.

The vocabulary is dealt into slices, term t into slice t mod width at position t div width. A row keeps of each slice
the largest weight and the position of its term (Lin & Lin, "Densifying Sparse Representations for Passage Retrieval by
Representational Slicing", 2021, and "A Dense Representation Framework for Lexical and Semantic Matching", TOIS 2023).
Two such vectors are compared by the gated inner product: products count only where the positions agree, that is, where
both kept the same term. A dense vector may stand behind the slices; then one search answers by both.

Candidates are found by the plain inner product of values and dense parts, without the gate, in an index of dense
vectors (`flat`, or `spann` for the clustered one); the best `depth` of them are scored with it.

What is lost: a row's terms that share a slice with a heavier one, and rows that the plain product puts below the
candidates. Nothing is lost of a query, whose terms are all looked for in the rows. What it costs: 5 bytes a slice and
row, empty ones included, where an inverted index takes 3 a term. See docs/hybrid.md for what both come to.

On disk, two directories:

    gates/     positions  uint8 [n, width], or uint16 where the vocabulary needs it; an array directory (`files`)
    vectors/   float32 [n, width + dense width]: the values, and the dense vector times a power of two; a `FlatIndex` or
               a `ClusteredIndex`
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.array_verification import verify_arrays
from lexhound.index.dense.flat import FlatIndex, VectorIndex, build_flat

from .array_files import HEADER, ArrayDirectory, ArrayDirectoryWriter, FileProblem
from .errors import CorruptFileError, IndexStorageError
from .jit import frozen, kernel
from .topk import TopK

KIND = "gates"
FORMAT = 1
WIDTH = 768
"""Slices, unless another number is given: as in the papers."""
DEPTH = 1000
"""Candidates that are scored with the gate, unless another number is given."""

_GATES, _VECTORS = "gates", "vectors"
_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """Sparse vectors in row-compressed form: indptr int64[n + 1], terms int32[entries] >= 0, none twice in a row,
    weights float32[entries] > 0."""

    indptr: NDArray[np.int64]
    terms: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indptr) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Densified rows: values float32[n, width], 0 in slices without a term; positions uint8 or uint16[n, width]."""

    values: NDArray[np.float32]
    positions: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class GatedQuery:
    """A query: terms int32[m], none twice, their weights float32[m] > 0, and a dense vector float32[dense width].

    A score is the sum of both products, so what the two sides count for is said by the lengths of weights and vector.
    """

    terms: NDArray[np.int32]
    weights: NDArray[np.float32]
    dense: NDArray[np.float32]


def densify(rows: SparseRows, width: int) -> Slices:
    """Slice sparse rows: of each slice the largest weight stays, of equal ones that of the smallest term.

    Raises ValueError where the vocabulary has more than 65,536 terms a slice.
    """
    if width < 1:
        raise ValueError(f"there must be at least one slice, not {width}")
    last = int(rows.terms.max()) // width if len(rows.terms) else 0
    if last >= 1 << 16:
        raise ValueError(f"{width} slices are too few for terms up to {int(rows.terms.max())}")
    values = np.zeros((len(rows), width), np.float32)
    positions = np.zeros((len(rows), width), np.uint8 if last < 1 << 8 else np.uint16)
    owners = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
    # Written in ascending order of weight, and of equal ones in descending order of terms: the last one stays.
    order = np.lexsort((-rows.terms, rows.weights))
    owners, terms = owners[order], rows.terms[order]
    values[owners, terms % width] = rows.weights[order]
    positions[owners, terms % width] = terms // width
    return Slices(values, positions)


@kernel
def gated_products(
    words: NDArray[np.float32],
    stride: int,
    positions: NDArray[Any],
    width: int,
    rows: NDArray[np.int64],
    query: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
    scores: NDArray[np.float64],
) -> None:
    """Write gated inner products plus dense ones: that of `rows[i]` goes to `scores[i]`.

    words: float32, flat; row r is `width` values and then len(dense) others from `r * stride` on. positions: flat,
    `width` a row. The query is slices, gates, weights and dense: it has `weights[j]` in slice `slices[j]`, for rows
    whose position there is `gates[j]`. Summed in float64, terms in the order given, then the dense values: the same
    wherever a row is scored.
    """
    slices, gates, weights, dense = query
    for i in range(len(rows)):
        gate, begin = rows[i] * width, rows[i] * stride
        total = 0.0
        for j in range(len(slices)):
            if positions[gate + slices[j]] == gates[j]:
                total += weights[j] * np.float64(words[begin + slices[j]])
        begin += width
        near = 0.0
        for j in range(len(dense)):
            near += dense[j] * np.float64(words[begin + j])
        scores[i] = total + near


class DensifiedIndex:
    """Rows of sparse and dense vectors in one index; immutable. Safe to use from many threads at once."""

    def __init__(
        self,
        vectors: VectorIndex,
        flat: FlatIndex,
        positions: NDArray[Any],
        scale: float,
        path: Path | None = None,
    ) -> None:
        """Use `from_rows`, `build_densified` or `open`. `flat` holds the vectors that `vectors` finds."""
        self.vectors = vectors
        self.path = path
        self._positions = positions
        self._gates = frozen(positions.reshape(-1))
        self._words, self._stride = flat.words
        self._scale = scale

    @classmethod
    def from_rows(cls, rows: SparseRows, dense: NDArray[np.float32], width: int = WIDTH) -> DensifiedIndex:
        """Return an index in memory. `dense` is float32[n, dense width], of no columns for sparse vectors alone.

        Raises ValueError for arrays that do not fit, NaN and infinity.
        """
        slices, joined, scale = _joined(rows, dense, width)
        flat = FlatIndex.from_vectors(joined)
        return cls(flat, flat, slices.positions, scale)

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> DensifiedIndex:
        """Return an index from the directory that `build_densified` wrote, mapped into memory.

        Raises FileNotFoundError, CorruptFileError (naming the file), UnsupportedFormatError, IndexStorageError.
        """
        path = Path(directory)
        stored = ArrayDirectory(path / _GATES, kind=KIND, format=FORMAT)
        positions = stored.array("positions")
        header = stored.path / HEADER
        try:
            scale, clustered = float(stored.attributes["scale"]), bool(stored.attributes["clustered"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(header, f"lacks what a densified index needs: {error}") from error
        vectors, flat = _opened(path / _VECTORS, clustered)
        if (
            positions.ndim != 2
            or positions.dtype not in (np.uint8, np.uint16)
            or not math.isfinite(scale)
            or scale <= 0
            or len(positions) != vectors.n_rows
            or not 1 <= positions.shape[1] <= vectors.width
        ):
            raise CorruptFileError(header, "does not describe the gates of the vectors beside it")
        return cls(vectors, flat, positions, scale, path)

    @staticmethod
    def verify(directory: str | os.PathLike[str]) -> Iterator[FileProblem]:
        """Read every byte of an index directory; yields what is wrong with which file, or nothing."""
        path = Path(directory)
        yield from verify_arrays(path / _GATES, kind=KIND, format=FORMAT)
        if (path / _VECTORS / HEADER).exists():
            yield from FlatIndex.verify(path / _VECTORS)
        else:
            from lexhound.index.spann.index import ClusteredIndex

            yield from ClusteredIndex.verify(path / _VECTORS)

    @property
    def n_rows(self) -> int:
        """Rows."""
        return int(self._positions.shape[0])

    @property
    def width(self) -> int:
        """Slices."""
        return int(self._positions.shape[1])

    @property
    def dense_width(self) -> int:
        """Length of the dense vectors."""
        return self.vectors.width - self.width

    @property
    def nbytes(self) -> int:
        """Bytes of vectors and gates."""
        return self.vectors.nbytes + self._positions.nbytes

    def search(
        self,
        query: GatedQuery,
        k: int,
        *,
        depth: int = DEPTH,
        allowed: NDArray[np.bool_] | None = None,
        recall: float | None = None,
    ) -> TopK:
        """Return the best `k` of the `depth` candidates: score descending, then row ascending.

        `allowed` (bool[n_rows]) restricts the rows, and is consulted before the cut. `recall` is that of the search for
        candidates, in a clustered index. With a `depth` of `n_rows` and a recall of 1 all rows are scored, and the
        result is exact. Raises ValueError when `k` or `depth` are below one, or query or mask do not fit.
        """
        if k < 1 or depth < 1:
            raise ValueError(f"k and depth must be at least 1, not {k} and {depth}")
        self._check(query)
        candidates = self.vectors.search(self._plain(query), max(depth, k), allowed=allowed, recall=recall)
        scores = self.scores_of(candidates.rows, query)
        order = np.lexsort((candidates.rows, -scores))[:k]
        return TopK(candidates.rows[order], scores[order])

    def scores_of(self, rows: NDArray[np.int64], query: GatedQuery) -> NDArray[np.float64]:
        """Return the scores of some rows, gate and all, in the order given: float64[len(rows)].

        Raises ValueError where the query does not fit, IndexError where a row does not.
        """
        self._check(query)
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self.n_rows:
            raise IndexError(f"rows must be from 0 to {self.n_rows - 1}")
        scores = np.empty(len(rows), np.float64)
        order = np.argsort(query.terms, kind="stable")
        terms = query.terms[order].astype(np.int64)
        gated_products(
            self._words,
            self._stride,
            self._gates,
            self.width,
            frozen(np.asarray(rows, np.int64)),
            (
                frozen(terms % self.width),
                frozen(terms // self.width),
                frozen(query.weights[order].astype(np.float64)),
                frozen(query.dense.astype(np.float64) / self._scale),
            ),
            scores,
        )
        return scores

    def _plain(self, query: GatedQuery) -> NDArray[np.float32]:
        """Return the query as a dense vector: of each slice the largest weight, then the dense vector."""
        vector = np.zeros(self.vectors.width, np.float32)
        np.maximum.at(vector, query.terms % self.width, query.weights)
        vector[self.width :] = query.dense / np.float32(self._scale)
        return vector

    def _check(self, query: GatedQuery) -> None:
        if query.terms.shape != query.weights.shape or query.dense.shape != (self.dense_width,):
            raise ValueError(f"a query needs as many weights as terms, and a dense vector of {self.dense_width} values")
        if len(query.terms) and int(query.terms.min()) < 0:
            raise ValueError("a term of the query is negative")
        if not (np.isfinite(query.weights).all() and np.isfinite(query.dense).all() and (query.weights >= 0).all()):
            raise ValueError("a weight of the query is negative or not finite")


def build_densified(
    directory: str | os.PathLike[str],
    rows: SparseRows,
    dense: NDArray[np.float32],
    width: int = WIDTH,
    *,
    clustered: bool = False,
) -> DensifiedIndex:
    """Write an index of sparse rows and dense vectors, float32[n, dense width], into a new directory, and open it.

    Memory: 4 bytes a slice and dense value of all rows, and once more where it is `clustered`, which needs faiss
    (ImportError). Raises ValueError for arrays that do not fit, NaN and infinity; IndexStorageError when the directory
    is there already, OSError when the disk refuses: nothing is left behind.
    """
    path = Path(directory)
    slices, joined, scale = _joined(rows, dense, width)
    if path.exists():
        raise IndexStorageError(f"{path}: is there already", path=path, hint="an index is written into a new directory")
    path.mkdir()
    try:
        if clustered:
            from lexhound.index.spann.index import build_clustered

            build_clustered(path / _VECTORS, joined)
        else:
            build_flat(path / _VECTORS, joined)
        # Last, so that an index that was never finished has no gates, and does not open.
        with ArrayDirectoryWriter(path / _GATES, kind=KIND, format=FORMAT) as writer:
            writer.write("positions", slices.positions)
            writer.finish({"scale": scale, "clustered": clustered})
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return DensifiedIndex.open(path)


def _joined(rows: SparseRows, dense: NDArray[np.float32], width: int) -> tuple[Slices, NDArray[np.float32], float]:
    """Return the slices, values with dense vectors behind them, and what those were multiplied by.

    Both halves are about as long then, so that clusters are made of both; a power of two changes no bit of a score.
    """
    if dense.ndim != 2 or dense.dtype != np.float32 or len(dense) != len(rows):
        raise ValueError(f"dense vectors must be float32[{len(rows)}, width], not {dense.dtype}{list(dense.shape)}")
    if len(rows.terms) and (int(rows.terms.min()) < 0 or not (rows.weights > 0).all()):
        raise ValueError("terms must not be negative, and weights above 0")
    slices = densify(rows, width)
    lengths = [float(np.square(half, dtype=np.float64).sum()) for half in (slices.values, dense)]
    if not np.isfinite(lengths).all():
        raise ValueError("a weight or a value of a dense vector is not finite")
    scale = math.ldexp(1.0, round(math.log2(lengths[0] / lengths[1]) / 2)) if min(lengths) > 0 else 1.0
    joined = np.empty((len(rows), width + dense.shape[1]), np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        joined[part, :width] = slices.values[part]
        joined[part, width:] = dense[part] * np.float32(scale)
    return slices, joined, scale


def _opened(path: Path, clustered: bool) -> tuple[VectorIndex, FlatIndex]:
    """Return an index, and its vectors as a flat one."""
    if not clustered:
        flat = FlatIndex.open(path)
        return flat, flat
    from lexhound.index.spann.index import ClusteredIndex

    index = ClusteredIndex.open(path)
    return index, index.flat
