"""Answers that fit into a number of characters, because a model's context window is what they are read in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from lexhound.retrieval.collection.result import Hit, SearchResult
from lexhound.retrieval.documents.snippet import make_snippet
from lexhound.retrieval.engines.protocol import Backend

from .answers import CollectionsAnswer, DocumentAnswer, PassageHit, SearchAnswer, document_uri

LEAST_CHARACTERS, CHARACTERS, MOST_CHARACTERS = 500, 8_000, 200_000
"""Of an answer: the smallest budget, the usual one, the largest."""

# Of a text, looked through for its best passage.
_SEARCHED = 200_000
# A passage shorter than this says nothing: hits beyond are left out instead.
_LEAST_PASSAGE = 60
_METADATA = 1_000
_STEPS = ((50, 8), (50, 3), (25, 3), (25, 0), (10, 0))


def as_json(answer: BaseModel) -> str:
    """Return an answer as the JSON that is sent; what is null is left out."""
    return answer.model_dump_json(exclude_none=True)


def search_answer(
    name: str, collection: Backend, result: SearchResult, characters: int, shown: Sequence[str]
) -> SearchAnswer:
    """Return the hits with as much of their texts as the budget has room for.

    Short texts are given whole, and what they leave is shared by the others: of each the stretch that holds the most
    terms of the query. Where there is no room for a passage of each hit, the last hits are left out, and `note` says
    so.

    Args:
        characters: of the whole answer, as JSON.
        shown: names of metadata fields to show.
    """
    hits = list(result.hits)
    while True:
        answer = _without_passages(name, result, hits, characters, shown)
        room = characters - len(as_json(answer))
        if room >= _LEAST_PASSAGE * len(hits) or len(hits) <= 1:
            break
        hits.pop()
    texts = [(hit.text or "")[:_SEARCHED] for hit in hits]
    while True:
        for hit, text, width in zip(answer.hits, texts, shares([len(text) for text in texts], room), strict=True):
            hit.passage = _passage(collection, text, result.terms, width)
            hit.whole = hit.passage == text and len(text) < _SEARCHED
        over = len(as_json(answer)) - characters  # quotes and line breaks take more room as JSON
        if over <= 0 or room <= 0:
            return answer
        room = min(room, sum(len(hit.passage) for hit in answer.hits)) - over


def _without_passages(
    name: str, result: SearchResult, hits: Sequence[Hit], characters: int, shown: Sequence[str]
) -> SearchAnswer:
    return SearchAnswer(
        collection=name,
        mode=result.mode,
        hits=[_bare(name, hit, shown) for hit in hits],
        note=_note(result, len(hits), characters),
    )


def _bare(name: str, hit: Hit, shown: Sequence[str]) -> PassageHit:
    metadata = {field: _trimmed(value) for field, value in (hit.metadata or {}).items()} if shown else None
    return PassageHit(
        rank=hit.rank,
        id=hit.id,
        title=(hit.title or "")[:200],
        score=round(hit.score, 4),
        passage="",
        whole=False,
        uri=document_uri(name, hit.id),
        metadata=metadata,
    )


def _trimmed(value: Any) -> Any:
    """Return a value of metadata, or the beginning of a long text."""
    return f"{value[:_METADATA]}…" if isinstance(value, str) and len(value) > _METADATA else value


def _note(result: SearchResult, kept: int, characters: int) -> str | None:
    if not result.hits:
        return "no document matches; try other words, or a wider filter"
    if kept < len(result.hits):
        return f"{len(result.hits) - kept} more hits are left out: {characters:,} characters have no room for them"
    return "the query is longer than the model reads: its end is left out" if result.query_cut else None


def _passage(collection: Backend, text: str, terms: frozenset[int], width: int) -> str:
    if len(text) <= width:
        return text
    if width < 8:
        return ""
    return make_snippet(text, collection.highlights(text, terms), terms, width).text


def shares(lengths: Sequence[int], total: int) -> list[int]:
    """Return how many characters each text gets: short ones all, and the others equal shares of what is left."""
    shared = [0] * len(lengths)
    left = max(0, total)
    for done, place in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        shared[place] = min(lengths[place], left // (len(lengths) - done))
        left -= shared[place]
    return shared


def document_answer(answer: DocumentAnswer, text: str, offset: int, characters: int) -> DocumentAnswer:
    """Return a document with its text from `offset` on, as far as the budget goes; metadata that is too long is not."""
    if len(as_json(answer)) > characters // 2:
        answer.metadata, answer.note = {}, "the metadata is left out: it takes more than half of the budget"
    answer.characters = len(text)
    end = min(len(text), offset + max(characters - len(as_json(answer)) - 40, _LEAST_PASSAGE))
    while True:
        answer.text = text[offset:end]
        answer.next_offset = end if end < len(text) else None
        over = len(as_json(answer)) - characters
        if over <= 0 or end - offset <= _LEAST_PASSAGE:
            return answer
        end = max(offset + _LEAST_PASSAGE, end - over)


def collections_answer(answer: CollectionsAnswer, characters: int) -> CollectionsAnswer:
    """Return the collections with as many fields, and values of them, as the budget has room for."""
    for fields, values in _STEPS:
        for each in answer.collections:
            each.more_fields += max(0, len(each.fields) - fields)
            each.fields = [field.model_copy(update={"values": field.values[:values]}) for field in each.fields[:fields]]
        if len(as_json(answer)) <= characters:
            break
    return answer
