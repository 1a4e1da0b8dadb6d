"""From a request to the query vectors that its mode needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.fields.dense_field import DenseQueries
from lexhound.retrieval.collection.fields.sparse_field import SparseField, is_confined
from lexhound.retrieval.collection.request import RankingOptions, SearchRequest

from .modes import index_mode, resolve_mode

if TYPE_CHECKING:
    from lexhound.encoders.base import LiveStatistics
    from lexhound.retrieval.collection.synonyms.expansion import Synonyms

TermWeights: TypeAlias = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class QueryEncoders:
    """What makes the query vectors of a request.

    Attributes:
        mode: "sparse", "dense" or "hybrid": what the request's mode means for the collection.
        sparse: makes vectors for the inverted index.
        dense: makes dense vectors; None in mode sparse.
    """

    mode: str
    sparse: SparseField
    dense: DenseQueries | None

    @classmethod
    def of(cls, request: RankingOptions, sparse: SparseField, dense: DenseQueries | None) -> QueryEncoders:
        """Return those of a collection that the request needs; `dense` is None where it has no dense vectors.

        Raises:
            QueryError: the collection does not have the mode, or query or fusion do not go with it.
        """
        mode = resolve_mode(request, sparse, dense=dense is not None)
        return cls(mode, sparse, None if mode == "sparse" else dense)

    @property
    def shown_mode(self) -> str:
        """The mode as people call it: `lexical` for the index of BM25."""
        return index_mode(self.sparse) if self.mode == "sparse" else self.mode


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQuery:
    """A query as indexes take it.

    Attributes:
        sparse: its vector for the inverted index, without terms in mode dense.
        dense: float32[width]; None in mode sparse.
        terms: the ids of its terms, for marking; in mode dense those of its own words, although it is not for them that
            a document is found.
        typed: the ids of the terms of its own words, where an explanation tells them; None for a query by weights.
        unknown: terms given as weights that the collection does not know.
        seconds: that encoding took.
        stands_for: of the terms that synonyms brought, the words of the query that each stands for.
        cut: whether the query is longer than an encoder reads, so that its end is left out.
    """

    sparse: Query
    dense: NDArray[np.float32] | None
    terms: frozenset[int]
    typed: frozenset[int] | None
    unknown: tuple[str, ...]
    seconds: float
    stands_for: Mapping[int, str] = field(default_factory=dict)
    cut: bool = False


def encode_query(
    encoders: QueryEncoders, request: SearchRequest, statistics: LiveStatistics, synonyms: Synonyms | None = None
) -> EncodedQuery:
    """Return the vectors of a request's query; `statistics` and `synonyms` are the collection's.

    Raises:
        EncoderError: a model cannot be loaded.
    """
    started = perf_counter()
    sparse_field, query = encoders.sparse, request.query
    terms, weights = np.empty(0, np.int32), np.empty(0, np.float32)
    unknown: tuple[str, ...] = ()
    stands_for: dict[int, str] = {}
    if isinstance(query, Mapping):
        terms, weights, unknown = weighted_terms(sparse_field, query, statistics)
    elif isinstance(query, str) and encoders.mode != "dense" and synonyms is not None:
        (terms, weights), stands_for = synonyms.query(query, statistics)
    elif isinstance(query, str) and encoders.mode != "dense":
        terms, weights = sparse_field.query(query, statistics)
    sparse = Query.from_weights(terms, weights)
    dense = None
    if encoders.dense is not None and isinstance(query, str):
        dense = encoders.dense.query(query)
    seconds = perf_counter() - started
    typed = None
    if isinstance(query, str) and (request.explain or encoders.mode == "dense"):
        typed = sparse_field.typed_terms(query)
    marked = typed or frozenset() if encoders.mode == "dense" else frozenset(terms.tolist())
    cut = isinstance(query, str) and is_cut(encoders, query)
    return EncodedQuery(sparse, dense, marked, typed, unknown, seconds, stands_for, cut)


def is_cut(encoders: QueryEncoders, query: str) -> bool:
    """Return whether a query is longer than an encoder that its search asks reads."""
    sparse = encoders.mode != "dense" and encoders.sparse.cuts_query(query)
    return sparse or (encoders.dense is not None and encoders.dense.cuts_query(query))


def weighted_terms(
    field: SparseField, weights: Mapping[str, float], statistics: LiveStatistics
) -> tuple[*TermWeights, tuple[str, ...]]:
    """Return given weights as a query vector, terms ascending, and the terms that the collection does not know.

    Of one tenant's documents those are unknown, too, that none of them has, where documents make the vocabulary.
    """
    names = list(weights)
    ids = field.lookup(names)
    if field.frequencies and is_confined(statistics):
        ids = np.where(statistics.document_frequencies(ids) > 0, ids, np.int32(-1))
    values = np.fromiter(weights.values(), np.float32, len(names))
    known = (ids >= 0) & (values > 0)  # float32 may round the smallest to 0
    order = np.argsort(ids[known], kind="stable")
    unknown = tuple(name for name, number in zip(names, ids.tolist(), strict=True) if number < 0)
    return ids[known][order], values[known][order], unknown
