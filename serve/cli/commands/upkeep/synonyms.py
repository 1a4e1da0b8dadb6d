"""`lexhound synonyms`: the synonyms of a collection of BM25."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexhound.serve.cli.options import Directory, Json
from lexhound.serve.cli.output import Output, tell


def synonyms(
    directory: Directory,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="A rule a line, or - for standard input. Without it, the rules are listed.",
            show_default=False,
            allow_dash=True,
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all rules.", show_default=False)] = False,
    json: Json = False,
) -> None:
    """Keep synonyms with a collection of BM25, for all its queries.

    A rule is `car, automobile` (each finds the other) or `tv => television` (one way). Those of FILE take the place of
    those that were there.

    Example:
        lexhound synonyms my.index synonyms.txt
    """
    from lexhound.retrieval.collection.collection import Collection
    from lexhound.serve.errors import UsageError

    if clear and file is not None:
        raise UsageError("a file and --clear were both given", hint="give one of the two")
    changes = clear or file is not None
    rules = [] if file is None else _lines(file)
    with Collection.open(directory, writable=changes) as collection:
        if changes:
            collection.keep_synonyms(rules)
        kept = collection.synonyms
    output = Output(json=json)
    if json:
        output.document({"collection": str(directory), "rules": list(kept)})
        return
    if not kept:
        tell(f"{directory} keeps no synonyms")
    for rule in kept:
        output.line(rule)


def _lines(file: Path) -> list[str]:
    import sys

    from lexhound.serve.errors import UsageError

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"the file {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the file {file} is not UTF-8: {error.reason}") from error
    return text.splitlines()
