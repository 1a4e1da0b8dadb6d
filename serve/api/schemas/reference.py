"""The page at `/docs`: the OpenAPI document for people to read, in one HTML page without any script.

Made of nothing but what the document holds, so it cannot say anything else than that; it needs no other host, and works
where the service has no way out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lexhound.serve.page import HEADERS

_Node = Mapping[str, Any]
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
    made: list[bytes] = []

    async def reference(request: Request) -> Response:
        if not made:
            made.append(reference_page(app.openapi()).encode())
        return Response(made[0], media_type="text/html; charset=utf-8", headers=dict(HEADERS))

    app.router.routes.append(Route("/docs", reference, include_in_schema=False))


def reference_page(document: _Node) -> str:
    """The HTML page that tells an OpenAPI document: its routes by tag, then its schemas."""
    operations = [
        (path, verb, operation) for path, verbs in document["paths"].items() for verb, operation in verbs.items()
    ]
    by_tag = {
        tag["name"]: (tag["description"], [each for each in operations if tag["name"] in each[2].get("tags", ())])
        for tag in document["tags"]
    }
    schemas = document["components"]["schemas"]
    title = f"{document['info']['title']} {document['info']['version']}"
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}: REST reference</title>",
        '<link rel="icon" href="page/icon.svg" type="image/svg+xml">',
        '<link rel="stylesheet" href="page/reference.css"></head><body><main>',
        f'<h1>{escape(title)}: REST reference</h1><p class="also"><a href="./">Search page</a>',
        ' · <a href="openapi.json">OpenAPI document</a></p>',
        _prose(document["info"].get("description", "")),
        '<nav aria-label="Contents">',
        *_contents(by_tag, schemas),
        "</nav>",
    ]
    for tag, (description, found) in by_tag.items():
        parts.append(f'<section><h2 id="tag-{escape(tag)}">{escape(tag.capitalize())}</h2>{_prose(description)}')
        parts += [part for each in found for part in _operation(*each)]
        parts.append("</section>")
    parts.append('<section><h2 id="schemas">Schemas</h2>')
    parts += [part for name in sorted(schemas) for part in _schema(name, schemas[name])]
    parts.append("</section></main></body></html>\n")
    return "".join(parts)


def _contents(by_tag: Mapping[str, tuple[str, list[tuple[str, str, _Node]]]], schemas: _Node) -> Iterator[str]:
    for tag, (_, found) in by_tag.items():
        yield f'<h2><a href="#tag-{escape(tag)}">{escape(tag.capitalize())}</a></h2><ul>'
        for path, verb, operation in found:
            yield f'<li><a href="#{escape(operation["operationId"])}">{_call(verb, path)}</a>'
            yield f" {escape(operation.get('summary', ''))}</li>"
        yield "</ul>"
    yield '<h2><a href="#schemas">Schemas</a></h2><p>'
    yield ", ".join(_link(name) for name in sorted(schemas))
    yield "</p>"


def _operation(path: str, verb: str, operation: _Node) -> Iterator[str]:
    yield f'<article id="{escape(operation["operationId"])}"><h3>{_call(verb, path)}'
    yield f" {escape(operation.get('summary', ''))}</h3>{_prose(operation.get('description', ''))}"
    if operation.get("security"):
        yield "<p>Needs an API key.</p>"
    if parameters := operation.get("parameters"):
        rows = [
            (f"{escape(each['name'])}", f"{_type(each['schema'])}, in the {escape(each['in'])}", _about(each))
            for each in parameters
        ]
        yield _table("Parameters", ("name", "type", "meaning"), rows)
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h4>Body: {escape(media)}</h4><p>{_type(content['schema'])}</p>"
        yield from _examples(content)
    rows = []
    for status, response in operation["responses"].items():
        shapes = [_type(each["schema"]) for each in response.get("content", {}).values() if each.get("schema")]
        headers = [f"header <code>{escape(name)}</code>" for name in response.get("headers", {})]
        rows.append((escape(str(status)), ", ".join(shapes + headers), _inline(response.get("description", ""))))
    yield _table("Answers", ("status", "what", "when"), rows)
    yield "</article>"


def _schema(name: str, schema: _Node) -> Iterator[str]:
    yield f'<article id="schema-{escape(name)}"><h3>{escape(name)}</h3>{_prose(schema.get("description", ""))}'
    required = set(schema.get("required", ()))
    rows = [
        (escape(field), _type(each), _about({**each, "schema": each, "required": field in required}))
        for field, each in schema.get("properties", {}).items()
    ]
    if rows:
        yield _table("Fields", ("name", "type", "meaning"), rows)
    elif "enum" in schema or "anyOf" in schema:
        yield f"<p>{_type(schema)}</p>"
    yield from _examples(schema)
    yield "</article>"


def _about(each: _Node) -> str:
    """What a parameter or field means, whether it is needed, its default and its limits."""
    schema = each["schema"]
    notes = ["required" if each.get("required") else ""]
    if "default" in schema:
        notes.append(f"default <code>{escape(json.dumps(schema['default'], ensure_ascii=False))}</code>")
    for one in (schema, *schema.get("anyOf", ())):
        notes += [text.format(f"<code>{escape(str(one[key]))}</code>") for key, text in _LIMITS.items() if key in one]
    told = "; ".join(filter(None, notes))
    return " ".join(filter(None, (_inline(each.get("description", "")), f"<small>{told}</small>" if told else "")))


def _type(schema: _Node) -> str:
    """A schema in few words, with links to those that have a name."""
    if "$ref" in schema:
        return _link(str(schema["$ref"]).rsplit("/", 1)[-1])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_type(each) for each in schema[key])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(json.dumps(value, ensure_ascii=False))}</code>" for value in values)
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return f"array of ({', '.join(_type(each) for each in schema['prefixItems'])})"
        return f"array of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return escape(str(kind)) if kind else "anything"


def _examples(holder: _Node) -> Iterator[str]:
    found = [holder["example"]] if "example" in holder else holder.get("examples", [])
    for each in found if isinstance(found, list) else []:
        text = each if isinstance(each, str) else json.dumps(each, ensure_ascii=False, indent=2)
        yield f"<pre>{escape(text.rstrip())}</pre>"


def _table(caption: str, heads: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    """Cells are HTML already; the first of each row names it."""
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = "".join(
        f'<tr><th scope="row"><code>{first}</code></th><td>{second}</td><td>{third}</td></tr>'
        for first, second, third in rows
    )
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _call(verb: str, path: str) -> str:
    return f'<code><b class="{escape(verb)}">{escape(verb.upper())}</b> {escape(path)}</code>'


def _link(name: str) -> str:
    return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(each)}</p>" for each in re.split(r"\n\s*\n", text.strip()) if each)


def _inline(text: str) -> str:
    """Escaped, with the two marks that descriptions use: `code` and *emphasis*."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"(?<!\w)\*([^*\s][^*]*)\*(?!\w)", r"<em>\1</em>", text)
