"""Writing to a collection that another engine keeps: documents are encoded here and stored there, chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lexhound.encoders.base import ShareDone
from lexhound.retrieval.collection.fields.dense_field import BATCH_DOCUMENTS, DenseField
from lexhound.retrieval.collection.fields.document_vectors import vectors_of
from lexhound.retrieval.collection.fields.sparse_field import SparseField, learned_encoder
from lexhound.retrieval.collection.fields.splitter import SplitDocument, Splitter
from lexhound.retrieval.collection.store.stored_documents import content_hash
from lexhound.retrieval.collection.write.ingest import IngestReport
from lexhound.retrieval.collection.write.progress import Meter, Pace, Progress
from lexhound.retrieval.collection.write.writer import AddReport, Status
from lexhound.retrieval.corpus import BadRow, Corpus
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import BadRowError, CorpusError, InvalidDocumentError
from lexhound.retrieval.tenants.keys import keyed, with_text

from .confined import ConfinedEngine
from .engine import Ability, Engine, EngineDocument, SparseVector, require

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_TWICE = "its id occurs a second time in this ingest job"
_TWICE_HINT = "Give every document an id of its own, or remove one of the two."


class SplitCounts(NamedTuple):
    """How many documents were split, into how many passages in all, and of how many an encoder left out a part."""

    split: int = 0
    passages: int = 0
    cut: int = 0

    def more(self, documents: Sequence[SplitDocument]) -> SplitCounts:
        """Return the counts with those of further documents."""
        passages = [len(each.pieces) for each in documents if each.spans]
        cut = sum(each.cut for each in documents)
        return SplitCounts(self.split + len(passages), self.passages + sum(passages), self.cut + cut)


class EngineWriter:
    """The write side of an `EngineCollection`."""

    def __init__(self, engine: Engine, sparse_field: SparseField, dense: DenseField | None, splitter: Splitter) -> None:
        self._engine = engine
        self._sparse_field = sparse_field
        self._dense = dense
        self._lock = RLock()
        self._last_internal_id = 0
        self._splitter = splitter
        self._counted = SplitCounts()

    def add(self, documents: Iterable[Document]) -> AddReport:
        """See `EngineCollection.add`."""
        report = AddReport()
        chunk: dict[str, Document] = {}
        for document in map(self._keyed_document, documents):
            chunk.pop(document.id, None)
            chunk[document.id] = document
            if len(chunk) == self._batch:
                report += self._store(list(chunk.values()))
                chunk = {}
        return report + self._store(list(chunk.values()))

    def put(self, documents: Sequence[Document]) -> list[Status]:
        """See `EngineCollection.put`."""
        require(self._engine, Ability.REPLACE)
        documents = [self._keyed_document(document) for document in documents]
        self._engine.check(documents, self._splitter.spans)
        heads = self._engine.heads(list({document.id: None for document in documents}))
        digests = {name: head.digest for name, head in heads.items()}
        statuses: list[Status] = []
        latest: dict[str, Document] = {}
        for document in documents:
            before, digest = digests.get(document.id), content_hash(document)
            statuses.append("added" if before is None else "unchanged" if before == digest else "replaced")
            digests[document.id] = digest
            if statuses[-1] != "unchanged":
                latest.pop(document.id, None)
                latest[document.id] = document
        for start in range(0, len(latest), self._batch):
            self._store(list(latest.values())[start : start + self._batch])
        return statuses

    def add_encoded(self, documents: Sequence[EngineDocument]) -> None:
        """Insert documents with vectors that are there already, under the internal ids that they have."""
        field = self._engine.manifest.tenant_field
        if field is not None:
            documents = [replace(each, document=with_text(each.document, field)) for each in documents]
        spans = {each.document.id: each.spans for each in documents}
        self._engine.check([each.document for each in documents], lambda document: spans[document.id])
        if Ability.LEXICAL in self._engine.abilities and self._sparse_field.frequencies:
            # Terms of bm25 have numbers of the collection's own, and it weighs them itself: they are counted again.
            documents = [replace(each, sparse=self._counted_again(each)) for each in documents]
        self._engine.upsert(documents)

    def _counted_again(self, document: EngineDocument) -> list[SparseVector]:
        """Return the term frequencies of a document's rows."""
        split = self._splitter.split_at(document.document, document.spans, cut=document.cut)
        return _rows_of(self._sparse_field.encode([piece.encoded_text for piece in split.pieces]))

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete documents; returns the ids that were there.

        Raises:
            UnsupportedError: the engine deletes nothing.
        """
        require(self._engine, Ability.REPLACE)
        unique = list(dict.fromkeys(ids))
        heads = self._engine.heads(unique)
        stored = [identifier for identifier in unique if identifier in heads]
        if stored:
            self._engine.delete(stored)
        return stored

    def ingest(
        self,
        corpus: Corpus,
        on_bad_row: Callable[[BadRow], None] | None,
        progress: Callable[[Progress], None] | None,
    ) -> IngestReport:
        """See `EngineCollection.ingest`."""
        corpus.bind(learned_encoder(self._sparse_field))
        report = AddReport()
        self._counted = SplitCounts()
        seen: set[str] = set()
        chunk: list[Document] = []
        meter = Meter(corpus, lambda: self._tokens, progress)
        pace = Pace(self._batch, models=self._tokens is not None)

        def store() -> None:
            nonlocal report
            pace.start()
            report += self._store(chunk, meter.within(len(chunk)))
            meter.documents = report.total
            meter.tell()
            pace.finish(len(chunk))
            chunk.clear()

        meter.tell()
        for row in self._keyed(corpus):
            bad = row if isinstance(row, BadRow) else None
            if not isinstance(row, BadRow):
                if row.id in seen:
                    bad = corpus.bad_row(_TWICE, _TWICE_HINT)
                else:
                    seen.add(row.id)
                    chunk.append(row)
            if bad is not None:
                store()
                meter.rejected += 1
                if on_bad_row is None:
                    raise _stopped(bad, report.total)
                on_bad_row(bad)
            elif pace.is_full(len(chunk), chunk[-1]):
                store()
        store()
        if not report.total:
            if not meter.rejected:
                raise corpus.empty_error()
            raise CorpusError(
                f"the corpus holds no documents: all {meter.rejected:,} rows were bad and have been skipped",
                where=corpus.name,
                hint="check that this is the right file and format",
            )
        meter.tell("publishing")
        self._engine.finish()
        split, passages, cut = self._counted
        return IngestReport(report.added, report.replaced, report.unchanged, meter.rejected, 0, split, passages, cut)

    def _keyed(self, corpus: Corpus) -> Iterator[Document | BadRow]:
        """Yield the rows of a corpus, in a collection with tenants under their keys."""
        for row in corpus:
            try:
                yield row if isinstance(row, BadRow) else self._keyed_document(row)
            except InvalidDocumentError as error:
                yield corpus.bad_row(error.message, error.hint or "")

    def _keyed_document(self, document: Document) -> Document:
        """Return a document as the engine takes it: in a collection with tenants with its tenant, and under its key.

        Of an engine that is one tenant's, keys are its own affair.
        """
        field = self._engine.manifest.tenant_field
        if field is None:
            return document
        if isinstance(self._engine, ConfinedEngine):
            return self._engine.claimed(document)
        return keyed(with_text(document, field), field)

    def _store(self, documents: Sequence[Document], progress: ShareDone | None = None) -> AddReport:
        if not documents:
            return AddReport()
        digests = [content_hash(document) for document in documents]
        self._engine.check(documents, self._splitter.spans)
        existing = self._engine.heads([document.id for document in documents])
        changed = [
            (document, digest)
            for document, digest in zip(documents, digests, strict=True)
            if document.id not in existing or existing[document.id].digest != digest
        ]
        replaced = sum(document.id in existing for document, _ in changed)
        if replaced:
            require(self._engine, Ability.REPLACE)
        if changed:
            split = self._splitter.split([document for document, _ in changed])
            self._counted = self._counted.more(split)
            self._engine.upsert(self._encoded(changed, split, progress))
        return AddReport(len(changed) - replaced, replaced, len(documents) - len(changed))

    def _encoded(
        self, documents: Sequence[tuple[Document, int]], split: Sequence[SplitDocument], progress: ShareDone | None
    ) -> list[EngineDocument]:
        """Return documents, each with its digest, with the vectors of their rows."""
        pieces = [piece for each in split for piece in each.pieces]
        matrix, dense, _ = vectors_of(self._sparse_field, self._dense, pieces, progress)
        vectors = _rows_of(matrix)
        counts = [len(each.pieces) for each in split]
        encoded, first = [], 0
        for (document, digest), own, number in zip(documents, split, self._internal_ids(counts), strict=True):
            rows = slice(first, first + len(own.pieces))
            near = None if dense is None else dense[rows]
            encoded.append(EngineDocument(number, digest, document, vectors[rows], near, own.spans, own.cut))
            first = rows.stop
        return encoded

    def _internal_ids(self, counts: Sequence[int]) -> list[int]:
        """Return places in insertion order for documents of so many rows: nanoseconds since 1970, and later than all of
        this object's before.
        """
        with self._lock:
            first = max(self._last_internal_id + 1, time.time_ns())
            self._last_internal_id = first + sum(counts) - 1
        return list(accumulate(counts[:-1], initial=first))[: len(counts)]

    @property
    def _batch(self) -> int:
        return min(self._sparse_field.batch_documents, BATCH_DOCUMENTS)

    @property
    def _tokens(self) -> int | None:
        sparse_tokens = self._sparse_field.tokens_encoded
        return sparse_tokens if self._dense is None else (sparse_tokens or 0) + self._dense.tokens_encoded


def _rows_of(matrix: csr_array) -> list[SparseVector]:
    return [
        (matrix.indices[start:end].astype(np.int32), matrix.data[start:end].astype(np.float32))
        for start, end in pairwise(matrix.indptr.tolist())
    ]


def _stopped(row: BadRow, held: int) -> BadRowError:
    return BadRowError(
        row.reason,
        where=row.where,
        hint=f"{row.hint} The {held:,} documents before this row are stored and visible; the same command passes over"
        " them. With --on-error skip, bad rows are passed over".strip(),
    )
