"""The terms of an export: which occur, in how many documents, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.query.snapshot import SegmentView, Snapshot

TERMS = "terms.jsonl"
_AT_ONCE = 900


def document_frequencies(snapshot: Snapshot) -> NDArray[np.int64]:
    """Return how many live documents hold each term, by term id: int64, as long as the largest id asks for."""
    largest = max((int(view.segment.index.postings.terms[-1]) for view in _holding(snapshot)), default=-1)
    counts = np.zeros(largest + 1, np.int64)
    for view in _holding(snapshot):
        index = view.segment.index
        terms = index.postings.terms.astype(np.int64)
        counts[terms] += index.document_frequencies(index.postings.terms.astype(np.int32), view.live)
    return counts


def terms_by_text(
    snapshot: Snapshot, sparse_field: SparseField, present: NDArray[np.bool_]
) -> Iterator[tuple[bytes, int]]:
    """Yield (UTF-8, id) of the terms that are true in `present`, in the order of their bytes."""
    if not sparse_field.frequencies:
        yield from sorted((sparse_field.term_text(term).encode(), term) for term in np.flatnonzero(present).tolist())
        return
    # The vocabulary may be large; SQLite orders it by bytes without holding it in memory.
    last = ""
    while True:
        with snapshot.reading() as connection:
            rows = connection.execute(
                "SELECT term, term_id FROM terms WHERE term > ? ORDER BY term LIMIT ?", (last, _AT_ONCE)
            ).fetchall()
        if not rows:
            return
        for text, term in rows:
            if term < len(present) and present[term]:
                yield text.encode(), term
        last = rows[-1][0]


def write_terms(folder: Path, snapshot: Snapshot, sparse_field: SparseField) -> None:
    """Write `terms.jsonl`: `{"id", "term", "documents"}`, a term a line, in the order of the terms' bytes."""
    frequencies = document_frequencies(snapshot)
    with (folder / TERMS).open("xb") as file:
        for text, term in terms_by_text(snapshot, sparse_field, frequencies > 0):
            row = {"id": term, "term": text.decode(), "documents": int(frequencies[term])}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _holding(snapshot: Snapshot) -> list[SegmentView]:
    return [view for view in snapshot.segments if len(view.segment.index.postings.terms)]
