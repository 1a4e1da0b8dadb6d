"""What a collection keeps of its documents for one index: how text becomes vectors, now and when a segment is built.

Lexical vectors are stored as term frequencies, because their weights depend on the average document length, which
changes with the documents (`store.average_length`); the vectors of a model are stored as the weights it gave.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import exact_scale
from lexhound.retrieval.collection.store.sparse_batches import Batch

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexhound.encoders.base import EncoderIdentity, LiveStatistics, ShareDone, SparseEncoder
    from lexhound.encoders.bm25.encoder import LexicalEncoder

WeightFunction = Callable[[NDArray[np.uint8], NDArray[np.uint32]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class WeightRows:
    """Document vectors in the row-compressed form that the index builders read.

    Attributes:
        indptr: int64[n + 1]; indices: int32[entries]; data: float32[entries]; shape: (n, vocabulary size).
        frequencies: uint8[entries] and lengths: uint32[n], where the index keeps them.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float32]
    shape: tuple[int, int]
    frequencies: NDArray[np.uint8] | None = None
    lengths: NDArray[np.uint32] | None = None


class SparseField(Protocol):
    """An encoder as a collection uses it."""

    name: str
    frequencies: bool  # whether stored values are term frequencies rather than weights
    scale: float | None  # of one step of an 8-bit impact; None where each index chooses its own (`scale_groups`)
    batch_documents: int  # documents encoded and acknowledged together

    @property
    def identity(self) -> EncoderIdentity: ...

    @property
    def tokens_encoded(self) -> int | None:
        """How many tokens models have read since this was made; None where that says nothing."""

    def encode(self, texts: Sequence[str], progress: ShareDone | None = None) -> csr_array:
        """Return vectors to store; may grow the vocabulary inside the caller's transaction."""

    def encode_ahead(self, text: str) -> Iterator[None]:
        """Do the work of encoding a long text in steps; may grow the vocabulary inside the caller's transactions.

        The next `encode` of this text takes little time, where there are steps.
        """

    def compute_weights(self, batch: Batch, average_length: float) -> WeightRows:
        """Return the weights of stored vectors; `average_length` is a document's mean number of words (lexical
        only).
        """

    def weight_function(self, average_length: float) -> WeightFunction | None:
        """Return how a merge computes weights anew, or None where they do not depend on the average length."""

    def query(self, text: str, statistics: LiveStatistics) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return a query's (terms, weights), terms ascending and weights > 0."""

    def queries(
        self, texts: Sequence[str], statistics: LiveStatistics
    ) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Return the same of many queries."""

    def cuts_query(self, text: str) -> bool:
        """Return whether a part of a query is not read."""

    def term_text(self, term_id: int) -> str:
        """Return the term as a person reads it."""

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of terms written as `term_text` writes them, -1 for those it never would; int32, one a
        term.
        """

    def typed_terms(self, query: str) -> frozenset[int]:
        """Return the terms that the query's own words stand for, as against those that the encoder adds."""

    def spans(self, text: str) -> list[tuple[int, int, int]]:
        """Return (start, end, term id) of the words of a text that count for a term."""

    def highlights(self, text: str, terms: Collection[int]) -> list[tuple[int, int, int]]:
        """Return those of `spans(text)` that count for one of `terms`."""

    def forget(self) -> None:
        """Drop caches that a rolled-back transaction may have made untrue."""


def is_confined(statistics: LiveStatistics) -> bool:
    """Return whether statistics are those of one tenant.

    Then a term that none of its documents has is as if nobody had ever written it: a vocabulary that documents make is
    everybody's, and one word more in a query changes how all its weights are rounded.
    """
    return bool(getattr(statistics, "prefix", ""))


