"""The command `lexhound` and what `lexhound --help` shows."""

from __future__ import annotations

from typing import Annotated

import typer

from lexhound.serve.cli.commands import (
    add,
    backup,
    compare,
    documents,
    encode,
    evaluate,
    export,
    import_,
    index,
    inspect,
    keys,
    maintenance,
    move,
    search,
    serve,
    static_queries,
    train,
    tune,
)

from .options import ASK, BUILD, ENCODE, KEEP, MEASURE, SERVE, TRAIN

EPILOGUE = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Results go to standard output, everything else to"
    " standard error. Environment: NO_COLOR=1 turns colours off, LEXHOUND_DEBUG=1 shows the traceback of a failure."
)

app = typer.Typer(
    name="lexhound",
    help="Search your documents: index a corpus, search it, maintain it, evaluate it.",
    epilog=EPILOGUE,
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"lexhound {version('lexhound')}")
        raise typer.Exit


@app.callback()
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


app.command("index", rich_help_panel=BUILD)(index.index)
app.command("add", rich_help_panel=BUILD)(add.add)
app.command("import", rich_help_panel=BUILD)(import_.import_collection)
app.command("delete", rich_help_panel=BUILD)(documents.delete)
app.command("search", rich_help_panel=ASK)(search.search)
app.command("get", rich_help_panel=ASK)(documents.get)
app.command("info", rich_help_panel=KEEP)(maintenance.info)
app.command("verify", rich_help_panel=KEEP)(maintenance.verify)
app.command("compact", rich_help_panel=KEEP)(maintenance.compact)
app.command("backup", rich_help_panel=KEEP)(backup.backup)
app.command("restore", rich_help_panel=KEEP)(backup.restore)
app.command("export", rich_help_panel=KEEP)(export.export)
app.command("move", rich_help_panel=KEEP)(move.move)
app.command("eval", rich_help_panel=MEASURE)(evaluate.evaluate)
app.command("compare", rich_help_panel=MEASURE)(compare.compare)
app.command("tune-fusion", rich_help_panel=MEASURE)(tune.tune_fusion)
app.command("fit-static-queries", rich_help_panel=KEEP)(static_queries.fit_static_queries)
app.command("distil-queries", hidden=True)(static_queries.fit_static_queries)  # its former name
app.command("encode", rich_help_panel=ENCODE)(encode.encode)
app.command("inspect", rich_help_panel=ENCODE)(inspect.inspect)
app.command("train", rich_help_panel=TRAIN)(train.train)
app.command("serve", rich_help_panel=SERVE)(serve.serve)
app.add_typer(keys.keys, rich_help_panel=SERVE)
