"""PISA (`pip install pyterrier-pisa`): the setting `algorithm` is one of its exact ones, impacts are frequencies.

Its postings are written here in PISA's uncompressed format (arrays of uint32, each behind its length); compressing them
(SIMD-BP128) and the greatest impacts of blocks of 64 postings are PISA's own work. Queries go to the compiled function
under the Python package, as the package around it makes tables of them. That function repeats a term as often as it
weighs and counts again, and reads names of documents: `algorithm` "none" asks an index of one document that holds every
term, which tells what that takes.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pyterrier_pisa import _pisathon

from . import Engine, Vectors

_ENCODING = "block_simdbp"


class Pisa:
    """MaxScore, block-max MaxScore, block-max WAND."""

    version = f"pyterrier-pisa {version('pyterrier-pisa')}"

    def build(self, vectors: Vectors, folder: Path, options: dict[str, Any]) -> None:
        rows, terms = vectors.shape
        of_rows = np.repeat(np.arange(rows, dtype=np.uint32), np.diff(vectors.indptr))
        order = np.argsort(vectors.indices, kind="stable")
        ends = np.cumsum(np.bincount(vectors.indices, minlength=terms))
        weights = vectors.data.astype(np.uint32)
        lengths = np.bincount(of_rows, vectors.data, rows).astype(np.uint32)
        _write(folder / "all", of_rows[order], weights[order], ends, lengths)
        # One document with every term, to time what is not the search.
        few = np.arange(1, terms + 1)
        _write(folder / "none", np.zeros(terms, np.uint32), np.ones(terms, np.uint32), few, np.ones(1, np.uint32))
        self.open(folder)
        for name in ("inv.docs", "inv.freqs", "inv.sizes"):
            (folder / "all" / name).unlink()  # what is needed to search is there now

    def open(self, folder: Path) -> None:
        self.contexts = {name: _pisathon.RetrievalContext() for name in ("all", "none")}
        for name, context in self.contexts.items():
            _pisathon.prepare_index(context, str(folder / name), _ENCODING, "quantized", "", quantize=0, stop_fname="")
        self.out: dict[int, Any] = {}

    def prepare(self, terms: Any, weights: Any) -> Any:
        return [(0, dict(zip(_names(terms), weights.astype(float).tolist(), strict=True)))]

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        algorithm = setting["algorithm"]
        if k not in self.out:
            self.out[k] = [np.empty(k, kind) for kind in (np.int32, object, np.int32, np.float32)]
        numbers, rows, ranks, scores = self.out[k]
        count = _pisathon.retrieve(
            self.contexts["none" if algorithm == "none" else "all"],
            "maxscore" if algorithm == "none" else algorithm,
            query,
            k=k,
            threads=1,
            query_weighted=1,
            pretokenised=1,
            result_qidxs=numbers,
            result_docnos=rows,
            result_ranks=ranks,
            result_scores=scores,
        )
        return rows[:count]

    def rows(self, found: Any) -> list[int]:
        return [int(row) for row in found]


def _names(terms: Any) -> list[str]:
    """Names in the order of the numbers, as PISA looks them up by binary search."""
    return [f"{term:06d}" for term in terms.tolist()]


def _write(folder: Path, rows: Any, weights: Any, ends: Any, lengths: Any) -> None:
    """PISA's uncompressed files: `ends` int64[terms] of the postings `rows` and `weights`, `lengths` of documents."""
    folder.mkdir()
    present = np.flatnonzero(np.diff(ends, prepend=0))
    with (folder / "inv.docs").open("wb") as docs, (folder / "inv.freqs").open("wb") as freqs:
        docs.write(np.array([1, len(lengths)], np.uint32).tobytes())
        for term in present.tolist():
            start = int(ends[term - 1]) if term else 0
            size = np.array([ends[term] - start], np.uint32).tobytes()
            docs.write(size + rows[start : ends[term]].tobytes())
            freqs.write(size + weights[start : ends[term]].tobytes())
    (folder / "inv.sizes").write_bytes(np.array([len(lengths)], np.uint32).tobytes() + lengths.tobytes())
    (folder / "fwd.documents").write_text("".join(f"{row}\n" for row in range(len(lengths))))
    (folder / "fwd.terms").write_text("".join(f"{name}\n" for name in _names(present)))
    _pisathon.build_binlex(str(folder / "fwd.documents"), str(folder / "fwd.doclex"))
    _pisathon.build_binlex(str(folder / "fwd.terms"), str(folder / "fwd.termlex"))


def make() -> Engine:
    """The adapter."""
    return Pisa()
