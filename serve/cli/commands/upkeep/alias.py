"""`lexhound alias`: second names of the collections of a folder, switched all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexhound.serve.cli.options import Json, only_directories
from lexhound.serve.cli.output import Output


def alias(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="The folder of collections.", show_default=False, callback=only_directories
        ),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ALIAS=COLLECTION...",
            help="The collection that each alias leads to from now on. Without any, aliases are listed.",
            show_default=False,
        ),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="ALIAS", help="Remove an alias; may be repeated.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Give collections second names, and switch those all at once.

    Commands, Python and a running service take an alias wherever a collection is named. To index a corpus again without
    downtime, make a new collection beside the old one, and then let the alias lead to it.

    Example:
        lexhound alias data/ papers=papers-2027
        lexhound search data/papers "heat transfer"
    """
    from lexhound.retrieval.aliases import change_aliases, read_aliases
    from lexhound.serve.errors import UsageError

    put = {}
    for text in changes or ():
        name, equals, collection = text.partition("=")
        if not equals or not name or not collection:
            raise UsageError(
                f"{text!a} is not ALIAS=COLLECTION", hint=f"such as: lexhound alias {folder} papers=papers-2027"
            )
        if name in put:
            raise UsageError(f"the alias {name} is given twice", hint="an alias leads to one collection")
        put[name] = collection
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="name the folder that holds the collections")
    aliases = change_aliases(folder, put, remove or ()) if put or remove else read_aliases(folder)
    output = Output(json=json)
    if json:
        output.document({"folder": str(folder), "aliases": aliases})
        return
    for name, collection in aliases.items():
        output.row(name, collection)
