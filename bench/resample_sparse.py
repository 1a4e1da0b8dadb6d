"""More sparse vectors than were encoded: between a real vector and one of its real neighbours, and a little noise.

    python bench/resample_sparse.py --vectors passages.npz --count 1000000 --out made.npz

The sparse sister of `resample.py`.
"""

from __future__ import annotations

import argparse

import numpy as np
from lexhound.index import InvertedIndex, Query
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from whole_numbers import read

_NEIGHBOURS = 16
_HEAVIEST = 30
_NOISE = 0.2
_CHUNK = 4096


def resampled(base: csr_array, count: int, *, seed: int = 0) -> csr_array:
    """`count` rows: those of `base` first (float32 csr_array), then made-up ones.

    A made-up one lies at a random place (0 to 1) between a random real vector and one of its 16 nearest, by the inner
    product with its 30 heaviest terms. Each weight is multiplied by the exponential of normal noise of .2, and of the
    terms of both only the heaviest stay, as many as lie between the numbers of terms of the two. So lists grow in
    proportion, rare terms get no new company, and neighbourhoods are denser than those of real texts would be.
    """
    if count <= base.shape[0]:
        return base[:count]
    near = _neighbours(base)
    draw = np.random.default_rng(seed)
    sizes = np.diff(base.indptr)
    indices, data, lengths = [base.indices], [base.data], [sizes]
    for start in range(base.shape[0], count, _CHUNK):
        size = min(_CHUNK, count - start)
        one = draw.integers(0, base.shape[0], size)
        other = near[one, draw.integers(0, _NEIGHBOURS, size)]
        place = draw.random(size).astype(np.float32)
        mixed = (diags_array(1 - place) @ base[one] + diags_array(place) @ base[other]).tocsr()
        mixed.sum_duplicates()
        values = mixed.data * np.exp(_NOISE * draw.standard_normal(mixed.nnz, np.float32))
        kept = np.rint((1 - place) * sizes[one] + place * sizes[other]).astype(np.int64)
        rows = np.repeat(np.arange(size), np.diff(mixed.indptr))
        order = np.lexsort((-values, rows))
        rank = np.empty(mixed.nnz, np.int64)
        rank[order] = np.arange(mixed.nnz) - mixed.indptr[rows[order]]
        stay = rank < kept[rows]
        indices.append(mixed.indices[stay])
        data.append(values[stay].astype(np.float32))
        lengths.append(np.bincount(rows[stay], minlength=size))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return csr_array((np.concatenate(data), np.concatenate(indices), indptr), shape=(count, base.shape[1]))


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