class LexicalField:
    """BM25: stored term frequencies, weights by the average length, query weights by live document frequencies."""

    name = "lexical"
    frequencies = True
    scale: float | None = exact_scale(1.0 / 255.0)  # BM25's term-frequency part lies below 1, whatever the settings
    batch_documents = 4096

    def __init__(self, encoder: LexicalEncoder) -> None:
        self._encoder = encoder

    @property
    def identity(self) -> EncoderIdentity:
        return self._encoder.identity

    @property
    def tokens_encoded(self) -> None:
        return None

    def encode(self, texts: Sequence[str], progress: ShareDone | None = None) -> csr_array:
        return self._encoder.count_documents(texts)

    def encode_ahead(self, text: str) -> Iterator[None]:
        return self._encoder.count_ahead(text)

    def compute_weights(self, batch: Batch, average_length: float) -> WeightRows:
        indptr = batch.indptr.astype(np.int64)
        counts = np.diff(indptr)
        lengths = _row_sums(batch.values.astype(np.int64), indptr).astype(np.uint32)
        frequencies = np.asarray(batch.values, np.uint8)
        weights = self._encoder.compute_weights(
            frequencies.astype(np.float32), np.repeat(lengths, counts).astype(np.float32), average_length
        )
        indices = batch.terms.astype(np.int32)
        vocabulary_size = int(indices.max()) + 1 if len(indices) else 1
        return WeightRows(indptr, indices, weights, (len(batch.internal_ids), vocabulary_size), frequencies, lengths)

    def weight_function(self, average_length: float) -> WeightFunction:
        def weights(frequencies: NDArray[np.uint8], lengths: NDArray[np.uint32]) -> NDArray[np.float32]:
            return self._encoder.compute_weights(
                frequencies.astype(np.float32), lengths.astype(np.float32), average_length
            )

        return weights

    def query(self, text: str, statistics: LiveStatistics) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        terms, counts = self._encoder.query_counts(text)
        if not len(terms):
            return terms, counts
        frequencies = statistics.document_frequencies(terms)
        if is_confined(statistics):
            held = frequencies > 0
            terms, counts, frequencies = terms[held], counts[held], frequencies[held]
        return self._encoder.query_weights(terms, counts, frequencies, statistics.n_documents)

    def queries(
        self, texts: Sequence[str], statistics: LiveStatistics
    ) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        return [self.query(text, statistics) for text in texts]

    def cuts_query(self, text: str) -> bool:
        return False  # all words of a query are counted

    def term_text(self, term_id: int) -> str:
        return self._encoder.term_text(term_id)

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        return self._encoder.vocabulary.lookup(terms)

    def typed_terms(self, query: str) -> frozenset[int]:
        return frozenset(self._encoder.query_counts(query)[0].tolist())

    def spans(self, text: str) -> list[tuple[int, int, int]]:
        return self._encoder.spans(text)

    def highlights(self, text: str, terms: Collection[int]) -> list[tuple[int, int, int]]:
        return self._encoder.highlights(text, terms)

    def analyse(self, text: str) -> list[tuple[str, str]]:
        """Return (word as it stands, its term) of the words of a text, in order."""
        return self._encoder.analyse(text)

    def forget(self) -> None:
        self._encoder.forget()


class LearnedField:
    """A learned sparse encoder: stored weights as the model gave them, both sides."""

    name = "sparse"
    frequencies = False
    scale: float | None = None
    batch_documents = 256

    def __init__(self, encoder: SparseEncoder) -> None:
        self._encoder = encoder

    @property
    def encoder(self) -> SparseEncoder:
        """What encodes."""
        return self._encoder

    @property
    def identity(self) -> EncoderIdentity:
        return self._encoder.identity

    @property
    def tokens_encoded(self) -> int:
        return self._encoder.tokens_encoded

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Tokens that vectors made by other tools may weigh, and that are no terms here, with their ids."""
        return self._encoder.special_tokens

    def encode(self, texts: Sequence[str], progress: ShareDone | None = None) -> csr_array:
        return self._encoder.encode_documents(texts, progress)

    def encode_ahead(self, text: str) -> Iterator[None]:
        return iter(())  # a model reads the beginning of a text, and no vocabulary grows

    def compute_weights(self, batch: Batch, average_length: float) -> WeightRows:
        return WeightRows(
            batch.indptr.astype(np.int64),
            batch.terms.astype(np.int32),
            np.asarray(batch.values, np.float32),
            (len(batch.internal_ids), self._encoder.identity.vocabulary_size or 1),
        )

    def weight_function(self, average_length: float) -> WeightFunction | None:
        return None

    def query(self, text: str, statistics: LiveStatistics) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        return self._encoder.encode_query(text, statistics)

    def queries(
        self, texts: Sequence[str], statistics: LiveStatistics
    ) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        return self._encoder.encode_queries(texts, statistics)

    def cuts_query(self, text: str) -> bool:
        return self._encoder.query_reader().cuts(text)

    def term_text(self, term_id: int) -> str:
        return self._encoder.term_text(term_id)

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        return self._encoder.lookup(terms)

    def typed_terms(self, query: str) -> frozenset[int]:
        return frozenset(term for _, _, term in self._encoder.spans(query))

    def spans(self, text: str) -> list[tuple[int, int, int]]:
        return self._encoder.spans(text)

    def highlights(self, text: str, terms: Collection[int]) -> list[tuple[int, int, int]]:
        return [span for span in self._encoder.spans(text) if span[2] in terms]

    def forget(self) -> None:
        """Drop nothing: the vocabulary of a model never grows."""


def learned_encoder(sparse_field: SparseField) -> SparseEncoder | None:
    """Return the encoder of a field whose vectors a model makes; None for BM25."""
    return sparse_field.encoder if isinstance(sparse_field, LearnedField) else None


def _row_sums(values: NDArray[Any], indptr: NDArray[np.int64]) -> NDArray[Any]:
    """Return the sum of each row's entries; `np.add.reduceat` alone would be wrong for empty rows."""
    sums = np.concatenate([np.zeros(1, values.dtype), np.cumsum(values)])
    return np.asarray(sums[indptr[1:]] - sums[indptr[:-1]])
