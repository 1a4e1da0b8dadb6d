"""What a running service shares between its requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

if TYPE_CHECKING:
    from ..settings import Settings
    from .catalogue import Catalogue
    from .gate import Gate
    from .metrics import Metrics
    from .security import Guard

Forward: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True, eq=False)
class Service:
    """The parts of a service; made when the application starts, closed when it ends.

    Attributes:
        gate: lets searches to the search threads, and turns away what cannot wait.
        background: threads for what may take long: opening, refreshing, deleting.
        compacting: the one thread for what may take minutes, so that nothing else waits for it.
        forward: hands a write on to the process that writes; None in that process.
        replaces: it takes the place of a process that died while others answer.
    """

    settings: Settings
    metrics: Metrics
    guard: Guard
    gate: Gate
    background: ThreadPoolExecutor
    compacting: ThreadPoolExecutor
    catalogue: Catalogue
    forward: Forward | None = None
    replaces: bool = False
    ready: bool = False


def service_of(connection: HTTPConnection) -> Service:
    """The service that answers a request."""
    service = connection.app.state.service
    if not isinstance(service, Service):
        raise AssertionError("the application was not started")
    return service
