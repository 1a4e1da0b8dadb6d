"""`lexhound backup` and `restore`: copies of a collection, made while it is used."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import Directory, Json, only_directories
from lexhound.serve.cli.output import Output
from lexhound.serve.cli.progress import counted, duration, reporter, show

if TYPE_CHECKING:
    from lexhound.retrieval.collection.backup import BackupReport

Backup = Annotated[
    Path,
    typer.Argument(metavar="BACKUP", help="The backup's directory.", show_default=False, callback=only_directories),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace an existing collection; it stays until the new one is verified.",
        show_default=False,
    ),
]


def backup(
    directory: Directory,
    target: Backup,
    overwrite: Overwrite = False,
    link: Annotated[
        bool,
        typer.Option(
            "--link",
            help="Share segment files instead of copying them: quick and small, but on the same disk.",
            show_default=False,
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Copy a collection as it is at this moment; searches and writes continue.

    The copy is verified. It is a collection like any other.

    Example:
        lexhound backup my.index /backups/my
    """
    from lexhound.retrieval.collection.backup import backup_collection

    output = Output(json=json)
    started = perf_counter()
    with (
        stoppable(lambda: (f"{target} is as it was", "the same command starts again")),
        reporter("copying") as progress,
    ):
        report = backup_collection(directory, target, overwrite=overwrite, link=link, progress=show(progress.update))
    _tell(output, report, perf_counter() - started)


def restore(source: Backup, directory: Directory, overwrite: Overwrite = False, json: Json = False) -> None:
    """Make a collection from a backup.

    The copy is verified before it gets its name. Only --overwrite replaces an existing collection, and not while a
    process writes to it.

    Example:
        lexhound restore /backups/my my.index --overwrite
    """
    from lexhound.retrieval.collection.backup import restore_collection

    output = Output(json=json)
    started = perf_counter()
    with (
        stoppable(lambda: (f"{directory} is as it was", "the same command starts again")),
        reporter("copying") as progress,
    ):
        report = restore_collection(source, directory, overwrite=overwrite, progress=show(progress.update))
    _tell(output, report, perf_counter() - started)


def _tell(output: Output, report: BackupReport, seconds: float) -> None:
    if output.json:
        output.document(asdict(report) | {"seconds": seconds})
        return
    shared = f", {report.linked / 2**20:,.1f} MiB of them shared" if report.linked else ""
    output.line(
        (counted(report.documents), "bold"),
        f" in {duration(seconds)} → ",
        (report.path, "bold"),
        f" ({counted(report.segments, 'segment')}, {report.bytes / 2**20:,.1f} MiB{shared}), verified",
    )
