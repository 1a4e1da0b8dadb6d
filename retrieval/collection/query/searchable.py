"""What can be asked of documents: searches, look-ups, counts, facets; of a whole collection or of one tenant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Unpack

from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.clauses.listing import ListingCollection
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.request import BatchKeywords, BatchRequest, SearchKeywords, SearchRequest
from lexhound.retrieval.collection.reranking.options import Rerank
from lexhound.retrieval.collection.reranking.reranked import rerank, rerank_many, wanted
from lexhound.retrieval.collection.result import Facet, RankedIds, SearchResult, Suggestions
from lexhound.retrieval.collection.words.suggestions import MOST_COMPLETIONS
from lexhound.retrieval.documents.document import Document

from .facets import FACETED_HITS
from .fusion import FieldScores
from .modes import modes_of
from .search import answer, answer_many, fusion_candidates

if TYPE_CHECKING:
    from lexhound.encoders.base import Span
    from lexhound.retrieval.collection.clauses.tree import Clause


class Searchable(ListingCollection):
    """The questions that are answered from what a reader sees."""

    @property
    def reranker(self) -> Rerank | None:
        """The reranking of searches that name none."""
        raise NotImplementedError

    @property
    def sparse_field(self) -> SparseField:
        """How texts become the vectors of the inverted index; for what reads those vectors back."""
        return self._encoders.sparse

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that a search may ask for, beside `auto`."""
        return modes_of(self.sparse_field, dense=self._encoders.dense is not None)

    def search(
        self,
        query: str | Mapping[str, float] | Clause | SearchRequest,
        k: int | None = None,
        **options: Unpack[SearchKeywords],
    ) -> SearchResult:
        """Return the best documents for a query; fewer than asked for where fewer match.

        Args:
            query: a text, the weights of terms, a tree of clauses, or a whole request.
            k: how many hits; 10 unless given.
            options: the other attributes of `SearchRequest`.

        Raises:
            QueryError: an option is out of bounds, or the collection does not have the mode; FilterSyntaxError: the
            filter does not parse. UnknownFieldError: no document has what the filter names. EncoderError: a model
            cannot be loaded.
        """
        request = SearchRequest.of(query, k, options)
        reranking = wanted(request, self.reranker)
        if reranking is not None and reranking.is_late:
            from lexhound.retrieval.collection.reranking.late import search_late  # few searches need it

            return search_late(self._asked, self._encoders, request, reranking)
        if reranking is not None:
            return rerank(self.search, request, reranking)
        encoders = self._encoders.of_queries(request)
        return self._asked.read(lambda snapshot: answer(snapshot, encoders, request))

    def search_many(
        self, queries: Sequence[str] | BatchRequest, k: int | None = None, **options: Unpack[BatchKeywords]
    ) -> list[RankedIds]:
        """Return (id, score) of the best documents for each query, best first, on all cores.

        The answers are those of `search`; in modes dense and hybrid up to the rounding of query vectors, whose last
        bits may differ when many are encoded together.

        Args:
            queries: texts, or a whole request.
            k: how many hits a query; 10 unless given.
            options: the other attributes of `BatchRequest`.

        Raises:
            QueryError, FilterSyntaxError, EncoderError: as for `search`.
        """
        request = BatchRequest.of(queries, k, options)
        reranking = self.reranker if request.rerank is None else request.rerank
        if isinstance(reranking, Rerank):
            return rerank_many(self.search, request, reranking)
        encoders = self._encoders.of_queries(request)
        return self._asked.read(lambda snapshot: answer_many(snapshot, encoders, request))

    def get(self, identifier: str, *, latest: bool = False) -> Document | None:
        """Return the document with this id as it is now, or None; unless `latest`, only one that searches see too.

        Raises:
            CorruptCollectionError: it is not what was written, or the index of ids is damaged.
        """
        return self._asked.get(identifier, latest=latest)

    def count(self, filter: str | None = None, *, allow_unknown_fields: bool = False) -> int:
        """Return how many documents there are, or pass a filter expression.

        Raises:
            FilterSyntaxError: the filter does not parse. UnknownFieldError: no document has what it names.
        """
        return self._asked.count(filter, allow_unknown_fields=allow_unknown_fields)

    def ids(self, filter: str, *, allow_unknown_fields: bool = False) -> list[str]:
        """Return the ids of the documents that pass a filter expression, in order of insertion.

        Raises:
            FilterSyntaxError: the filter does not parse. UnknownFieldError: no document has what it names.
        """
        return self._asked.ids(filter, allow_unknown_fields=allow_unknown_fields)

    def facets(
        self,
        fields: Sequence[str] | None = None,
        limit: int = 20,
        *,
        query: str | Clause | None = None,
        filter: str | None = None,
        mode: str = "auto",
        matching: bool = False,
        allow_unknown_fields: bool = False,
    ) -> list[Facet]:
        """Return the most frequent values of metadata fields (all fields unless named), and the range of numbers.

        Args:
            query: count among its best 1,000 hits alone (`FACETED_HITS`), searched for in `mode`; filter: of the
                documents that pass it.
            matching: with a query, count all documents that match it; in modes dense and hybrid, its candidates.

        Raises:
            UnknownFieldError: no document has one of the fields, or what the filter names. QueryError: the query or its
            mode is out of bounds. DeadlineError: the time for it is over. CorruptCollectionError: it could be wrong by
            damage that is known.
        """
        request = None
        if query is not None:
            request = SearchRequest(
                query, k=FACETED_HITS, mode=mode, filter=filter, allow_unknown_fields=allow_unknown_fields
            )
        return self._asked.facets(
            fields, limit, request, filter=filter, matching=matching, allow_unknown_fields=allow_unknown_fields
        )

    def suggest(
        self, query: str, k: int = MOST_COMPLETIONS, *, filter: str | None = None, allow_unknown_fields: bool = False
    ) -> Suggestions:
        """Return what a query may become: its misspelt words put right, and its last word completed in up to `k` ways.

        Words are those of the documents that a search with this filter may find, and of no others: of 10,000 of them
        where they are more. They are counted at the first call for a state of the collection, which may take seconds.

        Raises:
            QueryError: the query or `k` is out of bounds. FilterSyntaxError, UnknownFieldError: as for `search`.
        """
        request = SearchRequest(query, k=k, filter=filter)
        return self._asked.suggest(query, request.k, filter, allow_unknown_fields=allow_unknown_fields)

    def prepare_filter(self, filter: str) -> None:
        """Find the documents that pass a filter now, so that a search with it that comes next need not.

        Raises:
            FilterSyntaxError: the filter does not parse. DeadlineError: the time for it is over.
        """
        self._asked.prepare_filter(filter)

    def is_prepared(self, filter: str) -> bool:
        """Return whether it is known which documents pass a filter."""
        return self._asked.is_prepared(filter)

    def fusion_candidates(self, queries: Sequence[str], depth: int) -> Iterator[tuple[list[str], list[FieldScores]]]:
        """Yield each query's candidates, `depth` a side: their ids, and their scores in both fields, for `fusion.fuse`.

        Raises:
            QueryError: a query is out of bounds, or the collection has no dense vectors. EncoderError: as for `search`.
        """
        request = BatchRequest(queries, mode="hybrid")
        return fusion_candidates(self._asked.searchable(), self._encoders.of_queries(request), request, depth)

    def encode_queries(self, queries: Sequence[str]) -> list[Query]:
        """Return query vectors as the index takes them, one a text."""
        vectors = self.sparse_field.queries(queries, self._asked.snapshot().statistics)
        return [Query.from_weights(terms, weights) for terms, weights in vectors]

    def spans(self, text: str) -> list[Span]:
        """Return (start, end, term id) of the words of a text that count for a term of the collection, for marking."""
        return self.sparse_field.spans(text)

    def highlights(self, text: str, terms: frozenset[int]) -> list[Span]:
        """Return those of `spans(text)` that count for one of `terms` (of a result, say); quick for many texts."""
        return self.sparse_field.highlights(text, terms)
