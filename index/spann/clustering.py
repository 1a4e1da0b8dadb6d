"""Balanced clusters: hierarchical k-means for a whole collection, halves for one posting.

Both are deterministic: seeded, and in one order. Balance keeps postings of one length, so that every read costs the
same (Chen et al., "SPANN", NeurIPS 2021, 3.2.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import OnStep, Stage

_BRANCHES = 32
_ITERATIONS = 8
_SAMPLE_PER_BRANCH = 256
_BALANCING_ROUNDS = 4
_CHUNK = 1 << 16  # rows compared with the branches at a time


def faiss_library() -> Any:
    """Return faiss, imported when first needed; its stubs lack much of what it has. Raises ImportError without it."""
    import faiss

    return faiss


@contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """Let faiss use `threads` threads in this block. The setting belongs to the calling thread and is put back."""
    faiss = faiss_library()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def hierarchical_centroids(
    vectors: NDArray[np.float32], per_centroid: float, *, most: int, seed: int, progress: OnStep | None = None
) -> NDArray[np.float32]:
    """Return centroids of balanced clusters of about `per_centroid` vectors, at most `most` of them: float32[c, d].

    A cluster is split into up to 32 by k-means until it is small enough; the centroids stand in the order of that
    tree, so that neighbours in space are neighbours on disk.
    """
    if not len(vectors):
        return np.empty((0, vectors.shape[1]), np.float32)
    size = max(per_centroid, len(vectors) / most)
    with faiss_threads(1):
        while True:
            stage = Stage(progress, "clustering", len(vectors), "vectors")
            centroids = []
            for rows in _leaves(vectors, size, seed):
                centroids.append(vectors[rows].mean(axis=0, dtype=np.float64))
                stage.add(len(rows))
            if len(centroids) <= most:
                return np.array(centroids, np.float32)
            size *= 1.1


def _leaves(vectors: NDArray[np.float32], size: float, seed: int) -> Iterator[NDArray[np.int64]]:
    waiting = [np.arange(len(vectors))]
    while waiting:
        rows = waiting.pop()
        branches = min(_BRANCHES, round(len(rows) / size))
        if branches < 2:
            yield rows
            continue
        labels = _split(vectors, rows, branches, seed)
        parts = [rows[labels == label] for label in range(branches)]
        parts = [part for part in parts if len(part)]
        if len(parts) == 1:  # nothing to tell them apart by
            yield rows
        else:
            waiting.extend(reversed(parts))


def _split(vectors: NDArray[np.float32], rows: NDArray[np.int64], branches: int, seed: int) -> NDArray[np.int64]:
    faiss = faiss_library()
    most = branches * _SAMPLE_PER_BRANCH
    sample = rows
    if len(rows) > most:
        sample = np.sort(np.random.default_rng([seed, len(rows)]).choice(rows, most, replace=False))
    means = faiss.Kmeans(
        vectors.shape[1],
        branches,
        niter=_ITERATIONS,
        seed=seed + 1,
        min_points_per_centroid=1,
        max_points_per_centroid=_SAMPLE_PER_BRANCH,
    )
    means.train(vectors[sample])
    distances = np.empty((len(rows), branches), np.float32)
    squares = np.einsum("ij,ij->i", means.centroids, means.centroids)
    for start in range(0, len(rows), _CHUNK):
        # The vectors' own squares are the same in all columns, and only differences within a row count.
        part = vectors[rows[start : start + _CHUNK]]
        distances[start : start + _CHUNK] = squares - 2 * (part @ means.centroids.T)
    return _balanced(distances)


def _balanced(distances: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the cheapest column of each row, where columns that get more than their share grow dearer. int64[m]."""
    labels: NDArray[np.int64] = distances.argmin(axis=1)
    branches = distances.shape[1]
    share = len(distances) / branches
    two = np.partition(distances, 1, axis=1)[:, :2]
    step = float((two[:, 1] - two[:, 0]).mean(dtype=np.float64)) / 2
    penalty = np.zeros(branches, np.float32)
    for _ in range(_BALANCING_ROUNDS):
        sizes = np.bincount(labels, minlength=branches)
        if sizes.max() <= 1.25 * share:
            break
        penalty += np.clip(step * (sizes / share - 1), -step, 2 * step).astype(np.float32)
        labels = (distances + penalty).argmin(axis=1)
    return labels


def halves(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which of `vectors` (float32[m, d], two or more) go to the second of two near-equal clusters: bool[m].

    Two-means from the two most distant points that a few steps find; then the border is moved so that neither side
    has less than three tenths. Equal vectors are parted in the middle, so this always parts them.
    """
    first = vectors[0]
    for _ in range(2):
        second, first = first, vectors[((vectors - first) ** 2).sum(axis=1).argmax()]
    order = np.arange(len(vectors))
    cut = len(vectors) // 2
    for _ in range(_ITERATIONS):
        lean = ((vectors - first) ** 2).sum(axis=1) - ((vectors - second) ** 2).sum(axis=1)
        order = np.argsort(lean, kind="stable")
        least = max(1, int(0.3 * len(vectors)))
        cut = int(np.clip((lean < 0).sum(), least, len(vectors) - least))
        first, second = vectors[order[:cut]].mean(axis=0), vectors[order[cut:]].mean(axis=0)
    chosen = np.zeros(len(vectors), np.bool_)
    chosen[order[cut:]] = True
    return chosen
