"""One request to the endpoint: who asks, what it may do, and what its body and parameters hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from lexhound.core.strict_json import json_fault, parse_json
from lexhound.core.suggestions import nearest
from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.engines.protocol import CapableBackend, require_capability
from lexhound.retrieval.names import is_name
from lexhound.serve.api.http.dependencies import limited
from lexhound.serve.api.http.exceptions import UnknownNameError
from lexhound.serve.api.http.limits import check_text
from lexhound.serve.api.http.security import Caller
from lexhound.serve.api.registry.served import ServedCollection
from lexhound.serve.api.state import Service

from .errors import OpenSearchError, an_object, malformed, missing_index, unsupported

_SHOWN = ("pretty", "human", "error_trace")  # how an answer is laid out, which is as it is


@dataclass(eq=False)
class Call:
    """A request whose caller is known."""

    request: Request
    service: Service
    caller: Caller

    @cached_property
    def index(self) -> str:
        """The index that the address names.

        Raises:
            OpenSearchError: it names several, or cannot be a name.
        """
        return self.named(self.request.path_params["index"])

    def named(self, name: Any) -> str:
        """Return the name of one index.

        Raises:
            OpenSearchError: it is none.
        """
        if not isinstance(name, str) or name in ("_all", "") or "," in name or "*" in name:
            raise unsupported(f"several indices at once [{name}]", "name one index, or an alias of one")
        if not is_name(name):
            raise OpenSearchError(
                f"Invalid index name [{name[:140]}]",
                kind="invalid_index_name_exception",
                hint="use letters, digits, '.', '_' and '-', a letter or digit first",
            )
        return name

    def parameters(self, *known: str) -> dict[str, str]:
        """Return the parameters of the address.

        Raises:
            OpenSearchError: there is one that the endpoint does not read, or one is given twice.
        """
        given = self.request.query_params
        for name in given:
            if name in _SHOWN:
                continue
            if name not in known:
                close = nearest(name, known)
                raise unsupported(f"the parameter [{name}]", f"did you mean {' or '.join(close)}?" if close else None)
            if len(given.getlist(name)) > 1:
                raise malformed(f"the parameter [{name}] is given twice")
        return {name: given[name] for name in given if name not in _SHOWN}

    async def raw(self) -> bytes:
        """Return the body, which is of limited size."""
        settings = self.service.settings
        received = limited(self.request, settings.max_body_bytes)
        return await Request(self.request.scope, received).body()

    async def body(self) -> dict[str, Any]:
        """Return the object in the body; an empty one where there is no body.

        Raises:
            OpenSearchError: it is no JSON object. TooLargeError: it is too long.
        """
        content = await self.raw()
        return an_object(read_json(content), "body") if content.strip() else {}

    def check_texts(self, texts: Iterable[str]) -> None:
        """Refuse texts and filters that are longer than the service lets them be."""
        for text in texts:
            check_text(text, "query", self.service.settings)

    @asynccontextmanager
    async def reading(self, index: str) -> AsyncIterator[tuple[ServedCollection, CapableBackend]]:
        """Yield a collection that the caller may read, open while the block runs.

        Raises:
            AccessError, UnknownNameError. UnsupportedError: it lies in another engine.
        """
        self.caller.check("read", index)
        async with self._known(index), self.service.registry.use(index) as served:
            yield served, require_capability(served.reader, Capability.ARRANGEMENT)

    @asynccontextmanager
    async def writing(self, index: str) -> AsyncIterator[tuple[ServedCollection, CapableBackend]]:
        """Yield a collection that the caller may write to, open while the block runs; raises as `reading` does."""
        self.caller.check("write", index)
        async with self._known(index), self.service.registry.write(index) as served:
            yield served, require_capability(served.reader, Capability.ARRANGEMENT)

    @asynccontextmanager
    async def _known(self, index: str) -> AsyncIterator[None]:
        try:
            yield
        except UnknownNameError as error:
            if error.where == "path.name":
                raise missing_index(index) from error
            raise


def read_json(content: bytes) -> Any:
    """Return the value of JSON.

    Raises:
        OpenSearchError: it is none.
    """
    try:
        return parse_json(content)
    except orjson.JSONDecodeError as error:
        raise malformed(json_fault(error)) from error


def answered(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")
