"""The mapping of an index: which of a document's fields is the text, which the title, and what the others hold.

A collection has one searched text and a title; an index has one `text` field, and beside it perhaps `title`. All other
fields are metadata. The mapping is kept with the collection as a note. A collection that was made elsewhere has none:
its text is called `text`, its title `title`, and its metadata is mapped as it is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from lexhound.core.field_names import DOCUMENT_TEXT
from lexhound.retrieval.engines.protocol import CapableBackend

from .errors import OpenSearchError, an_object, check_keys, unsupported

NOTE = "opensearch"

Kind = Literal["text", "stored", "keyword", "number", "boolean", "date", "index"]

_KINDS: dict[str, Kind] = {
    "text": "text",
    "keyword": "keyword",
    **dict.fromkeys(("long", "integer", "short", "byte", "double", "float", "half_float", "unsigned_long"), "number"),
    "boolean": "boolean",
    "date": "date",
    **dict.fromkeys(("rank_features", "sparse_vector"), "index"),
}
ISO = "strict_date_optional_time"
DATE_FORMATS = {
    "strict_date_optional_time||epoch_millis": "iso",
    ISO: "iso",
    "date_optional_time": "iso",
    "date": "iso",
    "strict_date": "iso",
    "yyyy-MM-dd": "iso",
    "epoch_millis": "epoch",
    "epoch_second": "epoch",
}
"""How a date is written, by the formats of mappings: ISO 8601, or a number."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        type: as the mapping names it; kind: what it means here. `stored` is text that is not searched, `index` the
            name by which `neural_sparse` calls the inverted index.
        epoch: of a date: whether it is a number.
    """

    name: str
    type: str
    kind: Kind
    epoch: bool = False


@dataclass(frozen=True, slots=True)
class IndexMapping:
    """A mapping.

    Attributes:
        properties: as they were given, for `GET _mapping`; fields: the same by their whole names.
        text, title: the names of the fields that are the document's text and title.
        strict: whether documents with other fields are refused.
    """

    properties: dict[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Field] = field(default_factory=dict)
    text: str = "text"
    title: str | None = "title"
    strict: bool = False

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> IndexMapping:
        """Return the mapping that the `mappings` of a request write.

        Raises:
            OpenSearchError: it has what an index here cannot have.
        """
        check_keys(body, ("properties", "dynamic", "_source"), "mappings")
        if body.get("_source", {}) not in ({}, {"enabled": True}):
            raise unsupported("[_source] of [mappings]", "documents are always kept as a whole")
        dynamic = body.get("dynamic", True)
        if dynamic not in (True, "true", "strict"):
            raise unsupported(f"[dynamic: {dynamic}] of [mappings]", "leave it out, or say strict")
        properties = an_object(body.get("properties", {}), "properties")
        fields = {each.name: each for each in _fields(properties, "")}
        searched = [each.name for each in fields.values() if each.kind == "text"]
        title = "title" if "title" not in fields or (fields["title"].kind == "text" and len(searched) > 1) else None
        texts = [name for name in searched if name != title]
        if len(texts) > 1:
            raise OpenSearchError(
                f"an index searches one text field beside `title`, and the mapping has {', '.join(texts)}",
                kind="mapper_parsing_exception",
                hint='map the others as keyword, or with "index": false, or join their texts in one field',
            )
        default = next((name for name in DOCUMENT_TEXT if name not in fields), "text")
        text = texts[0] if texts else default
        return cls(dict(properties), fields, text, None if title == text else title, dynamic == "strict")

    def searched(self, name: str) -> bool:
        """Return whether a field is searched as text."""
        return name in (self.text, self.title)

    def find(self, name: str) -> Field | None:
        """Return a field, also by the name of its `keyword`; None where it is not mapped."""
        return self.fields.get(name) or self.fields.get(name.removesuffix(".keyword"))

    def as_json(self) -> dict[str, Any]:
        """Return it as `GET _mapping` shows it."""
        properties = dict(self.properties)
        for name in (self.title, self.text):
            if name is not None and name not in self.fields:
                properties = {name: {"type": "text"}} | properties
        return {"dynamic": "strict" if self.strict else "true", "properties": properties}

    def write(self) -> str:
        """Return the text that is kept with the collection."""
        kept = {"properties": self.properties, "dynamic": "strict" if self.strict else True}
        return orjson.dumps(kept).decode()


def mapping_of(reader: CapableBackend) -> IndexMapping:
    """Return the mapping of a collection; of one that was made elsewhere, that of its metadata."""
    note = reader.note(NOTE)
    if note is not None:
        return IndexMapping.parse(orjson.loads(note))
    return IndexMapping()


def found_properties(reader: CapableBackend) -> dict[str, Any]:
    """Return properties for the metadata that the documents have; fields within others by their whole names."""
    properties: dict[str, Any] = {}
    for facet in reader.facets(None, 2):
        whole = facet.kind == "number" and all(isinstance(each.value, int) for each in facet.values)
        properties[facet.field] = {"type": "keyword" if facet.kind == "text" else "long" if whole else "double"}
    return properties


def _fields(properties: Mapping[str, Any], prefix: str) -> Iterator[Field]:
    for name, given in properties.items():
        whole = f"{prefix}{name}"
        options = an_object(given, whole)
        if "properties" in options or options.get("type") == "object":
            check_keys(options, ("properties", "type"), whole)
            if options.get("type", "object") != "object":
                raise unsupported(f"[type: {options['type']}] of [{whole}]")
            yield from _fields(an_object(options.get("properties", {}), whole), f"{whole}.")
            continue
        yield _field(whole, options)


def _field(name: str, options: dict[str, Any]) -> Field:
    check_keys(options, ("type", "index", "fields", "format", "ignore_above", "doc_values", "store"), name)
    kind = _KINDS.get(str(options.get("type")))
    if kind is None:
        raise unsupported(f"[type: {options.get('type')}] of [{name}]", f"the types are {', '.join(_KINDS)} and object")
    if kind == "text" and "." in name:
        raise unsupported(
            f"the text field [{name}] within an object", "search a field at the top, or map it as keyword"
        )
    for inner, its in an_object(options.get("fields", {}), f"{name}.fields").items():
        if inner != "keyword" or an_object(its, f"{name}.{inner}").get("type") != "keyword":
            raise unsupported(f"[fields.{inner}] of [{name}]", "a field may have one of type keyword, called keyword")
    if options.get("doc_values", True) is not True or options.get("index", True) is not True:
        if kind != "text":
            raise unsupported(f"[index: false] of [{name}]", "all metadata can be filtered by")
        kind = "stored"
    written = str(options.get("format", ISO))
    if ("format" in options and kind != "date") or written not in DATE_FORMATS:
        raise unsupported(f"[format: {written}] of [{name}]", "dates are ISO 8601, or epoch_millis")
    return Field(name, str(options["type"]), kind, DATE_FORMATS[written] == "epoch")
