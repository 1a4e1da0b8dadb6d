"""From the states of texts' tokens, which follow each other without padding, to one row a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def starts_of(lengths: Sequence[int]) -> NDArray[np.int64]:
    """Return where each text begins, int64[texts]; no text has a length of 0."""
    return np.cumsum([0, *lengths[:-1]])


def sums_of(states: NDArray[np.float32], lengths: Sequence[int]) -> NDArray[np.float32]:
    """Return float32[texts, width]: the sum of each text's rows of float32[tokens, width]."""
    sums: NDArray[np.float32] = np.add.reduceat(states, starts_of(lengths), axis=0)
    return sums


def means_of(states: NDArray[np.float32], lengths: Sequence[int]) -> NDArray[np.float32]:
    """Return float32[texts, width]: the mean of each text's rows of float32[tokens, width]."""
    return sums_of(states, lengths) / np.array(lengths, dtype=np.float32)[:, None]


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors float32[n, width] of length 1; one of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    normalised: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return normalised


def pooled(states: NDArray[np.float32], lengths: Sequence[int], pooling: str) -> NDArray[np.float32]:
    """Return float32[texts, width]: each text's rows of float32[tokens, width] as one.

    Args:
        pooling: "mean", "cls" (the first token) or "lasttoken".
    """
    if pooling == "mean":
        return means_of(states, lengths)
    starts = starts_of(lengths)
    chosen: NDArray[np.float32] = states[starts if pooling == "cls" else starts + np.array(lengths) - 1]
    return chosen
