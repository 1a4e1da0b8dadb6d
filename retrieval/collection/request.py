"""The requests for a search, the same for every engine, for the command line, the service and its client.

A request that exists is valid: what no collection could answer is refused when the request is made. What depends on the
collection (its modes, its filters, its engine) is checked by the collection that is asked.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from lexhound.core.suggestions import check_keywords
from lexhound.retrieval.collection.clauses.tree import CLAUSES, Clause, TextClause, WeightsClause, leaves
from lexhound.retrieval.collection.reranking.options import Rerank, rerank_of
from lexhound.retrieval.errors import QueryError
from lexhound.retrieval.filters.sort_keys import SortKey, is_field_name, sort_keys_of

MODES = ("auto", "lexical", "sparse", "dense", "hybrid")
"""How a search may be asked for: `sparse` is the inverted index, which with BM25 is `lexical` too; `auto` is `hybrid`
where the collection has dense vectors, and the inverted index elsewhere."""

INDEX_MODES = ("lexical", "sparse")
"""The modes that are the inverted index."""

GROUPS = ("document", "none")
"""What hits are: documents, each where its best passage stands, or passages."""

METHODS = ("min-max", "z-score", "rrf", "fixed")
"""How a hybrid search makes one score of two; see `query.fusion`."""

MAX_K = 100_000
MAX_DEPTH = 10_000
"""Candidates of a side of a hybrid search, at most."""
MAX_QUERY_CHARACTERS = 50_000
"""Beyond this a query is surely a mistake (a whole file pasted), and scoring it would take seconds."""
MAX_WEIGHT = 1e9
"""Far beyond any model's weights, and small enough that no sum of them overflows."""
SNIPPET_CHARACTERS = 20_000
"""Of a text, looked through for the best snippet unless a request says otherwise: a longer one would make all wait."""

FIELDS = ("title", "text", "metadata")
METADATA_FIELD = "metadata."

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Fusion:
    """How a hybrid search fuses its two sides.

    Attributes:
        method: one of METHODS.
        dense_weight: the dense side's share of the sum, 0 to 1.
        depth: how many candidates each side brings. A hybrid search has at most twice as many hits, and takes longer
            the more they are.
        rank_constant: of `rrf`.
        sparse_low, dense_low: of `min-max`, the score that becomes 0; None for that of the least candidate. Of
            `fixed`, None stands for 0.
        sparse_high, dense_high: of `fixed`, the score that becomes 1; None for the largest that the query could get
            from any document (sparse), and for 1, the largest cosine (dense).
    """

    method: str = "z-score"
    dense_weight: float = 0.6
    depth: int = 1000
    rank_constant: float = 60.0
    sparse_low: float | None = None
    sparse_high: float | None = None
    dense_low: float | None = None
    dense_high: float | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise QueryError(f"the fusion method is {self.method!r}", hint=f"it must be one of {', '.join(METHODS)}")
        for name, low, high in (("dense_weight", 0.0, 1.0), ("rank_constant", 0.0, 1e6)):
            value = getattr(self, name)
            if not _is_number(value) or not low <= value <= high:
                raise QueryError(f"{name} of the fusion is {value!r}", hint=f"it must be from {low:g} to {high:g}")
        if not isinstance(self.depth, int) or isinstance(self.depth, bool) or not 1 <= self.depth <= MAX_DEPTH:
            raise QueryError(f"depth of the fusion is {self.depth!r}", hint=f"it must be from 1 to {MAX_DEPTH:,}")
        for side in ("sparse", "dense"):
            low, high = getattr(self, f"{side}_low"), getattr(self, f"{side}_high")
            for name, value in ((f"{side}_low", low), (f"{side}_high", high)):
                if value is not None and not _is_number(value):
                    raise QueryError(f"{name} of the fusion is {value!r}", hint="it must be a number")
            if low is not None and high is not None and low >= high:
                raise QueryError(
                    f"{side}_low of the fusion is {low:g} and {side}_high {high:g}", hint="the low one must be lower"
                )

    def weight(self, side: str) -> float:
        """Return the weight of the side "sparse" or "dense"."""
        return self.dense_weight if side == "dense" else 1.0 - self.dense_weight


