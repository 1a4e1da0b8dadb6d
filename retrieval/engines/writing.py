"""Writing to a collection that another engine keeps: documents are encoded here and stored there, chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import ShareDone
from lexhound.retrieval.collection.fields.dense_field import BATCH_DOCUMENTS, DenseField
from lexhound.retrieval.collection.fields.document_vectors import vectors_of
from lexhound.retrieval.collection.fields.sparse_field import SparseField, learned_encoder
from lexhound.retrieval.collection.fields.splitter import Splitter
from lexhound.retrieval.collection.store.stored_documents import content_hash
from lexhound.retrieval.collection.write.ingest import IngestReport
from lexhound.retrieval.collection.write.progress import Meter, Pace, Progress
from lexhound.retrieval.collection.write.writer import AddReport, Status
from lexhound.retrieval.corpus import BadRow, Corpus
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import BadRowError, CorpusError, InvalidDocumentError
from lexhound.retrieval.tenants.keys import keyed, with_text

from .confined import ConfinedEngine
from .engine import Ability, Engine, EngineRow, SparseVector, require

_TWICE = "its id occurs a second time in this ingest job"
_TWICE_HINT = "Give every document an id of its own, or remove one of the two."


class EngineWriter:
    """The write side of an `EngineCollection`."""

    def __init__(self, engine: Engine, sparse_field: SparseField, dense: DenseField | None) -> None:
        self._engine = engine
        self._sparse_field = sparse_field
        self._dense = dense
        self._lock = RLock()
        self._last_internal_id = 0
        self._cut = 0
        self._splitter = Splitter(None, sparse_field, dense)

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
        self._engine.check(documents)
        digests = self._engine.digests(list({document.id: None for document in documents}))
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

    def add_rows(self, rows: Sequence[EngineRow]) -> None:
        """Insert documents with vectors that are there already, in order; their internal ids are given anew."""
        field = self._engine.manifest.tenant_field
        if field is not None:
            rows = [replace(row, document=with_text(row.document, field)) for row in rows]
        self._engine.check([row.document for row in rows])
        self._engine.upsert(
            [
                EngineRow(seq, row.digest, row.document, row.sparse, row.dense)
                for seq, row in zip(self._internal_ids(len(rows)), rows, strict=True)
            ]
        )

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete documents; returns the ids that were there.

        Raises:
            UnsupportedError: the engine deletes nothing.
        """
        require(self._engine, Ability.REPLACE)
        unique = list(dict.fromkeys(ids))
        digests = self._engine.digests(unique)
        stored = [identifier for identifier in unique if identifier in digests]
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
        cut_before = self._cut
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
        cut = self._cut - cut_before
        return IngestReport(report.added, report.replaced, report.unchanged, meter.rejected, 0, cut=cut)

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
        self._engine.check(documents)
        existing = self._engine.digests([document.id for document in documents])
        changed = [
            (document, digest)
            for document, digest in zip(documents, digests, strict=True)
            if existing.get(document.id) != digest
        ]
        replaced = sum(document.id in existing for document, _ in changed)
        if replaced:
            require(self._engine, Ability.REPLACE)
        if changed:
            plain = [document for document, _ in changed]
            self._cut += sum(each.cut for each in self._splitter.split(plain))
            vectors, dense = self._encode(plain, progress)
            self._engine.upsert(
                [
                    EngineRow(seq, digest, document, vector, None if dense is None else dense[position])
                    for position, (seq, (document, digest), vector) in enumerate(
                        zip(self._internal_ids(len(changed)), changed, vectors, strict=True)
                    )
                ]
            )
        return AddReport(len(changed) - replaced, replaced, len(documents) - len(changed))

    def _encode(
        self, documents: Sequence[Document], progress: ShareDone | None
    ) -> tuple[list[SparseVector], NDArray[np.float32] | None]:
        matrix, dense, _ = vectors_of(self._sparse_field, self._dense, documents, progress)
        ends = matrix.indptr.tolist()
        rows = [
            (matrix.indices[start:end].astype(np.int32), matrix.data[start:end].astype(np.float32))
            for start, end in pairwise(ends)
        ]
        return rows, dense

    def _internal_ids(self, number: int) -> list[int]:
        """Return places in insertion order: nanoseconds since 1970, and later than all of this object's before."""
        with self._lock:
            first = max(self._last_internal_id + 1, time.time_ns())
            self._last_internal_id = first + number - 1
        return list(range(first, first + number))

    @property
    def _batch(self) -> int:
        return min(self._sparse_field.batch_documents, BATCH_DOCUMENTS)

    @property
    def _tokens(self) -> int | None:
        sparse_tokens = self._sparse_field.tokens_encoded
        return sparse_tokens if self._dense is None else (sparse_tokens or 0) + self._dense.tokens_encoded


def _stopped(row: BadRow, held: int) -> BadRowError:
    return BadRowError(
        row.reason,
        where=row.where,
        hint=f"{row.hint} The {held:,} documents before this row are stored and visible; the same command passes over"
        " them. With --on-error skip, bad rows are passed over".strip(),
    )
