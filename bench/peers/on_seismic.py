"""Seismic (`pip install pyseismic-lsr`): settings `query_cut` and `heap_factor`.

Build options are those of `SeismicIndex.build_from_dataset`; `n_postings` is how many postings a list keeps on average.
With `compressed` the forward index is kept as DotVByte, which is smaller. Its values are fixed-point numbers of 8 bits,
6 of them behind the point: above 3.98 they saturate without a word, so whole numbers of 1 to 255 are given as 64ths,
which it keeps exactly.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from seismic import SeismicDataset, SeismicIndex, SeismicIndexDotVByte, get_seismic_string

from . import Engine, Vectors

_STEP = np.float32(1 / 64)  # of DotVByte's values
_FILES = {SeismicIndex: "plain", SeismicIndexDotVByte: "compressed"}


class Seismic:
    """Clustered lists with summaries, and whole vectors."""

    version = f"pyseismic-lsr {version('pyseismic-lsr')}"

    def build(self, vectors: Vectors, folder: Path, options: dict[str, Any]) -> None:
        dataset = SeismicDataset()
        names = [str(row) for row in range(vectors.shape[0])]
        options = dict(options)
        kind = SeismicIndexDotVByte if options.pop("compressed", False) else SeismicIndex
        values = vectors.data * _STEP if kind is SeismicIndexDotVByte else vectors.data
        dataset.add_documents_by_id(names, vectors.indices.astype(np.int64), values, vectors.indptr)
        index = kind.build_from_dataset(dataset, num_threads=2, **options)
        index.save(str(folder / _FILES[kind]))

    def open(self, folder: Path) -> None:
        (stored,) = folder.iterdir()
        kind = next(kind for kind, name in _FILES.items() if stored.name.startswith(name))
        self.names = np.arange(1 << 16).astype(get_seismic_string())
        self.index = kind.load(str(stored))

    def prepare(self, terms: Any, weights: Any) -> Any:
        return self.names[terms], weights

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        return self.index.search("0", *query, k=k, query_cut=setting["query_cut"], heap_factor=setting["heap_factor"])

    def rows(self, found: Any) -> list[int]:
        return [int(hit[2]) for hit in found]


def make() -> Engine:
    """The adapter."""
    return Seismic()