class SearchKeywords(TypedDict, total=False):
    """The attributes of `SearchRequest` but the query and `k`, for those who write them as keywords."""

    offset: int
    mode: str
    filter: str | None
    allow_unknown_fields: bool
    recall: float | None
    fusion: Fusion | None
    rerank: Rerank | str | None
    group: str
    explain: bool
    highlight: bool
    snippet_characters: int
    fields: Sequence[str]
    stats: bool
    total: bool
    sort: str | Sequence[str | SortKey]
    collapse: str | None


class BatchKeywords(TypedDict, total=False):
    """The attributes of `BatchRequest` but the queries and `k`, for those who write them as keywords."""

    mode: str
    filter: str | None
    allow_unknown_fields: bool
    recall: float | None
    fusion: Fusion | None
    rerank: Rerank | str | None
    group: str
    threads: int | None


@dataclass(frozen=True, kw_only=True)
class RankingOptions:
    """What searches by one query and by many have in common.

    Attributes:
        k: how many hits at most, 1 to MAX_K.
        mode: one of MODES. A hybrid search has at most as many hits as its fusion has candidates.
        filter: an expression over metadata, such as `year >= 1990 and lang = "en"` (docs/filters.md).
        allow_unknown_fields: let `filter` name fields, and kinds of values, that no document has, and `fields` too.
        recall: the share of the exact hits that is enough, such as 0.95, for a faster search; 1 for all of them. None
            for all of the inverted index, and for .95 of dense vectors in clustered segments (see docs/spann.md).
            Scores are exact whatever it is.
        fusion: of a hybrid search; that of the collection unless given.
        rerank: a model that puts the best hits in a new order (its name, or a `Rerank`); that of the collection unless
            given, and "none" for no reranking.
        group: "document": `k` documents come back, each with its best passage; "none": `k` passages, of which several
            may be of one document.
    """

    k: int = 10
    mode: str = "auto"
    filter: str | None = None
    allow_unknown_fields: bool = False
    recall: float | None = None
    fusion: Fusion | None = None
    rerank: Rerank | str | None = None
    group: str = "document"

    def _check_ranking(self) -> None:
        k = _whole_number("k", self.k)
        object.__setattr__(self, "k", k)
        if not 1 <= k <= MAX_K:
            hint = "ask for at least one hit" if k < 1 else f"ask for at most {MAX_K:,} hits"
            raise QueryError(f"k is {k:,}; it must be from 1 to {MAX_K:,}", hint=hint)
        if self.mode not in MODES:
            raise QueryError(f"the mode is {self.mode!r}", hint=f"it must be one of {', '.join(MODES)}")
        if self.filter is not None and not isinstance(self.filter, str):
            raise QueryError(f"the filter is {self.filter!r}", hint="it must be an expression, written as text")
        if self.fusion is not None and not isinstance(self.fusion, Fusion):
            raise QueryError(f"the fusion is {self.fusion!r}", hint="it must be a Fusion")
        object.__setattr__(self, "rerank", rerank_of(self.rerank))
        if self.group not in GROUPS:
            raise QueryError(f"hits are grouped by {self.group!r}", hint=f"it must be one of {', '.join(GROUPS)}")
        check_recall(self.recall)

    @property
    def by_text(self) -> bool:
        """Whether the query is a text, and not the weights of terms."""
        return True

    @property
    def by_document(self) -> bool:
        """Whether hits are documents, and not passages."""
        return self.group == "document"


