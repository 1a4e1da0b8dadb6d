"""How a collection lies in Milvus: its fields, and its manifest in the description.

key       VARCHAR, primary   digest of the id: ids may hold any character, which expressions of Milvus cannot
id        VARCHAR            the id
seq       INT64              place in insertion order
digest    INT64              of everything else a document holds, to tell what has changed
title, text                  VARCHAR
metadata  JSON               as given
filter    JSON               flags for filters (`filters`)
tenant    VARCHAR            the partition key, where the collection was made with a tenant field; in milvus-lite, which
                             has no partitions, a field like any other
sparse    SPARSE_FLOAT_VECTOR, inner product, SPARSE_INVERTED_INDEX: exact
dense     FLOAT_VECTOR, inner product, where the collection has dense vectors

Where long texts are split (layout 3), a document has a row for each passage, and these fields:

owner     VARCHAR            the key of the document, in all its rows; their own keys are made of it
doc       INT64              the `seq` of the document's first row, its head
passage, passages INT64      number of the passage, from 0, and how many the document has
start, end INT64             where the passage begins and ends in the document's text, in characters

`text` is the part of the document's text from where a passage begins to where the next one does, so that a text may be
longer than a value of Milvus; title and metadata stand in the head alone, `filter` and `tenant` in all rows. The head
says which version of a document holds: rows of another `doc` are of one that is being replaced. It is written when all
other rows are there, and those of the version before are deleted after that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.errors import IdentityError
from lexhound.retrieval.collection.store.manifest import DenseManifest, Manifest, passages_from
from lexhound.retrieval.engines.settings import MilvusSettings
from lexhound.retrieval.errors import NewerFormatError, NotACollectionError

from .client import Client
from .filters import FIELD

# Of how a collection lies in Milvus; later ones are not opened.
LAYOUT = 3
_PLAIN, _TENANTS = 1, 2  # of collections that are not split, without tenants and with them: earlier versions read them
MAX_BYTES = 65_535
"""Of a text or a JSON value."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the description says beside the manifest, and whether documents have rows of passages."""

    tenant_field: str
    dense_index: str
    passages: bool = False

    @property
    def document(self) -> str:
        """The field that holds the internal id of a row's document."""
        return "doc" if self.passages else "seq"

    @property
    def heads(self) -> str:
        """The expression that holds of the first rows of documents; empty where documents have no others."""
        return "passage == 0" if self.passages else ""


def key_of(identifier: str) -> str:
    """Return the primary key of an id."""
    return hashlib.blake2b(identifier.encode(), digest_size=16).hexdigest()


def describe(manifest: Manifest, settings: MilvusSettings) -> str:
    """Return the description of a new collection."""
    number = LAYOUT if manifest.passages is not None else _PLAIN if manifest.tenant_field is None else _TENANTS
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
        passages = passages_from(stored.get("passages"))
        manifest = Manifest(int(stored["format"]), str(stored["created_by"]), encoder, side, passages, tenant_field)
        split = number == LAYOUT
        return manifest, Layout(str(description["tenant_field"]), str(description["dense_index"]), split)
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
    schema.add_field("key", types.VARCHAR, max_length=128 if manifest.passages else 64, is_primary=True)
    schema.add_field("id", types.VARCHAR, max_length=512)
    schema.add_field("seq", types.INT64)
    schema.add_field("digest", types.INT64)
    schema.add_field("title", types.VARCHAR, max_length=MAX_BYTES)
    schema.add_field("text", types.VARCHAR, max_length=MAX_BYTES)
    schema.add_field("metadata", types.JSON)
    schema.add_field(FIELD, types.JSON)
    if settings.tenant_field:
        # The engine in this process has no partitions, and refuses every expression where there is such a key.
        partitions = {} if client.lite else {"is_partition_key": True}
        schema.add_field("tenant", types.VARCHAR, max_length=64, **partitions)
    if manifest.passages is not None:
        schema.add_field("owner", types.VARCHAR, max_length=64)
        for field in ("doc", "passage", "passages", "start", "end"):
            schema.add_field(field, types.INT64)
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
