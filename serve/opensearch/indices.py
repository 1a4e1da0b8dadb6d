"""Indices and aliases: made, described, mapped, refreshed, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.engines.protocol import Backend, CapableBackend, require_capability
from lexhound.retrieval.errors import CollectionExistsError
from lexhound.serve.api.http.exceptions import ConflictError, UnknownNameError
from lexhound.serve.api.registry.served import ServedCollection
from lexhound.serve.api.routes.collections import settings_of
from lexhound.serve.api.schemas.answers import shown_name
from lexhound.serve.api.schemas.collection_models import CollectionRequest

from .answers import SHARDS
from .calls import Call, answered
from .errors import EXISTS, MISSING, OpenSearchError, an_object, check_keys, malformed, unsupported
from .filters import one_entry
from .mapping import NOTE, IndexMapping, found_properties, mapping_of

_WITHOUT_EFFECT = ("number_of_shards", "number_of_replicas", "refresh_interval", "knn")
_OURS = ("lexhound.encoder", "lexhound.dense")


async def create(call: Call) -> Response:
    """Make an index with its mapping, settings and aliases."""
    call.parameters()
    body = await call.body()
    check_keys(body, ("mappings", "settings", "aliases"), "create index")
    mapping = IndexMapping.parse(an_object(body.get("mappings", {}), "mappings"))
    aliases = an_object(body.get("aliases", {}), "aliases")
    for alias, options in aliases.items():
        check_keys(an_object(options, alias), (), f"aliases.{alias}")
        call.caller.check("write", call.named(alias))
        _check_single(call.service.registry.aliases.current(), alias, call.index)
    await make(call, call.index, mapping, body.get("settings", {}))
    if aliases:
        await change_aliases(call, dict.fromkeys(aliases, call.index), ())
    return answered({"acknowledged": True, "shards_acknowledged": True, "index": call.index})


async def make(call: Call, index: str, mapping: IndexMapping, settings: Any) -> None:
    """Make an index that is not there.

    Raises:
        OpenSearchError: there is one of this name, or a setting means nothing here.
    """
    call.caller.check("write", index)
    given = _flat(an_object(settings, "settings"))
    check_keys(given, (*_WITHOUT_EFFECT, *_OURS), "settings.index")
    named = {name.removeprefix("lexhound."): given[name] for name in _OURS if name in given}
    try:
        request = CollectionRequest(name=index, **named)
    except ValidationError as error:
        raise malformed(f"[settings] cannot be read: {error.errors()[0]['msg']}") from None
    registry = call.service.registry
    try:
        await registry.create(index, settings_of(request, call.service.settings.offered_encoders))
    except (ConflictError, CollectionExistsError) as error:
        if isinstance(error, ConflictError) and error.code != "exists":
            raise
        raise OpenSearchError(f"index [{index}] already exists", kind=EXISTS, status=400) from error
    async with call.writing(index) as (served, _):
        await _keep(served, mapping)


async def _keep(served: ServedCollection, mapping: IndexMapping) -> None:
    def work(collection: Backend) -> None:
        require_capability(collection, Capability.NOTES).keep_note(NOTE, mapping.write())

    await served.writes.call(work)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings by their whole names, without `index.` before them."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        whole = f"{prefix}{name}"
        flat |= _flat(value, f"{whole}.") if isinstance(value, dict) else {whole.removeprefix("index."): value}
    return flat


async def delete(call: Call) -> Response:
    """Delete an index, and the aliases that lead to it."""
    call.parameters()
    registry = call.service.registry
    call.caller.check("write", call.index)
    async with call.reading(call.index) as (served, _):
        if served.name != call.index:
            raise OpenSearchError(
                f"the expression [{call.index}] matches an alias, name the index itself", hint=f"it is {served.name}"
            )
    leading = [alias for alias, name in registry.aliases.current().items() if name == call.index]
    if leading:
        await change_aliases(call, {}, leading)
    await registry.delete(call.index)
    return answered({"acknowledged": True})


async def describe(call: Call) -> Response:
    """Tell an index's mapping, settings and aliases."""
    call.parameters()
    async with call.reading(call.index) as (served, reader):
        told = {"aliases": _aliases_of(call, served.name), **await _mapped(call, reader), **_settings(served)}
        return answered({served.name: told})


async def exists(call: Call) -> Response:
    """Answer 200 where there is such an index, or alias."""
    call.parameters()
    async with call.reading(call.index):
        return Response(status_code=200)


async def get_mapping(call: Call) -> Response:
    """Tell an index's mapping."""
    call.parameters()
    async with call.reading(call.index) as (served, reader):
        return answered({served.name: await _mapped(call, reader)})


async def put_mapping(call: Call) -> Response:
    """Add fields to a mapping; those that are there stay as they are."""
    call.parameters()
    body = await call.body()
    check_keys(body, ("properties", "dynamic"), "mapping")
    async with call.writing(call.index) as (served, reader):
        before = mapping_of(reader)
        added = an_object(body.get("properties", {}), "properties")
        properties = _merged(before.properties, added, "")
        dynamic = body.get("dynamic", "strict" if before.strict else True)
        after = IndexMapping.parse({"properties": properties, "dynamic": dynamic})
        if (after.text, after.title) != (before.text, before.title) and reader.count():
            raise malformed(
                f"the text of the documents is in [{before.text}], and would be in [{after.text}]",
                "map the text field when the index is made",
            )
        await _keep(served, after)
    return answered({"acknowledged": True})


