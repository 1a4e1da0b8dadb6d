"""The server of the Model Context Protocol: its tools and resources, the same over standard input and HTTP."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.server.mcpserver.resources import ResourceSecurity
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field
from starlette.requests import Request

from lexhound.core.version import __version__
from lexhound.serve.api.http.exceptions import RequestError, UnknownNameError

from . import tools
from .answers import (
    SCHEME,
    AddedAnswer,
    CollectionAnswer,
    CollectionsAnswer,
    DeletedAnswer,
    DocumentAnswer,
    SearchAnswer,
)
from .budget import CHARACTERS, LEAST_CHARACTERS, MOST_CHARACTERS, as_json, collections_answer
from .library import Library

MOST_HITS = 50

_log = logging.getLogger("lexhound.serve")
_INSTRUCTIONS = (
    "Search engine over the user's own documents. `search` finds passages, in the user's own words: a learned model"
    " finds documents that say it differently, too. `get` reads a document on. `list_collections` tells which"
    " collections there are, and which metadata fields a filter may name."
)
_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

T = TypeVar("T")

Name = Annotated[
    str | None, Field(description="The collection's name; may be left out where there is only one.", max_length=200)
]
Characters = Annotated[
    int | None,
    Field(
        ge=LEAST_CHARACTERS,
        le=MOST_CHARACTERS,
        description="The length of the answer at most; the server's unless given.",
    ),
]


class Door:
    """The tools over a library.

    Args:
        characters: of an answer, unless the caller says otherwise.
    """

    def __init__(self, library: Library, characters: int) -> None:
        self._library = library
        self._characters = characters

    async def search(
        self,
        context: Context,
        query: Annotated[str, Field(description="A question, or words that the documents may have.")],
        collection: Name = None,
        k: Annotated[int, Field(ge=1, le=MOST_HITS, description="How many hits.")] = 5,
        filter: Annotated[
            str | None, Field(description=f"Only documents whose metadata passes. {tools.FILTERS}")
        ] = None,
        mode: Annotated[
            Literal["auto", "lexical", "sparse", "dense", "hybrid"],
            Field(description="How to search: auto unless there is a reason."),
        ] = "auto",
        fields: Annotated[
            list[Annotated[str, Field(max_length=200)]],
            Field(max_length=20, description="Metadata fields to show with each hit."),
        ] = [],  # noqa: B006  the schema tells it
        max_characters: Characters = None,
    ) -> Annotated[CallToolResult, SearchAnswer]:
        """Search a collection: the best documents, each with the passage that fits the query best."""
        request, characters = _request(context), max_characters or self._characters

        async def answer() -> SearchAnswer:
            wanted = tools.request_of(query, k, mode, filter, fields)
            name = await self._name(collection, request)
            return await self._library.read(
                name, lambda opened: tools.search(name, opened, wanted, characters, fields), request, wanted
            )

        return _result(await self._told(answer))

    async def get(
        self,
        context: Context,
        id: Annotated[str, Field(description="The document's id, as `search` gives it.")],
        collection: Name = None,
        offset: Annotated[int, Field(ge=0, description="The character of the text to begin with.")] = 0,
        max_characters: Characters = None,
    ) -> Annotated[CallToolResult, DocumentAnswer]:
        """Read a document: its title, metadata and text, in parts where it is long."""
        request, characters = _request(context), max_characters or self._characters

        async def answer() -> DocumentAnswer:
            name = await self._name(collection, request)
            return await self._library.read(
                name, lambda opened: tools.get(name, opened, id, offset, characters), request
            )

        return _result(await self._told(answer))

    async def list_collections(
        self, context: Context, max_characters: Characters = None
    ) -> Annotated[CallToolResult, CollectionsAnswer]:
        """List the collections: how many documents they have, how they can be searched, what filters may name."""
        request = _request(context)

        async def one(name: str) -> CollectionAnswer:
            try:
                return await self._library.read(name, lambda opened: tools.describe(name, opened), request)
            except Exception as error:  # one collection's trouble is not the others'
                message = self._library.failure(error)
                if message is None:
                    raise
                return CollectionAnswer(name=name, documents=None, modes=[], fields=[], note=message)

        async def answer() -> CollectionsAnswer:
            described = [await one(name) for name in await self._library.names(request)]
            whole = CollectionsAnswer(collections=described, filters=tools.FILTERS)
            return collections_answer(whole, max_characters or self._characters)

        return _result(await self._told(answer))

    async def add_documents(
        self,
        context: Context,
        documents: Annotated[
            list[dict[str, Any]],
            Field(
                min_length=1,
                max_length=1000,
                description='Objects with "id", "text", perhaps "title"; all else is metadata.',
            ),
        ],
        collection: Name = None,
    ) -> Annotated[CallToolResult, AddedAnswer]:
        """Insert documents, or replace those with the same ids; all of them or none. Durable when it is answered."""
        request = _request(context)

        async def answer() -> AddedAnswer:
            name = await self._name(collection, request)
            return await self._library.write(name, lambda opened: tools.add(name, opened, documents), request)

        return _result(await self._told(answer))

    async def delete_documents(
        self,
        context: Context,
        ids: Annotated[list[str], Field(min_length=1, max_length=1000, description="Of the documents to delete.")],
        collection: Name = None,
    ) -> Annotated[CallToolResult, DeletedAnswer]:
        """Delete documents by id, for good."""
        request = _request(context)

        async def answer() -> DeletedAnswer:
            name = await self._name(collection, request)
            return await self._library.write(name, lambda opened: tools.delete(name, opened, ids), request)

        return _result(await self._told(answer))

    async def document(self, context: Context, collection: str, id: str) -> str:
        """Read a document as text: its title, an empty line, the text."""
        request = _request(context)
        try:
            return await self._library.read(
                collection, lambda opened: tools.read_document(collection, opened, id), request
            )
        except UnknownNameError as error:
            raise ResourceNotFoundError(error.message) from error
        except Exception as error:
            raise ResourceError(self._message(error)) from error

    async def _name(self, given: str | None, request: Request | None) -> str:
        """Return the collection that is meant.

        Raises:
            RequestError: none is named, and there is not exactly one.
        """
        if given:
            return given
        names = await self._library.names(request)
        if len(names) != 1:
            hint = f"name one of {', '.join(names[:50])}" if names else "there is none yet"
            raise RequestError("which collection is meant is not said", where="collection", hint=hint)
        return names[0]

    async def _told(self, answer: Callable[[], Awaitable[T]]) -> T:
        """Return an answer; of an exception, the message alone reaches the client, and only as a ToolError."""
        try:
            return await answer()
        except Exception as error:
            raise ToolError(self._message(error)) from error

    def _message(self, error: Exception) -> str:
        message = self._library.failure(error)
        if message is None:
            _log.error("a tool failed", exc_info=error)
            message = "Lexhound failed to answer this; the log of the server has the reason"
        return message


def make_server(library: Library, *, characters: int = CHARACTERS, write: bool = False) -> MCPServer[Any]:
    """Return the server.

    Args:
        characters: of an answer, unless the caller says otherwise.
        write: offer tools that add and delete documents.
    """
    door = Door(library, characters)
    offered = [_tool(each, _READS) for each in (door.search, door.get, door.list_collections)]
    if write:
        offered += [_tool(each, _WRITES) for each in (door.add_documents, door.delete_documents)]
    with _root_left_alone():
        server: MCPServer[Any] = MCPServer(
            "lexhound",
            title="Lexhound",
            instructions=_INSTRUCTIONS,
            version=__version__,
            tools=offered,
            # An id is no path: it may hold slashes, and dots between them.
            resource_security=ResourceSecurity(exempt_params={"collection", "id"}),
            subscriptions=False,
        )
    server.resource(
        f"{SCHEME}://{{collection}}/{{id}}",
        name="document",
        title="Document",
        description="A document's title and text; an id is percent-encoded.",
        mime_type="text/plain",
    )(door.document)
    return server


def _tool(function: Callable[..., Any], annotations: ToolAnnotations) -> Tool:
    """Return a tool that refuses arguments which it does not know: the SDK's would ignore them."""
    tool = Tool.from_function(function, annotations=annotations)
    known = tool.fn_metadata.arg_model

    metaclass: Any = type(known)
    strict = metaclass(known.__name__, (known,), {"__module__": __name__}, extra="forbid")
    metadata = tool.fn_metadata.model_copy(update={"arg_model": strict})
    return tool.model_copy(update={"fn_metadata": metadata, "parameters": strict.model_json_schema(by_alias=True)})


@contextmanager
def _root_left_alone() -> Iterator[None]:
    """Keep the SDK from sending what every library logs to standard error: it does where the root has no handler."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _request(context: Context) -> Request | None:
    request = context.request_context.request
    return request if isinstance(request, Request) else None


def _result(answer: BaseModel) -> CallToolResult:
    """Return an answer as text for models and as an object for programs, both the same."""
    return CallToolResult(
        content=[TextContent(type="text", text=as_json(answer))],
        structured_content=answer.model_dump(mode="json", exclude_none=True),
    )
