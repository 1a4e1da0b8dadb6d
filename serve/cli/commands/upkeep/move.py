"""`lexhound move`: a collection into another engine, or back, without encoding again."""

from __future__ import annotations

import shlex
from time import perf_counter
from typing import Annotated

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import Json, Place
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import counted, duration, rate, reporter, show


def move(
    source: Place,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="Where to, such as milvus://HOST/NAME, lucene:PATH or, out of another engine, a directory.",
            show_default=False,
        ),
    ],
    dense: Annotated[
        str | None,
        typer.Option(
            metavar="none",
            help="none: leave dense vectors behind, for which Lucene has no place.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Copy a collection into another engine, or back, without encoding it again.

    It copies documents, their passages and vectors as they are stored. The collection itself stays as it is.

    Example:
        lexhound move my.index milvus://host:19530/my
    """
    from lexhound.retrieval.engines.address import LUCENE, OWN, read_address
    from lexhound.retrieval.engines.moving import move_collection
    from lexhound.serve.engines import milvus_settings
    from lexhound.serve.errors import UsageError

    if dense not in (None, "none"):
        raise UsageError(f"--dense is {dense!r}", hint="give none, or leave it out: what is moved is not encoded again")
    output = Output(json=json)
    started = perf_counter()
    engine = read_address(address).engine
    held = "nothing" if engine == OWN else f"a part of {source}"
    begun = "drop it with the engine's own tools before the same command"
    stopped = (f"{held} is in {address}", "the same command starts again" if engine in (OWN, LUCENE) else begun)
    with stoppable(lambda: stopped), reporter("moving") as progress:
        report = move_collection(
            source, address, without_dense=dense == "none", milvus=milvus_settings(), progress=show(progress.update)
        )
    seconds = perf_counter() - started
    if report.fusion:
        tell("the fusion that `lexhound tune-fusion` kept in the collection does not move: name it in searches")
    if report.late:
        tell("the token vectors of late interaction do not move: no engine keeps them")
    if json:
        output.document(
            {
                "collection": source,
                "address": address,
                "documents": report.documents,
                "rows": report.rows,
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
    if report.relative_error is not None:
        lost = f"{report.relative_error:.2%} of the encoder's was lost in them"
        output.line(f"weights are the index's 8-bit ones; {lost}")
    output.line(f'next: lexhound search {shlex.quote(address)} "what you are looking for"')
