"""Opening a collection in Milvus, or making one."""

from __future__ import annotations

from dataclasses import replace

from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.engines.address import Address
from lexhound.retrieval.engines.settings import MilvusSettings
from lexhound.retrieval.errors import CollectionExistsError, NotACollectionError, UnsupportedError

from . import schema
from .client import Client
from .engine import MAKE, MilvusEngine
from .frequencies import SUFFIX, Frequencies


def open_milvus(address: Address, create: Manifest | None, settings: MilvusSettings) -> MilvusEngine:
    """Open the collection at an address, or with a manifest make it.

    Raises:
        MissingEngineError, EngineUnreachableError, EngineError: see `client`.
        NotACollectionError, NewerFormatError: nothing is there, or nothing that this version reads.
        CollectionExistsError: a collection is to be made where one is.
        UnsupportedError: milvus-lite lacks what the settings ask for.
    """
    if address.path is not None and create is None and not address.path.exists():
        raise NotACollectionError("no such collection", where=str(address), hint=MAKE)
    client = Client(address, settings)
    try:
        if create is None:
            return MilvusEngine(address, client, _read(client, address))
        _create(client, address, create)
        return MilvusEngine(address, client, _read(client, address))
    except BaseException:
        client.close()
        raise


def _read(client: Client, address: Address) -> tuple[Manifest, schema.Layout]:
    if not client("has_collection", address.name):
        raise NotACollectionError("no such collection", where=str(address), hint=MAKE)
    description = schema.read_description(
        client("describe_collection", address.name).get("description", ""), str(address)
    )
    client("load_collection", address.name)
    client("load_collection", address.name + SUFFIX)
    return description


def _create(client: Client, address: Address, manifest: Manifest) -> None:
    settings = client.settings
    if client("has_collection", address.name):
        raise CollectionExistsError(
            "a collection is here already",
            where=str(address),
            hint="give another name, or add to it with `lexhound add`",
        )
    if client.lite and settings.dense_index not in ("FLAT", "IVF_FLAT"):
        raise UnsupportedError(
            f"milvus-lite has no dense index {settings.dense_index}", where=str(address), hint="FLAT"
        )
    if client.lite and settings.tenant_field:
        raise UnsupportedError(
            "milvus-lite has no partition keys", where=str(address), hint="leave the tenant field out"
        )
    if manifest.tenant_field and settings.tenant_field not in ("", manifest.tenant_field):
        raise UnsupportedError(
            f"the tenant field is {manifest.tenant_field!r}, and Milvus is to partition by {settings.tenant_field!r}",
            where=str(address),
            hint="leave the setting of Milvus out",
        )
    if manifest.tenant_field:
        settings = replace(settings, tenant_field=manifest.tenant_field)
    # The counts first: a collection that is there has them.
    counts = Frequencies(client, address.name)
    if client("has_collection", address.name + SUFFIX):
        counts.drop()
    counts.create()
    schema.make(client, address.name, manifest, settings)
