"""Building an inverted index: postings of document vectors, and the directory of array files they go into."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.array_files import ArrayDirectoryWriter
from lexhound.index.inverted import format as layout
from lexhound.index.inverted.calibration import calibrate
from lexhound.index.inverted.format import Postings
from lexhound.index.inverted.index import InvertedIndex
from lexhound.index.inverted.inversion import SparseRows, invert
from lexhound.index.inverted.quantization import QuantisationLoss


def build_inverted(
    directory: str | os.PathLike[str],
    weights: SparseRows,
    *,
    scale: float,
    frequencies: NDArray[np.uint8] | None = None,
    lengths: NDArray[np.uint32] | None = None,
    mean_length: float | None = None,
    window_bits: int | None = None,
    threads: int | None = None,
) -> InvertedIndex:
    """Write an inverted index of the rows of `weights` into a new directory, and open it.

    weights: float32 csr_array, rows x vocabulary, indices sorted within a row, weights positive. scale: the weight
    of an impact of 1, so weights above 255.5 x scale are clipped; it is rounded to 22 significant bits (`exact_scale`).
    frequencies (uint8[nnz], in the order of `weights.data`) and lengths (uint32[n_rows]) are kept for
    `merge_inverted` to weigh the postings again, and mean_length as what the weights were made with. window_bits: see
    `layout.usual_window_bits`.
    Works on `threads` threads (by default one per processor), each with windows of its own; the index does not depend
    on how many. Temporary memory: about as much as `weights`, and 36 bytes a term of the vocabulary and thread (of huge
    vocabularies fewer threads, 300 MB at most).

    Raises ValueError for vectors that break these rules, IndexStorageError when the directory is not empty, OSError
    (naming the file) when the disk is full; a failed build leaves nothing behind.
    """
    postings, loss, exact = invert(
        weights, scale=scale, frequencies=frequencies, lengths=lengths, window_bits=window_bits, threads=threads
    )
    write_postings(directory, postings, scale=exact, loss=loss, mean_length=mean_length)
    del postings
    return InvertedIndex.open(directory)


def term_dtype(terms: NDArray[np.uint32]) -> type[np.unsignedinteger[Any]]:
    """Return the type in which these ascending term ids are stored: 16 bits where they fit."""
    return np.uint16 if len(terms) == 0 or terms[-1] < 1 << 16 else np.uint32


def attributes_of(
    postings: Postings, scale: float, loss: QuantisationLoss, mean_length: float | None
) -> Mapping[str, Any]:
    """Return what is written beside the arrays; calibrate recall."""
    recall_calibration = calibrate(InvertedIndex(postings, scale=scale, loss=loss))
    statistics: dict[str, Any] = {} if mean_length is None else {"mean_length": mean_length}
    return statistics | {
        "dial": recall_calibration.to_json(),
        "loss": asdict(loss),
        "n_rows": postings.n_rows,
        "scale": scale,
        "window_bits": postings.window_bits,
    }


def write_postings(
    directory: str | os.PathLike[str],
    postings: Postings,
    *,
    scale: float,
    loss: QuantisationLoss,
    mean_length: float | None = None,
) -> None:
    """Write the arrays of an index into a new directory."""
    blocked = len(postings.blocked_terms) > 0
    number = layout.FORMAT if blocked else layout.FORMAT_WITHOUT_BLOCKS
    with ArrayDirectoryWriter(directory, kind=layout.KIND, format=number) as writer:
        for name in layout.ARRAYS:
            array = getattr(postings, name)
            if array is None or (name in layout.BLOCKS and not blocked):
                continue
            if name == "terms":
                array = array.astype(term_dtype(array))
            writer.write(name, array, structure=name in layout.STRUCTURE)
        writer.finish(dict(attributes_of(postings, scale, loss, mean_length)))
