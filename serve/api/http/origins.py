"""Which pages may call the service: the names it goes by, and who may write where no key is asked for.

Without keys whoever reaches the service may use it, and every page open in a browser on this machine reaches it:
by its own origin, and under any name that a foreign name server makes to mean this machine. A key is sent by who holds
it and by nobody else, so where keys are asked for there is nothing to guard.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lexhound.serve.settings import Settings

from .exceptions import AccessError

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?\Z")
_PORTS = {"http": "80", "https": "443"}


class Origins:
    """Middleware that refuses names which are not the service's own, and changes that foreign pages ask for."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keyless = not settings.has_keys
        self._pages = frozenset(settings.cors_origins)
        named = frozenset(_bare(each) for each in settings.allowed_hosts)
        # Beyond this machine the names that lead here cannot be known, unless they are given.
        self._checks_names = bool(named) or (self._keyless and settings.is_local)
        self._names = named | {"localhost", _bare(settings.host)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or raise AccessError (403)."""
        # What has no address comes from another of the service's processes, which has looked at it.
        if scope["type"] == "http" and scope.get("client") is not None:
            headers = Headers(scope=scope)
            if self._checks_names:
                self._check_names(headers)
            if self._keyless and scope["method"] not in _SAFE:
                self._check_page(headers)
        await self._app(scope, receive, send)

    def _check_names(self, headers: Headers) -> None:
        for host in headers.getlist("host"):
            match = _HOST.match(host)
            if match is None or not self._is_own(_bare(match["name"])):
                raise AccessError(
                    "the service does not go by the name that the request gives it",
                    where="header host",
                    hint="use localhost or the address it listens on; other names are given with --allowed-hosts",
                    code="foreign_host",
                )

    def _is_own(self, name: str) -> bool:
        if name in self._names or "*" in self._names:
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False

    def _check_page(self, headers: Headers) -> None:
        if "*" in self._pages:
            return
        origins = headers.getlist("origin")
        site = headers.get("sec-fetch-site")
        if origins and all(origin in self._pages for origin in origins):
            return
        # Browsers alone write Sec-Fetch-Site; they see through what a proxy makes of the host.
        if site in ("same-origin", "none") or (site is None and all(_is_same(each, headers) for each in origins)):
            return
        raise AccessError(
            "a page of another origin may not change anything here",
            where="header origin" if origins else "header sec-fetch-site",
            hint="whoever runs the service can allow it with --cors-origins, or ask for keys",
            code="foreign_origin",
        )


def _bare(name: str) -> str:
    """Return a host as it is compared: without brackets, in lower case, without the root's dot."""
    return name.strip("[]").lower().removesuffix(".")


def _is_same(origin: str, headers: Headers) -> bool:
    """Return whether an origin is the host that a request names."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    host = _HOST.match(headers.get("host", ""))
    if parts.hostname is None or host is None or parts.scheme not in _PORTS:
        return False
    usual = _PORTS[parts.scheme]
    return _bare(parts.hostname) == _bare(host["name"]) and str(port or usual) == (host["port"] or usual)
