"""HTTP as uvicorn reads it, with an end to everything that a peer may draw out.

What is no HTTP, comes too slowly or is one connection too many is refused in the shape that errors have. A connection
between two of the service's own processes, over a Unix socket, has none of these limits: the first has them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from lexhound.serve.settings import Settings

# Of a request line and its headers, in bytes.
MAX_HEAD = 128 * 1024

_log = logging.getLogger("lexhound.serve")


@dataclass(frozen=True, slots=True)
class Limits:
    """See the settings of the same names."""

    header_seconds: float
    body_seconds: float
    body_rate: int
    max_connections: int
    max_connections_per_address: int


def protocol_for(settings: Settings) -> type[Protocol]:
    """Return the protocol with the limits that the settings draw."""
    limits = Limits(
        settings.header_seconds,
        settings.body_seconds,
        settings.body_rate,
        settings.max_connections,
        settings.max_connections_per_address,
    )
    return cast("type[Protocol]", type("LimitedProtocol", (Protocol,), {"limits": limits}))


class Protocol(HttpToolsProtocol):
    """One connection.

    Between `on_message_begin` and `on_headers_complete` a head is read, from then to `on_message_complete` a body; one
    timer looks at what is being waited for.
    """

    limits: ClassVar[Limits]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self._stage: Literal["head", "body", "between"] = "head"
        self._head = 0  # bytes of it
        self._since = self.loop.time()
        self._received = 0  # bytes of a body since then
        self._stuck = 0  # bytes that wait to be sent, when last looked at
        self._timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        if self.client is None:
            return
        if not self._has_room():
            self._refuse(429, "too_many_connections", "there are too many connections", "use one for several requests")
            return
        self._look_in(self.limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of a connection."""
        self._let_go()
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        if self._stage == "between":
            self._begin()
        super().data_received(data)
        if self._stage == "head":
            self._head += len(data)
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self._refuse(431, "too_large", "the head of the request is too long", "long queries go by POST")

    def on_message_begin(self) -> None:
        """Note the first bytes of a request, which may follow another in the same packet."""
        if self._stage == "between":
            self._begin()
        super().on_message_begin()

    def _begin(self) -> None:
        """Count the time for a head from now on."""
        self._stage, self._head, self._since = "head", 0, self.loop.time()
        self._look_in(self.limits.header_seconds)

    def on_headers_complete(self) -> None:
        """Note that the head has come: from now on the body."""
        self._stage, self._received, self._since = "body", 0, self.loop.time()
        self._look_in(self.limits.body_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that a part of the body has come."""
        self._received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the whole request has come."""
        self._stage = "between"
        super().on_message_complete()

    def resume_writing(self) -> None:
        """Note that the peer reads what it is sent."""
        self._stuck = 0
        super().resume_writing()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being read or answered."""
        return self._stage == "between" and (self.cycle is None or self.cycle.response_complete)

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be read, for instance because its address is longer than 64 KiB."""
        self._refuse(400, "not_http", "the request is not HTTP, or its address is too long", "long queries go by POST")

    def _has_room(self) -> bool:
        """Return whether one more connection may be; connections that do nothing make room for it."""
        others = [
            each
            for each in self.connections
            if isinstance(each, Protocol) and each.client is not None and not each.transport.is_closing()
        ]
        same = [each for each in others if each.client[0] == self.client[0]]  # type: ignore[index]
        for group, most in ((same, self.limits.max_connections_per_address), (others, self.limits.max_connections)):
            if len(group) > most:
                idle = next((each for each in group if each.is_idle), None)
                if idle is None:
                    return False
                idle.transport.close()
        return True

    def _look_in(self, seconds: float) -> None:
        if self.client is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Look whether the peer is still there, and whether what it sends comes on."""
        if self._is_stuck():
            _log.info("a client does not read its answer", extra={"fields": {"client": (self.client or ("",))[0]}})
            self._let_go()
            self.transport.abort()
            return
        limits, now = self.limits, self.loop.time()
        if self._stage == "head" and not self._is_held():
            waited = now - self._since
            if waited >= limits.header_seconds:
                self._time_out("the head of the request", limits.header_seconds)
            else:
                self._look_in(limits.header_seconds - waited)
            return
        if self._stage == "body" and not self._is_held():
            # What comes after the answer is of no use to anybody.
            enough = max(1.0, limits.body_rate * (now - self._since))
            if self.cycle.response_complete or self._received < enough:
                self._time_out("the body of the request", limits.body_seconds)
                return
        self._since, self._received = now, 0
        self._look_in(limits.body_seconds)

    def _is_held(self) -> bool:
        """Return whether it is not the peer that is being waited for."""
        if self.flow.read_paused or self.transport.is_closing():
            return True
        if self._stage == "head":  # sent ahead, while another request is answered
            return self.cycle is not None and not self.cycle.response_complete
        # A body that has not been asked for yet, or of which a part waits to be taken.
        waiting = self.cycle.waiting_for_100_continue or bool(self.cycle.body)
        return waiting and not self.cycle.response_complete

    def _is_stuck(self) -> bool:
        """Return whether bytes of an answer have waited since the last look without any being taken."""
        before, self._stuck = self._stuck, self.transport.get_write_buffer_size()
        return 0 < before <= self._stuck

    def _time_out(self, what: str, seconds: float) -> None:
        _log.info("a request did not come on", extra={"fields": {"client": (self.client or ("",))[0]}})
        answerable = self._head > 0 if self._stage == "head" else not self.cycle.response_started
        if answerable:
            self._refuse(408, "timeout", f"{what} did not come, or not in {seconds:g} seconds", "send it in one go")
        else:
            self._let_go()
            self.transport.close()
        self._look_in(self.limits.body_seconds)  # what it does not read is not kept for it for ever

    def _refuse(self, status: int, code: str, message: str, hint: str) -> None:
        """Answer a request that the application never sees, or sees the end of, and close the connection."""
        request_id = secrets.token_hex(8)
        error = {"code": code, "message": message, "where": "request", "hint": hint, "request_id": request_id}
        body = orjson.dumps({"error": error})
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"x-request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._let_go()
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _let_go(self) -> None:
        """Tell the application that nobody waits for its answer; requests that were sent ahead are dropped."""
        self.pipeline.clear()
        # The one that runs is not `self.cycle` where another has been sent ahead of its answer.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
