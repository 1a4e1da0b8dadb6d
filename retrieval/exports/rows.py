"""A collection as a stream of its live documents with their stored vectors, in order of insertion.

Memory is that of one window of rows (some 32,000) and of a bounded number of term names, however large the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.forward import ForwardRows, forward_windows
from lexhound.index.inverted.quantization import quantise_weights, requantised
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.query.documents import passage_at, read_documents, read_passages
from lexhound.retrieval.collection.query.snapshot import SegmentView, Snapshot
from lexhound.retrieval.collection.store.sql import select_in
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.passages import Passage

from .passages import row_document

CHUNK = 512  # documents handed on together
_MOST_NAMES = 1 << 20  # remembered, some 100 bytes each


@dataclass(frozen=True, slots=True, eq=False)
class RowChunk:
    """Live documents with their vectors.

    Attributes:
        documents: in order of insertion; of documents that are split, a row a passage (`passages.row_document`).
        wholes: of each row the document as it is stored; internal_ids: the number of that; spans: where its passages
            begin and end, uint32[passages, 2], None where it is whole; passages: which of them the row is.
        indptr: int64[n + 1]; terms: uint32[entries], ascending within a document; impacts: uint8[entries], 1 to 255.
        scale: the weight of an impact of 1.
        names: the token of every term id in `terms`.
        dense: float32[n, width], None where the collection has no dense vectors.
    """

    documents: Sequence[Document]
    wholes: Sequence[Document]
    internal_ids: Sequence[int]
    spans: Sequence[NDArray[np.uint32] | None]
    passages: Sequence[Passage | None]
    indptr: NDArray[np.int64]
    terms: NDArray[np.uint32]
    impacts: NDArray[np.uint8]
    scale: float
    names: dict[int, str]
    dense: NDArray[np.float32] | None

    def vector(self, position: int) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Return term ids (ascending) and impacts of a document of the chunk."""
        entries = slice(int(self.indptr[position]), int(self.indptr[position + 1]))
        return self.terms[entries], self.impacts[entries]

    def tokens(self, position: int) -> dict[str, int]:
        """Return tokens and impacts of a document of the chunk, the heaviest first, of equal ones the lower id.

        Where two ids read alike the token is there once, so that `len` differs from that of `vector`.
        """
        terms, impacts = self.vector(position)
        order = np.lexsort((terms, -impacts.astype(np.int16)))
        names = (self.names[term] for term in terms[order].tolist())
        return dict(zip(names, impacts[order].tolist(), strict=True))


class TermNames:
    """The tokens of term ids, asked for many at a time."""

    def __init__(self, snapshot: Snapshot, sparse_field: SparseField) -> None:
        self._snapshot = snapshot
        self._sparse_field = sparse_field
        self._known: dict[int, str] = {}

    def of(self, terms: NDArray[np.uint32]) -> dict[int, str]:
        """Return the token of each of some distinct ids."""
        term_ids = terms.tolist()
        if len(self._known) + len(term_ids) > _MOST_NAMES:
            self._known = {}
        missing = [term for term in term_ids if term not in self._known]
        if self._sparse_field.frequencies:  # a vocabulary of the collection's own, in its database
            with self._snapshot.reading() as connection:
                query = "SELECT term_id, term FROM terms WHERE term_id IN (?)"
                self._known.update(select_in(connection, query, missing))
        else:
            self._known.update((term, self._sparse_field.term_text(term)) for term in missing)
        return {term: self._known[term] for term in term_ids}


def live_rows(
    snapshot: Snapshot,
    sparse_field: SparseField,
    scale: float | None = None,
    average_length: float | None = None,
) -> Iterator[RowChunk]:
    """Yield all live documents of a snapshot with what the inverted and the dense index hold of them.

    In order of insertion within a segment; where segments overlap, the one that begins first comes first.

    Args:
        scale: impacts are rounded to it from the scale of their segment, where that is another.
        average_length: weights of bm25 that were made with another average are made with this.
    """
    names = TermNames(snapshot, sparse_field)
    # An ingest job that took long may overlap with single documents added meanwhile.
    for view in sorted(
        snapshot.segments, key=lambda view: int(view.segment.internal_ids[0]) if view.segment.n_rows else 0
    ):
        levels = _Levels(snapshot, sparse_field, view, scale, average_length)
        yield from _segment_rows(snapshot, view, names, levels)


class _Levels:
    """What a part's impacts become."""

    def __init__(
        self,
        snapshot: Snapshot,
        sparse_field: SparseField,
        view: SegmentView,
        scale: float | None,
        average_length: float | None,
    ) -> None:
        index = view.segment.index
        self.scale = scale or index.scale
        self._levels = requantised(index.scale, self.scale)
        self._lengths = index.lengths
        self._weight_function = None
        if average_length not in (None, index.mean_length or snapshot.legacy_average):
            self._weight_function = sparse_field.weight_function(average_length or 1.0)

    def of(self, window: ForwardRows, rows: NDArray[np.int64], entries: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the impacts of postings of a window, `entries`, that stand one behind the other in its `rows`."""
        if self._weight_function is None or window.frequencies is None or self._lengths is None:
            return self._levels[window.impacts[entries]]
        lengths = np.repeat(self._lengths[window.first + rows], np.diff(window.indptr)[rows])
        return quantise_weights(self._weight_function(window.frequencies[entries], lengths), self.scale)


def _segment_rows(snapshot: Snapshot, view: SegmentView, names: TermNames, levels: _Levels) -> Iterator[RowChunk]:
    segment = view.segment
    for window in forward_windows(segment.index):
        live = np.arange(len(window))
        if view.live is not None:
            live = np.flatnonzero(view.live[window.first : window.first + len(window)])
        for start in range(0, len(live), CHUNK):
            rows = live[start : start + CHUNK]
            begins, lengths = window.indptr[rows], np.diff(window.indptr)[rows]
            indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
            entries = np.repeat(begins - indptr[:-1], lengths) + np.arange(indptr[-1])
            terms = window.terms[entries]
            internal_ids = segment.documents_of(window.first + rows).tolist()
            documents = read_documents(snapshot, list(dict.fromkeys(internal_ids)))
            spans = read_passages(snapshot, internal_ids) if snapshot.has_passages else {}
            wholes = [documents[seq] for seq in internal_ids]
            passages = [
                passage_at(documents[seq], segment.passage_of(row), spans.get(seq))
                for seq, row in zip(internal_ids, (window.first + rows).tolist(), strict=True)
            ]
            yield RowChunk(
                [row_document(document, passage) for document, passage in zip(wholes, passages, strict=True)],
                wholes,
                internal_ids,
                [spans.get(seq) for seq in internal_ids],
                passages,
                indptr,
                terms,
                levels.of(window, rows, entries),
                levels.scale,
                names.of(np.unique(terms)),
                None if segment.dense is None else segment.dense.vectors_of(window.first + rows),
            )
