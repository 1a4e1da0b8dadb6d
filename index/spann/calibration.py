"""The dial: which effort reaches which recall, measured when an index is built.

For queries drawn from the collection the true neighbours are known, and so is where each of them first turns up when
postings are read in the order of their centroids: at which place, and within which ratio of the nearest distance. So
the recall of any pair (postings, ratio) is a count, and for each target the pair that reads the fewest entries is
kept. Then other queries are asked with it, through the whole search, and what they measure is kept beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .options import Effort


@dataclass(frozen=True, slots=True)
class Setting:
    """An effort for a recall at a depth, and what was measured with it on other queries."""

    depth: int
    target: float
    postings: int
    ratio: float
    measured: float
    """Recall at that depth."""
    entries: float
    """Entries read by a query, on average."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Settings by depth and target, ascending; none for an index that was built empty."""

    queries: int
    settings: tuple[Setting, ...]

    def effort(self, recall: float, k: int) -> Effort:
        """What reaches `recall` in the best `k`: the setting of the next depth and the next target.

        Deeper than what was calibrated, postings grow with k. Above the highest target, and where nothing was
        calibrated, everything is read.
        """
        depths = sorted({setting.depth for setting in self.settings})
        if not depths:
            return Effort.everything()
        depth = next((depth for depth in depths if depth >= k), depths[-1])
        for setting in self.settings:
            if setting.depth == depth and setting.target >= recall - 1e-9:
                growth = max(1.0, k / depth)
                return Effort(int(np.ceil(setting.postings * growth)), setting.ratio if growth == 1 else float("inf"))
        return Effort.everything()

    def as_json(self) -> dict[str, Any]:
        return {
            "queries": self.queries,
            "settings": [
                asdict(setting) | {"ratio": setting.ratio if np.isfinite(setting.ratio) else None}
                for setting in self.settings
            ],
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Calibration:
        settings = [
            Setting(**(item | {"ratio": float("inf") if item["ratio"] is None else float(item["ratio"])}))
            for item in body["settings"]
        ]
        return cls(int(body["queries"]), tuple(settings))


def cheapest(
    places: NDArray[np.int64],
    ratios: NDArray[np.float64],
    target: float,
    lengths: NDArray[np.int64],
    near: NDArray[np.float64],
    steps: Sequence[int],
) -> Effort | None:
    """The pair of knobs that reads the fewest entries and finds `target` of the true neighbours, or None.

    places, ratios: [m, r, c], for each query, true neighbour and posting that holds it: the posting's place in the
    order of distance (large where it was not reached) and the ratio of its distance to the nearest. lengths: int64[m,
    p], entries of the postings in that order; near: float64[m, p], their ratios. steps: numbers of postings to try.
    """
    best: Effort | None = None
    least = np.inf
    for postings in steps:
        reached = np.where(places < postings, ratios, np.inf).min(axis=2)  # the ratio from which each is found
        ordered = np.sort(reached, axis=None)
        needed = ordered[min(int(np.ceil(target * ordered.size)), ordered.size) - 1]
        if not np.isfinite(needed):
            continue
        ratio = float(needed) * (1 + 1e-6)
        cost = float(np.where(near[:, :postings] <= ratio, lengths[:, :postings], 0).sum(axis=1).mean())
        # A few entries more are worth a wider bound on the tail: nothing is gained by less than a hundredth.
        if cost < 0.99 * least:
            best, least = Effort(postings, max(1.0, ratio)), cost
    return best
