"""What the tools answer: objects with names, never a bare list, which the protocol would send as no content."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, Field

SCHEME = "lexhound"


def document_uri(collection: str, identifier: str) -> str:
    """Return the address of a document's resource; what an address cannot hold is percent-encoded."""
    return f"{SCHEME}://{collection}/{quote(identifier, safe='')}"


class PassageHit(BaseModel):
    """One hit of a search."""

    rank: int
    id: str
    title: str
    score: float
    passage: str = Field(description="The document's text, or the stretch of it that fits the query best.")
    whole: bool = Field(description="Whether the passage is the whole text; `get` reads the rest.")
    uri: str = Field(description="The document as a resource.")
    metadata: dict[str, Any] | None = Field(default=None, description="The fields that were asked for.")


class SearchAnswer(BaseModel):
    """The hits of a search, best first."""

    collection: str
    mode: str
    hits: list[PassageHit]
    note: str | None = Field(default=None, description="What else there is to know, such as hits that were left out.")


class DocumentAnswer(BaseModel):
    """A document, or a part of its text."""

    collection: str
    id: str
    title: str
    metadata: dict[str, Any]
    text: str
    characters: int = Field(description="Of the whole text.")
    next_offset: int | None = Field(default=None, description="Where the text goes on; null at its end.")
    note: str | None = None


class FieldAnswer(BaseModel):
    """One metadata field that filters may name."""

    field: str
    kind: Literal["text", "number"]
    documents: int = Field(description="How many documents have it.")
    values: list[str | int | float] = Field(description="Its most frequent values.")
    min: float | None = None
    max: float | None = None


class CollectionAnswer(BaseModel):
    """One collection."""

    name: str
    documents: int | None = None
    modes: list[str] = Field(description="How it can be searched.")
    fields: list[FieldAnswer] = Field(description="What filters may name.")
    more_fields: int = Field(default=0, description="Fields that are not listed.")
    note: str | None = None


class CollectionsAnswer(BaseModel):
    """All collections that may be read."""

    collections: list[CollectionAnswer]
    filters: str = Field(description="How filters are written.")


class AddedAnswer(BaseModel):
    """What became of documents that were written."""

    collection: str
    added: int
    replaced: int
    unchanged: int
    wordless: int = Field(default=0, description="Documents without a letter or a digit: no query of words finds them.")


class DeletedAnswer(BaseModel):
    """What became of documents that were to be deleted."""

    collection: str
    deleted: int
    missing: list[str] = Field(description="Ids that there were no documents of.")
