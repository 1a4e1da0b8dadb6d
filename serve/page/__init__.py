"""The search page: a few static files that come with the package, served under a strict content security policy.

The page is a client of the REST service like any other: it knows nothing that `/v1` does not tell it. Its files are
read once, and only they are served, so no request can name any other file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STATIC = Path(__file__).resolve().parent / "static"
INDEX = "index.html"
# The page runs its own files and nothing else: no inline script or style, no other origin, no frame around it. Trusted
# types make the browser refuse to parse text as HTML, so that a document's text cannot become markup by any mistake.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "referrer-policy": "no-referrer",  # addresses of this page hold queries
        "x-content-type-options": "nosniff",
        # Ask each time, and be told "unchanged": after an upgrade no old script meets a new service.
        "cache-control": "no-cache",
    }
)
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page, as it is sent."""

    content: bytes
    media_type: str
    etag: str


def page_files() -> dict[str, PageFile]:
    """Return the page's files by name. Raises `FileNotFoundError` where the package was installed without them."""
    files = {
        path.name: PageFile(content, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:24]}"')
        for path in sorted(STATIC.iterdir())
        if path.suffix in _MEDIA_TYPES
        for content in (path.read_bytes(),)
    }
    if INDEX not in files:
        raise FileNotFoundError(f"{STATIC / INDEX} is missing: install lexhound again")
    return files


def mount_page(app: Starlette) -> None:
    """Serve the page at `/` and its files below `/page/`, outside the API's documentation and without a key."""
    files = page_files()

    async def index(request: Request) -> Response:
        return _answer(request, files[INDEX])

    async def asset(request: Request) -> Response:
        file = files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return _answer(request, file)

    app.router.routes.append(Route("/", index, include_in_schema=False))
    app.router.routes.append(Route("/page/{name}", asset, include_in_schema=False))


def _answer(request: Request, file: PageFile) -> Response:
    headers = {**HEADERS, "etag": file.etag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
