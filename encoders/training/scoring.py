"""Scores of each query's own candidates by vectors, dense or sparse: what a list of rows is worth to a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..base import QueryVector

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_BLOCK_BYTES = 1 << 26


def dense_scores(
    queries: NDArray[np.float32], documents: NDArray[np.float32], rows: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Return each query's dot products with its candidates: float32[n, depth], 0 where there is no candidate.

    Args:
        queries: float32[n, width]; documents: float32[m, width].
        rows: int32[n, depth], rows of `documents`, -1 where there is no candidate.
    """
    found = np.zeros(rows.shape, dtype=np.float32)
    step = max(1, _BLOCK_BYTES // max(1, 4 * documents.shape[1] * rows.shape[1]))
    for start in range(0, len(rows), step):
        own = rows[start : start + step]
        gathered = documents[np.maximum(own, 0)]
        found[start : start + step] = np.einsum("qw,qcw->qc", queries[start : start + step], gathered)
    found[rows < 0] = 0.0
    return found


def sparse_scores(queries: Sequence[QueryVector], documents: csr_array, rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return each query's dot products with its candidates: float32[n, depth], 0 where there is no candidate.

    Args:
        queries: n term ids and weights, as `SparseEncoder.encode_queries` returns them.
        documents: sparse[m, vocabulary], as `SparseEncoder.encode_documents` returns them. Terms of a query beyond the
            vocabulary count for nothing.
        rows: int32[n, depth], rows of `documents`, -1 where there is no candidate.
    """
    found = np.zeros(rows.shape, dtype=np.float32)
    wide = np.zeros(documents.shape[1], dtype=np.float64)
    starts, terms, values = documents.indptr, documents.indices, documents.data
    for number, (own_terms, weights) in enumerate(queries):
        inside = own_terms < len(wide)
        wide[own_terms[inside]] = weights[inside]
        places = np.flatnonzero(rows[number] >= 0)
        first, last = starts[rows[number, places]], starts[rows[number, places] + 1]
        sizes = last - first
        # Positions of all entries of all candidates, one candidate after the other.
        ends = np.cumsum(sizes)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + sizes, sizes)
        owners = np.repeat(np.arange(len(places)), sizes)
        found[number, places] = np.bincount(owners, weights=wide[terms[at]] * values[at], minlength=len(places))
        wide[own_terms[inside]] = 0.0
    return found
