"""What a client gets: the service's answers as values with types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lexhound.index.topk import SearchStats
from lexhound.retrieval.collection.result import Contribution, Facet, FacetValue, Hit, SearchResult, Share, Total
from lexhound.retrieval.documents.passages import Passage
from lexhound.retrieval.documents.snippet import Snippet

Health = Literal["ok", "unfinished", "damaged", "unavailable"]


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is stored."""

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the form in which it is sent."""
        return {"id": self.id, "text": self.text, "title": self.title, "metadata": dict(self.metadata)}


@dataclass(frozen=True, slots=True)
class CollectionSummary:
    """A collection in the list, or an alias of one; the counts of one that cannot be opened are None."""

    name: str
    documents: int | None
    segments: int | None
    bytes: int | None
    encoder: str | None
    modes: tuple[str, ...]
    health: Health
    alias_of: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """The figures of a collection; `details` is all that the service tells.

    What another engine does not tell of a collection that it keeps is None.
    """

    name: str
    documents: int
    deleted: int | None
    pending: int | None
    segments: int | None
    bytes: int | None
    encoder: str
    settings: Mapping[str, Any]
    modes: tuple[str, ...]
    health: Health
    details: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A document that was not stored: its place among those sent, its id if it has one, and why."""

    place: int
    id: str | None
    code: str
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of the documents of a bulk load; `wordless` of those that are stored have no letter and no digit."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    rejected: tuple[Rejection, ...] = ()
    wordless: int = 0

    @property
    def total(self) -> int:
        """Documents sent, rejected ones among them."""
        return self.added + self.replaced + self.unchanged + len(self.rejected)


@dataclass(frozen=True, slots=True)
class Deletion:
    """How many documents are gone, and the ids that there were none of."""

    deleted: int
    missing: tuple[str, ...]


def document_of(answer: Mapping[str, Any]) -> Document:
    """Return a stored document."""
    return Document(answer["id"], answer["text"], answer["title"], answer["metadata"])


def collection_summary(answer: Mapping[str, Any]) -> CollectionSummary:
    """Return a collection in the list."""
    return CollectionSummary(
        answer["name"],
        answer["documents"],
        answer["segments"],
        answer["bytes"],
        None if answer["encoder"] is None else answer["encoder"]["name"],
        tuple(answer["modes"]),
        answer["health"],
        answer.get("alias_of"),
    )


def collection_info(answer: Mapping[str, Any]) -> CollectionInfo:
    """Return the figures of a collection."""
    return CollectionInfo(
        answer["name"],
        answer["documents"],
        answer["deleted"],
        answer["pending"],
        None if answer["segments"] is None else len(answer["segments"]),
        answer["bytes"],
        answer["encoder"]["name"],
        answer["encoder"]["settings"],
        tuple(answer["modes"]),
        answer["health"],
        answer,
    )


def bulk_result(answer: Mapping[str, Any], before: BulkResult) -> BulkResult:
    """Return the result of one more request of a bulk load."""
    rejected = tuple(
        Rejection(
            before.total + item["place"],
            item["id"],
            item["error"]["code"],
            item["error"]["message"],
            item["error"]["hint"],
        )
        for item in answer["items"]
        if item["status"] == "error"
    )
    return BulkResult(
        before.added + answer["added"],
        before.replaced + answer["replaced"],
        before.unchanged + answer["unchanged"],
        before.rejected + rejected,
        before.wordless + answer.get("wordless", 0),
    )


def search_result(answer: Mapping[str, Any]) -> SearchResult:
    """Return the hits of one query."""
    stats = answer.get("stats")
    return SearchResult(
        tuple(_hit(each) for each in answer["hits"]),
        answer["seconds"],
        None if stats is None else SearchStats(stats["postings_read"], stats["rows_scored"]),
        tuple(answer.get("unknown_terms") or ()),
        total=Total(**answer["total"]) if answer.get("total") else None,
        query_cut=bool(answer.get("query_cut")),
        reranked_cut=answer.get("reranked_cut", 0),
    )


def _hit(answer: Mapping[str, Any]) -> Hit:
    values = dict(answer)
    if "snippet" in values:
        snippet = values["snippet"]
        values["snippet"] = Snippet(snippet["text"], tuple((start, end) for start, end in snippet["marks"]))
    values.pop("explanation", None)  # the former name of contributions
    if "contributions" in values:
        values["contributions"] = tuple(Contribution(**each) for each in values["contributions"])
    if "shares" in values:
        values["shares"] = tuple(Share(**each) for each in values["shares"])
    if "passage" in values:
        values["passage"] = Passage(**values["passage"])
    return Hit(**values)


def facet_of(answer: Mapping[str, Any]) -> Facet:
    """Return one metadata field."""
    return Facet(
        answer["field"],
        answer["kind"],
        tuple(FacetValue(each["value"], each["count"]) for each in answer["values"]),
        answer["min"],
        answer["max"],
        answer["documents"],
    )
