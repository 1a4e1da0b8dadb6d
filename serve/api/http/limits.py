"""Limits that the settings draw, checked when a request has been read."""

from __future__ import annotations

from collections.abc import Sequence

from lexhound.retrieval.collection.request import check_field_names
from lexhound.retrieval.errors import QueryError
from lexhound.serve.settings import Settings

from .exceptions import RequestError


def check_text(text: str | None, where: str, settings: Settings) -> None:
    """Refuse a query or a filter of more than so many characters."""
    if text is not None and len(text) > settings.max_query_characters:
        raise beyond(
            f"{len(text):,} characters; at most {settings.max_query_characters:,} are allowed", where, "shorten it"
        )


def check_page(k: int, offset: int, where: str, settings: Settings) -> None:
    """Refuse a page of more than so many hits, or one that lies deeper."""
    if k > settings.max_k:
        raise beyond(f"k is {k:,}; at most {settings.max_k:,} hits are given at a time", f"{where}.k", "use offset")
    if offset > settings.max_depth - settings.max_k:
        raise beyond(
            f"offset is {offset:,}; at most {settings.max_depth - settings.max_k:,} is possible",
            f"{where}.offset",
            "make the query or the filter narrower",
        )


def check_fields(fields: Sequence[str], where: str) -> None:
    """Refuse fields other than title, text, metadata and metadata.NAME."""
    try:
        check_field_names(fields)
    except QueryError as error:
        raise RequestError(error.message, where=where, hint=error.hint) from error


def check_number(count: int, most: int, noun: str, where: str) -> None:
    """Refuse a request that holds more than so many of something."""
    if count > most:
        raise beyond(f"{count:,} {noun}; at most {most:,} are allowed", where, "send them in several requests")


def beyond(message: str, where: str, hint: str) -> RequestError:
    """Return a value beyond a limit; the limits are in the OpenAPI document, so it does not fit the schema."""
    return RequestError(message, where=where, hint=hint, code="limit", status=422)
