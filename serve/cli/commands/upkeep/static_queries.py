"""`lexhound fit-static-queries`: dense queries without a transformer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import Directory, Json
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import reporter, show


def fit_static_queries(
    directory: Directory,
    documents: Annotated[
        int, typer.Option(metavar="N", min=20, help="How many documents it is fitted to, at most.")
    ] = 20_000,
    drop: Annotated[
        bool, typer.Option("--drop", help="Remove the table; queries go through the model again.", show_default=False)
    ] = False,
    json: Json = False,
) -> None:
    """Make a table of tokens for dense queries, so that searches need no model.

    The table is fitted to the documents' stored vectors; nothing is encoded. Searches in modes dense and hybrid use it
    from then on, unless they say --dense-queries model.

    Example:
        lexhound fit-static-queries my.index
        lexhound fit-static-queries my.index --drop
    """
    from lexhound.retrieval.collection.collection import Collection

    output = Output(json=json)
    with (
        stoppable(lambda: ("the collection is as it was", "the same command starts again")),
        Collection.open(directory, writable=True) as collection,
        reporter("fitting") as progress,
    ):
        if drop:
            dropped = collection.drop_static_queries()
        else:
            facts = collection.fit_static_queries(documents, show(progress.update))
    if drop:
        if json:
            output.document({"dropped": dropped})
        else:
            tell(f"{directory}: {'queries go through the model again' if dropped else 'there was no table'}")
    elif json:
        output.document(asdict(facts))
    else:
        output.line(
            f"{facts.tokens:,} tokens, fitted to {facts.texts:,} documents; mean cosine with the model's vectors"
            f" {facts.agreement:.3f}, of documents that were kept out"
        )
