"""The clustered index over dense vectors on disk: SPANN's layout and search, SPFresh's updates.

See docs/spann.md for the algorithm, the knobs and the files.
"""

from __future__ import annotations

from .calibration import Calibration, Setting
from .immutable import ClusteredIndex, build_clustered
from .index import SpannIndex
from .options import Effort, SpannOptions
from .search import SpannStats

__all__ = [
    "Calibration",
    "ClusteredIndex",
    "Effort",
    "Setting",
    "SpannIndex",
    "SpannOptions",
    "SpannStats",
    "build_clustered",
]
