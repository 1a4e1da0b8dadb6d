"""The clustered index over dense vectors on disk: SPANN's layout and search. Read-only.

See docs/spann.md for the algorithm, the options and the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexhound.core.lazy import lazy_names

if TYPE_CHECKING:
    from lexhound.index.spann.calibration import Calibration, Setting
    from lexhound.index.spann.index import ClusteredIndex, build_clustered
    from lexhound.index.spann.options import Effort, SpannOptions
    from lexhound.index.spann.search import SpannStats

__all__ = ["Calibration", "ClusteredIndex", "Effort", "Setting", "SpannOptions", "SpannStats", "build_clustered"]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(
        __name__,
        {
            "Calibration": "lexhound.index.spann.calibration",
            "ClusteredIndex": "lexhound.index.spann.index",
            "Effort": "lexhound.index.spann.options",
            "Setting": "lexhound.index.spann.calibration",
            "SpannOptions": "lexhound.index.spann.options",
            "SpannStats": "lexhound.index.spann.search",
            "build_clustered": "lexhound.index.spann.index",
        },
    )
