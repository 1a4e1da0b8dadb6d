"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lexhound.retrieval.engines.protocol import Backend

# Panels of `lexhound --help`, in the order in which the commands are added.
BUILD, ASK, KEEP, MEASURE = "Make and change a collection", "Ask a collection", "Look after a collection", "Measure"
SERVE, TRAIN = "Serve", "Train"
ENCODE = "Use an encoder by itself"


def only_directories(path: Path | None) -> Path | None:
    """Refuse an address where a directory is needed; as a path it has lost one of its slashes.

    Raises:
        UsageError
    """
    scheme, colon, rest = str(path or "").partition(":")
    if colon and path is not None and not path.exists() and (scheme in _ENGINES or rest.startswith("/")):
        from lexhound.serve.errors import UsageError

        raise UsageError(
            f"{scheme}: is an address, and this command works on Lexhound's own collections, which are directories",
            hint="docs/backends.md lists the commands that take addresses",
        )
    return path


# `lexhound.retrieval.engines.address.ENGINES`, known without loading that room.
_ENGINES = ("milvus", "milvus-lite", "lucene")


def collection_directory(path: Path | None) -> Path | None:
    """Return the directory that a path means: that of an alias is its collection's.

    Raises:
        UsageError: it is an address.
    """
    path = only_directories(path)
    if path is None or path.exists():
        return path
    from lexhound.retrieval.aliases import resolve_alias

    return resolve_alias(path)


Directory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="The collection's directory.", show_default=False, callback=collection_directory
    ),
]
Place = Annotated[
    str,
    typer.Argument(
        metavar="DIR",
        help="The collection: its directory, or its address in another engine, such as milvus://HOST/NAME.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.", show_default=False)]
Filter = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help='Only documents whose metadata passes, such as: year >= 1990 and lang = "en".',
        show_default=False,
    ),
]
AllowUnknownFields = Annotated[
    bool,
    typer.Option(
        "--allow-unknown-fields",
        help="Let --filter name fields, and kinds of values, that no document has.",
        show_default=False,
    ),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Whose documents: needed where the collection has tenants (docs/tenants.md).",
        show_default=False,
    ),
]
Recall = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="The share of the exact hits that is enough, such as 0.95, for a faster search.",
        show_default="exact",
    ),
]


def confined(collection: Backend, tenant: str | None, *, must_exist: bool = True) -> Backend:
    """Return a collection as the tenant that was named sees it, or as it is.

    Raises:
        TenantError: it has no tenants, or this is no name of one.
    """
    return collection if tenant is None else collection.for_tenant(as_text(tenant), must_exist=must_exist)


def as_text(argument: str) -> str:
    """Return an argument as Unicode: bytes of the command line that are not UTF-8 become U+FFFD."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
