"""`lexhound move`: a collection into another engine, without encoding again."""

from __future__ import annotations

import shlex
from time import perf_counter
from typing import Annotated

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import Directory, Json
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import counted, duration, rate, reporter, show


def move(
    directory: Directory,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="Where to, such as milvus://HOST/NAME or milvus-lite:FILE.db/NAME.",
            show_default=False,
        ),
    ],
    json: Json = False,
) -> None:
    """Copy a collection into another engine, without encoding it again.

    It copies documents and vectors as they are stored, with 8-bit weights. The collection itself stays as it is.

    Example:
        lexhound move my.index milvus://host:19530/my
    """
    from lexhound.retrieval.engines.moving import move_collection
    from lexhound.serve.engines import milvus_settings

    output = Output(json=json)
    started = perf_counter()
    stopped = (f"a part of {directory} is in {address}", "drop it with the engine's own tools before the same command")
    with stoppable(lambda: stopped), reporter("moving") as progress:
        report = move_collection(directory, address, milvus=milvus_settings(), progress=show(progress.update))
    seconds = perf_counter() - started
    if report.fusion:
        tell("the fusion that `lexhound tune-fusion` kept in the collection does not move: name it in searches")
    if report.late:
        tell("the token vectors of late interaction do not move: no engine keeps them")
    if json:
        output.document(
            {
                "collection": str(directory),
                "address": address,
                "documents": report.documents,
                "postings": report.postings,
                "dense": report.dense,
                "relative_error": report.relative_error,
                "seconds": seconds,
            }
        )
        return
    output.line(
        (counted(report.documents), "bold"),
        f" in {duration(seconds)} ({rate(report.documents, seconds)}) → ",
        (address, "bold"),
    )
    output.line(f"weights are the index's 8-bit ones; {report.relative_error:.2%} of the encoder's was lost in them")
    output.line(f'next: lexhound search {shlex.quote(address)} "what you are looking for"')
