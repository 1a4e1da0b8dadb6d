"""How a collection lies in Milvus: its fields, and its manifest in the description.

key       VARCHAR, primary   digest of the id: ids may hold any character, which expressions of Milvus cannot
id        VARCHAR            the id
seq       INT64              place in insertion order
digest    INT64              of everything else a document holds, to tell what has changed
title, text                  VARCHAR
metadata  JSON               as given
filter    JSON               flags for filters (`filters`)
tenant    VARCHAR            the partition key, where the collection was made with a tenant field
sparse    SPARSE_FLOAT_VECTOR, inner product, SPARSE_INVERTED_INDEX: exact
dense     FLOAT_VECTOR, inner product, where the collection has dense vectors
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.errors import IdentityError
from lexhound.retrieval.collection.store.manifest import DenseManifest, Manifest
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.engines.engine import EngineRow
from lexhound.retrieval.engines.settings import MilvusSettings
from lexhound.retrieval.errors import NewerFormatError, NotACollectionError, UnsupportedError

from .client import Client
from .filters import FIELD, NO_VECTOR, flags_of, tenant_key

# Of how a collection lies in Milvus; later ones are not opened.
LAYOUT = 2
_PLAIN = 1  # of collections without tenants, which earlier versions read
MAX_BYTES = 65_535  # of a text or a JSON value


@dataclass(frozen=True, slots=True)
class Layout:
    """What the description says beside the manifest."""

    tenant_field: str
    dense_index: str


def key_of(identifier: str) -> str:
    """Return the primary key of an id."""
    return hashlib.blake2b(identifier.encode(), digest_size=16).hexdigest()


def describe(manifest: Manifest, settings: MilvusSettings) -> str:
    """Return the description of a new collection."""
    number = _PLAIN if manifest.tenant_field is None else LAYOUT
    layout = {"layout": number, "tenant_field": settings.tenant_field, "dense_index": settings.dense_index}
    return orjson.dumps({"lexhound": layout | {"manifest": manifest.to_json()}}).decode()


def read_description(text: str, where: str) -> tuple[Manifest, Layout]:
    """Return what `describe` wrote.

    Raises:
        NotACollectionError: it is another's collection. NewerFormatError: a later version wrote it.
    """
    try:
        description = orjson.loads(text)["lexhound"]
        number = int(description["layout"])
        if number > LAYOUT:
            raise NewerFormatError(
                f"the collection has layout {number}; this version of Lexhound reads layouts up to {LAYOUT}",
                where=where,
                hint="upgrade Lexhound: pip install -U lexhound",
            )
        stored, dense = description["manifest"], description["manifest"].get("dense")
        side = None
        if dense is not None:
            side = DenseManifest(EncoderIdentity.from_dict(dense["encoder"]), int(dense["width"]))
        encoder = EncoderIdentity.from_dict(stored["encoder"])
        tenant_field = stored.get("tenant_field")
        manifest = Manifest(int(stored["format"]), str(stored["created_by"]), encoder, side, tenant_field=tenant_field)
        return manifest, Layout(str(description["tenant_field"]), str(description["dense_index"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IdentityError) as error:
        raise NotACollectionError(
            "a collection of this name is here, but it is not Lexhound's",
            where=where,
            hint="give another name; `lexhound index CORPUS --into ADDRESS` makes one",
        ) from error


def make(client: Client, name: str, manifest: Manifest, settings: MilvusSettings) -> None:
    """Create a collection with its indexes, and load it."""
    from pymilvus import MilvusClient

    types = client.types
    schema = MilvusClient.create_schema(
        auto_id=False, enable_dynamic_field=False, description=describe(manifest, settings)
    )
    schema.add_field("key", types.VARCHAR, max_length=64, is_primary=True)
    schema.add_field("id", types.VARCHAR, max_length=512)
    schema.add_field("seq", types.INT64)
    schema.add_field("digest", types.INT64)
    schema.add_field("title", types.VARCHAR, max_length=MAX_BYTES)
    schema.add_field("text", types.VARCHAR, max_length=MAX_BYTES)
    schema.add_field("metadata", types.JSON)
    schema.add_field(FIELD, types.JSON)
    if settings.tenant_field:
        schema.add_field("tenant", types.VARCHAR, max_length=64, is_partition_key=True)
    schema.add_field("sparse", types.SPARSE_FLOAT_VECTOR)
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    if manifest.dense is not None:
        schema.add_field("dense", types.FLOAT_VECTOR, dim=manifest.dense.width)
        indexes.add_index(
            "dense", index_type=settings.dense_index, metric_type="IP", params=_PARAMETERS.get(settings.dense_index, {})
        )
    client(
        "create_collection",
        name,
        schema=schema,
        index_params=indexes,
        consistency_level=settings.consistency,
        num_shards=settings.shards,
    )


_PARAMETERS: dict[str, dict[str, int]] = {"HNSW": {"M": 32, "efConstruction": 256}, "IVF_FLAT": {"nlist": 1024}}


def check(documents: Sequence[Document], tenant_field: str) -> None:
    """Refuse documents that do not fit.

    Raises:
        UnsupportedError: names the first of them and why.
    """
    for document in documents:
        sizes = {
            "title": len(document.title.encode()),
            "text": len(document.text.encode()),
            "metadata": len(orjson.dumps(document.metadata)),
            "metadata for filters": len(orjson.dumps(flags_of(document.metadata))) if document.metadata else 0,
        }
        for what, size in sizes.items():
            if size > MAX_BYTES:
                raise UnsupportedError(
                    f"the {what} of document {document.id!r} has {size:,} bytes, at most {MAX_BYTES:,} fit Milvus",
                    hint="split the document into passages, or keep it in an index of our own",
                )
        if tenant_field:
            tenant_key(document.metadata, tenant_field)


def values_of(row: EngineRow, layout: Layout) -> dict[str, Any]:
    """Return a row as pymilvus takes it."""
    document, (terms, weights) = row.document, row.sparse
    values: dict[str, Any] = {
        "key": key_of(document.id),
        "id": document.id,
        "seq": row.internal_id,
        "digest": row.digest,
        "title": document.title,
        "text": document.text,
        "metadata": dict(document.metadata),
        FIELD: flags_of(document.metadata),
        "sparse": dict(zip(terms.tolist(), weights.tolist(), strict=True)),
    }
    if row.dense is not None:
        values["dense"] = row.dense
        if not row.dense.any():
            values[FIELD][NO_VECTOR] = 1
    if layout.tenant_field:
        values["tenant"] = tenant_key(document.metadata, layout.tenant_field)
    return values