def _merged(before: Mapping[str, Any], added: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    merged = dict(before)
    for name, value in added.items():
        known = merged.get(name)
        if isinstance(known, dict) and "properties" in known and isinstance(value, dict):
            inner = _merged(known["properties"], an_object(value.get("properties", {}), name), f"{prefix}{name}.")
            merged[name] = {**known, "properties": inner}
        elif known is not None and known != value:
            raise malformed(f"mapper [{prefix}{name}] cannot be changed", "make a new index, and move the documents")
        else:
            merged[name] = value
    return merged


async def get_settings(call: Call) -> Response:
    """Tell an index's settings."""
    call.parameters()
    async with call.reading(call.index) as (served, _):
        return answered({served.name: _settings(served)})


async def refresh(call: Call) -> Response:
    """Make what has been written searchable."""
    call.parameters()
    async with call.reading(call.index) as (served, _):
        await call.service.registry.announce(served)
    return answered({"_shards": SHARDS})


async def get_aliases(call: Call) -> Response:
    """Tell aliases: of all indices, of one, or one alias."""
    call.parameters()
    path = call.request.path_params
    wanted = path.get("alias")
    if "index" in path:
        async with call.reading(call.index) as (served, _):
            names = [served.name]
    else:
        names = [name for name in await call.service.registry.names() if call.caller.may("read", name)]
    told = {name: {"aliases": _aliases_of(call, name, wanted)} for name in names}
    if wanted is not None:
        told = {name: each for name, each in told.items() if each["aliases"]}
        if not told:
            raise OpenSearchError(f"alias [{wanted}] missing", kind="aliases_not_found_exception", status=404)
    return answered(told)


async def put_alias(call: Call) -> Response:
    """Let an alias lead to an index."""
    call.parameters()
    check_keys(await call.body(), (), "alias")
    alias = call.named(call.request.path_params["alias"])
    _check_single(call.service.registry.aliases.current(), alias, call.index)
    await change_aliases(call, {alias: call.index}, ())
    return answered({"acknowledged": True})


async def delete_alias(call: Call) -> Response:
    """Remove an alias of an index."""
    call.parameters()
    alias = call.named(call.request.path_params["alias"])
    if call.service.registry.aliases.current().get(alias) != call.index:
        raise OpenSearchError(f"aliases [{alias}] missing", kind="aliases_not_found_exception", status=404)
    await change_aliases(call, {}, (alias,))
    return answered({"acknowledged": True})


async def update_aliases(call: Call) -> Response:
    """Add and remove aliases, all at once."""
    call.parameters()
    body = await call.body()
    check_keys(body, ("actions",), "aliases")
    aliases = dict(call.service.registry.aliases.current())
    before = dict(aliases)
    actions = body.get("actions")
    if not isinstance(actions, list):
        raise malformed("[actions] must be a list")
    for action in actions:
        kind, options = one_entry(action, "actions")
        if kind not in ("add", "remove"):
            raise unsupported(f"the action [{kind}]", "it is add or remove")
        check_keys(an_object(options, kind), ("index", "alias", "is_write_index"), kind)
        index, alias = call.named(options.get("index")), call.named(options.get("alias"))
        if kind == "remove":
            if aliases.get(alias) != index:
                raise OpenSearchError(f"aliases [{alias}] missing", kind="aliases_not_found_exception", status=404)
            del aliases[alias]
        else:
            _check_single(aliases, alias, index)
            aliases[alias] = index
    put = {alias: index for alias, index in aliases.items() if before.get(alias) != index}
    await change_aliases(call, put, [alias for alias in before if alias not in aliases])
    return answered({"acknowledged": True})


def _check_single(aliases: Mapping[str, str], alias: str, index: str) -> None:
    if aliases.get(alias, index) != index:
        raise unsupported(
            f"an alias of several indices [{alias}]", f"remove it from {aliases[alias]} in the same request"
        )


async def change_aliases(call: Call, put: Mapping[str, str], remove: Any) -> None:
    """Change the service's aliases; the caller needs the right to write to each alias and index."""
    registry = call.service.registry
    for name in (*put, *put.values(), *remove):
        call.caller.check("write", name)
    for index in put.values():
        try:
            async with registry.use(index):
                pass
        except UnknownNameError:
            raise OpenSearchError(f"no such index [{index}]", kind=MISSING, status=404) from None
    await registry.run(lambda: registry.aliases.change(put, remove))


def _aliases_of(call: Call, index: str, wanted: str | None = None) -> dict[str, Any]:
    aliases = call.service.registry.aliases.current()
    return {alias: {} for alias, name in aliases.items() if name == index and wanted in (None, alias)}


async def _mapped(call: Call, reader: CapableBackend) -> dict[str, Any]:
    """Return the mapping as it was given, and the metadata that has come beside it."""

    def work() -> dict[str, Any]:
        mapping = mapping_of(reader)
        told = mapping.as_json()
        for name, options in found_properties(reader).items():
            if name not in mapping.fields and name not in told["properties"]:
                told["properties"][name] = options
        return {"mappings": told}

    return await call.service.admission.run(work, request=call.request, pool="wide")


def _settings(served: ServedCollection) -> dict[str, Any]:
    manifest = served.reader.manifest
    ours = {"encoder": shown_name(manifest.encoder.name)}
    if manifest.dense is not None:
        ours["dense"] = shown_name(manifest.dense.encoder.name)
    index = {"number_of_shards": "1", "number_of_replicas": "0", "provided_name": served.name, "lexhound": ours}
    return {"settings": {"index": index}}
