"""The statistics of a collection in another engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .engine import Engine


class EngineStatistics:
    """How many rows there are and hold each term, as the engine counts them (`LiveStatistics`): each passage is one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def n_documents(self) -> int:
        return self._engine.count_rows()

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        return self._engine.document_frequencies(terms)
