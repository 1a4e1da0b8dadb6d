"""The optional extra `serve`: what the REST service needs beyond the command line."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import UsageError

_PACKAGES = ("fastapi", "uvicorn", "pydantic_settings", "prometheus_client", "httpx")


def require_serve() -> None:
    """Raise UsageError, naming what to install, unless the extra is there."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the service needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            hint="pip install 'lexhound[serve]'",
        )
