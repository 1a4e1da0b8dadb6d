"""From the `_source` of OpenSearch to documents and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from lexhound.retrieval.documents.document import JSON, Document

from .errors import OpenSearchError, check_keys, malformed
from .mapping import Field, IndexMapping

ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]00:?00)?)?")


def document_of(identifier: str, source: Any, mapping: IndexMapping) -> Document:
    """Return the document that a source is.

    Raises:
        OpenSearchError: a value is not what the mapping says. InvalidDocumentError: Lexhound cannot hold it.
    """
    if not isinstance(source, dict):
        raise malformed("a document must be an object")
    for name, value in _values(source, ""):
        _check(name, value, mapping)
    texts: dict[str, str] = {}
    metadata = dict(source)
    for field in (mapping.text, mapping.title):
        if field is not None and source.get(field):
            texts[field] = metadata.pop(field)
    title = "" if mapping.title is None else texts.get(mapping.title, "")
    return Document(identifier, texts.get(mapping.text, ""), title, metadata)


def source_of(document: Document, mapping: IndexMapping) -> dict[str, JSON]:
    """Return the source that a document was."""
    source: dict[str, JSON] = {}
    if document.title:
        source[mapping.title or "title"] = document.title
    if document.text:
        source[mapping.text] = document.text
    return source | dict(document.metadata)


def _values(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _values(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, name)
    else:
        yield name, value


def _check(name: str, value: Any, mapping: IndexMapping) -> None:
    if value is None:
        return
    field = mapping.fields.get(name)
    if mapping.searched(name):
        field = Field(name, "text", "text")
    heads = name.split(".")[:-1]
    above = [mapping.fields.get(".".join(heads[:end])) for end in range(1, len(heads) + 1)]
    field = field or next((each for each in above if each is not None), None)
    if field is None:
        if mapping.strict:
            raise OpenSearchError(
                f"the mapping is strict and has no field [{name}]", kind="strict_dynamic_mapping_exception"
            )
        return
    if field.kind == "index":
        raise OpenSearchError(
            f"failed to parse field [{field.name}] of type [{field.type}]: the index's own encoder makes its weights",
            kind="mapper_parsing_exception",
            hint="leave the field out of documents",
        )
    right, what = _fits(field, value)
    if not right:
        raise OpenSearchError(
            f"failed to parse field [{name}] of type [{field.type}]: {str(value)[:60]!r} is not {what}",
            kind="mapper_parsing_exception",
        )


def _fits(field: Field, value: Any) -> tuple[bool, str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match field.kind:
        case "text" | "stored":
            return isinstance(value, str), "a text"
        case "keyword":
            return isinstance(value, str) or number, "a text or a number"
        case "number":
            whole = field.type in ("long", "integer", "short", "byte", "unsigned_long")
            return number and (not whole or float(value).is_integer()), "such a number, written as one"
        case "boolean":
            return isinstance(value, bool), "true or false"
        case "date" if field.epoch:
            return isinstance(value, int) and not isinstance(value, bool), "a whole number"
        case "date":
            return (
                isinstance(value, str) and ISO_DATE.fullmatch(value) is not None,
                "a date as 2026-01-31 or 2026-01-31T10:00:00Z (numbers need the format epoch_millis)",
            )
        case "index":
            return False, "there"


class SourceFilter:
    """Which parts of a source an answer shows, by the `_source` of a request.

    Raises OpenSearchError where that means nothing.
    """

    def __init__(self, given: Any) -> None:
        self.shown = given is not False
        self._includes: list[str] = []
        self._excludes: list[str] = []
        if isinstance(given, dict):
            check_keys(given, ("includes", "excludes", "include", "exclude"), "_source")
            self._includes = _names(given.get("includes", given.get("include", [])))
            self._excludes = _names(given.get("excludes", given.get("exclude", [])))
        elif not isinstance(given, bool):
            self._includes = _names(given)

    def __call__(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is shown of a source."""
        if not self._includes and not self._excludes:
            return dict(source)
        return self._within(source, "")

    def _within(self, source: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, value in source.items():
            path = f"{prefix}{name}"
            if _matches(path, self._excludes):
                continue
            if isinstance(value, dict) and not _matches(path, self._includes):
                inner = self._within(value, f"{path}.")
                if inner:
                    shown[name] = inner
            elif isinstance(value, dict):
                shown[name] = SourceFilter({"excludes": self._excludes})._within(value, f"{path}.")
            elif not self._includes or _matches(path, self._includes):
                shown[name] = value
        return shown


def _matches(path: str, patterns: list[str]) -> bool:
    """Return whether a path, or an object that it lies in, is named."""
    parts = path.split(".")
    heads = [".".join(parts[: end + 1]) for end in range(len(parts))]
    return any(fnmatchcase(head, pattern) for head in heads for pattern in patterns)


def _names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise malformed("[_source] must be true, false, a name, names, or an object with includes and excludes")
    return names
