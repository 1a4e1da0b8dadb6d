"""The command `lexhound` and what `lexhound --help` shows."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, NamedTuple

import typer

from .options import ASK, BUILD, ENCODE, KEEP, MEASURE, SERVE, TRAIN

EPILOGUE = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Results go to standard output, everything else to"
    " standard error. Environment: NO_COLOR=1 turns colours off, LEXHOUND_DEBUG=1 shows the traceback of a failure."
)


class _Command(NamedTuple):
    """Where a command is, among which others `--help` shows it, and its function where that has another name."""

    panel: str
    module: str
    function: str
    hidden: bool = False


_COMMANDS = {
    "index": _Command(BUILD, "index", "index"),
    "add": _Command(BUILD, "add", "add"),
    "import": _Command(BUILD, "import_", "import_collection"),
    "delete": _Command(BUILD, "documents", "delete"),
    "search": _Command(ASK, "search", "search"),
    "facets": _Command(ASK, "facets", "facets"),
    "suggest": _Command(ASK, "suggest", "suggest"),
    "get": _Command(ASK, "documents", "get"),
    "info": _Command(KEEP, "upkeep.maintenance", "info"),
    "verify": _Command(KEEP, "upkeep.maintenance", "verify"),
    "compact": _Command(KEEP, "upkeep.maintenance", "compact"),
    "synonyms": _Command(KEEP, "upkeep.synonyms", "synonyms"),
    "reranker": _Command(KEEP, "upkeep.reranker", "reranker"),
    "backup": _Command(KEEP, "upkeep.backup", "backup"),
    "restore": _Command(KEEP, "upkeep.backup", "restore"),
    "alias": _Command(KEEP, "upkeep.alias", "alias"),
    "export": _Command(KEEP, "export", "export"),
    "move": _Command(KEEP, "upkeep.move", "move"),
    "eval": _Command(MEASURE, "evaluate", "evaluate"),
    "compare": _Command(MEASURE, "compare", "compare"),
    "tune-fusion": _Command(MEASURE, "upkeep.tune", "tune_fusion"),
    "fit-static-queries": _Command(KEEP, "upkeep.static_queries", "fit_static_queries"),
    "distil-queries": _Command(KEEP, "upkeep.static_queries", "fit_static_queries", hidden=True),  # its former name
    "encode": _Command(ENCODE, "models.encode", "encode"),
    "inspect": _Command(ENCODE, "models.inspect", "inspect"),
    "train": _Command(TRAIN, "models.train", "train"),
    "serve": _Command(SERVE, "serve", "serve"),
    "mcp": _Command(SERVE, "mcp", "mcp"),
    "warm": _Command(SERVE, "models.warm", "warm"),
    "keys": _Command(SERVE, "keys", "keys"),
}


def command_line(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the command `lexhound` with what it takes to run it with these arguments: one command, or all of them."""
    app = typer.Typer(
        name="lexhound",
        help="Search your documents: index a corpus, search it, maintain it, evaluate it.",
        epilog=EPILOGUE,
        rich_markup_mode="rich",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(lexhound)
    for name in arguments[:1] if arguments and arguments[0] in _COMMANDS else _COMMANDS:
        panel, module, function, hidden = _COMMANDS[name]
        found = getattr(import_module(f"lexhound.serve.cli.commands.{module}"), function)
        if isinstance(found, typer.Typer):
            app.add_typer(found, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel, hidden=hidden)(found)
    return app


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"lexhound {version('lexhound')}")
        raise typer.Exit


def lexhound(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.", show_default=False),
    ] = False,
) -> None:
    """Search your documents: index a corpus, search it, maintain it, evaluate it.

    Start with:  [bold]lexhound index corpus.jsonl --into my.index[/bold]
    and then:    [bold]lexhound search my.index "what you are looking for"[/bold]
    """
