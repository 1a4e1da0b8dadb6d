"""The shapes of requests and answers about documents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from lexhound.retrieval.corpus.rows import FieldNames

from .base import Strict, Told, Whole


def _alternatives(schema: dict[str, Any]) -> None:
    """Return the other names of an id and a text, of each of which one is needed."""
    names = FieldNames()
    of_id, of_text = ([{"required": [each]} for each in group] for group in (names.id, names.text))
    for first, group in (("id", names.id), ("text", names.text)):
        # An alternative is of the type of the first, which is therefore said once.
        kinds = {key: value for key, value in schema["properties"][first].items() if key in ("type", "anyOf")}
        for other in group[1:]:
            schema["properties"][other] = kinds | {"description": f"Read as `{first}` where that is absent or null."}
    del schema["required"]
    schema["allOf"] = [{"anyOf": of_id}, {"anyOf": of_text}]


class DocumentBody(BaseModel):
    """A document to insert, or to put in the place of the one with the same id. Further fields are metadata."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_alternatives)

    id: Annotated[str, Field(min_length=1, max_length=512)] | int = Field(
        description="At most 512 bytes of UTF-8, without control characters; an integer becomes its decimal form.",
    )
    text: str
    title: str | None = ""
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description="What JSON holds; nested objects and lists can be filtered by. A field of the document itself wins "
        "over one in here.",
    )


class StoredDocument(Told):
    """A document as it is stored."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any]


class ItemError(Told):
    """Why a document was not stored."""

    code: str
    message: str
    hint: str | None


class Item(Told):
    """What became of one document; `place` counts the documents of the request from 0."""

    place: int
    id: str | None = Field(description="Null where the document has no id that can be read.")
    status: Literal["added", "replaced", "unchanged", "error"]
    error: ItemError | None = None


class BulkAnswer(Told):
    """What became of the documents; everything but `errors` is durable."""

    items: list[Item]
    added: int
    replaced: int
    unchanged: int
    errors: int
    wordless: int = Field(
        description="Of those that are stored, documents without a letter or a digit: no query of words finds them."
    )


class DeleteByIds(Strict):
    """Documents to delete by id."""

    ids: list[str] = Field(examples=[["a", "b"]])


class DeleteByFilter(Strict):
    """Documents to delete by a filter expression."""

    filter: str = Field(examples=["year < 1990"])
    allow_unknown_fields: bool = Field(
        False, description="Let the filter name fields, and kinds of values, that no document has."
    )


def _which_deletion(value: object) -> str:
    return "filter" if isinstance(value, dict) and "filter" in value else "ids"


DeleteRequest = Annotated[
    Annotated[DeleteByIds, Tag("ids")] | Annotated[DeleteByFilter, Tag("filter")], Discriminator(_which_deletion)
]


class DeleteAnswer(Told):
    """How many documents are gone, and which ids there were none of."""

    deleted: int
    missing: list[str]


class ListRequest(Strict):
    """Which documents to list."""

    filter: str | None = Field(
        None, description="Documents that pass; all of them without it.", examples=["year < 1990"]
    )
    allow_unknown_fields: bool = Field(
        False, description="Let the filter name fields, and kinds of values, that no document has."
    )
    offset: Whole = Field(0, ge=0, le=2**53, description="Documents to pass over first.")
    limit: Whole = Field(100, ge=1, le=1000, description="Documents of one answer.")


class DocumentList(Told):
    """A page of documents; `total` is how many pass in all."""

    documents: list[StoredDocument]
    total: int
