"""What all shapes of requests and answers have in common, as OpenAPI tells them.

Requests are checked strictly: a number is no text and an unknown field is a mistake. Answers are written by hand where
speed counts; tests hold them against these models.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from .names import hint_for

UNKNOWN_FIELD = "unknown_field"
"""The type of the error, whose context has the `name` and a `hint`."""

JsonScalar = str | int | float


def _integer(value: object) -> object:
    """Return 5.0 as 5: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_integer)]


class Strict(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, value: object) -> object:
        for name in value if isinstance(value, dict) else ():
            if name not in cls.model_fields:
                context = {"name": name, "hint": hint_for(str(name), cls.model_fields)}
                raise PydanticCustomError(UNKNOWN_FIELD, "there is no field '{name}'", context)
        return value


class Told(BaseModel):
    """What the service answers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class ErrorDetail(Told):
    """What went wrong, where in the request, and what to do about it."""

    code: str = Field(description="A stable name for programs.", examples=["filter_syntax"])
    message: str = Field(description="What is wrong, for people.", examples=["there is no such collection"])
    where: str | None = Field(description="The part of the request that is meant.", examples=["body.k"])
    hint: str | None = Field(description="What to do about it.", examples=["ask for at least one hit"])
    request_id: str = Field(description="Also in the header X-Request-ID, and in the service's log.")


class Error(Told):
    """Every answer with a status from 400 on."""

    error: ErrorDetail
