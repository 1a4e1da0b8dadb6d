"""BM25 over texts in memory, for training: search the pool, and see how a query's scores are spread."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.index.inverted.index import InvertedIndex
from lexhound.index.inverted.quantization import Query, quantise_weights
from lexhound.training.scoring import PoolScores

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_SCALE = 1 / 255  # of an impact of 1: BM25's document weights lie below 1
_CHUNK = 4096  # texts cut into words at a time
_BLOCK = 1 << 22  # scores held at a time by a thread, at most: 48 MB with their places


@dataclass(frozen=True, slots=True, eq=False)
class LexicalQueries:
    """Queries as a pool's BM25 sees them: for its index, and as a matrix float64[n, vocabulary] for products."""

    queries: list[Query]
    vectors: csr_array


class LexicalPool:
    """BM25 over a pool of documents, held in memory: an index to search, and the vectors to score any pair.

    Scores are exactly those of the index (see `index.inverted.quantization`). `documents` are its impacts, float64[n,
    vocabulary]; with the `vectors` of queries they give scores by plain products (`VectorTeacher`).
    """

    def __init__(
        self, documents: Sequence[str], settings: LexicalSettings | None = None, *, threads: int | None = None
    ) -> None:
        self._encoder = LexicalEncoder(settings or LexicalSettings(), MemoryVocabulary())
        self._threads = threads or os.cpu_count() or 1
        counts, lengths = self._count(documents)
        self._average = float(lengths.mean()) if lengths.sum() else 1.0
        weights = self._weigh(counts, lengths)
        self.index = InvertedIndex.from_csr(weights, _SCALE)
        self._scale = self.index.scale
        self.documents = self._impacts(weights)
        self._frequencies = np.bincount(weights.indices, minlength=weights.shape[1]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.documents.shape[0])

    def encode_queries(self, texts: Sequence[str]) -> LexicalQueries:
        """Encode queries, with the document frequencies of the pool."""
        from scipy.sparse import csr_array

        queries = []
        for text in texts:
            terms, counts = self._encoder.query_counts(text)
            known = terms < len(self._frequencies)  # others came with texts from outside of the pool
            terms, counts = terms[known], counts[known]
            weights = self._encoder.query_weights(terms, counts, self._frequencies[terms], len(self))
            queries.append(Query.from_weights(*weights))
        empty: list[NDArray[np.float64]] = [np.empty(0)]
        # The product with an impact, and any sum of such products, is exact in float64.
        values = np.concatenate(empty + [query.weights * (query.scale * self._scale) for query in queries])
        terms = np.concatenate([np.empty(0, np.int32), *(query.terms for query in queries)])
        starts = np.cumsum([0, *(len(query) for query in queries)])
        vectors = csr_array((values, terms, starts), shape=(len(texts), self.documents.shape[1]))
        return LexicalQueries(queries, vectors)

    def search(self, queries: LexicalQueries, depth: int) -> NDArray[np.int32]:
        """Return the best rows of each query, int32[n, depth], -1 where fewer documents hold a term of it."""
        rows = np.full((len(queries.queries), depth), -1, np.int32)
        if depth and len(self):
            for number, top in enumerate(self.index.search_many(queries.queries, depth, threads=self._threads)):
                rows[number, : len(top)] = top.rows
        return rows

    def scores_over_pool(self, queries: LexicalQueries) -> PoolScores:
        """Return how each query's scores are spread over all documents of the pool."""
        transposed = self.documents.T.tocsr()
        n = max(1, len(self))

        def block(positions: slice) -> NDArray[np.float64]:
            product = queries.vectors[positions] @ transposed
            statistics = np.zeros((4, product.shape[0]))
            for number in range(product.shape[0]):
                scores = product.data[product.indptr[number] : product.indptr[number + 1]]
                if len(scores):
                    low = scores.min() if len(scores) == len(self) else 0.0
                    mean = scores.sum() / n
                    # The documents that share no term have a score of 0: a distance of the mean from the mean.
                    squares = ((scores - mean) ** 2).sum() + (n - len(scores)) * mean**2
                    statistics[:, number] = low, scores.max(), mean, np.sqrt(squares / n)
            return statistics

        blocks = list(_slices(len(queries.queries), max(1, _BLOCK // n)))
        with ThreadPoolExecutor(self._threads) as workers:
            parts = [np.empty((4, 0)), *workers.map(block, blocks)]
        return PoolScores(*np.concatenate(parts, axis=1).astype(np.float32))

    def _count(self, texts: Sequence[str]) -> tuple[csr_array, NDArray[np.float32]]:
        """Return the term frequencies, and the lengths of the texts."""
        from scipy.sparse import csr_array

        parts = [self._encoder.count_documents(texts[positions]) for positions in _slices(len(texts), _CHUNK)]
        if not parts:
            parts = [self._encoder.count_documents([])]
        sizes = np.concatenate([np.diff(part.indptr) for part in parts])
        counts = csr_array(
            (
                np.concatenate([part.data for part in parts]),
                np.concatenate([part.indices for part in parts]).astype(np.int32),
                np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))),
            ),
            shape=(len(texts), max(1, len(self._encoder.vocabulary))),
        )
        lengths = np.bincount(np.repeat(np.arange(len(texts)), sizes), weights=counts.data, minlength=len(texts))
        return counts, lengths.astype(np.float32)

    def _weigh(self, counts: csr_array, lengths: NDArray[np.float32]) -> csr_array:
        from scipy.sparse import csr_array

        of_entries = np.repeat(lengths, np.diff(counts.indptr))
        weights = self._encoder.compute_weights(counts.data, of_entries, self._average)
        return csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)

    def _impacts(self, weights: csr_array) -> csr_array:
        from scipy.sparse import csr_array

        impacts = quantise_weights(weights.data, self._scale).astype(np.float64)
        return csr_array((impacts, weights.indices, weights.indptr), shape=weights.shape)


def _slices(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))
