"""BM25 as a sparse encoder, so that the index which serves learned vectors serves it too.

Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.4, as
Lucene computes it: without the constant factor (k1 + 1), which changes no order, and with an idf that is never
negative. The score of a document is the dot product of

- the document's weights  tf / (tf + k1 * (1 - b + b * length / average_length)), in (0, 1], and
- the query's weights     count * ln(1 + (N - df + 0.5) / (df + 0.5)), stop words left out.

The collection supplies what the text alone does not say: the average length, N, and the document frequencies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import EncoderIdentity, QueryVector, Span, fingerprint_of
from lexhound.encoders.errors import IdentityError
from lexhound.encoders.libraries import require_same
from lexhound.encoders.text.analyzer import STORED, Analyser
from lexhound.encoders.text.highlighting import Highlighter
from lexhound.encoders.text.tokenizer import TOKENISER_VERSION, pieces, surface_token_spans, surface_tokens

from .settings import LexicalSettings
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_array

KIND = "bm25"
MAX_FREQUENCY = 255
"""A term counts at most this often in a document, so that a frequency is one byte on disk. Its weight
is all but 1 by then, and the document's length counts no more of it either."""

# Surface tokens remembered, about 150 bytes each. When there are more, all are dropped: the frequent ones, which are
# nearly every occurrence, are back after the next batch.
_MAX_REMEMBERED = 300_000
_MAX_AHEAD = 16  # long texts that have been counted, and not been asked for
PIECE_CHARACTERS = 256 * 1024
"""How much of a long text `count_ahead` counts at a step: some tenths of a second where every word is new."""
# A listed word in more of the documents than this is a stop word: above the share, dropping it saves most of a
# query's time; below the count, a share says little (a list has "computer" and "fire" too).
_FREQUENT_SHARE = 0.2
_FREQUENT_DOCUMENTS = 100
# Longer surface tokens are seen once (base64, runs of Chinese): not worth remembering.
_MAX_REMEMBERED_LENGTH = 64
# Of several terms: words of Korean come again, runs of Chinese and Thai that are longer do not.
_MAX_SPELLED_LENGTH = 12
_REMEDY = (
    "make it anew from its texts: lexhound export DIR --format parquet --out TEXTS, then"
    " lexhound import TEXTS --into NEW --reanalyse"
)
_NOTHING = -1
_SEVERAL = -2


