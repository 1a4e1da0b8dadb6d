"""`lexhound mcp`: collections as tools for agents, over standard input and output."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from lexhound.core.extras import extra
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import as_text
from lexhound.serve.cli.output import is_terminal, tell


@dataclass(frozen=True, slots=True, kw_only=True)
class McpOptions:
    """Arguments and options of `lexhound mcp`."""

    places: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...",
            help="The collections: directories, or addresses in other engines, such as milvus://HOST/NAME.",
            show_default=False,
        ),
    ]
    tenant: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose documents, of collections with tenants.", show_default=False),
    ] = None
    write: Annotated[
        bool, typer.Option("--write", help="Offer tools that add and delete documents, too.", show_default=False)
    ] = False
    characters: Annotated[
        int,
        typer.Option(
            min=500, max=200_000, metavar="N", help="How long an answer is at most, unless its caller says otherwise."
        ),
    ] = 8_000


@with_options
def mcp(options: McpOptions) -> None:
    """Let agents search collections: an MCP server on standard input and output.

    MCP is the Model Context Protocol. The program that starts this command speaks to it: put it into that program's
    settings (docs/mcp.md). Read-only unless --write is given. Over HTTP: lexhound serve DIR --mcp.

    Example:
        lexhound mcp my.index
        lexhound mcp notes.index papers.index --characters 20000
        lexhound mcp notes.index --write
    """
    with extra("mcp", "the MCP server"):
        from lexhound.serve.api.mcp.server import make_server
    from lexhound.serve.api.mcp.library import OpenLibrary

    library = OpenLibrary(options.places, None if options.tenant is None else as_text(options.tenant))
    try:
        server = make_server(library, characters=options.characters, write=options.write)
        if is_terminal(sys.stdin):
            tell("an MCP server: it waits for a client on standard input (docs/mcp.md)   stop: Ctrl-C")
        server.run("stdio")
    finally:
        library.close()
