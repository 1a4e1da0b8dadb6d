"""bm25s over the same passages and the same tokens: what our figures stand next to.

bm25s computes all term weights when it indexes and adds them up at query time: BM25 as `LexicalEncoder` has it (its
method "lucene": no factor k1 + 1, the same idf), in float32 instead of 8 bits. Both ways that it has of adding up and
selecting are measured, NumPy's and Numba's, and a third that its documentation offers: its compiled scorer with NumPy's
selection. The fastest of the three is the referee.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.retrieval.corpus import BadRow, Corpus

_BATCH = 4096


class Referee:
    """bm25s with three ways to search; token ids are those of our collection.

    Attributes:
        ways: names of the three, as its `search` and `search_all` take them.
        n_documents, index_bytes, build_seconds: of its index, from token ids (tokenising is not in it).
        ids: the passages' ids, by row.
    """

    ways = ("bm25s numpy", "bm25s numpy, compiled scorer", "bm25s numba")

    def __init__(self, corpus: Corpus, terms: Sequence[str], settings: LexicalSettings) -> None:
        """Raises ImportError where bm25s is not installed.

        Args:
            terms: the collection's vocabulary, by term id.
        """
        import bm25s

        self.version: str = bm25s.__version__
        self._encoder = LexicalEncoder(settings, MemoryVocabulary(terms))
        self.ids: list[str] = []
        tokens = self._tokens(corpus)
        if len(self._encoder.vocabulary) != len(terms):
            raise RuntimeError("the corpus has words that the collection does not know")
        started = perf_counter()
        vocabulary = {str(number): number for number in range(len(terms))}
        plain = bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene", backend="numpy")
        plain.index((tokens, vocabulary), show_progress=False)
        self.build_seconds = perf_counter() - started
        self.n_documents = len(tokens)
        self.index_bytes = sum(plain.scores[name].nbytes for name in ("data", "indices", "indptr"))
        compiled = copy.copy(plain)
        compiled.activate_numba_scorer()
        numba = copy.copy(plain)
        numba.backend = "numba"
        self._retrievers: dict[str, Any] = dict(zip(self.ways, (plain, compiled, numba), strict=True))

    def _tokens(self, corpus: Corpus) -> list[list[int]]:
        """The token ids of every passage, each as often as it occurs (their order does not matter to bm25s)."""
        found: list[list[int]] = []
        documents = _documents(corpus)
        while batch := list(islice(documents, _BATCH)):
            self.ids += [identifier for identifier, _ in batch]
            counts = self._encoder.count_documents([text for _, text in batch])
            repeated = np.repeat(counts.indices, counts.data.astype(np.int64)).tolist()
            ends = np.add.accumulate([0, *np.asarray(counts.sum(axis=1)).astype(np.int64).tolist()]).tolist()
            found += [repeated[start:end] for start, end in pairwise(ends)]
        return found

    def query_tokens(self, text: str, kept: NDArray[np.int32]) -> list[int]:
        """The token ids of a question, each as often as it occurs, of the terms that our query vector keeps."""
        terms, counts = self._encoder.query_counts(text)
        inside = np.isin(terms, kept)
        return np.repeat(terms[inside], counts[inside].astype(np.int64)).tolist()

    def search(self, way: str, tokens: list[int], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows and scores of the best `k`, on the calling thread alone."""
        # 0 is its word for "no pool": the same one thread, without the cost of handing over to it.
        threads = 1 if way == self.ways[2] else 0
        found = self._retrievers[way].retrieve([tokens], k=k, n_threads=threads, show_progress=False)
        return found.documents[0], found.scores[0]

    def search_all(self, way: str, tokens: list[list[int]], k: int) -> None:
        """All questions at once, on all cores."""
        self._retrievers[way].retrieve(tokens, k=k, n_threads=os.cpu_count() or 1, show_progress=False)

    def scores(self, tokens: list[int]) -> NDArray[np.float32]:
        """The score of every row, as the plain NumPy way computes it."""
        found: NDArray[np.float32] = self._retrievers[self.ways[0]].get_scores(tokens)
        return found


def _documents(corpus: Corpus) -> Iterator[tuple[str, str]]:
    for row in corpus:
        if isinstance(row, BadRow):
            raise row.error()
        yield row.id, row.encoded_text
