"""`lexhound suggest`: a query's misspelt words put right, its last word completed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lexhound.serve.cli.options import AllowUnknownFields, Filter, Json, Place, Tenant, as_text, confined
from lexhound.serve.cli.output import Output


def suggest(
    directory: Place,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="The query so far.", show_default=False)],
    k: Annotated[int, typer.Option("-k", "--k", metavar="N", help="Completions, at most.")] = 8,
    filter: Filter = None,
    allow_unknown_fields: AllowUnknownFields = False,
    tenant: Tenant = None,
    json: Json = False,
) -> None:
    """Complete a query, and put its misspelt words right.

    The words are those of the documents that a search with the same filter may find.

    Example:
        lexhound suggest my.index "hypersnic fl"
    """
    from lexhound.retrieval.collection.capability import Capability
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.retrieval.engines.protocol import require_capability

    with open_collection(directory) as opened:
        able = require_capability(confined(opened, tenant), Capability.SUGGESTIONS)
        found = able.suggest(as_text(query), k, filter=filter, allow_unknown_fields=allow_unknown_fields)
    output = Output(json=json)
    if json:
        output.document(asdict(found))
        return
    if found.did_you_mean is not None:
        output.line("did you mean: ", (found.did_you_mean, "bold"))
    for completion in found.completions:
        output.line(completion)
