"""Recall calibration: which effort reaches which recall, measured when an index is built.

For queries drawn from the collection the true neighbours are known, and so is where each of them first turns up when
postings are read in the order of their centroids: at which place, and within which ratio of the nearest distance. So
the recall of any pair (postings, ratio) is a count, and for each target the pair that reads the fewest codes is
kept. Then other queries are searched with it, and what they measure is kept beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.spann.options import Effort

_POSTING_COST = 8.0  # in codes: to find a centroid and to begin with its posting


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
    """Codes read by a query, on average."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Settings by depth and target, ascending; none for an index that was built empty."""

    queries: int
    settings: tuple[Setting, ...]

    def effort(self, recall: float, k: int) -> Effort:
        """Return what reaches `recall` in the best `k`: the setting of the next depth and the next target.

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


@dataclass(frozen=True, slots=True, eq=False)
class Encounters:
    """The neighbours that queries meet in so many postings, nearest first, as a search reads them."""

    postings: int
    ratios: NDArray[np.float64]
    """[m, r]: for each query and true neighbour, the ratio from which a posting that holds it is read; or infinity."""
    lengths: NDArray[np.int64]
    """[m, postings]: codes of the postings."""
    near: NDArray[np.float64]
    """[m, postings]: how much farther than the nearest their centroids are."""


def cheapest(encounters: Sequence[Encounters], target: float) -> Effort | None:
    """Return the effort that reads the fewest codes and finds `target` of the true neighbours, or None."""
    best: Effort | None = None
    least = np.inf
    for one in encounters:
        ordered = np.sort(one.ratios, axis=None)
        needed = ordered[min(int(np.ceil(target * ordered.size)), ordered.size) - 1]
        if not np.isfinite(needed):
            continue
        ratio = float(needed) * (1 + 1e-6)
        cost = float(np.where(one.near <= ratio, one.lengths, 0).sum(axis=1).mean()) + _POSTING_COST * one.postings
        if cost < least:
            best, least = Effort(one.postings, max(1.0, ratio)), cost
    return best