@dataclass(frozen=True)
class SearchRequest(RankingOptions):
    """A search by one query; `k`, `mode`, `filter`, `recall`, `fusion` and `group` as in `RankingOptions`.

    Attributes:
        query: a text, the weights of terms as the collection names them (`Contribution.term`), used as they are, or a
            tree of clauses (`clauses.tree`), which is answered by the inverted index.
        offset: how many hits to pass over first. Scores depend on neither `k` nor `offset`, and equal scores are
            ordered by insertion, so pages neither repeat nor skip.
        explain: give each hit the contributions of its terms and, in modes dense and hybrid, its sides' shares.
        highlight: give each hit a snippet of its text with the places of the query's words.
        snippet_characters: how much of a text is looked through for the best snippet.
        fields: what each hit is to hold of its document: `title`, `text`, `metadata`, or single values:
            `metadata.NAME`.
        stats: how much is read must be told; an engine that does not know it refuses the search.
        total: tell how many documents match (`SearchResult.total`), which reads the postings of all terms once more.
        sort: fields of metadata, `id` or `title`, such as `year:desc`, that order the hits in place of the score: of
            all that match, in modes dense and hybrid of the candidates. Numbers come before texts, documents without a
            value last; ties are by score, then insertion. A sequence of `SortKey` once the request is made.
        collapse: a field of which each value is to be there once: its best hit stays. Documents without a value count
            as one value. There are `k` hits whenever there are so many values.

    Raises `QueryError`, which names the attribute.
    """

    query: str | Mapping[str, float] | Clause
    offset: int = 0
    explain: bool = False
    highlight: bool = False
    snippet_characters: int = SNIPPET_CHARACTERS
    fields: Sequence[str] = FIELDS
    stats: bool = False
    total: bool = False
    sort: str | Sequence[str | SortKey] = ()
    collapse: str | None = None

    def __post_init__(self) -> None:
        self._check_ranking()
        object.__setattr__(self, "sort", sort_keys_of(self.sort))
        if self.sort and isinstance(self.rerank, Rerank):
            raise QueryError("a search cannot be both reranked and sorted by a field", hint="leave one of the two out")
        if self.collapse is not None and not is_field_name(self.collapse):
            raise QueryError(f"collapse is {self.collapse!a}", hint="it must be the name of a field")
        offset = _whole_number("offset", self.offset)
        object.__setattr__(self, "offset", offset)
        if offset < 0 or offset + self.k > MAX_K:
            hint = "the first page has offset 0" if offset < 0 else "make the query or the filter narrower"
            raise QueryError(
                f"offset is {offset:,}; it must not be negative, and offset + k at most {MAX_K:,}", hint=hint
            )
        object.__setattr__(self, "fields", tuple(self.fields))
        check_field_names(self.fields)
        if isinstance(self.query, CLAUSES):
            for clause in leaves(self.query):
                if isinstance(clause, TextClause):
                    check_text(clause.text)
                elif isinstance(clause, WeightsClause):
                    _check_weights(clause.weights)
        elif isinstance(self.query, str):
            check_text(self.query)
        else:
            _check_weights(self.query)

    @classmethod
    def of(
        cls, query: str | Mapping[str, float] | Clause | SearchRequest, k: int | None, keywords: SearchKeywords
    ) -> SearchRequest:
        """Return the request that a query and keywords mean; keywords given beside a request take its place.

        Raises:
            QueryError: a value is out of bounds. TypeError: there is no such keyword.
        """
        if isinstance(query, SearchRequest):
            request = replace(query, **keywords) if keywords else query
            return request if k is None else replace(request, k=k)
        check_keywords("search", keywords, ("k", *SearchKeywords.__annotations__))
        return cls(query, **keywords) if k is None else cls(query, k=k, **keywords)

    @property
    def sort_keys(self) -> tuple[SortKey, ...]:
        """What hits are sorted by before their score; nothing as a rule."""
        return tuple(key for key in self.sort if isinstance(key, SortKey))

    @property
    def by_score(self) -> bool:
        """Whether hits are the best by score alone, and need not be counted: what any engine can answer."""
        plain = not self.sort and self.collapse is None and not self.total
        return plain and not isinstance(self.query, CLAUSES)

    @property
    def depth(self) -> int:
        """How many hits are ranked: those that are passed over, too."""
        return self.offset + self.k

    @property
    def by_text(self) -> bool:
        """Whether the query is a text, and not the weights of terms."""
        return isinstance(self.query, str)


