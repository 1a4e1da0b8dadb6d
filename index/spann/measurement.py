"""Calibrating the dial of an index: true neighbours, where a search meets them, and what it then finds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .calibration import Calibration, Seen, Setting, cheapest
from .geometry import Geometry
from .options import DEPTHS, RECALLS, Effort, SpannOptions
from .search import Searcher
from .state import State
from .storage import PAGE

_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_MARGIN = 0.3  # of what is missing to 1: sampled queries are few, and codes are coarser than vectors


def calibrate(
    searcher: Searcher,
    state: State,
    options: SpannOptions,
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    chosen: NDArray[np.int64],
    queries: NDArray[np.float32] | None,
) -> Calibration:
    """Measure the dial: with `queries` (prepared) where given, else with vectors of the collection, each of which
    does not count as its own neighbour.
    """
    count = 2 * options.calibration_queries
    if len(vectors) < 2 or count == 0 or (queries is not None and len(queries) < 2):
        return Calibration(0, ())
    draw = np.random.default_rng(options.seed)
    own = np.full(0, -1, np.int64)
    if queries is None:
        own = np.sort(draw.choice(len(vectors), min(count, len(vectors)), replace=False))
        own = own[draw.permutation(len(own))]
        queries = vectors[own]
    else:
        queries = queries[np.sort(draw.choice(len(queries), min(count, len(queries)), replace=False))]
        own = np.full(len(queries), -1, np.int64)
    half = len(queries) // 2
    settings: list[Setting] = []
    for depth in DEPTHS:
        wanted = min(depth, len(vectors) - 1)
        truth = _neighbours(searcher.geometry, vectors, queries, own, wanted)
        most = state.router.n_live
        seen = [
            _seen(searcher.geometry, state, queries[:half], truth[:half], chosen, step)
            for step in [*(step for step in _STEPS if step < most), min(most, 2 * _STEPS[-1])]
        ]
        for target in RECALLS:
            aim = target + _MARGIN * (1 - target)
            effort = cheapest(seen, aim)
            if effort is None:
                break
            recall, entries = _measured(searcher, state, effort, queries[half:], own[half:], rows, truth[half:])
            settings.append(Setting(depth, target, effort.postings, effort.ratio, recall, entries))
    return Calibration(len(queries) - half, tuple(settings))


def _neighbours(
    geometry: Geometry,
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    own: NDArray[np.int64],
    count: int,
) -> NDArray[np.int64]:
    """The places of the true neighbours of each query in `vectors`: int64[m, count], in no order."""
    found = np.empty((len(queries), count), np.int64)
    squares = np.einsum("ij,ij->i", vectors, vectors) if geometry.metric == "l2" else None
    for start in range(0, len(queries), 64):
        part = slice(start, start + 64)
        scores = queries[part] @ vectors.T
        if squares is not None:
            scores = 2 * scores - squares
        themselves = np.flatnonzero(own[part] >= 0)
        scores[themselves, own[part][themselves]] = -np.inf
        found[part] = np.argpartition(scores, -count, axis=1)[:, -count:]
    return found


def _seen(
    geometry: Geometry,
    state: State,
    queries: NDArray[np.float32],
    truth: NDArray[np.int64],
    chosen: NDArray[np.int64],
    postings: int,
) -> Seen:
    """Where the true neighbours (places in `chosen`) turn up in so many postings."""
    numbers, squares = state.router.nearest(geometry.routed_queries(queries), postings)
    distances = np.sqrt(squares.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        near = np.where(distances <= distances[:, :1], 1.0, distances / distances[:, :1])
    ratio_of = np.full(len(state.router) + 1, np.inf)  # the last one stands for no posting
    ratios = np.empty(truth.shape)
    for i in range(len(queries)):
        ratio_of[numbers[i]] = near[i]
        ratio_of[-1] = np.inf
        ratios[i] = ratio_of[chosen[truth[i]]].min(axis=1)
        ratio_of[numbers[i]] = np.inf
    return Seen(postings, ratios, np.where(numbers >= 0, state.counts[numbers], 0), near)


def _measured(
    searcher: Searcher,
    state: State,
    effort: Effort,
    queries: NDArray[np.float32],
    own: NDArray[np.int64],
    rows: NDArray[np.int64],
    truth: NDArray[np.int64],
) -> tuple[float, float]:
    """Recall of whole searches, and the entries that they read on average."""
    hits = entries = 0
    depth = truth.shape[1]
    for i, query in enumerate(queries):
        top, stats = searcher.search(state, query, depth + (own[i] >= 0), effort, None)
        others = top.rows if own[i] < 0 else top.rows[top.rows != rows[own[i]]]
        hits += len(np.intersect1d(others[:depth], rows[truth[i]]))
        entries += stats.entries_read
    return hits / max(1, truth.size), entries / max(1, len(queries))


def postings_of(searcher: Searcher, state: State, rows: NDArray[np.int64], replicas: int) -> NDArray[np.int64]:
    """The postings that hold each of some living rows: int64[m, replicas], -1 behind. Reads all of them."""
    chosen = np.full((len(rows), replicas), -1, np.int64)
    filled = np.zeros(len(rows), np.int64)
    place_of = np.full(len(state.versions), -1, np.int64)
    place_of[rows] = np.arange(len(rows))
    for number in np.flatnonzero(state.counts).tolist():
        entries = np.empty((state.counts[number], searcher.entries.entry_bytes), np.uint8)
        run = (0, int(state.pages[number]) * PAGE, entries.size)
        searcher.postings.read_runs(memoryview(entries).cast("B"), [run])  # type: ignore[arg-type]
        found, versions = searcher.entries.rows(entries)
        current = found < len(state.versions)
        current[current] &= state.versions[found[current]] == versions[current]
        places = place_of[found[current]]
        places = places[(places >= 0) & (filled[places] < replicas)]
        chosen[places, filled[places]] = number
        filled[places] += 1
    return chosen
