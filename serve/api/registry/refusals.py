"""What requests meet for which the service has no collection."""

from __future__ import annotations

from lexhound.serve.api.http.exceptions import ConflictError, UnknownNameError


def unknown_collection() -> UnknownNameError:
    """Return what a request for a collection that is not there meets."""
    return UnknownNameError(
        "there is no such collection",
        where="path.name",
        hint="GET /v1/collections lists those that are there",
        code="unknown_collection",
    )


def single_collection(verb: str) -> ConflictError:
    """Return what a request meets that makes or deletes collections where one alone is served."""
    return ConflictError(
        f"the service serves a single collection, so it cannot {verb} any",
        hint="start it with a folder instead: lexhound serve data/",
        code="single_collection",
    )
