"""Packages that optional extras bring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import MissingExtraError


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Tell that a package is missing which the block imports: `what` needs it, and the extra `name` brings it.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise MissingExtraError(
            f"{what} needs {package}, which is not installed", f"pip install 'lexhound[{name}]'"
        ) from error
