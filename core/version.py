"""The installed version of Lexhound, looked up when it is asked for."""

from __future__ import annotations

from functools import cache
from typing import Any

__version__: str


@cache
def made_by() -> str:
    """Return `lexhound 0.1.0`, as what Lexhound makes says of its maker; `lexhound 0` where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"lexhound {version('lexhound')}"
    except PackageNotFoundError:  # run from a source tree
        return "lexhound 0"


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return made_by().partition(" ")[2]
