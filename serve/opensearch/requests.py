"""From the body of `_search` to requests of the library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lexhound.encoders.bm25.encoder import KIND as BM25
from lexhound.retrieval.collection.clauses.tree import Clause
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.filters.sort_keys import SortKey
from lexhound.serve.api.schemas.answers import shown_name

from .errors import OpenSearchError, an_object, check_keys, malformed, unsupported
from .filters import as_list, one_entry
from .hybrid import TextQuery, read_fusion, read_text_query
from .mapping import IndexMapping
from .queries import QueryReader, without_scores
from .sources import SourceFilter

SEARCH_KEYS = (
    *("query", "from", "size", "sort", "_source", "highlight", "aggs", "aggregations", "explain", "post_filter"),
    *("collapse", "track_total_hits", "track_scores", "search_pipeline"),
)
DEFAULT_SIZE = 10


@dataclass(frozen=True, slots=True)
class TermsAggregation:
    """Buckets of the most frequent values of a field."""

    name: str
    field: str
    size: int
    boolean: bool = False


@dataclass(frozen=True, slots=True)
class HighlightOptions:
    """What of which fields is marked, and how.

    Attributes:
        whole: show the whole text rather than its best passage; size: characters of that.
    """

    fields: tuple[str, ...] = ()
    pre: str = "<em>"
    post: str = "</em>"
    whole: bool = False
    size: int = 100


@dataclass(frozen=True, slots=True)
class SearchBody:
    """What a `_search` asks for.

    Attributes:
        request: of the hits; with `size` 0 its only hit is not shown.
        counted_filter: beside its query, which documents aggregations count.
        texts: all texts and filters in it.
        listed: hits in the order of documents (`_doc`); flat: all that match have one score, and come in that order
            anyway; scored: whether hits tell their scores.
        nearest: how many documents a search by vectors finds at most.
    """

    request: SearchRequest
    counted_filter: str | None
    size: int
    source: SourceFilter
    highlight: HighlightOptions
    texts: tuple[str, ...]
    aggregations: tuple[TermsAggregation, ...]
    listed: bool
    flat: bool
    scored: bool
    nearest: int | None


def read_search(body: Mapping[str, Any], mapping: IndexMapping, manifest: Manifest) -> SearchBody:
    """Return what the body of `_search` asks for.

    Raises:
        OpenSearchError: it has what is not supported, or cannot be read. QueryError: a value is out of bounds.
    """
    check_keys(body, SEARCH_KEYS, "search")
    reader = QueryReader(mapping, None if manifest.encoder.kind == BM25 else shown_name(manifest.encoder.name))
    given = body.get("query", {"match_all": {}})
    kind, inner = one_entry(given, "query")
    query: Clause | TextQuery
    query = read_text_query(kind, inner, reader) if kind in ("neural", "hybrid") else reader.read(given)
    fusion, nearest = None, query.nearest if isinstance(query, TextQuery) else None
    if isinstance(query, TextQuery) and query.mode == "hybrid":
        fusion, nearest = read_fusion(body.get("search_pipeline"), nearest), None
    elif body.get("search_pipeline") is not None:
        raise unsupported("[search_pipeline] for a query that is not [hybrid]")
    size, offset = whole(body.get("size", DEFAULT_SIZE), "size"), whole(body.get("from", 0), "from")
    shown = size if nearest is None else max(0, min(size, nearest - offset))
    keys, listed = _sort(body.get("sort"), reader)
    collapse = None if body.get("collapse") is None else _collapse(body["collapse"], reader)
    if listed and (collapse or isinstance(query, TextQuery)):
        raise unsupported("[sort: _doc] with [neural], [hybrid] or [collapse]")
    aggregations = tuple(_aggregations(body.get("aggs", body.get("aggregations", {})), reader))
    after = None if "post_filter" not in body else reader.expression(body["post_filter"], "post_filter")
    own = query.filter if isinstance(query, TextQuery) else None
    request = SearchRequest(
        query.text if isinstance(query, TextQuery) else query,
        k=max(1, shown),
        offset=offset,
        mode=query.mode if isinstance(query, TextQuery) else "sparse",
        fusion=fusion,
        filter=_both(own, after),
        allow_unknown_fields=not reader.filters.unmapped,
        explain=_flag(body.get("explain", False), "explain"),
        total=_counted(body.get("track_total_hits", True)),
        sort=keys,
        collapse=collapse,
    )
    return SearchBody(
        request,
        counted_filter=own,
        size=shown,
        source=SourceFilter(body.get("_source", True)),
        highlight=_highlight(body.get("highlight"), mapping),
        texts=tuple(reader.texts),
        aggregations=aggregations,
        listed=listed,
        flat=not isinstance(query, TextQuery) and without_scores(query),
        scored=not (keys or listed) or _flag(body.get("track_scores", False), "track_scores"),
        nearest=nearest,
    )


def read_count(
    body: Mapping[str, Any], mapping: IndexMapping, manifest: Manifest
) -> tuple[SearchRequest, tuple[str, ...]]:
    """Return the request whose total is the answer to `_count`, and the texts in it."""
    check_keys(body, ("query",), "count")
    read = read_search(body, mapping, manifest)
    if not read.request.by_text:
        return read.request, read.texts
    raise unsupported("[neural] and [hybrid] in [_count]", "every document is more or less near")


def whole(value: Any, name: str) -> int:
    """Return a whole number that is not negative, also one that an address gives."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise malformed(f"[{name}] is {value!r}", "it must be a whole number")
    return value


