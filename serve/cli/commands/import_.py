"""`lexhound import`: a collection made of an export."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import Json, only_directories
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import counted, duration, rate, reporter, show


def import_collection(
    source: Annotated[
        Path, typer.Argument(metavar="EXPORT", help="A folder that `lexhound export` wrote.", show_default=False)
    ],
    into: Annotated[
        Path,
        typer.Option(
            "--into",
            metavar="DIR",
            help="The directory of the collection to make.",
            show_default=False,
            callback=only_directories,
        ),
    ],
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an existing collection; it stays until the new one is complete.",
            show_default=False,
        ),
    ] = False,
    reanalyse: Annotated[
        bool,
        typer.Option(
            "--reanalyse",
            help="bm25: make the vectors again from the texts, with this version's rules and the installed libraries.",
            show_default=False,
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Make a collection from an export, with the same vectors.

    Encoder and settings are those of the exported collection. DIR appears when it is complete.

    Example:
        lexhound import my.anserini --into my.index
        lexhound import my.parquet --into my.index --reanalyse
    """
    from lexhound.retrieval.exports import import_export

    output = Output(json=json)
    started = perf_counter()
    with (
        stoppable(lambda: (f"{into} is as it was", "the same command starts again")),
        reporter("importing") as progress,
    ):
        report = import_export(source, into, overwrite=overwrite, reanalyse=reanalyse, progress=show(progress.update))
    seconds = perf_counter() - started
    if json:
        output.document({"path": str(into), **asdict(report), "seconds": seconds})
        return
    for lost in report.lost:
        tell(f"this format has no place for {lost}: the collection has none")
    output.line(
        (counted(report.documents), "bold"),
        f" in {duration(seconds)} ({rate(report.documents, seconds)}) → ",
        (str(into), "bold"),
    )
    output.line(f'next: lexhound search {shlex.quote(str(into))} "what you are looking for"')
