"""The application: made by a factory, opened when it starts, closed when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from lexhound.core.errors import LexhoundError
from lexhound.core.extras import extra
from lexhound.serve.api.http.admission import AdmissionControl
from lexhound.serve.api.http.metrics import Metrics, Reading
from lexhound.serve.api.http.middleware import (
    REQUEST_ID,
    RequestMiddleware,
    tell_http_error,
    tell_invalid,
    tell_service_error,
)
from lexhound.serve.api.http.origins import Origins
from lexhound.serve.api.http.security import Guard
from lexhound.serve.api.http.tracing import TracingMiddleware, open_traces
from lexhound.serve.api.http.write_proxy import WriteProxy
from lexhound.serve.api.registry.registry import CollectionRegistry
from lexhound.serve.api.routes import aliases, backups, collections, documents, search, service, suggestions, synonyms
from lexhound.serve.api.schemas.openapi import describe_api
from lexhound.serve.page import mount_page
from lexhound.serve.page.reference import mount_reference
from lexhound.serve.settings import Settings

from .role import ALONE, Role
from .signals import RefreshSignal
from .state import Service

# In the order in which their addresses are tried.
ROUTERS = (
    search.router,
    suggestions.router,
    documents.bulk,
    documents.listing,
    documents.writing,
    documents.reading,
    collections.reading,
    collections.writing,
    backups.reading,
    backups.writing,
    synonyms.reading,
    synonyms.writing,
    aliases.reading,
    aliases.writing,
    service.router,
)
_BACKGROUND_THREADS = 4
_log = logging.getLogger("lexhound.serve")


def create_app(settings: Settings, role: Role = ALONE) -> FastAPI:
    """Return the service as an ASGI application.

    Raises:
        UsageError: the key file cannot be read.
        MissingExtraError: MCP or traces are asked for, and their packages are not installed.
    """
    app = FastAPI(title="Lexhound", lifespan=_lifespan, redirect_slashes=False, redoc_url=None, docs_url=None)
    metrics = Metrics()
    background = ThreadPoolExecutor(_BACKGROUND_THREADS, "background")
    opening = ThreadPoolExecutor(_BACKGROUND_THREADS, "opening")
    signal = RefreshSignal(role.signal)
    traces = open_traces(settings)
    service = Service(
        settings=settings,
        metrics=metrics,
        guard=Guard(settings),
        admission=AdmissionControl(settings.search_threads, settings.max_waiting, settings.search_seconds),
        background=background,
        opening=opening,
        compacting=ThreadPoolExecutor(1, "compacting"),
        registry=CollectionRegistry(settings, metrics, background, opening, signal),
        write_proxy=None if role.writer is None else WriteProxy(role.writer, traces),
        role=role,
        traces=traces,
    )
    metrics.watch(lambda: service.admission.waiting, lambda: service.ready, lambda: _sizes(service))
    app.state.service = service
    app.add_exception_handler(LexhoundError, tell_service_error)
    app.add_exception_handler(HTTPException, tell_http_error)
    app.add_exception_handler(RequestValidationError, tell_invalid)
    for router in ROUTERS:
        app.include_router(router)
    mount_page(app)
    mount_reference(app)
    app.state.mcp = None
    if settings.has_mcp:
        with extra("mcp", "the MCP endpoint"):
            from lexhound.serve.api.mcp.endpoint import mount_mcp
        app.state.mcp = mount_mcp(app, service)
    if settings.opensearch:
        from lexhound.serve.opensearch.endpoint import mount_opensearch

        mount_opensearch(app, service, settings.opensearch_prefix)
    app.state.addresses = _addresses(app)
    app.add_middleware(Origins, settings=settings)
    if traces is not None:
        app.add_middleware(TracingMiddleware, traces=traces)
    app.add_middleware(RequestMiddleware, metrics=metrics)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "x-api-key", REQUEST_ID],
            expose_headers=[REQUEST_ID, "retry-after"],
            max_age=600,
        )
    describe_api(app, settings)
    return app


def _addresses(app: FastAPI) -> list[tuple[re.Pattern[str], set[str]]]:
    """Return every address and the methods that it knows, in the order in which they are tried."""
    addresses: dict[str, tuple[re.Pattern[str], set[str]]] = {}
    for route in [*(route for router in ROUTERS for route in router.routes), *app.routes]:
        if isinstance(route, Route):
            addresses.setdefault(route.path, (route.path_regex, set()))[1].update(route.methods or ())
    return list(addresses.values())


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open collections beside the first requests, which are told that the service is starting.

    A process that takes another's place opens them before its first request: those beside it answer meanwhile.
    """
    service: Service = app.state.service
    starting = asyncio.create_task(_start(service))
    if service.role.replaces:
        await starting
    maintenance = asyncio.create_task(service.registry.maintain())
    try:
        async with contextlib.nullcontext() if app.state.mcp is None else app.state.mcp.running():
            yield
    finally:
        service.ready = False
        for task in (starting, maintenance):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if isinstance(service.write_proxy, WriteProxy):
            await service.write_proxy.close()
        # A compaction that runs is finished: what it has done would have to be done again.
        await asyncio.get_running_loop().run_in_executor(None, service.compacting.shutdown)
        await service.registry.close()
        service.admission.close()
        service.opening.shutdown(wait=True)
        service.background.shutdown(wait=True)
        if service.traces is not None:
            await asyncio.get_running_loop().run_in_executor(None, service.traces.close)
        _log.info("stopped")


async def _start(service: Service) -> None:
    await service.registry.run(_warm)
    await service.registry.open_all()
    # What is there now stays for good: the garbage collector need not look through it while requests wait.
    gc.collect()
    gc.freeze()
    service.ready = True
    fields = {
        "collections": len(service.registry.open_now()),
        "pid": os.getpid(),
        "writes": service.write_proxy is None,
    }
    _log.info("ready", extra={"fields": fields})
    service.role.say_ready()


def _warm() -> None:
    from lexhound.index.warming import warm

    warm()


def _sizes(service: Service) -> Reading:
    for served in service.registry.open_now():
        sizes = served.follower.sizes()
        if sizes is not None:
            yield served.name, *sizes
