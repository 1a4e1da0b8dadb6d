"""Preparations of a process for its first search: files read ahead, kernels compiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lexhound.index.array_files import memory_size
from lexhound.index.inverted.format import Postings
from lexhound.index.inverted.index import InvertedIndex
from lexhound.index.inverted.quantization import QuantisationLoss, Query
from lexhound.index.jit import frozen


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
    postings = Postings(
        terms=frozen(np.array([0], np.uint32)),
        entry_starts=frozen(np.array([0, 1], np.uint32)),
        entry_windows=frozen(np.array([0], np.uint16)),
        entry_ends=frozen(np.array([1], np.uint32)),
        entry_maxima=frozen(np.array([1], np.uint8)),
        rows=frozen(np.array([0], np.uint16)),
        impacts=frozen(np.array([1], np.uint8)),
        frequencies=None,
        lengths=None,
        n_rows=1,
        window_bits=0,
    )
    index = InvertedIndex(postings, scale=1.0, loss=QuantisationLoss())
    query = Query.from_weights(np.array([0], np.int32), np.array([1], np.float32))
    everything = np.ones(1, np.bool_)
    index.search(query, 1)
    index.search_many([query], 1)
    index.document_frequencies(query.terms, everything)
    index.contributions(0, query)
