"""A collection as one of its tenants sees it: nothing of the others can be read, written or counted through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.query.searchable import Searchable
from lexhound.retrieval.corpus.given import DocumentLike, documents_of, ids_of
from lexhound.retrieval.documents.document import Document, is_encodable
from lexhound.retrieval.errors import TenantError

from .info import TenantInfo
from .keys import check_tenant, id_of_key, keyed, keyed_all, no_tenants, prefix_of, unknown_tenant

if TYPE_CHECKING:
    from lexhound.encoders.base import LiveStatistics
    from lexhound.retrieval.collection.collection import Collection
    from lexhound.retrieval.collection.health import Health
    from lexhound.retrieval.collection.query.snapshot import Snapshot
    from lexhound.retrieval.collection.reader import ConfinedReader
    from lexhound.retrieval.collection.reranking.options import Rerank
    from lexhound.retrieval.collection.store.manifest import Manifest
    from lexhound.retrieval.collection.write.ingest import IngestReport
    from lexhound.retrieval.collection.write.progress import Progress
    from lexhound.retrieval.collection.write.writer import AddReport, Status
    from lexhound.retrieval.corpus import BadRow, Corpus

_OFFERED = frozenset(
    {
        Capability.SEARCH_STATS,
        Capability.FACETS,
        Capability.ARRANGEMENT,
        Capability.SUGGESTIONS,
        Capability.LISTING,
        Capability.PREPARED_FILTERS,
        Capability.STEPWISE_WRITES,
    }
)


class TenantCollection(Searchable):
    """What an open collection has of one tenant; it is open for as long as the collection is.

    Attributes:
        tenant: whose documents these are.
    """

    def __init__(self, whole: Collection, tenant: str, *, must_exist: bool = True) -> None:
        """Use `Collection.for_tenant`; the arguments and errors are those of it."""
        field = whole.manifest.tenant_field
        if field is None:
            raise no_tenants()
        self.tenant = check_tenant(tenant)
        self._field = field
        self._whole = whole
        self._prefix = prefix_of(self.tenant)
        self._encoders = whole._encoders
        self._reader: ConfinedReader = whole._reader.confined(self.tenant)
        self._must_exist = must_exist

    @property
    def _asked(self) -> ConfinedReader:
        """What answers.

        Raises:
            UnknownTenantError: no document is of the tenant, and one must be.
        """
        if self._must_exist and not self._reader.snapshot().segments and not self._reader.has_documents():
            raise unknown_tenant(self.tenant)
        return self._reader

    @property
    def address(self) -> str:
        """Where the collection is, as a person writes it."""
        return self._whole.address

    @property
    def manifest(self) -> Manifest:
        """Which encoders made its vectors."""
        return self._whole.manifest

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond what every collection can: all but what concerns the others' documents too."""
        return _OFFERED

    @property
    def reranker(self) -> Rerank | None:
        """The reranking of searches that name none: the collection's."""
        return self._whole.reranker

    def snapshot(self, *, hold: bool = False) -> Snapshot:
        """Return the state that reads see of the tenant, or with `hold` the newest one; see `Collection.snapshot`.

        Raises:
            UnknownTenantError: no document is of the tenant, and one must be.
        """
        return self._asked.snapshot(hold=hold)

    def statistics(self) -> LiveStatistics:
        """Return how many rows the index has of the tenant, and how many hold each term."""
        return self._reader.snapshot().statistics

    def info(self) -> TenantInfo:
        """Return the tenant's figures."""
        documents, manifest = self._asked.snapshot().n_documents, self.manifest
        return TenantInfo(self.tenant, documents, manifest.encoder, manifest.dense, self.modes)

    def for_tenant(self, tenant: str, *, must_exist: bool = True) -> TenantCollection:
        """Return the same: there is no way from one tenant to another.

        Raises:
            TenantError: another one is named.
        """
        if check_tenant(tenant) != self.tenant:
            raise TenantError(f"this is what the tenant {self.tenant!r} sees, and the request names another")
        return self

    def refresh(self) -> bool:
        """Move on to the newest committed state; returns whether anything of the collection had changed."""
        return self._whole.refresh()

    def health(self) -> Health:
        """Return whether the collection can be searched now."""
        return self._whole.health()

    def warm(self) -> None:
        """See `Collection.warm`."""
        self._whole.warm()

    def close(self) -> None:
        """Do nothing: the collection stays open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Writing

    def add(self, documents: Iterable[DocumentLike]) -> AddReport:
        """Insert documents of the tenant, or replace its own with the same ids; see `Collection.add`.

        A document without the tenant field gets it.

        Raises:
            InvalidDocumentError: a document is of another tenant, or as for `Collection.add`.
        """
        return self._whole._writing().add(keyed_all(documents_of(documents), self._field, self.tenant))

    def put(self, documents: Sequence[DocumentLike]) -> list[Status]:
        """Insert or replace documents of the tenant in one transaction; see `Collection.put` and `add`."""
        return self._whole._writing().put(list(keyed_all(documents_of(documents), self._field, self.tenant)))

    def check(self, documents: Sequence[Document]) -> None:
        """Refuse documents that are of another tenant, by an InvalidDocumentError that names the first of them."""
        for document in documents:
            keyed(document, self._field, self.tenant)

    def encode_ahead(self, document: Document) -> Iterator[None]:
        """See `Collection.encode_ahead`."""
        return self._whole._writing().encode_ahead(keyed(document, self._field, self.tenant))

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete documents of the tenant; returns the ids that were there."""
        keys = [self._prefix + identifier for identifier in ids_of(ids) if is_encodable(identifier)]
        return [id_of_key(key) for key in self._whole._writing().delete(keys)]

    def ingest(
        self,
        corpus: Corpus,
        *,
        source: str,
        on_bad_row: Callable[[BadRow], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> IngestReport:
        """Add a whole corpus of the tenant as one ingest job; see `Collection.ingest`.

        A document of another tenant is a bad row.
        """
        from lexhound.retrieval.collection.write.ingest import ingest

        writer = self._whole._writing()
        return ingest(writer, corpus, source=source, on_bad_row=on_bad_row, progress=progress, tenant=self.tenant)

    def maintain(self, documents: int | None = None) -> bool:
        """See `Collection.maintain`."""
        return self._whole.maintain(documents)
