"""From results of the library to the answers of `_search`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lexhound.retrieval.collection.result import Facet, Hit, SearchResult, Total
from lexhound.retrieval.documents.metadata import Value, flatten
from lexhound.retrieval.documents.snippet import make_snippet
from lexhound.retrieval.engines.protocol import CapableBackend
from lexhound.retrieval.filters.sort_keys import SortKey

from .mapping import IndexMapping
from .requests import HighlightOptions, SearchBody, TermsAggregation
from .sources import source_of

SHARDS = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
_ALL_VALUES = 1_000_000_000


class Answerer:
    """Searches of one index.

    Args:
        index: the name under which hits are told.
    """

    def __init__(self, reader: CapableBackend, index: str, mapping: IndexMapping) -> None:
        self._reader = reader
        self._index = index
        self._mapping = mapping

    def answer(self, body: SearchBody) -> dict[str, Any]:
        """Return the answer to a `_search`.

        Raises:
            QueryError and what `Collection.search` raises.
        """
        result = self._reader.search(body.request)
        hits = list(result.hits[: body.size])
        shown: dict[str, Any] = {} if result.total is None else {"total": _total(result.total, body.nearest)}
        shown["max_score"] = self._best(body, result) if body.scored and body.size else None
        shown["hits"] = [self._hit(hit, body, result.terms) for hit in hits]
        answer = {"took": round(result.took_ms), "timed_out": False, "_shards": SHARDS, "hits": shown}
        if body.aggregations:
            answer["aggregations"] = {each.name: self._buckets(each, body) for each in body.aggregations}
        return answer

    def _best(self, body: SearchBody, result: SearchResult) -> float | None:
        """Return the score of the first of all hits, which an answer may have passed over."""
        request = body.request
        if not request.offset and not request.sort_keys:
            return result.hits[0].score if result.hits else None
        mode, filter, fusion = request.mode, request.filter, request.fusion
        best = self._reader.search(request.query, 1, mode=mode, filter=filter, fusion=fusion, fields=())
        return best.hits[0].score if best.hits else None

    def _hit(self, hit: Hit, body: SearchBody, terms: frozenset[int]) -> dict[str, Any]:
        shown: dict[str, Any] = {"_index": self._index, "_id": hit.id, "_score": hit.score if body.scored else None}
        if body.source.shown:
            shown["_source"] = body.source(source_of(hit.document, self._mapping))
        if body.request.sort_keys:
            shown["sort"] = [_sort_value(hit, key) for key in body.request.sort_keys]
        if body.request.collapse is not None:
            value = _sort_value(hit, SortKey(body.request.collapse))
            shown["fields"] = {body.request.collapse: [] if value is None else [value]}
        marked = self._highlights(hit, body.highlight, terms)
        if marked:
            shown["highlight"] = marked
        if body.request.explain:
            shown["_explanation"] = _explanation(hit)
        return shown

    def _highlights(self, hit: Hit, options: HighlightOptions, terms: frozenset[int]) -> dict[str, list[str]]:
        """Return the fields in which words of the query stand, marked."""
        found = {}
        for name in options.fields:
            text = (hit.title if name == self._mapping.title else hit.text) or ""
            spans = self._reader.highlights(text, terms)
            if options.whole:
                shown, marks = text, tuple((start, end) for start, end, _ in spans)
            else:
                snippet = make_snippet(text, spans, terms, options.size)
                shown, marks = snippet.text, snippet.marks
            if marks:
                found[name] = [_marked(shown, marks, options)]
        return found

    def _buckets(self, aggregation: TermsAggregation, body: SearchBody) -> dict[str, Any]:
        request = body.request
        query = request.query
        facets = self._reader.facets(
            [aggregation.field],
            _ALL_VALUES,
            query=None if isinstance(query, Mapping) else query,
            filter=body.counted_filter,
            mode=request.mode,
            matching=True,
            allow_unknown_fields=request.allow_unknown_fields,
        )
        return _terms_buckets(facets[0] if facets else None, aggregation)


def _terms_buckets(facet: Facet | None, aggregation: TermsAggregation) -> dict[str, Any]:
    values = () if facet is None else facet.values
    shown = values[: aggregation.size]
    buckets = []
    for value, count in shown:
        bucket: dict[str, Any] = {"key": value, "doc_count": count}
        if aggregation.boolean:
            bucket["key_as_string"] = "true" if value else "false"
        buckets.append(bucket)
    others = sum(count for _, count in values) - sum(count for _, count in shown)
    return {"doc_count_error_upper_bound": 0, "sum_other_doc_count": others, "buckets": buckets}


def _total(total: Total, nearest: int | None) -> dict[str, Any]:
    value = total.value if nearest is None else min(total.value, nearest)
    return {"value": value, "relation": "eq" if total.relation == "exact" else "gte"}


def _sort_value(hit: Hit, key: SortKey) -> Value | None:
    if key.field in ("id", "title"):
        return hit.id if key.field == "id" else hit.title or None
    values = [value for name, value in flatten(hit.metadata or {}) if name == key.field]
    choose = max if key.descending else min
    return choose(values, key=lambda value: (isinstance(value, str), value), default=None)


def _marked(text: str, marks: Sequence[tuple[int, int]], options: HighlightOptions) -> str:
    pieces, position = [], 0
    for start, end in marks:
        pieces += [text[position:start], options.pre, text[start:end], options.post]
        position = end
    return "".join([*pieces, text[position:]])


def _explanation(hit: Hit) -> dict[str, Any]:
    """Return the contributions as OpenSearch's tree of values; clauses that are no terms give what is left."""
    details = [
        {
            "value": each.score,
            "description": f"weight({each.term}): query {each.query_weight:g} × document {each.document_weight:g}"
            + ("" if each.factor == 1.0 else f" × fusion {each.factor:g}"),
            "details": [],
        }
        for each in hit.contributions or ()
    ]
    rest = hit.score - sum(each.score for each in hit.contributions or ())
    if abs(rest) > 1e-9 * max(1.0, abs(hit.score)):
        details.append({"value": rest, "description": "clauses of a constant score", "details": []})
    return {"value": hit.score, "description": "sum of:", "details": details}