@dataclass(frozen=True)
class BatchRequest(RankingOptions):
    """A search by many texts, answered with ids and scores alone; further attributes as in `RankingOptions`.

    Attributes:
        queries: texts.
        threads: how many work on it; all cores unless given.

    Raises `QueryError`, which names the attribute.
    """

    queries: Sequence[str]
    threads: int | None = None

    def __post_init__(self) -> None:
        self._check_ranking()
        if isinstance(self.queries, str):
            raise QueryError("one query is given where many are expected", hint="put it into a list, or use `search`")
        for query in self.queries:
            check_text(query)

    @classmethod
    def of(cls, queries: Sequence[str] | BatchRequest, k: int | None, keywords: BatchKeywords) -> BatchRequest:
        """Return the request that queries and keywords mean; keywords given beside a request take its place.

        Raises:
            QueryError: a value is out of bounds. TypeError: there is no such keyword.
        """
        if isinstance(queries, BatchRequest):
            request = replace(queries, **keywords) if keywords else queries
            return request if k is None else replace(request, k=k)
        check_keywords("search_many", keywords, ("k", *BatchKeywords.__annotations__))
        return cls(queries, **keywords) if k is None else cls(queries, k=k, **keywords)


def check_text(query: object) -> None:
    """Refuse a query that is no text or too long.

    Raises:
        QueryError: it is.
    """
    if not isinstance(query, str):
        raise QueryError(
            f"the query is {type(query).__name__}", hint="it must be a text, or the weights of terms by their names"
        )
    if len(query) > MAX_QUERY_CHARACTERS:
        raise QueryError(
            f"the query has {len(query):,} characters; at most {MAX_QUERY_CHARACTERS:,} are allowed",
            hint="shorten the query",
        )


def check_field_names(fields: Sequence[str]) -> None:
    """Refuse fields of documents that are none.

    Raises:
        QueryError: one is.
    """
    for field in fields:
        if field not in FIELDS and not field.startswith(METADATA_FIELD):
            raise QueryError(
                f"{field[:60]!r} is not a field", hint="fields are title, text, metadata and metadata.NAME"
            )


def check_recall(recall: float | None) -> None:
    """Refuse a recall that means nothing; None and 1 are exact search.

    Raises:
        QueryError: it is not above 0 and at most 1.
    """
    if recall is not None and not (_is_number(recall) and 0 < recall <= 1):
        raise QueryError(
            f"recall is {f'{recall:g}' if _is_number(recall) else repr(recall)}; it must be above 0 and at most 1",
            hint="0.95 finds 95 of 100 hits faster; leave it out for exact search",
        )


def _check_weights(weights: object) -> None:
    """Refuse what is no query vector."""
    if not isinstance(weights, Mapping):
        check_text(weights)
        return
    if not all(0 < weight < MAX_WEIGHT for weight in weights.values()):
        raise QueryError(
            f"a weight of the query vector is not above 0 and below {MAX_WEIGHT:g}",
            hint="leave out terms that are to count for nothing",
        )
    for name in weights:
        if _SURROGATE.search(name):
            raise QueryError(
                f"the term {name!a} of the query vector has half of a surrogate pair, which is not a character",
                hint="check how it was decoded",
            )


def _whole_number(name: str, value: object) -> int:
    if isinstance(value, bool):
        raise QueryError(f"{name} is {value!r}", hint="it must be a whole number")
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise QueryError(f"{name} is {value!r}", hint="it must be a whole number") from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
