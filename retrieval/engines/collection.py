"""A collection whose documents and vectors another engine keeps.

Encoding, modes, fusion, explanations and the order of hits are those of our own `Collection`; the engine stores and
ranks. Where it could only do something that is like what was asked, it is refused (`UnsupportedError`).

What differs from our own collections, for every engine: documents of an interrupted ingest job are visible (started
again, the job passes over those that are there), and others' writes are seen as the engine lets them be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack, cast

from lexhound.core.errors import MissingExtraError, ReadOnlyError
from lexhound.encoders.errors import EncoderError
from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.fields.dense_field import WARMING, DenseField
from lexhound.retrieval.collection.fields.opening import load_field
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.fields.splitter import Splitter
from lexhound.retrieval.collection.health import Health
from lexhound.retrieval.collection.query.modes import modes_of
from lexhound.retrieval.collection.request import (
    BatchKeywords,
    BatchRequest,
    SearchKeywords,
    SearchRequest,
)
from lexhound.retrieval.collection.reranking.options import Rerank
from lexhound.retrieval.collection.reranking.reranked import rerank, rerank_many
from lexhound.retrieval.collection.result import RankedIds, SearchResult
from lexhound.retrieval.collection.write.ingest import IngestReport
from lexhound.retrieval.collection.write.progress import Progress
from lexhound.retrieval.collection.write.writer import AddReport, Status
from lexhound.retrieval.corpus import BadRow, Corpus
from lexhound.retrieval.corpus.given import DocumentLike, documents_of, ids_of
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.filters import Expression
from lexhound.retrieval.tenants.keys import check_tenant, no_tenants, tenant_required, unknown_tenant

from .confined import ConfinedEngine
from .engine import Ability, Engine, EngineDocument, LexicalEngine
from .known_fields import EngineFields
from .protocol import EngineInfo
from .ranking import where_of
from .refusals import refuse_late
from .searching import EngineSearcher
from .statistics import EngineStatistics
from .writing import EngineWriter

if TYPE_CHECKING:
    from lexhound.encoders.base import Span
    from lexhound.encoders.bm25.vocabulary import Vocabulary
    from lexhound.retrieval.collection.clauses.tree import Clause

QUERIES_AT_ONCE = 64


class EngineCollection:
    """An open collection in another engine; make or open one with `engines.opening`."""

    def __init__(
        self,
        engine: Engine,
        sparse_field: SparseField | None = None,
        dense: DenseField | None = None,
        *,
        writable: bool = False,
        statistics: EngineStatistics | None = None,
    ) -> None:
        """Args: field, dense: encoders of the manifest's identities that are loaded already."""
        self.engine = engine
        self.tenant_field = None if isinstance(engine, ConfinedEngine) else engine.manifest.tenant_field
        self.manifest = engine.manifest
        if sparse_field is None:
            from lexhound.encoders.bm25.vocabulary import MemoryVocabulary

            vocabulary: Vocabulary = MemoryVocabulary()
            if Ability.LEXICAL in engine.abilities:
                vocabulary = cast(LexicalEngine, engine).vocabulary
            sparse_field = load_field(self.manifest.encoder, vocabulary)
        self._sparse_field = sparse_field
        self._dense = dense
        if self.manifest.dense is not None and dense is None:
            self._dense = DenseField(self.manifest.dense.encoder, self.manifest.dense.width)
        self._statistics = statistics or EngineStatistics(engine)
        self._fields = EngineFields(engine)
        self._splitter = Splitter(self.manifest.passages, sparse_field, self._dense)
        self._searcher = EngineSearcher(engine, sparse_field, self._dense, self._statistics)
        self._writer = EngineWriter(engine, sparse_field, self._dense, self._splitter) if writable else None
        self._closed = False

    @property
    def address(self) -> str:
        """Where it is, as a person writes it."""
        return self.engine.address

    @property
    def capabilities(self) -> frozenset[Capability]:
        """None of those that collections of our own have."""
        return frozenset()

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that a search may ask for, beside `auto`."""
        return modes_of(self._sparse_field, dense=self._dense is not None)

    @property
    def reranker(self) -> None:
        """None: another engine keeps no reranker; a request may name one."""

    def close(self) -> None:
        """Give back connections; closing again does nothing."""
        if not self._closed:
            self._closed = True
            self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def for_tenant(self, tenant: str, *, must_exist: bool = True) -> EngineCollection:
        """Return the collection as one tenant sees it; see `Collection.for_tenant`.

        Raises:
            TenantError: the collection has no tenants, or this is no name of one. UnknownTenantError: no document is
            of the tenant, and one must be.
        """
        if self.tenant_field is None:
            raise no_tenants()
        engine = ConfinedEngine(self.engine, check_tenant(tenant), self.tenant_field)
        if must_exist and not engine.count():
            raise unknown_tenant(tenant)
        writable = self._writer is not None
        return EngineCollection(engine, self._sparse_field, self._dense, writable=writable, statistics=self._statistics)

    def _check_tenant(self) -> None:
        if self.tenant_field is not None:
            raise tenant_required(self.tenant_field)

    # Writing

    def add(self, documents: Iterable[DocumentLike]) -> AddReport:
        """Insert documents, or replace those with the same id; of two with one id, the later stays.

        Raises:
            UnsupportedError: the engine cannot hold a document, or changes nothing once it is built.
            EngineError: it failed; chunks before that are stored.
        """
        return self._writing().add(documents_of(documents))

    def put(self, documents: Sequence[DocumentLike]) -> list[Status]:
        """Insert or replace documents; returns what became of each, as if added one by one.

        Raises:
            UnsupportedError, EngineError: as `add`.
        """
        return self._writing().put(list(documents_of(documents)))

    def check(self, documents: Sequence[Document]) -> None:
        """Refuse documents that the engine cannot hold. Raises UnsupportedError, which names the first of them."""
        self.engine.check(documents, self._splitter.spans)

    def add_encoded(self, documents: Sequence[EngineDocument]) -> None:
        """Insert documents with vectors that are there already, under the internal ids that they have.

        Raises: as `add`.
        """
        self._writing().add_encoded(documents)

    def finish(self) -> None:
        """Finish a run of `add_encoded`."""
        self._writing()
        self.engine.finish()

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete documents; returns the ids that were there.

        Raises:
            UnsupportedError: the engine deletes nothing.
        """
        self._check_tenant()
        return self._writing().delete(ids_of(ids))

    def ingest(
        self,
        corpus: Corpus,
        *,
        source: str,
        on_bad_row: Callable[[BadRow], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> IngestReport:
        """Add a whole corpus, chunk by chunk; each chunk is visible when it is stored.

        A job that is started again reads the corpus from the start and encodes only what is not there, so `source`,
        which tells jobs apart elsewhere, is not looked at.

        Raises:
            BadRowError: a bad row, and `on_bad_row` is not given; documents before it are stored.
            CorpusError: the corpus holds no document, or cannot be read. UnsupportedError, EngineError: as for `add`.
        """
        return self._writing().ingest(corpus, on_bad_row, progress)

    def maintain(self, documents: int = 0) -> bool:
        """Merge what many small writes leave behind; returns whether there was anything to do."""
        self._writing()
        return self.engine.maintain()

    def _writing(self) -> EngineWriter:
        if self._writer is None:
            raise ReadOnlyError(
                "the collection is open for reading", where=self.address, hint="open it with writable=True"
            )
        return self._writer

    # Reading

    def warm(self) -> None:
        """Load the models that queries need; one that cannot be loaded is left to the searches that need it."""
        with suppress(EncoderError, MissingExtraError):
            self._sparse_field.query("", self._statistics)
            if self._dense is not None:
                self._dense.query(WARMING)

    def refresh(self) -> bool:
        """See what others have written; returns whether anything may have changed.

        Raises:
            NotACollectionError: the collection is gone, or another has taken its place. EngineError: the engine failed.
        """
        return self.engine.refresh()

    def count(self, filter: str | None = None, *, allow_unknown_fields: bool = False) -> int:
        """Return how many documents there are, or pass a filter expression.

        Raises:
            FilterSyntaxError: it does not parse. UnsupportedError: the engine has no filters, or not this one.
            UnknownFieldError: no document has what it names.
        """
        return self.engine.count(self._where(filter, allow_unknown_fields))

    def ids(self, filter: str, *, allow_unknown_fields: bool = False) -> list[str]:
        """Return the ids of the documents that pass a filter expression, in any order.

        Raises:
            FilterSyntaxError, UnsupportedError, UnknownFieldError: as `count`.
        """
        where = self._where(filter, allow_unknown_fields)
        return [] if where is None else self.engine.ids(where)

    def _where(self, filter: str | None, allow_unknown_fields: bool) -> Expression | None:
        self._check_tenant()
        return where_of(self.engine, filter, None if allow_unknown_fields else self._fields)

    def get(self, identifier: str, *, latest: bool = False) -> Document | None:
        """Return the document with this id, or None."""
        self._check_tenant()
        stored = self.engine.documents([identifier]).get(identifier)
        return None if stored is None else stored.document

    def search(
        self,
        query: str | Mapping[str, float] | Clause | SearchRequest,
        k: int | None = None,
        **options: Unpack[SearchKeywords],
    ) -> SearchResult:
        """Return the best documents for a query; the arguments are those of `Collection.search`.

        Statistics of the work are zero: engines do not tell.

        Raises:
            QueryError, FilterSyntaxError, EncoderError: as for `Collection.search`.
            UnsupportedError: the engine cannot do what is asked. EngineError: it failed.
        """
        request = SearchRequest.of(query, k, options)
        if isinstance(request.rerank, Rerank):
            refuse_late(request.rerank)
            return rerank(self.search, request, request.rerank)
        where = self._where(request.filter, request.allow_unknown_fields)
        return self._searcher.answer(request, where)

    def search_many(
        self, queries: Sequence[str] | BatchRequest, k: int | None = None, **options: Unpack[BatchKeywords]
    ) -> list[RankedIds]:
        """Return (id, score) of the best documents for each query; `threads` are the engine's own affair.

        Raises: as `search`.
        """
        request = BatchRequest.of(queries, k, options)
        if isinstance(request.rerank, Rerank):
            refuse_late(request.rerank)
            return rerank_many(self.search, request, request.rerank)
        where = self._where(request.filter, request.allow_unknown_fields)
        return self._searcher.answer_many(request, where)

    def encode_queries(self, queries: Sequence[str]) -> list[Query]:
        """Return query vectors, one a text."""
        return self._searcher.encode_queries(queries)

    def statistics(self) -> EngineStatistics:
        """Return how many rows there are, one a passage, and how many hold each term."""
        return self._statistics

    def spans(self, text: str) -> list[Span]:
        """Return (start, end, term id) of the words of a text that count for a term of the collection, for marking."""
        return self._sparse_field.spans(text)

    def highlights(self, text: str, terms: frozenset[int]) -> list[Span]:
        """Return those of `spans(text)` that count for one of `terms`."""
        return self._sparse_field.highlights(text, terms)

    def info(self) -> EngineInfo:
        """Return what the engine tells of itself and of the collection."""
        size, health = self.engine.size(), self.health()
        passages = self.manifest.passages
        split, cut = self.engine.count_split()
        return EngineInfo(
            address=self.address,
            engine=health.engine,
            ready=health.ready,
            created_by=self.manifest.created_by,
            encoder=self.manifest.encoder,
            dense=self.manifest.dense,
            documents=self.engine.count(),
            terms=self.manifest.encoder.vocabulary_size,
            postings=size.postings,
            index_bytes=size.bytes,
            settings=size.settings,
            refused=self.engine.refused,
            tenant_field=self.manifest.tenant_field,
            passages=None if passages is None else str(passages),
            rows=self.engine.count_rows(),
            split=split,
            cut=cut,
        )

    def health(self) -> Health:
        """Return whether the engine answers."""
        return self.engine.health()
