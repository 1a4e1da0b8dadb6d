"""`lexhound facets`: which values the metadata of documents has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lexhound.serve.cli.dense_options import Mode, ModeOption
from lexhound.serve.cli.options import AllowUnknownFields, Filter, Json, Place, Tenant, as_text, confined
from lexhound.serve.cli.output import Output, tell

if TYPE_CHECKING:
    from lexhound.retrieval.collection.result import Facet

_NUMBERS_SHOWN = "{:.15g}"


def facets(
    directory: Place,
    query: Annotated[
        str | None,
        typer.Argument(metavar="QUERY", help="Count among its best 1,000 hits alone.", show_default=False),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(help="A field; may be given several times.", metavar="FIELD", show_default="all fields"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The number of values a field, the most frequent first.")] = 20,
    filter: Filter = None,
    mode: ModeOption = Mode.AUTO,
    matching: Annotated[
        bool,
        typer.Option(
            "--matching",
            help="Count all documents that match the query; in modes dense and hybrid, the search's candidates.",
            show_default=False,
        ),
    ] = False,
    allow_unknown_fields: AllowUnknownFields = False,
    tenant: Tenant = None,
    json: Json = False,
) -> None:
    """List the values of metadata fields, and how many documents have each.

    Example:
        lexhound facets my.index
        lexhound facets my.index "shock wave" --field year --field lang --filter 'year >= 1960' --matching
    """
    from lexhound.retrieval.collection.capability import Capability
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.retrieval.engines.protocol import require_capability
    from lexhound.serve.cli.startup import prepare_one_search
    from lexhound.serve.engines import milvus_settings
    from lexhound.serve.errors import UsageError

    if query is None and (matching or mode is not Mode.AUTO):
        raise UsageError("--matching and --mode are for a query", hint="write the query in quotes, or leave them out")
    prepare_one_search()
    output = Output(json=json)
    with open_collection(directory, milvus=milvus_settings()) as collection:
        found = require_capability(confined(collection, tenant), Capability.FACETS).facets(
            None if field is None else [as_text(each) for each in field],
            limit,
            query=None if query is None else as_text(query),
            filter=None if filter is None else as_text(filter),
            mode=mode.value,
            matching=matching,
            allow_unknown_fields=allow_unknown_fields,
        )
    if json:
        output.document({"fields": [_as_json(facet) for facet in found]})
        return
    for facet in found:
        _print(output, facet)
    if not found:
        tell("no document that counts has metadata")


def _as_json(facet: Facet) -> dict[str, object]:
    return {
        "field": facet.field,
        "kind": facet.kind,
        "documents": facet.documents,
        "values": [{"value": each.value, "count": each.count} for each in facet.values],
        "min": facet.minimum,
        "max": facet.maximum,
    }


def _print(output: Output, facet: Facet) -> None:
    spread = ""
    if facet.minimum is not None and facet.maximum is not None:
        spread = f", {_NUMBERS_SHOWN.format(facet.minimum)} to {_NUMBERS_SHOWN.format(facet.maximum)}"
    output.line(
        (facet.field, "bold"), f"  {facet.documents:,} {'document' if facet.documents == 1 else 'documents'}{spread}"
    )
    width = max(len(f"{each.count:,}") for each in facet.values)
    for each in facet.values:
        output.line((f"{each.count:>{width},}", "cyan"), f"  {each.value}", indent=2)