class LexicalEncoder:
    """An encoder that counts and weighs a text's words over a vocabulary that grows with the documents.

    Terms that a surface token led to are remembered, so a `Vocabulary` that takes back terms it has given (a
    transaction rolled back) must be followed by `forget()`. One thread may add documents while others encode
    queries.

    Args:
        stored: the identity of an encoder that was like this one; texts are then read by the tokeniser that it names,
            and what the installed libraries make is compared with what it says when the first text is read.

    Raises:
        IdentityError: the stored identity is of other settings, or of a tokeniser that this version does not know; from
            the methods that read texts: the libraries make other terms than they did.
    """

    def __init__(
        self, settings: LexicalSettings, vocabulary: Vocabulary, stored: EncoderIdentity | None = None
    ) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        self._stored = stored
        self._version = TOKENISER_VERSION if stored is None else _version_of(stored, settings)
        self._ids: dict[str, int] = {}  # surface token -> term id, _NOTHING or _SEVERAL
        self._spelled: dict[str, list[int]] = {}  # surface token -> its term ids, of those that are _SEVERAL
        self._asked: dict[str, tuple[int, ...]] = {}  # surface token in queries -> term ids, once all of them are known
        self._texts: dict[int, str] = {}  # of terms that were marked
        self._stop_ids: dict[int, bool] = {}  # of the frequent terms that queries asked for
        self._counted: dict[str, QueryVector] = {}  # by text, what `count_ahead` came to

    @cached_property
    def identity(self) -> EncoderIdentity:
        """Settings, version of the tokeniser, and what libraries make; the vocabulary is the collection's own."""
        if self._stored is not None:
            return self._stored
        settings, parts = asdict(self.settings), self._analyser.digests()
        fingerprint = _fingerprint(self._version, settings, parts)
        return EncoderIdentity(KIND, KIND, fingerprint, None, settings, None, parts, self._analyser.libraries())

    def prepare(self) -> None:
        """Compare the installed libraries with the stored identity now; raises IdentityError."""
        _ = self._analyser

    @cached_property
    def _analyser(self) -> Analyser:
        settings = self.settings
        analyser = Analyser(
            settings.language, stemming=settings.stemming, stop_words=settings.stop_words, version=self._version
        )
        if self._stored is not None:
            require_same(self._stored, analyser.digests(), STORED, _REMEDY)
        return analyser

    @cached_property
    def _highlighter(self) -> Highlighter:
        return Highlighter(self._analyser)

    def forget(self) -> None:
        """Drop every remembered term id: call it when the vocabulary has taken back terms."""
        self._counted = {}
        self._drop()

    def _drop(self) -> None:
        self._ids = {}
        self._spelled = {}
        self._asked = {}
        self._texts = {}
        self._stop_ids = {}

    def count_ahead(self, text: str) -> Iterator[None]:
        """Count a long text's terms piece by piece, growing the vocabulary by a bounded number of terms at each step.

        What it comes to is remembered for the next `count_documents` of this text, which then takes little time.
        """
        rows = []
        for piece in pieces(text, PIECE_CHARACTERS):
            rows.append(self.count_documents([piece]))
            yield
        terms, term_positions = np.unique(np.concatenate([row.indices for row in rows]), return_inverse=True)
        summed = np.bincount(term_positions, np.concatenate([row.data for row in rows]), len(terms))
        # The sum of frequencies that were cut to the largest is the largest at least.
        self._counted[text] = terms.astype(np.int32), np.minimum(summed, MAX_FREQUENCY).astype(np.float32)
        while len(self._counted) > _MAX_AHEAD:  # nobody asked for them in the end
            del self._counted[next(iter(self._counted))]

    def count_documents(self, texts: Sequence[str]) -> csr_array:
        """Count each text's terms, growing the vocabulary by those it has not seen.

        Returns:
            float32, len(texts) × len(vocabulary) after growing: whole term frequencies from 1 to
            MAX_FREQUENCY, indices sorted. A row's sum is the document's length.
        """
        from scipy.sparse import csr_array

        if self._counted:
            known = {text: self._counted.pop(text) for text in texts if text in self._counted}
            if known:
                return self._with_counted(texts, known)
        cut: list[str] = []
        ends = np.zeros(len(texts) + 1, dtype=np.int64)
        for row, text in enumerate(texts):
            cut += surface_tokens(text, turkic=self._analyser.turkic)
            ends[row + 1] = len(cut)
        ids, indptr = self._term_ids(cut, ends)
        ones = np.ones(len(ids), dtype=np.float32)
        counts = csr_array((ones, ids, indptr), shape=(len(texts), len(self.vocabulary)))
        counts.sum_duplicates()  # sorts each row's terms first
        np.minimum(counts.data, MAX_FREQUENCY, out=counts.data)
        return counts

    def _with_counted(self, texts: Sequence[str], known: dict[str, QueryVector]) -> csr_array:
        """Count texts of which some have been counted before."""
        from scipy.sparse import csr_array, vstack

        others = self.count_documents([text for text in texts if text not in known])
        size, row = len(self.vocabulary), 0
        rows = []
        for text in texts:
            if text in known:
                terms, counts = known[text]
                rows.append(csr_array((counts, terms, np.array([0, len(terms)])), shape=(1, size)))
            else:
                rows.append(others[[row]])
                row += 1
        return csr_array(vstack(rows, format="csr", dtype=np.float32))

    def compute_weights(
        self, frequencies: NDArray[np.float32], lengths: NDArray[np.float32], average_length: float
    ) -> NDArray[np.float32]:
        """Return the document-side weights of term frequencies, in (0, 1].

        Args:
            frequencies: float32[n], >= 1 each (any dtype that holds them will do).
            lengths: float32[n], the length of the document that each frequency belongs to.
            average_length: mean document length of the collection. Where it is 0 (nothing but empty documents
                so far) every document counts as average.
        """
        tf = np.asarray(frequencies, dtype=np.float32)
        k1, b = self.settings.k1, self.settings.b
        norms = np.asarray(lengths, dtype=np.float32) * np.float32(k1 * b / average_length if average_length > 0 else 0)
        norms += np.float32(k1 * (1 - b) if average_length > 0 else k1)
        return (tf / (tf + norms)).astype(np.float32, copy=False)

    def query_counts(self, text: str) -> QueryVector:
        """Count a query's known terms: int32 ids ascending, float32 counts. Never grows the vocabulary."""
        term_ids_of = self._asked  # `forget`, from another thread, puts a new one in its place
        counted: dict[int, int] = {}
        unseen: dict[str, int] = {}
        for surface in surface_tokens(text, turkic=self._analyser.turkic):
            ids = term_ids_of.get(surface)
            if ids is None:
                unseen[surface] = unseen.get(surface, 0) + 1
                continue
            for term_id in ids:
                counted[term_id] = counted.get(term_id, 0) + 1
        if unseen:
            for surface, ids in self._look_up(list(unseen), term_ids_of).items():
                for term_id in ids:
                    counted[term_id] = counted.get(term_id, 0) + unseen[surface]
        terms = np.array(sorted(counted), dtype=np.int32)
        return terms, np.array([counted[term] for term in terms.tolist()], dtype=np.float32)

    def _look_up(self, unseen: list[str], remembered: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Return the ids of each surface token's known terms, and add those known in full to `remembered`.

        The others are asked for again the next time: a document may have brought them.
        """
        terms_of = {surface: self._analyser.terms(surface) for surface in unseen}
        distinct = list(dict.fromkeys(term for terms in terms_of.values() for term in terms))
        id_of = dict(zip(distinct, self.vocabulary.lookup(distinct).tolist(), strict=True))
        if len(remembered) > _MAX_REMEMBERED:
            remembered.clear()
        term_ids_of = {}
        for surface, terms in terms_of.items():
            ids = [id_of[term] for term in terms]
            term_ids_of[surface] = known = tuple(term_id for term_id in ids if term_id >= 0)
            if len(known) == len(ids) and len(surface) <= _MAX_REMEMBERED_LENGTH:
                remembered[surface] = known
        return term_ids_of

    def idf(self, document_frequencies: NDArray[np.int64], n_documents: int) -> NDArray[np.float32]:
        """Return ln(1 + (N - df + 0.5) / (df + 0.5)), > 0 for every df from 0 to N, as float32."""
        df = np.asarray(document_frequencies, dtype=np.float64)
        idf: NDArray[np.float32] = np.log1p((n_documents - df + 0.5) / (df + 0.5)).astype(np.float32)
        return idf

    def query_weights(
        self,
        terms: NDArray[np.int32],
        counts: NDArray[np.float32],
        document_frequencies: NDArray[np.int64],
        n_documents: int,
    ) -> QueryVector:
        """Return a query's vector: count * idf of the terms that documents hold, stop words left out.

        A stop word is a term that the language's list names *and* that more than a fifth of the documents, and
        no fewer than 100, hold. It is left out only where another term remains. So stop words cost no time
        where they would cost much, and a query of nothing else, or a small collection, is answered in full.

        Args:
            terms, counts: what `query_counts` returned.
            document_frequencies: int64, the number of live documents that hold each term.
            n_documents: the number of live documents.
        """
        df = np.asarray(document_frequencies)
        selected = df > 0
        frequent = selected & (df >= _FREQUENT_DOCUMENTS) & (df > _FREQUENT_SHARE * n_documents)
        if frequent.any():
            stop = np.array([self._is_stop(term) for term in terms[frequent].tolist()])
            telling = selected.copy()
            telling[frequent] = ~stop
            if telling.any():
                selected = telling
        return terms[selected], counts[selected] * self.idf(df[selected], n_documents)

    def _is_stop(self, term_id: int) -> bool:
        known = self._stop_ids.get(term_id)
        if known is None:
            known = self.vocabulary.text(term_id) in self._analyser.stop_terms
            self._stop_ids[term_id] = known
        return known

    def term_text(self, term_id: int) -> str:
        """Return a term (a stem, where stemming is on); raises IndexError for an unknown id."""
        return self.vocabulary.text(term_id)

    def analyse(self, text: str) -> list[tuple[str, str]]:
        """Return (word as it stands, its term) of the words of a text, in order, whether documents have them or not."""
        return [
            (surface[first:last], term)
            for _, surface in surface_token_spans(text)
            for first, last, term in self._analyser.parts(surface)
        ]

    def spans(self, text: str) -> list[Span]:
        """Return the stretches of `text` whose terms the vocabulary knows, in order of their start."""
        occurrences = [
            (start + first, start + last, term)
            for start, surface in surface_token_spans(text)
            for first, last, term in self._analyser.parts(surface)
        ]
        distinct = list(dict.fromkeys(term for _, _, term in occurrences))
        ids = dict(zip(distinct, self.vocabulary.lookup(distinct).tolist(), strict=True))
        return [(start, end, ids[term]) for start, end, term in occurrences if ids[term] >= 0]

    def highlights(self, text: str, terms: Collection[int]) -> list[Span]:
        """Return those of `spans(text)` that count for one of `terms`; much faster, for many texts a query."""
        return self._highlighter.highlights(text, {self._text_of(term): term for term in terms})

    def _text_of(self, term_id: int) -> str:
        text = self._texts.get(term_id)
        if text is None:
            if len(self._texts) > _MAX_REMEMBERED:
                self._texts = {}
            text = self._texts[term_id] = self.vocabulary.text(term_id)
        return text

    def _term_ids(self, cut: list[str], ends: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the term id of every surface token that counts, and where each row's begin (CSR's indptr)."""
        passing = self._learn(cut)
        ids = np.fromiter(map(self._ids.__getitem__, cut), dtype=np.int32, count=len(cut))
        sizes = (ids >= 0).astype(np.int64)
        positions = np.flatnonzero(ids == _SEVERAL)
        spelled: list[int] = []
        for position in positions.tolist():
            term_ids = self._spelled[cut[position]]
            sizes[position] = len(term_ids)
            spelled += term_ids
        for surface in passing:
            del self._ids[surface]
            self._spelled.pop(surface, None)
        indptr = np.concatenate(([0], np.cumsum(sizes)))[ends]
        if not spelled:
            return ids[ids >= 0], indptr
        result = np.repeat(ids, sizes)
        result[result == _SEVERAL] = spelled
        return result, indptr

    def _learn(self, cut: list[str]) -> list[str]:
        """Remember the term ids of every surface token in `cut`, growing the vocabulary once for all that are new.

        Returns the surface tokens to forget after this batch.
        """
        if len(self._ids) > _MAX_REMEMBERED:
            self._drop()
        known = self._ids
        terms_of = {surface: self._analyser.terms(surface) for surface in dict.fromkeys(cut) if surface not in known}
        distinct = list(dict.fromkeys(term for terms in terms_of.values() for term in terms))
        id_of = dict(zip(distinct, self.vocabulary.grow(distinct).tolist(), strict=True)) if distinct else {}
        passing: list[str] = []
        for surface, terms in terms_of.items():
            several = len(terms) > 1
            if several:
                self._spelled[surface] = [id_of[term] for term in terms]
                known[surface] = _SEVERAL
            else:
                known[surface] = id_of[terms[0]] if terms else _NOTHING
            if len(surface) > (_MAX_SPELLED_LENGTH if several else _MAX_REMEMBERED_LENGTH):
                passing.append(surface)
        return passing


def _fingerprint(version: int, settings: Mapping[str, object], parts: Mapping[str, str]) -> str:
    part_digests = {"parts": dict(parts)} if parts else {}  # collections that say nothing of libraries are older
    return fingerprint_of({"kind": KIND, "tokeniser": version, **settings, **part_digests})


def _version_of(stored: EncoderIdentity, settings: LexicalSettings) -> int:
    """Return the version of the tokeniser that an identity of these settings names."""
    for version in range(TOKENISER_VERSION, 0, -1):
        if _fingerprint(version, asdict(settings), stored.parts) == stored.fingerprint:
            return version
    raise IdentityError(
        f"{stored.name} is no longer the encoder whose vectors are stored: the fingerprint {stored.fingerprint} is of"
        " no tokeniser that this version knows",
        "Upgrade lexhound, or index the documents again",
    )
