"""Vectors in whole numbers from 1 to 255, which every engine can hold, and brute force over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

MOST = 255


def read(path: str | Path, limit: int | None) -> csr_array:
    """The first `limit` vectors of a file of `lexhound encode`."""
    with np.load(path) as file:
        indptr = file["indptr"][: None if limit is None else limit + 1].astype(np.int64)
        indices, data = file["indices"][: indptr[-1]].astype(np.int32), file["data"][: indptr[-1]].astype(np.float32)
    width = int(indices.max()) + 1 if len(indices) else 1
    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, width))


def rounded(vectors: csr_array, *, each: bool) -> csr_array:
    """The weights as whole numbers, the greatest 255: of the whole matrix, or, with `each`, of each row; at least 1."""
    if each:
        tops = np.maximum.reduceat(vectors.data, vectors.indptr[:-1]) if vectors.nnz else np.ones(1)
        factors = np.repeat(MOST / tops, np.diff(vectors.indptr))
    else:
        factors = np.full(1, MOST / vectors.data.max())
    data = np.clip(np.rint(vectors.data * factors), 1, MOST).astype(np.float32)
    return csr_array((data, vectors.indices, vectors.indptr), shape=vectors.shape)


def narrowed(vectors: csr_array, width: int) -> csr_array:
    """Without the terms from `width` on, which no document has. Rows that would be left empty are an error."""
    kept = vectors.indices < width
    indptr = np.concatenate([[0], np.cumsum(kept)])[vectors.indptr]
    if (np.diff(indptr) == 0).any():
        raise ValueError("a query has no term of the documents")
    return csr_array((vectors.data[kept], vectors.indices[kept], indptr), shape=(vectors.shape[0], width))


def write(vectors: csr_array, path: Path) -> None:
    """For sparse_peer.py."""
    np.savez(
        path,
        indptr=vectors.indptr.astype(np.int64),
        indices=vectors.indices.astype(np.int32),
        data=vectors.data.astype(np.uint8),
        width=vectors.shape[1],
    )


class Truth:
    """What brute force finds: for each depth and query the rows that may be among the best, and how many are asked."""

    def __init__(self, documents: csr_array, queries: csr_array, depths: tuple[int, ...]) -> None:
        columns = csc_array(documents)
        self.best: dict[int, list[frozenset[int]]] = {k: [] for k in depths}
        self.wanted: dict[int, list[int]] = {k: [] for k in depths}
        for query in range(queries.shape[0]):
            scores = _scores(columns, queries, query)
            matching = np.flatnonzero(scores)
            for k in depths:
                best = matching
                if len(matching) > k:  # of those that tie with the last any will do
                    least = np.partition(scores[matching], len(matching) - k)[len(matching) - k]
                    best = matching[scores[matching] >= least]
                self.best[k].append(frozenset(best.tolist()))
                self.wanted[k].append(min(k, len(matching)))

    def recall(self, hits: list[list[int]], k: int) -> float:
        """The mean share of the best `k` that was found."""
        shares = [
            len(best.intersection(found[:k])) / wanted if wanted else 1.0
            for found, best, wanted in zip(hits, self.best[k], self.wanted[k], strict=True)
        ]
        return float(np.mean(shares))


def _scores(columns: csc_array, queries: csr_array, query: int) -> NDArray[np.float64]:
    """The score of each document for a query."""
    scores = np.zeros(columns.shape[0])
    for at in range(queries.indptr[query], queries.indptr[query + 1]):
        own = slice(*columns.indptr[queries.indices[at] : queries.indices[at] + 2])
        scores[columns.indices[own]] += columns.data[own] * float(queries.data[at])
    return scores


def kept_by_rounding(documents: csr_array, queries: csr_array, truth: Truth, *, sample: int, k: int = 10) -> float:
    """The share of the best `k` over the weights as they were that whole numbers keep, over the first queries."""
    columns = csc_array(documents)
    shares = []
    for query in range(min(sample, queries.shape[0])):
        scores = _scores(columns, queries, query)
        best = np.argpartition(-scores, k)[:k] if len(scores) > k else np.arange(len(scores))
        shares.append(len(truth.best[k][query].intersection(best.tolist())) / len(best))
    return float(np.mean(shares))
