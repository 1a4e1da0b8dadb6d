"""From an address to an open collection, whichever engine keeps it.

>>> with open_collection("milvus-lite:data.db/my") as collection:
...     collection.search("hypersonic heating").hits
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from lexhound.core.version import made_by
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.encoders import open_chosen
from lexhound.retrieval.collection.fields.opening import load_field
from lexhound.retrieval.collection.fields.splitter import Splitter
from lexhound.retrieval.collection.settings import CollectionSettings, SettingsKeywords
from lexhound.retrieval.collection.store.manifest import DenseManifest, Manifest
from lexhound.retrieval.errors import UnsupportedError
from lexhound.retrieval.tenants.keys import check_field

from .address import LUCENE, Address, read_address
from .protocol import Backend
from .refusals import keeps_dense, refuse_encoders, refuse_tenants
from .settings import MilvusSettings

if TYPE_CHECKING:
    from lexhound.encoders.sparse.settings import LearnedSettings

    from .collection import EngineCollection
    from .engine import Engine


def open_collection(
    address: str | Path | Address,
    *,
    writable: bool = False,
    milvus: MilvusSettings | None = None,
    learned: LearnedSettings | None = None,
) -> Backend:
    """Open the collection at an address, for reading unless `writable` is set; `milvus` says how Milvus is reached.

    `learned` says how a learned encoder runs, as for `Collection.open`.

    Raises:
        UnknownAddressError: the address names no engine.
        MissingEngineError, EngineUnreachableError, EngineError: the engine cannot be used.
        NotACollectionError: nothing is there, or nothing of Lexhound's.
        CollectionError, EncoderError: as for `Collection.open`.
    """
    parsed = read_address(address)
    if parsed.path is not None and parsed.is_native:
        return Collection.open(parsed.path, writable=writable, learned=learned)
    from .collection import EngineCollection

    engine = _engine(parsed, milvus)
    try:
        encoder = engine.manifest.encoder
        loaded = None if learned is None else load_field(encoder, MemoryVocabulary(), learned=learned)
        return EngineCollection(engine, loaded, writable=writable)
    except BaseException:
        engine.close()
        raise


def create_collection(
    address: str | Path | Address,
    settings: CollectionSettings | None = None,
    *,
    milvus: MilvusSettings | None = None,
    **keywords: Unpack[SettingsKeywords],
) -> Backend:
    """Make an empty collection at an address and open it for writing; settings and keywords as `Collection.create`'s.

    Raises:
        CollectionExistsError: something is there already.
        UnsupportedError: the engine cannot keep what these encoders make.
        and what `open_collection` raises.
    """
    settings = CollectionSettings.of(settings, keywords)
    parsed = read_address(address)
    if parsed.path is not None and parsed.is_native:
        return Collection.create(parsed.path, settings)
    from .collection import EngineCollection

    tenant_field = None if settings.tenant_field is None else check_field(settings.tenant_field)
    refuse_tenants(parsed, tenant_field)
    if settings.late:
        raise UnsupportedError(
            "vectors of tokens are kept in Lexhound's own index only",
            where=str(parsed),
            hint="leave `late` out",
            cli_hint="leave --late out",
        )
    chosen = settings.choose(keeps_dense=keeps_dense(parsed))
    refuse_encoders(parsed, bm25=chosen.encoder == "bm25", dense=chosen.dense is not None)
    identity, sparse_field, dense_field = open_chosen(settings, keeps_dense=keeps_dense(parsed))
    passages = settings.passage_settings(lexical=sparse_field is None)
    if settings.passages is not None:
        Splitter(passages, sparse_field, dense_field).check()
    vectors = None if dense_field is None else DenseManifest(dense_field.identity, dense_field.width)
    engine = _engine(parsed, milvus, Manifest.new(made_by(), identity, vectors, passages, tenant_field))
    return EngineCollection(engine, sparse_field, dense_field, writable=True)


def create_like(
    address: str | Path | Address, manifest: Manifest, *, milvus: MilvusSettings | None = None
) -> EngineCollection:
    """Make an empty collection in another engine for vectors that are there already, and open it for writing.

    Raises:
        UnsupportedError: the address is a path, or the engine cannot keep such vectors; and as `create_collection`.
    """
    from .collection import EngineCollection

    parsed = read_address(address)
    if parsed.is_native:
        raise UnsupportedError(
            "vectors are moved to other engines, and this is a path", where=str(parsed), hint="copy the directory"
        )
    refuse_encoders(parsed, bm25=manifest.encoder.kind == "bm25")
    if manifest.dense is not None and not keeps_dense(parsed):
        raise UnsupportedError(
            f"the collection has dense vectors, and {LUCENE} has no place for them",
            where=str(parsed),
            hint="move it with `without_dense`, for sparse searches alone",
            cli_hint="leave them behind, for sparse searches alone: --dense none",
        )
    # How segments of our own index dense vectors is no affair of the engine.
    dense = None if manifest.dense is None else DenseManifest(manifest.dense.encoder, manifest.dense.width)
    refuse_tenants(parsed, manifest.tenant_field)
    made = Manifest.new(manifest.created_by, manifest.encoder, dense, manifest.passages, manifest.tenant_field)
    return EngineCollection(_engine(parsed, milvus, made), writable=True)


def _engine(address: Address, milvus: MilvusSettings | None, create: Manifest | None = None) -> Engine:
    """Return the engine of an address, open; with `create`, a new collection in it."""
    if address.engine == LUCENE:
        from .lucene import open_lucene

        return open_lucene(address, create)
    from .milvus import open_milvus

    return open_milvus(address, create, milvus or MilvusSettings())
