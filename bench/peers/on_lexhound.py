"""Ours: the setting `recall` goes through the recall calibration, `bound_factor` is the raw option."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from lexhound.index import InvertedIndex, Query, build_inverted, warm

from . import Engine, Vectors


class Lexhound:
    """The inverted index."""

    version = f"lexhound {version('lexhound')}"

    def __init__(self) -> None:
        warm()  # so that the time of building is not the compiler's
        one = csr_array(np.ones((1, 1), np.float32))
        InvertedIndex.from_csr(one, 1.0)

    def build(self, vectors: Vectors, folder: Path, options: dict[str, Any]) -> None:
        folder.rmdir()
        build_inverted(folder, vectors, scale=1.0, **options)

    def open(self, folder: Path) -> None:
        self.index = InvertedIndex.open(folder)

    def prepare(self, terms: Any, weights: Any) -> Any:
        return Query.from_weights(terms, weights)

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        bound_factor = setting.get("bound_factor", self.index.recall_calibration.factor_for(setting.get("recall")))
        return self.index.search(query, k, bound_factor=bound_factor)

    def rows(self, found: Any) -> list[int]:
        return [int(row) for row in found.rows]


def make() -> Engine:
    """The adapter."""
    return Lexhound()
