"""What a collection offers to whoever uses one, whichever engine keeps it.

Our own `Collection` is one, and so is every `EngineCollection` (Milvus, Lucene). The command line, the evaluation and
the service work with what stands here. Order is part of the contract: score descending, then insertion order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, Unpack, cast, runtime_checkable

from lexhound.retrieval.errors import UnsupportedError

if TYPE_CHECKING:
    from lexhound.core.progress import OnStep
    from lexhound.encoders.base import EncoderIdentity, LiveStatistics, Span
    from lexhound.index.inverted.quantization import Query
    from lexhound.retrieval.collection.capability import Capability
    from lexhound.retrieval.collection.clauses.tree import Clause
    from lexhound.retrieval.collection.health import Health
    from lexhound.retrieval.collection.info import CollectionInfo
    from lexhound.retrieval.collection.request import BatchKeywords, BatchRequest, SearchKeywords, SearchRequest
    from lexhound.retrieval.collection.reranking.options import Rerank
    from lexhound.retrieval.collection.result import Facet, RankedIds, SearchResult, Suggestions
    from lexhound.retrieval.collection.store.manifest import DenseManifest, Manifest
    from lexhound.retrieval.collection.write.compaction import CompactReport
    from lexhound.retrieval.collection.write.ingest import IngestReport
    from lexhound.retrieval.collection.write.progress import Progress
    from lexhound.retrieval.collection.write.writer import AddReport, Status
    from lexhound.retrieval.corpus import BadRow, Corpus
    from lexhound.retrieval.corpus.given import DocumentLike
    from lexhound.retrieval.tenants.info import TenantInfo
from lexhound.retrieval.documents.document import Document


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The figures of a collection in another engine.

    Attributes:
        address, engine: where it is, and the engine's name and version.
        ready: whether it can be searched now.
        created_by, encoder, dense: what its manifest says.
        documents: visible ones.
        terms: the size of the encoder's vocabulary.
        postings: stored weights, as far as known.
        index_bytes: of all the engine keeps, None where it does not tell.
        settings: those of the engine that matter, by name.
        refused: what the engine cannot do, one sentence each.
        tenant_field: the field that says whose a document is; None where documents are everybody's.
        passages: how long texts are split; None where they are not.
        rows: of the index: one a document, or one a passage. split: how many documents have several; cut: of how many
            an encoder left out a part.
    """

    address: str
    engine: str
    ready: bool
    created_by: str
    encoder: EncoderIdentity
    dense: DenseManifest | None
    documents: int
    terms: int | None
    postings: int | None
    index_bytes: int | None
    settings: Mapping[str, Any]
    refused: tuple[str, ...]
    tenant_field: str | None = None
    passages: str | None = None
    rows: int | None = None
    split: int = 0
    cut: int = 0


