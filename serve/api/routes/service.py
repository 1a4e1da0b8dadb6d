"""Is the service alive, is it ready, and how is it doing?"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from lexhound.serve.api.http.admission import STUCK_SECONDS
from lexhound.serve.api.http.exceptions import UnavailableError
from lexhound.serve.api.http.metrics import CONTENT_TYPE
from lexhound.serve.api.http.security import ANYONE
from lexhound.serve.api.http.tenancy import check_operation
from lexhound.serve.api.schemas import service_models
from lexhound.serve.api.schemas.answers import json_response
from lexhound.serve.api.schemas.openapi import errors
from lexhound.serve.api.state import service_of

router = APIRouter(tags=["service"])


@router.get(
    "/healthz",
    operation_id="alive",
    summary="Does the process answer?",
    responses={200: {"model": service_models.Alive}},
)
async def alive(request: Request) -> Response:
    """True for as long as requests are answered at all; needs no key."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="ready",
    summary="Are searches answered?",
    responses={200: {"model": service_models.Readiness}, 503: errors()[503]},
)
async def ready(request: Request) -> Response:
    """True when all processes have their collections open and the search kernels compiled, searches get on, and the
    engine behind the collections, if it is another than our own, answered when it was last asked; needs no key. Not
    true when all collections are damaged; of some, it tells how many are."""
    service = service_of(request)
    if not service.all_ready():
        raise UnavailableError(
            "the service is starting", hint="try again after the time in Retry-After", code="starting"
        )
    if service.admission.is_stuck:
        raise UnavailableError(
            f"all search threads have been busy with the same requests for more than {STUCK_SECONDS:g} seconds",
            code="busy",
        )
    trouble = service.registry.trouble()
    if trouble is not None:
        raise trouble
    return json_response({"status": "ready", "damaged": service.registry.damaged()})


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus's text format."},
        **{status: answer for status, answer in errors().items() if status in (401, 403, 500)},
    },
)
async def metrics(request: Request) -> Response:
    """Latencies by route and status, queue depth, documents, segments, encode and search time; documents and segments
    of the collections that the key opens."""
    service = service_of(request)
    caller = ANYONE
    if not service.settings.open_metrics:
        caller = service.guard.identify(request)
        caller.check("read", None)
        check_operation(caller, "metrics")
    figures = await service.registry.run(lambda: service.metrics.expose(lambda name: caller.may("read", name)))
    return Response(figures, headers={"content-type": CONTENT_TYPE})
