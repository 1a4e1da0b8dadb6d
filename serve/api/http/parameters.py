"""Parameters of an address: those that a route knows, each given once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_origin

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from starlette.requests import Request

from lexhound.serve.api.schemas.names import hint_for

from .exceptions import RequestError


def parameters_of(dependant: Dependant) -> dict[str, bool]:
    """Return the names of the parameters that a route's function takes; true for those that may be given often."""
    return dict(_parameters(dependant))


def _parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from ((info.alias or name, _is_list(info.annotation)) for name, info in kind.model_fields.items())
        else:
            yield field.alias, _is_list(kind)


def _is_list(annotation: object) -> bool:
    return any(get_origin(each) is list for each in (annotation, *getattr(annotation, "__args__", ())))


def check_parameters(request: Request, known: dict[str, bool]) -> None:
    """Refuse parameters that the route does not know, and those that are given twice where one counts.

    Raises:
        RequestError: it names the nearest that there is.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            raise _refusal(f"there is no parameter {name[:60]!r}", name, hint_for(name, known))
        if not known[name] and given.count(name) > 1:
            raise _refusal(f"the parameter {name!r} is given {given.count(name):,} times", name, "give it once")


def _refusal(message: str, name: str, hint: str) -> RequestError:
    return RequestError(message, where=f"query.{name[:60]}", hint=hint, code="invalid_request", status=422)
