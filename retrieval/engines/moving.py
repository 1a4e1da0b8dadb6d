"""From one of our own collections into another engine, without encoding again.

What our index stores moves: weights as its 8-bit impacts times their scale. They are not the encoder's float32 weights
any more, and never become them again; scores in the other engine are those of our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lexhound.core.progress import OnStep, Stage
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.store.stored_documents import content_hash
from lexhound.retrieval.collection.verification import refuse_damaged
from lexhound.retrieval.errors import EngineError, UnsupportedError
from lexhound.retrieval.exports.rows import RowChunk, live_rows

from .address import Address, read_address
from .engine import EngineRow
from .opening import create_like

if TYPE_CHECKING:
    from .settings import MilvusSettings


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What was moved. `relative_error` is the share of the weight that 8-bit impacts have lost (`QuantisationLoss`);
    `fusion` says that the collection has a fusion of its own, `late` that it has token vectors: neither moves."""

    documents: int
    postings: int
    dense: bool
    relative_error: float
    fusion: bool
    late: bool = False


def move_collection(
    source: Path | str,
    address: Address | str,
    *,
    milvus: MilvusSettings | None = None,
    progress: OnStep | None = None,
) -> MoveReport:
    """Copy a collection of ours into another engine; the source stays as it is.

    Args:
        progress: told of the stages (`core.progress`): those of `Collection.verify`, then `moving`.

    Raises:
        UnsupportedError: the engine cannot keep it. CollectionExistsError: something is at the address.
        CorruptCollectionError: the collection is damaged; says where. Nothing is made then.
        EngineError: the engine failed; what was moved is there, and is dropped with the engine's own tools.
    """
    with Collection.open(source) as opened:
        destination = read_address(address)
        refuse_damaged(opened.verify(progress), "moved")
        snapshot = opened.snapshot(hold=True)
        if snapshot.has_passages:
            raise UnsupportedError(
                "the collection has documents in passages, which are kept in Lexhound's own index only",
                where=str(destination),
                hint="index the texts again, into the engine",
            )
        loss = opened.info().loss
        manifest = opened.manifest
        moved = postings = 0
        with create_like(destination, manifest, milvus=milvus) as other:
            stage = Stage(progress, "moving", snapshot.n_documents)
            for chunk in live_rows(snapshot, opened.sparse_field):
                rows = _rows(chunk)
                other.add_rows(rows)
                moved += len(rows)
                postings += len(chunk.terms)
                stage.add(len(rows))
            other.finish()
            if other.engine.count() != moved:
                raise EngineError(
                    f"{moved:,} documents were moved and {other.engine.count():,} arrived",
                    where=str(destination),
                    hint="drop the collection with the engine's own tools, and move again",
                )
        dense, fusion = manifest.dense is not None, snapshot.fusion is not None
        return MoveReport(moved, postings, dense, loss.relative_error, fusion, manifest.late)


def _rows(chunk: RowChunk) -> list[EngineRow]:
    rows = []
    for position, document in enumerate(chunk.documents):
        terms, impacts = chunk.vector(position)
        vector = (terms.astype(np.int32), impacts.astype(np.float32) * np.float32(chunk.scale))
        dense = None if chunk.dense is None else chunk.dense[position]
        rows.append(EngineRow(0, content_hash(document), document, vector, dense))
    return rows
