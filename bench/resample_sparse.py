"""More sparse vectors than were encoded: between a real vector and one of its real neighbours, and a little noise.

    python bench/resample_sparse.py --vectors passages.npz --count 1000000 --out made.npz

The sparse sister of `resample.py`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from common.whole_numbers import read
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from lexhound.index import InvertedIndex, Query

_NEIGHBOURS = 16
_HEAVIEST = 30
_NOISE = 0.2
_CHUNK = 4096


@dataclass(slots=True)
class Made:
    """Rows in whole numbers from 1 to 255, as the builder of an index takes them, in 3 bytes an entry.

    indptr: int64[rows + 1]; indices: uint16[nnz], or int32 where the vocabulary is larger; data: uint8[nnz].
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.uint16] | NDArray[np.int32]
    data: NDArray[np.uint8]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and the size of the vocabulary."""
        return len(self.indptr) - 1, self.width

    def first(self, rows: int) -> Made:
        """The first so many rows: a view."""
        end = self.indptr[rows]
        return Made(self.indptr[: rows + 1], self.indices[:end], self.data[:end], self.width)


def resampled(base: csr_array, count: int, *, seed: int = 0) -> Made:
    """`count` rows: those of `base` first (float32 csr_array), then made-up ones; the greatest real weight is 255.

    A made-up one lies at a random place (0 to 1) between a random real vector and one of its 16 nearest, by the inner
    product with its 30 heaviest terms. Each weight is multiplied by the exponential of normal noise of .2, and of the
    terms of both only the heaviest stay, as many as lie between the numbers of terms of the two. So lists grow in
    proportion, rare terms get no new company, and neighbourhoods are denser than those of real texts would be. Rows do
    not depend on how many are made or on the number of processors.
    """
    factor = 255 / float(base.data.max())
    kind = np.uint16 if base.shape[1] <= 1 << 16 else np.int32
    n_real = min(count, base.shape[0])
    end = base.indptr[n_real]
    lengths = [np.diff(base.indptr[: n_real + 1])]
    indices, data = [base.indices[:end].astype(kind)], [_whole(base.data[:end], factor)]
    if count > n_real:
        _State.base, _State.near, _State.seed, _State.factor, _State.kind = base, _neighbours(base), seed, factor, kind
        starts = range(n_real, count, _CHUNK)
        with get_context("fork").Pool() as pool:
            for size, some_indices, some_data in pool.imap(_chunk, starts):
                lengths.append(size)
                indices.append(some_indices)
                data.append(some_data)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    made = Made(indptr, _joined(indices), _joined(data), base.shape[1])
    return made.first(count)


class _State:
    """What the processes that make rows share."""

    base: csr_array
    near: NDArray[np.int64]
    seed: int
    factor: float
    kind: type


def _whole(weights: NDArray[np.float32], factor: float) -> NDArray[np.uint8]:
    return np.clip(np.rint(weights * np.float32(factor)), 1, 255).astype(np.uint8)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One array of all parts, which are let go one by one."""
    whole = np.empty(sum(len(part) for part in parts), parts[0].dtype)
    at = 0
    parts.reverse()
    while parts:
        part = parts.pop()
        whole[at : at + len(part)] = part
        at += len(part)
    return whole


def _chunk(start: int) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.uint8]]:
    """The lengths, terms and weights of made-up rows from `start` on."""
    base, draw = _State.base, np.random.default_rng([_State.seed, start])
    sizes = np.diff(base.indptr)
    one = draw.integers(0, base.shape[0], _CHUNK)
    other = _State.near[one, draw.integers(0, _NEIGHBOURS, _CHUNK)]
    place = draw.random(_CHUNK).astype(np.float32)
    mixed = (diags_array(1 - place) @ base[one] + diags_array(place) @ base[other]).tocsr()
    mixed.sum_duplicates()
    values = mixed.data * np.exp(_NOISE * draw.standard_normal(mixed.nnz, np.float32))
    kept = np.rint((1 - place) * sizes[one] + place * sizes[other]).astype(np.int64)
    rows = np.repeat(np.arange(_CHUNK), np.diff(mixed.indptr))
    order = np.lexsort((-values, rows))
    rank = np.empty(mixed.nnz, np.int64)
    rank[order] = np.arange(mixed.nnz) - mixed.indptr[rows[order]]
    stay = rank < kept[rows]
    lengths = np.bincount(rows[stay], minlength=_CHUNK)
    return lengths, mixed.indices[stay].astype(_State.kind), _whole(values[stay], _State.factor)


def _neighbours(base: csr_array) -> NDArray[np.int64]:
    """For each row 16 of its nearest, int64[rows, 16]; itself where there are not as many."""
    index = InvertedIndex.from_csr(base, float(base.data.max()) / 255)
    near = np.repeat(np.arange(base.shape[0])[:, None], _NEIGHBOURS, axis=1)
    for first in range(0, base.shape[0], _CHUNK):
        queries = []
        for row in range(first, min(first + _CHUNK, base.shape[0])):
            own = slice(base.indptr[row], base.indptr[row + 1])
            heaviest = np.sort(np.argsort(-base.data[own], kind="stable")[:_HEAVIEST])
            queries.append(Query.from_weights(base.indices[own][heaviest], base.data[own][heaviest]))
        for row, found in enumerate(index.search_many(queries, _NEIGHBOURS + 1), first):
            others = found.rows[found.rows != row][:_NEIGHBOURS]
            near[row, : len(others)] = others
    return near


def main() -> None:
    """Read, make and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", required=True, help="documents, .npz as `lexhound encode` writes it")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    made = resampled(read(options.vectors, None), options.count)
    np.savez(options.out, indptr=made.indptr, indices=made.indices, data=made.data)


if __name__ == "__main__":
    main()
