"""The page at `/docs`: the OpenAPI document for people to read, in one HTML page without any script.

Made of nothing but what the document holds, so it cannot say anything else than that; it needs no other host, and works
where the service has no way out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from jinja2 import ChainableUndefined, Environment
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lexhound.core.templates import render_page, template_environment

from . import HEADERS

_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} entries",
    "pattern": "matches {}",
}


def mount_reference(app: FastAPI) -> None:
    """Serve the page at `/docs`, without a key, made at the first request."""
    pages: list[bytes] = []

    async def reference(request: Request) -> Response:
        if not pages:
            pages.append(reference_page(app.openapi()).encode())
        return Response(pages[0], media_type="text/html; charset=utf-8", headers=dict(HEADERS))

    app.router.routes.append(Route("/docs", reference, include_in_schema=False))


def reference_page(document: Mapping[str, Any]) -> str:
    """Return the HTML page that shows an OpenAPI document: its routes by tag, then its schemas."""
    operations = [
        {"path": path, "verb": verb, "operation": operation}
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
    ]
    return render_page(
        _environment(),
        "reference.html",
        title=f"{document['info']['title']} {document['info']['version']}",
        description=document["info"].get("description", ""),
        tags=[
            {**tag, "operations": [each for each in operations if tag["name"] in each["operation"].get("tags", ())]}
            for tag in document["tags"]
        ],
        schemas=dict(sorted(document["components"]["schemas"].items())),
    )


@cache
def _environment() -> Environment:
    environment = template_environment(Path(__file__).parent / "templates")
    environment.undefined = ChainableUndefined  # an OpenAPI document may leave out most of its keys
    environment.globals.update(limits=_LIMITS)
    environment.filters.update(
        compact_json=lambda value: json.dumps(value, ensure_ascii=False),
        example_text=_example_text,
        inline=_inline,
        paragraphs=lambda text: [each for each in re.split(r"\n\s*\n", text.strip()) if each],
    )
    return environment


def _example_text(example: Any) -> str:
    text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False, indent=2)
    return text.rstrip()


def _inline(text: str) -> Markup:
    """Return a text escaped, with the two marks that descriptions use: `code` and *emphasis*."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    html = re.sub(r"(?<!\w)\*([^*\s][^*]*)\*(?!\w)", r"<em>\1</em>", html)
    return Markup(html)  # noqa: S704  escaped above
