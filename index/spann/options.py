"""Options of building a clustered index, and the effort of a search."""

from __future__ import annotations

from dataclasses import dataclass

RECALLS = (0.80, 0.85, 0.90, 0.95, 0.97, 0.99)
"""Targets of recall that a build calibrates; between two of them a search takes the higher one."""

DEPTHS = (10, 100, 1000)
"""Depths k that a build calibrates; between two of them a search takes the deeper one."""

MAX_REPLICAS = 16

DOUBT = 1.9
"""The usual `Effort.doubt`: some 3 % of the rows are farther off, on one side."""


@dataclass(frozen=True, slots=True)
class SpannOptions:
    """Options of building a clustered index; docs/spann.md says what each option does and which values are good.

    Raises ValueError for values that are out of range.
    """

    vectors_per_centroid: float = 64.0
    replicas: int = 2
    """Postings that hold a vector, at most."""
    closure_ratio: float = 1.1
    """A vector goes only to centroids within this ratio of its distance to the nearest one."""
    rng_factor: float = 2.0
    """Above 1, as centroids are means: they lie nearer to each other than to their vectors."""
    candidates: int = 64
    """Nearest centroids among which the postings of a vector are chosen."""
    posting_limit: int = 256
    """Vectors in a posting, at most."""
    recall: float = 0.95
    """The recall that a search aims at when it names none."""
    graph_from: int = 8_192
    """Centroids from which on a build finds the nearest ones by a graph; fewer are all compared."""
    graph_links: int = 16
    graph_effort: int = 100
    calibration_queries: int = 256
    memory_budget: int | None = None
    """Bytes that centroids and the tables may take: caps the number of centroids."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("replicas", 1, MAX_REPLICAS),
            ("candidates", 1, 4096),
            ("posting_limit", 4, 1 << 16),
            ("graph_from", 2, 1 << 31),
            ("graph_links", 4, 256),
            ("graph_effort", 8, 4096),
            ("calibration_queries", 0, 1 << 16),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be between {least} and {most}, not {getattr(self, name)}")
        if not 1.0 <= self.vectors_per_centroid <= self.posting_limit:
            raise ValueError(
                f"vectors_per_centroid must be between 1 and the posting limit {self.posting_limit}, "
                f"not {self.vectors_per_centroid}"
            )
        if not self.closure_ratio >= 1 or not self.rng_factor > 0:
            raise ValueError("closure_ratio must be at least 1 and rng_factor above 0")
        if not 0 < self.recall <= 1:
            raise ValueError(f"recall must be above 0 and at most 1, not {self.recall}")
        if self.memory_budget is not None and self.memory_budget < 1:
            raise ValueError(f"memory_budget must be at least 1 byte, not {self.memory_budget}")


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort of a search: the parameters behind `recall`.

    postings: how many postings are read, at most, of those that hold a row which may be returned. ratio: a posting is
    read only if its centroid's distance is within this ratio of the nearest one's. doubt: by how many times its usual
    error the estimate of a row may be too low; of rows that could not be among the best even then the vectors are not
    read.
    """

    postings: int
    ratio: float = float("inf")
    doubt: float = DOUBT

    def __post_init__(self) -> None:
        if self.postings < 1 or not self.ratio >= 1 or not self.doubt >= 0:
            raise ValueError(
                "an effort reads at least one posting, within a ratio of at least 1, and doubts by 0 or more"
            )

    @classmethod
    def everything(cls) -> Effort:
        """Compare every vector, and read no posting: the exact result."""
        return cls(1 << 40, float("inf"), float("inf"))
