"""From one of our own collections into another engine, back, or from engine to engine, without encoding again.

What is stored moves. Weights of our own index are 8-bit impacts times their scale: not the encoder's float32 weights
any more, which they never become again; scores in the other engine are those of our own. Terms of bm25 have numbers of
the collection's own, so that its texts are counted again. Documents in passages keep them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lexhound.core.progress import OnStep, Stage
from lexhound.core.version import made_by
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.store.manifest import DenseManifest, Manifest
from lexhound.retrieval.collection.verification import refuse_damaged
from lexhound.retrieval.errors import EngineError, UnsupportedError

from .address import Address, read_address
from .collection import EngineCollection
from .engine import EngineDocument
from .opening import create_like, open_collection
from .own_directory import make_own, own_documents

if TYPE_CHECKING:
    from .settings import MilvusSettings

_BATCH = 256


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What was moved.

    Attributes:
        documents, rows, postings: how many; a document that is split has a row a passage. dense: whether dense vectors
            were.
        relative_error: the share of the encoder's weight that 8-bit impacts have lost (`QuantisationLoss`); None from
            engine to engine, where none of ours were made.
        fusion: whether the collection has a fusion of its own, late: whether it has token vectors: neither moves.
    """

    documents: int
    postings: int
    dense: bool
    relative_error: float | None
    fusion: bool
    late: bool = False
    rows: int = 0


class _Count:
    """Passes documents on, without dense vectors where the manifest has none, and counts them."""

    def __init__(self, stage: Stage, manifest: Manifest) -> None:
        self.documents = self.rows = self.postings = 0
        self._stage = stage
        self._dense = manifest.dense is not None

    def of(self, documents: Iterator[list[EngineDocument]]) -> Iterator[Sequence[EngineDocument]]:
        for chunk in documents:
            yield chunk if self._dense else [replace(each, dense=None) for each in chunk]
            self.documents += len(chunk)
            self.rows += sum(len(each.sparse) for each in chunk)
            self.postings += sum(len(terms) for each in chunk for terms, _ in each.sparse)
            self._stage.add(len(chunk))


def move_collection(
    source: Path | str | Address,
    address: Address | str,
    *,
    without_dense: bool = False,
    milvus: MilvusSettings | None = None,
    progress: OnStep | None = None,
) -> MoveReport:
    """Copy a collection to another address, one of which at least is in another engine; the source stays as it is.

    Args:
        without_dense: leave dense vectors behind, for which Lucene has no place.
        progress: told of the stages (`core.progress`): of a source of ours those of `Collection.verify`, then `moving`.

    Raises:
        UnsupportedError: the engine cannot keep it, or both are paths. CollectionExistsError: something is at the
            address.
        CorruptCollectionError: the collection is damaged; says where. Nothing is made then.
        EngineError: an engine failed; what was moved into one is there, and is dropped with the engine's own tools.
    """
    start, destination = read_address(source), read_address(address)
    if start.is_native and destination.is_native:
        raise UnsupportedError(
            "collections are moved to or from other engines, and these are two paths",
            where=str(destination),
            hint="copy the directory, or make a backup of it",
        )
    with open_collection(start, milvus=milvus) as opened:
        manifest = replace(opened.manifest, dense=None) if without_dense else opened.manifest
        if isinstance(opened, Collection):
            refuse_damaged(opened.verify(progress), "moved")
            snapshot = opened.snapshot(hold=True)
            count = _Count(Stage(progress, "moving", snapshot.n_documents), manifest)
            _into_engine(destination, manifest, count.of(own_documents(opened, snapshot)), count, milvus)
            loss, fusion = opened.info().loss.relative_error, snapshot.fusion is not None
            return _report(manifest, count, loss, fusion=fusion)
        if not isinstance(opened, EngineCollection):
            raise UnsupportedError("only collections of our own and of other engines are moved", where=str(start))
        health = opened.health()
        if not health.ready:
            raise EngineError(
                f"the collection is not ready to be moved: {health.message}",
                where=str(start),
                hint="finish it with the command it was begun with",
            )
        count = _Count(Stage(progress, "moving", opened.engine.count()), manifest)
        documents = count.of(opened.engine.stored(_BATCH))
        if destination.path is None or not destination.is_native:
            _into_engine(destination, manifest, documents, count, milvus)
            return _report(manifest, count, None)
        dense = None
        if manifest.dense is not None:
            dense = DenseManifest(manifest.dense.encoder, manifest.dense.width, "auto")
        made = Manifest.new(made_by(), manifest.encoder, dense, manifest.passages, manifest.tenant_field)
        make_own(destination.path, made, documents)
    with Collection.open(destination.path) as own:
        return _report(manifest, count, own.info().loss.relative_error)


def _into_engine(
    address: Address,
    manifest: Manifest,
    documents: Iterator[Sequence[EngineDocument]],
    count: _Count,
    milvus: MilvusSettings | None,
) -> None:
    with create_like(address, manifest, milvus=milvus) as other:
        for chunk in documents:
            other.add_encoded(chunk)
        other.finish()
        arrived = other.engine.count(), other.engine.count_rows()
        if arrived != (count.documents, count.rows):
            raise EngineError(
                f"{count.documents:,} documents of {count.rows:,} rows were moved, and {arrived[0]:,} of {arrived[1]:,}"
                " arrived",
                where=str(address),
                hint="drop the collection with the engine's own tools, and move again",
            )


def _report(manifest: Manifest, count: _Count, relative_error: float | None, *, fusion: bool = False) -> MoveReport:
    dense, late = manifest.dense is not None, manifest.late
    return MoveReport(count.documents, count.postings, dense, relative_error, fusion, late, count.rows)
