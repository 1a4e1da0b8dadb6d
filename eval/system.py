"""What is evaluated: anything that gets ready for a data set and ranks documents for queries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from lexhound.eval.datasets.dataset import Dataset, DocumentText
from lexhound.retrieval.collection.write.progress import Progress as IngestProgress

from .cost import Preparation, QuerySparsity
from .runs import Ranking

# Told how far the indexing of the corpus is.
PrepareProgress = Callable[[IngestProgress], None]


class System(Protocol):
    """A retrieval system under evaluation. One is used for one data set after another."""

    @property
    def name(self) -> str:
        """What tables call it; unique among the systems of an evaluation."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that its rankings depend on beside the data, as JSON can hold it.

        Two systems with equal settings return equal rankings: finished parts are found by them.
        """
        ...

    @property
    def threads(self) -> int:
        """How many threads `rank` uses for a batch of queries."""
        ...

    def prepare(self, dataset: Dataset, progress: PrepareProgress | None = None) -> Preparation:
        """Get ready to search the data set's corpus (build or open an index). Called before all else."""
        ...

    def rank(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return the best `k` documents of each query: ids and scores, scores descending."""
        ...

    def sparsity(self, queries: Sequence[str]) -> QuerySparsity | None:
        """Return active dimensions and FLOPS of the queries; None for a system without sparse vectors."""
        ...

    def texts(self, document_ids: Collection[str]) -> Mapping[str, DocumentText]:
        """Return the words of those documents that the system holds."""
        ...
