"""Preparations of a process for its first search: files read ahead, kernels compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.index.array_files import memory_size
from lexhound.index.inverted.format import Postings
from lexhound.index.inverted.index import InvertedIndex
from lexhound.index.inverted.inversion import invert
from lexhound.index.inverted.quantization import QuantisationLoss, Query


class TinyRows(NamedTuple):
    """A matrix as `invert` reads it."""

    shape: tuple[int, ...]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float32]


ROWS = TinyRows((2, 2), np.array([0, 2, 3]), np.array([0, 1, 0], np.int32), np.ones(3, np.float32))
ONES, LENGTHS = np.ones(3, np.uint8), np.array([2, 1], np.uint32)


def read_ahead(indexes: Sequence[InvertedIndex]) -> None:
    """Read the files of indexes into the system's cache, one after the other, so that searches need not wait for them.

    Takes as long as reading does: for a thread in the background. Ends where they are more than half of the memory.
    """
    room = memory_size() // 2
    for index in indexes:
        room -= index.nbytes
        if index.directory is None or room < 0:
            break
        index.directory.read_ahead()


def warm() -> None:
    """Compile the kernels of a search, or load them from Numba's cache, by searching a tiny index.

    For processes that would rather wait when they start than at their first query.
    """
    index = InvertedIndex(_postings(), scale=1.0, loss=QuantisationLoss())
    query = Query.from_weights(np.array([0], np.int32), np.array([1], np.float32))
    everything = np.ones(index.n_rows, np.bool_)
    index.search(query, 1)
    index.search_many([query], 1)
    index.document_frequencies(query.terms, everything)
    index.matching(query.terms)
    index.contributions(0, query)
    index.score_rows(query, np.zeros(1, np.int64))


def _postings() -> Postings:
    """Return the postings of two rows, made by the kernels that build indexes."""
    return invert(ROWS, scale=1.0, frequencies=ONES, lengths=LENGTHS, window_bits=None, threads=1)[0]
