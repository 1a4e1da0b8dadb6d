"""What a query may become: its misspelt words put right, its last word completed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.words.suggestions import MOST_COMPLETIONS
from lexhound.retrieval.engines.protocol import require_capability
from lexhound.serve.api.http.dependencies import ReadRoute
from lexhound.serve.api.http.limits import check_text
from lexhound.serve.api.http.tenancy import confined
from lexhound.serve.api.registry.names import NAME_PATTERN
from lexhound.serve.api.schemas import search_models
from lexhound.serve.api.schemas.answers import json_response
from lexhound.serve.api.schemas.openapi import errors
from lexhound.serve.api.state import service_of

router = APIRouter(prefix="/v1/collections/{name}", tags=["search"], route_class=ReadRoute)

Name = Annotated[str, Path(pattern=NAME_PATTERN, description="The collection.", examples=["my"])]


@router.get(
    "/suggest",
    operation_id="suggest",
    summary="Complete a query, and put its misspelt words right",
    responses={200: {"model": search_models.SuggestAnswer}, **errors(400, 404, 504)},
)
async def suggest(
    name: Name,
    request: Request,
    q: Annotated[str, Query(max_length=search_models.ADDRESS_CHARACTERS, description="The query so far.")],
    k: Annotated[int, Query(ge=1, le=100, description="Completions, at most.")] = MOST_COMPLETIONS,
    filter: Annotated[
        str | None,
        Query(max_length=search_models.ADDRESS_CHARACTERS, description="Only words of documents that pass."),
    ] = None,
    allow_unknown_fields: search_models.AllowUnknownFields = False,
) -> Response:
    """Words are those of the documents that a search with this filter may find, and of no others."""
    service = service_of(request)
    check_text(q, "query.q", service.settings)
    check_text(filter, "query.filter", service.settings)
    async with service.registry.use(name) as served:
        able = require_capability(confined(request, served.reader), Capability.SUGGESTIONS)
        found = await service.admission.run(
            lambda: able.suggest(q, k, filter=filter, allow_unknown_fields=allow_unknown_fields),
            request=request,
            pool="wide",
        )
    return json_response({"did_you_mean": found.did_you_mean, "completions": list(found.completions)})
