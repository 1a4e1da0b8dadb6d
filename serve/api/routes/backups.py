"""Backups: made while a collection is used, listed, restored."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as PathParameter
from starlette.responses import Response

from lexhound.retrieval.collection.backup import BackupReport, backup_collection, restore_collection
from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.store.manifest import MANIFEST
from lexhound.retrieval.engines.protocol import require_capability
from lexhound.retrieval.names import NAME_PATTERN, is_name
from lexhound.serve.api.http.dependencies import ReadRoute, WriteRoute, caller_of
from lexhound.serve.api.http.exceptions import ConflictError, UnknownNameError
from lexhound.serve.api.schemas import collection_models
from lexhound.serve.api.schemas.answers import json_response
from lexhound.serve.api.schemas.openapi import errors
from lexhound.serve.api.state import Service, service_of

reading = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=ReadRoute)
writing = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=WriteRoute)

Name = Annotated[str, PathParameter(pattern=NAME_PATTERN, description="The collection.", examples=["my"])]


@writing.post(
    "/{name}/backup",
    operation_id="backup_collection",
    summary="Copy a collection while it is used",
    status_code=201,
    responses={201: {"model": collection_models.BackupMade}, **errors(400, 404, 409, 413, 415, 507)},
)
async def backup(name: Name, body: collection_models.BackupRequest, request: Request) -> Response:
    """Make a verified copy in the service's folder of backups; answers when it is on the disk."""
    service = service_of(request)
    folder = _folder(service)
    called = body.name or datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    started = perf_counter()
    async with service.registry.use(name) as served:
        collection = require_capability(served.reader, Capability.BACKUP)
        copy = partial(backup_collection, collection.address, folder / served.name / called)
        report = await asyncio.get_running_loop().run_in_executor(service.compacting, copy)
    return json_response({"name": called} | _figures(report, started), 201)


@reading.get(
    "/{name}/backups",
    operation_id="list_backups",
    summary="List the backups of a collection",
    responses={200: {"model": collection_models.BackupList}, **errors(404, 409)},
)
async def list_backups(name: Name, request: Request) -> Response:
    """Their names in ascending order; also of a collection that has been deleted."""
    service = service_of(request)
    folder = _folder(service) / service.registry.aliases.resolve(name)
    return json_response({"backups": await service.registry.run(lambda: _names(folder))})


@writing.post(
    "/{name}/restore",
    operation_id="restore_collection",
    summary="Make a collection from a backup",
    status_code=201,
    responses={201: {"model": collection_models.Restored}, **errors(400, 404, 409, 413, 415, 507)},
)
async def restore(name: Name, body: collection_models.RestoreRequest, request: Request) -> Response:
    """Make a new collection of a backup; answers when it is verified and can be searched.

    None is replaced: restore under a new name, and let an alias lead to it.
    """
    service = service_of(request)
    into = body.into or name
    caller_of(request).check("write", into)
    source = _folder(service) / service.registry.aliases.resolve(name) / body.backup
    if not await service.registry.run((source / MANIFEST).is_file):
        raise UnknownNameError(
            "there is no such backup",
            where="body.backup",
            hint="GET /v1/collections/{name}/backups lists them",
            code="unknown_backup",
        )
    target = await service.registry.new_directory(into)
    started = perf_counter()
    work = partial(restore_collection, source, target)
    report = await asyncio.get_running_loop().run_in_executor(service.compacting, work)
    return json_response({"name": into} | _figures(report, started), 201)


def _folder(service: Service) -> Path:
    """Return the folder of backups. Raises ConflictError where there is none."""
    folder = service.settings.backups
    if folder is None:
        raise ConflictError("the service keeps no backups", hint="start it with --backups DIR", code="no_backups")
    return folder


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if is_name(path.name) and (path / MANIFEST).is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _figures(report: BackupReport, started: float) -> dict[str, float]:
    return {
        "documents": report.documents,
        "segments": report.segments,
        "bytes": report.bytes,
        "seconds": perf_counter() - started,
    }
