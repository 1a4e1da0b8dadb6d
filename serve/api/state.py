"""What a running service shares between its requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from .role import ALONE, Role

if TYPE_CHECKING:
    from lexhound.serve.api.http.admission import AdmissionControl
    from lexhound.serve.api.http.metrics import Metrics
    from lexhound.serve.api.http.security import Guard
    from lexhound.serve.api.http.tracing import Traces
    from lexhound.serve.api.registry.registry import CollectionRegistry
    from lexhound.serve.settings import Settings

Forward: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True, eq=False)
class Service:
    """The parts of a service; made when the application starts, closed when it ends.

    Attributes:
        admission: runs searches in the search threads, and refuses those that cannot wait.
        background: threads for what takes some time: refreshing, describing, taking bodies apart.
        opening: threads for what may load a model or wait for a writer: opening, making, closing, deleting.
        compacting: the one thread for what may take minutes, so that nothing else waits for it.
        write_proxy: hands a write on to the process that writes; None in that process.
        traces: the spans of requests; None where none are asked for.
        role: what this process is among those that serve; ready: it answers; together: all of them have been ready.
    """

    settings: Settings
    metrics: Metrics
    guard: Guard
    admission: AdmissionControl
    background: ThreadPoolExecutor
    opening: ThreadPoolExecutor
    compacting: ThreadPoolExecutor
    registry: CollectionRegistry
    write_proxy: Forward | None = None
    role: Role = ALONE
    traces: Traces | None = None
    ready: bool = False
    together: bool = False

    def all_ready(self) -> bool:
        """Return whether this process answers, and so do those beside it, which a caller's next request may reach."""
        self.together = self.together or self.role.all_ready()
        return self.ready and self.together


def service_of(connection: HTTPConnection) -> Service:
    """Return the service that answers a request."""
    service = connection.app.state.service
    if not isinstance(service, Service):
        raise AssertionError("the application was not started")
    return service
