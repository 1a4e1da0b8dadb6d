"""MCP over HTTP: `POST /mcp` of the service, with the same keys, limits and threads as its other routes.

No session is kept, so any process may answer any request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lexhound.core.errors import LexhoundError
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.engines.protocol import Backend
from lexhound.serve.api.http.dependencies import caller_of
from lexhound.serve.api.http.exceptions import UnavailableError, UnknownNameError
from lexhound.serve.api.http.limits import check_page, check_text
from lexhound.serve.api.http.pools import pool_of
from lexhound.serve.api.http.statuses import INTERNAL, answer_for
from lexhound.serve.api.http.tenancy import confined
from lexhound.serve.api.state import Service, service_of

from .library import sentence, unknown_collection
from .server import make_server

PATH = "/mcp"

T = TypeVar("T")


class ServedLibrary:
    """The collections of the service, as the key of a request opens them."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def names(self, request: Request | None) -> list[str]:
        """Return the names of the collections that the key opens: of one that has an alias, the alias alone."""
        caller = caller_of(_given(request))
        registry = self._service.registry
        aliases = {name: of for name, of in registry.aliases.current().items() if caller.may("read", name)}
        own = [each for each in await registry.names() if caller.may("read", each) and each not in aliases.values()]
        names = sorted([*own, *aliases])
        return names if caller.tenant is None else [name for name in names if await self._has_tenants(name)]

    async def _has_tenants(self, name: str) -> bool:
        try:
            async with self._service.registry.use(name) as served:
                return served.reader.manifest.tenant_field is not None
        except LexhoundError:
            return False

    async def read(
        self, name: str, work: Callable[[Backend], T], request: Request | None, search: SearchRequest | None = None
    ) -> T:
        """Return what `work` returns, run in a search thread.

        Raises:
            AccessError: the key does not open the collection. RequestError: a value is beyond a limit of the service.
        """
        caller_of(_given(request)).check("read", name)
        settings = self._service.settings
        if search is not None:
            check_page(search.k, search.offset, "search", settings)
            check_text(str(search.query), "query", settings)
            check_text(search.filter, "filter", settings)
        pool = "wide" if search is None else pool_of(search)
        async with self._named(name), self._service.registry.use(name) as served:
            reader = confined(_given(request), served.reader)
            return await self._service.admission.run(lambda: work(reader), pool=pool)

    async def write(self, name: str, work: Callable[[Backend], T], request: Request | None) -> T:
        """Return what `work` returns, run by the collection's writer.

        Raises:
            AccessError: the key has no right to write to the collection.
        """
        caller_of(_given(request)).check("write", name)
        async with self._named(name), self._service.registry.write(name) as served:
            result: T = await served.writes.call(lambda opened: work(confined(_given(request), opened)))
            await self._service.registry.announce(served)
            return result

    @asynccontextmanager
    async def _named(self, name: str) -> AsyncIterator[None]:
        """Tell of a collection that is not there in the words of tools."""
        try:
            yield
        except UnknownNameError as error:
            if error.where != "path.name":  # a document
                raise
            raise unknown_collection(name) from error

    def failure(self, error: Exception) -> str | None:
        """Return what callers of the other routes are told, too."""
        answer = answer_for(error)
        return None if answer is INTERNAL else sentence(answer.message, answer.where, answer.hint)


class Endpoint:
    """The route: who asks is checked as everywhere, and the SDK does the rest."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self._writes = settings.mcp_write
        server = make_server(ServedLibrary(service), characters=settings.mcp_characters, write=self._writes)
        server.streamable_http_app(
            json_response=True,
            stateless_http=True,
            max_request_body_size=settings.max_body_bytes,
            # Host and origin are looked at by the service's own middleware.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        self._sessions = server.session_manager

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer requests while the block runs."""
        async with self._sessions.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            UnavailableError: the service is starting. AccessError: there is no key, a wrong one, or none for reading.
        """
        request = Request(scope, receive, send)
        service = service_of(request)
        if not service.ready:
            raise UnavailableError("the service is starting", code="starting")
        caller = service.guard.identify(request)
        request.state.caller = caller
        caller.check("read", None)
        if self._writes and service.write_proxy is not None:
            await (await service.write_proxy(request))(scope, receive, send)
            return
        await self._sessions.handle_request(scope, receive, send)


def mount_mcp(app: Starlette, service: Service) -> Endpoint:
    """Answer MCP at `POST /mcp`; a client that asks for a stream of its own (GET) is told that there is none (405)."""
    endpoint = Endpoint(service)
    app.router.routes.append(Route(PATH, endpoint, methods=["POST"], include_in_schema=False))
    return endpoint


def _given(request: Request | None) -> Request:
    if request is None:
        raise AssertionError("over HTTP every call has a request")
    return request
