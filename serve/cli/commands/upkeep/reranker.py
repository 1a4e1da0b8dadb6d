"""`lexhound reranker`: the model that puts a collection's hits in a new order."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexhound.serve.cli.options import Directory, Json
from lexhound.serve.cli.output import Output

if TYPE_CHECKING:
    from lexhound.retrieval.collection.reranking.options import Rerank


def reranker(
    directory: Directory,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="The folder or hub name of a cross-encoder, or late for late interaction. Without it, the one that is"
            " kept is shown.",
            show_default=False,
        ),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(metavar="N", help="How many hits it reads.", show_default="50; late: 100")
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(metavar="W", help="late: its share of the sum with the score before.", show_default="0.5"),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Keep none.", show_default=False)] = False,
    json: Json = False,
) -> None:
    """Keep a reranker with a collection, for all searches that name none.

    Any cross-encoder of sentence-transformers with one output will do. It reads query and document together, which
    costs a pass of the model for each of the best hits. Late interaction reads vectors of tokens that a collection made
    with --late keeps, and costs one pass of the encoder for the query.

    Example:
        lexhound reranker my.index cross-encoder/ms-marco-MiniLM-L6-v2 --depth 50
    """
    from lexhound.retrieval.collection.collection import Collection
    from lexhound.retrieval.collection.reranking.options import Rerank
    from lexhound.serve.errors import UsageError

    if clear and model is not None:
        raise UsageError("a model and --clear were both given", hint="give one of the two")
    if (depth is not None or weight is not None) and model is None:
        raise UsageError("--depth and --weight go with a model", hint="name the model")
    with Collection.open(directory, writable=clear or model is not None) as collection:
        if model is not None:
            collection.keep_reranker(Rerank(model, depth, weight))
        elif clear:
            collection.keep_reranker(None)
        kept = collection.reranker
    output = Output(json=json)
    if json:
        output.document({"collection": str(directory), "reranker": None if kept is None else _told(kept)})
    elif kept is None:
        output.line("no reranker")
    else:
        share = "" if kept.weight is None else f", weight {kept.weight:g}"
        output.line((kept.model, "bold"), f", the best {kept.hits:,} hits{share}")


def _told(rerank: Rerank) -> dict[str, Any]:
    return {name: value for name, value in asdict(rerank).items() if value is not None}
