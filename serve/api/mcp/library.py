"""What the tools ask for: collections by name, and work on them in threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol, TypeVar

from anyio import to_thread
from starlette.requests import Request

from lexhound.core.errors import LexhoundError
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.engines.address import read_address
from lexhound.retrieval.engines.opening import open_collection
from lexhound.retrieval.engines.protocol import Backend
from lexhound.retrieval.filters.known_fields import ALLOW
from lexhound.serve.api.http.exceptions import RequestError, UnknownNameError
from lexhound.serve.api.registry.names import name_of
from lexhound.serve.engines import milvus_settings
from lexhound.serve.errors import UsageError, describe_failure

T = TypeVar("T")


class Library(Protocol):
    """Collections that tools may use. `request` is that of HTTP, which says who asks; None over standard input."""

    async def names(self, request: Request | None) -> list[str]:
        """Return the names of the collections that the caller may read, in ascending order."""
        ...

    async def read(
        self, name: str, work: Callable[[Backend], T], request: Request | None, search: SearchRequest | None = None
    ) -> T:
        """Return what `work` returns for a collection as it is now; `search` is what it searches for, if it does."""
        ...

    async def write(self, name: str, work: Callable[[Backend], T], request: Request | None) -> T:
        """Return what `work` returns for a collection that is open for writing; searches see its changes at once."""
        ...

    def failure(self, error: Exception) -> str | None:
        """Return what a caller is told of an error; None for one that nobody expected."""
        ...


class OpenLibrary:
    """Collections that this process has open, for one client at a time.

    Args:
        places: directories, or addresses in other engines.
        tenant: whose documents alone, in all of them; None where they have no tenants.

    Raises:
        UsageError: two of them have the same name; and what `open_collection` raises.
    """

    def __init__(self, places: Sequence[str], tenant: str | None = None) -> None:
        self._tenant = tenant
        self._open: dict[str, Backend] = {}
        self._places: dict[str, str] = {}
        self._lock = threading.Lock()  # one write at a time
        with ExitStack() as opened:
            for place in places:
                address = read_address(place)
                name = name_of(address.path) if address.path is not None else str(address).rpartition("/")[2]
                if name in self._open:
                    raise UsageError(
                        f"{self._places[name]} and {place} are both called {name}",
                        hint="give each collection once, in directories of different names",
                    )
                self._open[name] = opened.enter_context(open_collection(place, milvus=milvus_settings()))
                self._places[name] = place
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close all collections."""
        self._opened.close()

    async def names(self, request: Request | None) -> list[str]:
        """Return all names, in ascending order."""
        return sorted(self._open)

    async def read(
        self, name: str, work: Callable[[Backend], T], request: Request | None, search: SearchRequest | None = None
    ) -> T:
        """Return what `work` returns; the collection has seen what others have written."""
        collection = self._find(name)

        def refreshed() -> T:
            collection.refresh()
            return work(self._confined(collection))

        return await to_thread.run_sync(refreshed)

    async def write(self, name: str, work: Callable[[Backend], T], request: Request | None) -> T:
        """Return what `work` returns; the collection is open for writing only for as long as that takes."""
        collection, place = self._find(name), self._places[name]

        def writing() -> T:
            with self._lock, self._writer(collection, place) as writer:
                result = work(self._confined(writer))
            collection.refresh()
            return result

        return await to_thread.run_sync(writing)

    @staticmethod
    def _writer(collection: Backend, place: str) -> Backend:
        if isinstance(collection, Collection):
            return Collection.open(os.fspath(collection.path), writable=True, like=collection)
        return open_collection(place, writable=True, milvus=milvus_settings())

    def _confined(self, collection: Backend) -> Backend:
        """Return a collection as the tenant of this server sees it.

        Raises:
            RequestError: it has tenants, and the server was started for none.
            TenantError: it has none, and the server was started for one.
        """
        if self._tenant is not None:
            return collection.for_tenant(self._tenant, must_exist=False)
        if collection.manifest.tenant_field is not None:
            raise RequestError(
                "the collection has tenants, and this server was started for none",
                hint="start it for one: lexhound mcp DIR --tenant NAME",
                code="tenant_required",
            )
        return collection

    def _find(self, name: str) -> Backend:
        if name not in self._open:
            raise unknown_collection(name)
        return self._open[name]

    def failure(self, error: Exception) -> str | None:
        """Return the message of an expected failure, with what to do."""
        if isinstance(error, LexhoundError):
            return sentence(error.message, error.where, error.hint)
        failure = describe_failure(error)
        return None if failure is None else sentence(failure.message, failure.where, failure.hint)


def unknown_collection(name: str) -> UnknownNameError:
    """Return the error that there is no collection of a name."""
    return UnknownNameError(f"there is no collection {name[:60]!r}", hint="list_collections tells which there are")


def sentence(message: str, where: object, hint: str | None) -> str:
    """Return an error as one text: what is wrong, where, and what to do."""
    place = "" if where in (None, "") or str(where) in message else f" ({where})"
    advice = (hint or "").removesuffix(ALLOW).rstrip()  # an option that no tool has
    return f"{message}{place}. {advice}" if advice else f"{message}{place}"