def _counted(value: Any) -> bool:
    """Return whether the total is told: it is exact whenever it is."""
    if isinstance(value, bool):
        return value
    return whole(value, "track_total_hits") > 0


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise malformed(f"[{name}] is {value!r}", "it must be true or false")
    return value


def _both(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return one if other is None else other
    return f"({one}) and ({other})"


def _sort(given: Any, reader: QueryReader) -> tuple[tuple[SortKey, ...], bool]:
    """Return the keys to sort by, and whether it is the order of documents instead."""
    entries = as_list(given)
    if entries in (["_doc"], [{"_doc": "asc"}], [{"_doc": {"order": "asc"}}]):
        return (), True
    keys: list[SortKey] = []
    for place, entry in enumerate(entries):
        name, options = (entry, {}) if isinstance(entry, str) else one_entry(entry, "sort")
        options = {"order": options} if isinstance(options, str) else an_object(options, f"sort.{name}")
        check_keys(options, ("order", "missing", "unmapped_type"), f"sort.{name}")
        order = options.get("order", "desc" if name == "_score" else "asc")
        if order not in ("asc", "desc"):
            raise malformed(f"[order] of [{name}] is {order!r}")
        if options.get("missing", "_last") != "_last":
            raise unsupported(f"[missing: {options['missing']}] of [sort]", "documents without a value come last")
        if name == "_score" and order == "desc" and place == len(entries) - 1:
            break  # which is how equals are ordered anyway
        if name in ("_score", "_doc"):
            raise unsupported(f"[{name}] in this place of [sort]", "_score may come last, and _doc be the only one")
        stored, mapped = reader.filters.field(name, "sort")
        if "unmapped_type" in options and mapped is None:
            reader.filters.unmapped.discard(stored)
        keys.append(SortKey(stored, order == "desc"))
    return tuple(keys), False


def _collapse(given: Any, reader: QueryReader) -> str:
    check_keys(an_object(given, "collapse"), ("field",), "collapse")
    return reader.filters.field(str(given.get("field")), "collapse")[0]


def _aggregations(given: Any, reader: QueryReader) -> list[TermsAggregation]:
    found = []
    for name, options in an_object(given, "aggs").items():
        kind, body = one_entry(options, name) if len(an_object(options, name)) == 1 else ("aggs within aggs", {})
        if kind != "terms":
            raise unsupported(f"the aggregation [{kind}]", "aggregations are terms, without others within them")
        check_keys(an_object(body, name), ("field", "size", "order", "min_doc_count"), name)
        if body.get("order", {"_count": "desc"}) != {"_count": "desc"} or body.get("min_doc_count", 1) != 1:
            raise unsupported(f"[order] or [min_doc_count] of [{name}]", "buckets come by their count, from 1 on")
        field_name, mapped = reader.filters.field(str(body.get("field")), "terms aggregation")
        size = whole(body.get("size", DEFAULT_SIZE), f"{name}.size")
        found.append(TermsAggregation(name, field_name, size, mapped is not None and mapped.kind == "boolean"))
    return found


def _highlight(given: Any, mapping: IndexMapping) -> HighlightOptions:
    if given is None:
        return HighlightOptions()
    known = ("pre_tags", "post_tags", "number_of_fragments", "fragment_size")
    check_keys(an_object(given, "highlight"), ("fields", *known), "highlight")
    fields: dict[str, Any] = {}
    for entry in as_list(given.get("fields", {})):
        fields |= an_object(entry, "highlight.fields")
    options = dict(given)
    for name, its in fields.items():
        if not mapping.searched(name):
            raise unsupported(f"[highlight] of [{name}]", "the text and the title can be highlighted")
        check_keys(an_object(its, name), known, f"highlight.{name}")
        options |= its
    fragments, size = options.get("number_of_fragments", 1), whole(options.get("fragment_size", 100), "fragment_size")
    if fragments not in (0, 1):
        raise unsupported("[number_of_fragments] above 1", "the best passage is shown; 0 shows the whole text")
    if not 18 <= size <= 10_000:
        raise OpenSearchError(f"[fragment_size] is {size}", hint="it must be from 18 to 10,000")
    tags = [as_list(options.get(key, [default])) for key, default in (("pre_tags", "<em>"), ("post_tags", "</em>"))]
    if not all(len(each) == 1 and isinstance(each[0], str) for each in tags):
        raise unsupported("several [pre_tags] or [post_tags]", "give one of each")
    return HighlightOptions(tuple(fields), tags[0][0], tags[1][0], fragments == 0, size)
