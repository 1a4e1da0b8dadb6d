"""`lexhound export`: a collection in the form of another engine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import Directory, Json, as_text
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import counted, duration, rate, reporter, show


class ExportFormat(StrEnum):
    """`lexhound.retrieval.exports.FORMATS`, known without loading that room."""

    ANSERINI = "anserini"
    OPENSEARCH = "opensearch"
    QDRANT = "qdrant"
    CIFF = "ciff"
    PARQUET = "parquet"


def export(
    directory: Directory,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.", show_default=False)],
    format: Annotated[ExportFormat, typer.Option(help="The engine whose format to write.", show_default=False)],
    tenant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose documents, where the collection has tenants: under their own ids.",
            show_default="everybody's, under their keys",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an existing export; it stays until the new one is complete.",
            show_default=False,
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Write a collection's documents and vectors for another engine.

    DIR appears when it is complete. Its README.md says what the numbers mean.

    Example:
        lexhound export my.index --format anserini --out my.anserini
        lexhound export my.index --format parquet --out my.parquet --overwrite
        lexhound export shared.index --format parquet --out acme.parquet --tenant acme
    """
    from lexhound.retrieval.collection.collection import Collection
    from lexhound.retrieval.exports import export_collection

    output = Output(json=json)
    started = perf_counter()
    with (
        stoppable(lambda: (f"{out} is as it was", "the same command starts again")),
        Collection.open(directory) as collection,
        reporter("exporting") as progress,
    ):
        if collection.manifest.late:
            tell("the token vectors of late interaction are left out: no format has a place for them")
        report = export_collection(
            collection,
            out,
            format.value,
            tenant=None if tenant is None else as_text(tenant),
            overwrite=overwrite,
            progress=show(progress.update),
        )
    seconds = perf_counter() - started
    header = report.header
    if json:
        output.document(
            {
                "path": report.path,
                "format": header.format,
                "documents": header.documents,
                "postings": header.postings,
                "values": header.values,
                "scale": header.scale,
                "bytes": report.bytes,
                "files": list(header.files),
                "seconds": seconds,
            }
        )
        return
    output.line(
        (counted(header.documents), "bold"),
        f" in {duration(seconds)} ({rate(header.documents, seconds)}) → ",
        (str(out), "bold"),
        f" ({counted(len(header.files), 'file')}, {report.bytes / 2**20:,.1f} MiB)",
    )
    output.line(f"next: see {out}/README.md")