@runtime_checkable
class Backend(Protocol):
    """An open collection. What its engine cannot do raises `UnsupportedError`, and nothing is done in its place."""

    @property
    def address(self) -> str:
        """Where it is, as a person writes it."""
        ...

    @property
    def manifest(self) -> Manifest:
        """Which encoders made its vectors; `search` needs no other word of them."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond what stands here; see `require_capability`."""
        ...

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that a search may ask for, beside `auto`."""
        ...

    def for_tenant(self, tenant: str, *, must_exist: bool = True) -> Backend:
        """Return the collection as one tenant sees it; `must_exist`: refuse questions about one without documents."""
        ...

    def add(self, documents: Iterable[DocumentLike]) -> AddReport:
        """Insert documents, or replace those with the same ids; searchable when it returns."""
        ...

    def put(self, documents: Sequence[DocumentLike]) -> list[Status]:
        """Insert or replace documents; returns what became of each, as if added one by one."""
        ...

    def check(self, documents: Sequence[Document]) -> None:
        """Refuse documents that cannot be kept, by an `UnsupportedError` that names the first of them."""
        ...

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete documents; returns the ids that were there."""
        ...

    def ingest(
        self,
        corpus: Corpus,
        *,
        source: str,
        on_bad_row: Callable[[BadRow], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> IngestReport:
        """Add a whole corpus."""
        ...

    def maintain(self, documents: int = ...) -> bool:
        """Merge what many small writes leave behind; returns whether there was anything to do."""
        ...

    def get(self, identifier: str, *, latest: bool = False) -> Document | None:
        """Return the document with this id, or None."""
        ...

    def count(self, filter: str | None = None, *, allow_unknown_fields: bool = False) -> int:
        """Return how many documents there are, or pass a filter expression."""
        ...

    def ids(self, filter: str, *, allow_unknown_fields: bool = False) -> list[str]:
        """Return the ids of the documents that pass a filter expression."""
        ...

    @property
    def reranker(self) -> Rerank | None:
        """The reranking of searches that name none."""
        ...

    def search(
        self,
        query: str | Mapping[str, float] | Clause | SearchRequest,
        k: int | None = None,
        **options: Unpack[SearchKeywords],
    ) -> SearchResult:
        """Return the best documents for a query; the arguments are those of `Collection.search`."""
        ...

    def search_many(
        self, queries: Sequence[str] | BatchRequest, k: int | None = None, **options: Unpack[BatchKeywords]
    ) -> list[RankedIds]:
        """Return (id, score) of the best documents for each query, best first."""
        ...

    def encode_queries(self, queries: Sequence[str]) -> list[Query]:
        """Return query vectors, one a text."""
        ...

    def statistics(self) -> LiveStatistics:
        """Return how many rows there are, one a document or a passage, and how many hold each term."""
        ...

    def spans(self, text: str) -> list[Span]:
        """Return (start, end, term id) of the words of a text that count for a term of the collection, for marking."""
        ...

    def highlights(self, text: str, terms: frozenset[int]) -> list[Span]:
        """Return those of `spans(text)` that count for one of `terms`."""
        ...

    def info(self) -> CollectionInfo | EngineInfo | TenantInfo:
        """Return counts, sizes, encoder."""
        ...

    def health(self) -> Health:
        """Return whether it can be searched now."""
        ...

    def warm(self) -> None:
        """Load what the first search would have to wait for."""
        ...

    def refresh(self) -> bool:
        """See what others have written since; returns whether anything may have changed."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class CapableBackend(Backend, Protocol):
    """What collections offer that have the capabilities for it; those of our own have all of them."""

    def facets(
        self,
        fields: Sequence[str] | None = None,
        limit: int = 20,
        *,
        query: str | Clause | None = None,
        filter: str | None = None,
        mode: str = "auto",
        matching: bool = False,
        allow_unknown_fields: bool = False,
    ) -> list[Facet]:
        """FACETS: return the most frequent values of metadata fields (all unless named), and the range of numbers."""
        ...

    def suggest(
        self, query: str, k: int = 8, *, filter: str | None = None, allow_unknown_fields: bool = False
    ) -> Suggestions:
        """SUGGESTIONS: return a query's misspelt words put right, and its last word completed."""
        ...

    @property
    def synonyms(self) -> tuple[str, ...]:
        """SYNONYMS: the rules of synonyms that queries follow, as they were written."""
        ...

    def keep_synonyms(self, rules: Iterable[str]) -> None:
        """SYNONYMS: make rules the collection's own, in the place of those that it had."""
        ...

    def discard_unfinished(self) -> int:
        """INGEST_JOBS: drop what an unfinished ingest job holds; returns how many documents that was."""
        ...

    def compact(self, progress: OnStep | None = None) -> CompactReport:
        """COMPACTION: merge all segments into one without deleted rows."""
        ...

    def is_prepared(self, filter: str) -> bool:
        """PREPARED_FILTERS: return whether it is known which documents pass a filter."""
        ...

    def prepare_filter(self, filter: str) -> None:
        """PREPARED_FILTERS: find the documents that pass a filter, so that a search need not."""
        ...

    def encode_ahead(self, document: Document) -> Iterator[None]:
        """STEPWISE_WRITES: do what a long document asks for in steps; `put` it then."""
        ...

    def listed(self, clause: Clause, limit: int, *, after: int = 0) -> list[tuple[int, Document]]:
        """ARRANGEMENT: return documents that match in the order of their insertion, with the number of each."""
        ...

    def note(self, name: str) -> str | None:
        """NOTES: return a text that is kept with the collection."""
        ...

    def keep_note(self, name: str, text: str | None) -> None:
        """NOTES: keep a text with the collection."""
        ...

    def stored_state(self) -> dict[str, Any]:
        """STORED_STATE: return what changes with every write, as JSON can hold it."""
        ...

    def ask_dense_by(self, which: str) -> None:
        """STATIC_QUERIES: let the "table" or the "model" make the dense vectors of queries."""
        ...


def capable(collection: Backend, capability: Capability) -> CapableBackend | None:
    """Return a collection as one that has a capability; None where it lacks it."""
    return cast(CapableBackend, collection) if capability in collection.capabilities else None


def lacks(address: str, capability: Capability) -> UnsupportedError:
    """Return the refusal of what asks for a capability that the collection at an address lacks."""
    return UnsupportedError(
        f"the collection lies in another engine, where {capability}", where=address, hint="leave this request out"
    )


def require_capability(collection: Backend, capability: Capability) -> CapableBackend:
    """Return a collection as one that has a capability.

    Raises:
        UnsupportedError: it lacks it.
    """
    able = capable(collection, capability)
    if able is None:
        raise lacks(collection.address, capability)
    return able


def matching_ids(collection: Backend, filter: str | None, *, allow_unknown_fields: bool = False) -> list[str]:
    """Return the ids of the documents that pass a filter expression, or of all, in order of insertion.

    Raises:
        UnsupportedError: all are asked for, and the collection lies in another engine, whose filters see no ids.
        FilterSyntaxError, UnknownFieldError: as for `Backend.ids`.
    """
    if filter is None:
        from lexhound.retrieval.collection.capability import Capability

        require_capability(collection, Capability.LISTING)
    return collection.ids(filter or "exists id", allow_unknown_fields=allow_unknown_fields)
