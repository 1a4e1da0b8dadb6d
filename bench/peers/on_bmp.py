"""BMP, block-max pruning (`pip install bmp`): settings `alpha` and `beta`, build option `block`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from bmp import Indexer, Searcher

from . import Engine, Vectors

_FILE = "index.bmp"


class Bmp:
    """Blocks of documents with the greatest impact of each term in each."""

    version = f"bmp {version('bmp')}"

    def build(self, vectors: Vectors, folder: Path, options: dict[str, Any]) -> None:
        indexer = Indexer(str(folder / _FILE), bsize=options.get("block", 8), compress_range=False)
        names = [str(term) for term in range(vectors.shape[1])]
        for row, (terms, weights) in enumerate(vectors.rows()):
            impacts = weights.astype(int).tolist()
            indexer.add_document(str(row), dict(zip([names[t] for t in terms.tolist()], impacts, strict=True)))
        indexer.finish()

    def open(self, folder: Path) -> None:
        self.searcher = Searcher(str(folder / _FILE))

    def prepare(self, terms: Any, weights: Any) -> Any:
        return dict(zip(map(str, terms.tolist()), weights.tolist(), strict=True))

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        return self.searcher.search(query, k=k, alpha=setting.get("alpha", 1.0), beta=setting.get("beta", 1.0))

    def rows(self, found: Any) -> list[int]:
        return [int(each) for each in found[0]]


def make() -> Engine:
    """The adapter."""
    return Bmp()
