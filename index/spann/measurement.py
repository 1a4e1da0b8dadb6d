"""Recall calibration of an index: true neighbours, where a search meets them, and how many of them it then finds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.dense.flat import FlatIndex
from lexhound.index.spann.calibration import Calibration, Encounters, Setting, cheapest
from lexhound.index.spann.options import DEPTHS, RECALLS, Effort, SpannOptions
from lexhound.index.spann.search import Searcher

_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_MARGIN = 0.3  # of what is missing to 1: sampled queries are few, and codes are coarser than vectors
_SHORTEST = 1e-18  # squares of shorter vectors are about zero in float32


def calibrate(
    searcher: Searcher,
    flat: FlatIndex,
    assigned: NDArray[np.int64],
    queries: NDArray[np.float32] | None,
    options: SpannOptions,
) -> Calibration:
    """Measure which effort reaches which recall, with half of `queries`, and what it finds, with the other half.

    flat: the same vectors, compared exactly. assigned: int64[n, replicas], the postings of each vector. queries:
    float32[m, d], of which at most twice `options.calibration_queries` are drawn.
    """
    count = 2 * options.calibration_queries
    if flat.n_rows < 2 or count == 0 or queries is None or len(queries) < 2:
        return Calibration(0, ())
    if searcher.geometry.radius < _SHORTEST:  # nothing can be measured, so searches compare all rows
        return Calibration(0, ())
    draw = np.random.default_rng(options.seed)
    queries = queries[np.sort(draw.choice(len(queries), min(count, len(queries)), replace=False))]
    half = len(queries) // 2
    settings: list[Setting] = []
    most = min(len(searcher.tables.centroids), 2 * _STEPS[-1])
    # A search of fewer postings reads the first of the same order, so one order does for all steps and depths.
    orders = [searcher.order_of(query, most) for query in queries[:half]]
    for depth in DEPTHS:
        truth = _neighbours(flat.vectors, queries, min(depth, flat.n_rows - 1))
        encounters = [
            _encounters(searcher.tables.counts, orders, truth[:half], assigned, step)
            for step in [*(step for step in _STEPS if step < most), most]
        ]
        for target in RECALLS:
            aim = target + _MARGIN * (1 - target)
            effort = cheapest(encounters, aim)
            if effort is None:
                break
            recall, codes = _measured(searcher, flat, effort, queries[half:], truth[half:])
            settings.append(Setting(depth, target, effort.postings, effort.ratio, recall, codes))
    return Calibration(len(queries) - half, tuple(settings))


def _neighbours(vectors: NDArray[np.float32], queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the rows of the true neighbours of each query: int64[m, count], in no order."""
    neighbours = np.empty((len(queries), count), np.int64)
    for start in range(0, len(queries), 64):
        scores = queries[start : start + 64] @ vectors.T
        neighbours[start : start + 64] = np.argpartition(scores, -count, axis=1)[:, -count:]
    return neighbours


def _encounters(
    counts: NDArray[np.int64],
    orders: list[tuple[NDArray[np.int64], NDArray[np.float64]]],
    truth: NDArray[np.int64],
    assigned: NDArray[np.int64],
    postings: int,
) -> Encounters:
    """Return where the true neighbours turn up in so many postings.

    counts: the codes of each; orders: of each query, as of `Searcher.order_of`.
    """
    numbers = np.array([order[:postings] for order, _ in orders])
    distances = np.array([apart[:postings] for _, apart in orders])
    with np.errstate(invalid="ignore", divide="ignore"):
        near = np.where(distances <= distances[:, :1], 1.0, distances / distances[:, :1])
    ratio_of = np.full(len(counts) + 1, np.inf)  # the last one stands for no posting
    ratios = np.empty(truth.shape)
    for i in range(len(numbers)):
        ratio_of[numbers[i]] = near[i]
        ratio_of[-1] = np.inf
        ratios[i] = ratio_of[assigned[truth[i]]].min(axis=1)
        ratio_of[numbers[i]] = np.inf
    return Encounters(postings, ratios, counts[numbers], near)


def _measured(
    searcher: Searcher, flat: FlatIndex, effort: Effort, queries: NDArray[np.float32], truth: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the recall of whole searches, and the codes that they read on average."""
    hits = codes = 0
    depth = truth.shape[1]
    for query, neighbours in zip(queries, truth, strict=True):
        rows, stats = searcher.candidates(query, depth, effort, None)
        # Not which rows: of those that have the same score as the last neighbour any is as good.
        hits += int((flat.best(query, rows, depth).scores >= flat.scores_of(neighbours, query).min()).sum())
        codes += stats.codes_read
    return hits / max(1, truth.size), codes / max(1, len(queries))
