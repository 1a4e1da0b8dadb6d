"""From a corpus to a new collection in another engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lexhound.retrieval.collection.settings import CollectionSettings
from lexhound.retrieval.collection.write.ingest import IngestReport
from lexhound.retrieval.collection.write.progress import Progress
from lexhound.retrieval.corpus import BadRow, Corpus
from lexhound.retrieval.errors import CollectionExistsError, UnsupportedError

from .address import Address
from .opening import create_collection

if TYPE_CHECKING:
    from .settings import MilvusSettings


def build_in_engine(
    address: Address,
    corpus: Corpus,
    settings: CollectionSettings,
    *,
    source: str,
    overwrite: bool = False,
    milvus: MilvusSettings | None = None,
    on_bad_row: Callable[[BadRow], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> IngestReport:
    """Make a collection of a corpus at an address that is no path; the arguments are `building.build_collection`'s.

    Raises:
        UnsupportedError: `overwrite` is set: the engine cannot keep the old collection until the new one is complete.
            Or `dense_index` asks for an index of ours.
        CollectionExistsError: a collection is there. Other errors are those of `open_collection` and `ingest`.
    """
    if overwrite:
        raise UnsupportedError(
            "collections in other engines are not replaced: the old one could not answer until the new one is complete",
            where=str(address),
            hint="give another name, and drop the old collection with the engine's own tools",
        )
    if settings.dense_index == "spann":
        raise UnsupportedError(
            "the dense index spann is Lexhound's own, and this engine has others",
            where=str(address),
            hint="leave `dense_index` out; docs/backends.md lists the engine's settings",
            cli_hint="leave --dense-index out; docs/backends.md lists the engine's settings",
        )
    try:
        collection = create_collection(address, settings, milvus=milvus)
    except CollectionExistsError as error:
        raise CollectionExistsError(
            error.message,
            where=error.where,
            hint=f"add to it, or finish an ingest job that was interrupted, with: lexhound add {address} {corpus.name}",
        ) from error
    with collection:
        return collection.ingest(corpus, source=source, on_bad_row=on_bad_row, progress=progress)
