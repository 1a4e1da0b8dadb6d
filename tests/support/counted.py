"""What a collection knows of itself, as a test says it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class Counted:
    """Statistics of `n_documents` documents, in which terms have the document frequencies given."""

    n_documents: int
    frequencies: dict[int, int]

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.array([self.frequencies.get(term, 0) for term in terms.tolist()], dtype=np.int64)
