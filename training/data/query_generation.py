"""Queries made of documents, for corpora that have none: an encoder adapts to a corpus without a single label.

Three kinds, each teaching something else (titles, which ask for their texts, are the pool's affair):

- "sentence": a sentence of the document. Every word of it is in the text, so few of these suffice.
- "span": a run of words, cut out of the document more often than not, so that what remains has to answer by other
  words (the inverse cloze task; Lee et al., "Latent Retrieval for Weakly Supervised Open Domain Question Answering",
  ACL 2019, section 5, who remove 9 of 10).
- "keywords": a few of the document's telling words, drawn in proportion to idf².

What is drawn for a document depends on the seed and its own text, not on its neighbours; only the idf and the skipping
of repeated queries look at the others. Words are those of `encoders.text.tokenizer`: in scripts without spaces,
bigrams of characters.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.errors import SettingsError
from lexhound.encoders.text.tokenizer import Token, token_spans, tokenise

KINDS = ("sentence", "span", "keywords")

# Fewest and most words of each kind; a span is never more than half of its document.
_SENTENCE = 6, 45
_SPAN = 8, 30
_KEYWORDS = 2, 6
_REMOVAL = 0.9  # how often a span is cut out of its document; of each document one span at most is

_CLOSING = "\"'”’»)\\]）」』"
# A full stop ends a sentence where white space follows it and no small letter; the stops of scripts that are written
# without spaces, and Arabic, Devanagari and Ethiopic ones, always do; so does an empty line.
_END = re.compile(rf"[.!?]+[{_CLOSING}]*(?=\s)|[。！？｡．؟۔।॥።]+[{_CLOSING}]*|\n[ \t]*\n")
_ABBREVIATED = re.compile(
    r"(?:^|[\s(\[])(?:[^\W\d_]|[^\W\d_]\.[^\W\d_]|al|approx|ca|cf|ch|dr|eds?|eqs?|etc|ex|figs?|inc|jr|ltd|mr|mrs|ms|"
    r"no|nos|p|pp|prof|refs?|sec|sr|st|tab|vol|vols|vs)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PseudoQuery:
    """A query and the document that it was made of.

    Attributes:
        text: the query, in one line.
        document: the row of the document.
        kind: one of `KINDS`.
        remaining_text: what the document says without what became the query; None where it stays as it is.
    """

    text: str
    document: int
    kind: str
    remaining_text: str | None = None


def pseudo_queries(
    documents: Sequence[str],
    *,
    kinds: Sequence[str],
    per_document: int,
    seed: int,
) -> list[PseudoQuery]:
    """Return at most `per_document` queries of each document, in the order of the documents.

    Every document draws the order in which it goes through the kinds, again and again, and leaves out those that it
    cannot make (too short a text). A query that an earlier document has made too is left out: it says of
    neither that it is the answer.

    Args:
        documents: the texts, with or without their titles in front.
        kinds: some of `KINDS`.

    Raises:
        SettingsError: an unknown kind, or fewer than one query a document.
    """
    _check(kinds, per_document)
    frequencies = _document_frequencies(documents) if "keywords" in kinds else Counter()
    queries: list[PseudoQuery] = []
    texts: set[str] = set()
    for row, text in enumerate(documents):
        maker = _Maker(text, seed)
        remaining = per_document
        for kind in maker.order(kinds, per_document):
            query = maker.make(kind, frequencies, len(documents))
            if query is None or query[0].casefold() in texts:
                continue
            texts.add(query[0].casefold())
            maker.cut |= kind == "span" and query[1] is not None
            queries.append(PseudoQuery(query[0], row, kind, query[1]))
            remaining -= 1
            if not remaining:
                break
    return queries


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, in order, each in one line; together they hold all of its words."""
    return [" ".join(text[start:end].split()) for start, end in _sentence_spans(text)]


class _Maker:
    """A maker of one document's queries."""

    def __init__(self, text: str, seed: int) -> None:
        self._text = text
        self._random = np.random.default_rng((seed, crc32(text.encode("utf-8", "surrogatepass"))))
        self._words: list[Token] | None = None
        self.cut = False  # whether a span was cut out of it

    @property
    def words(self) -> list[Token]:
        if self._words is None:
            self._words = list(token_spans(self._text))
        return self._words

    def order(self, kinds: Sequence[str], per_document: int) -> Iterator[str]:
        """Return the kinds in an order of this document's own, round after round."""
        kinds = list(dict.fromkeys(kinds))
        shuffled = [kinds[position] for position in self._random.permutation(len(kinds))]
        return itertools.chain.from_iterable(itertools.repeat(shuffled, per_document + 1))

    def make(self, kind: str, frequencies: Counter[str], n_documents: int) -> tuple[str, str | None] | None:
        """Return a query of this kind and what remains of the document where it changes, or None."""
        if kind == "sentence":
            return self._sentence()
        return self._span() if kind == "span" else self._keywords(frequencies, n_documents)

    def _sentence(self) -> tuple[str, str | None] | None:
        fewest, most = _SENTENCE
        spans = _sentence_spans(self._text)
        if len(spans) < 2:  # a query that is the whole document says nothing
            return None
        for position in self._random.permutation(len(spans)):
            start, end = spans[position]
            chosen = self._text[start:end]
            if fewest <= len(tokenise(chosen)) <= most:
                return " ".join(chosen.split()), None
        return None

    def _span(self) -> tuple[str, str | None] | None:
        fewest, most = _SPAN
        most = min(most, len(self.words) // 2)
        if most < fewest:
            return None
        length = int(self._random.integers(fewest, most + 1))
        first = int(self._random.integers(0, len(self.words) - length + 1))
        start, end = self.words[first][0], self.words[first + length - 1][1]
        chosen = " ".join(self._text[start:end].split())
        if self._random.random() >= _REMOVAL or self.cut:
            return chosen, None
        before, after = self._text[:start].rstrip(), self._text[end:].lstrip()
        return chosen, f"{before} {after}".strip()

    def _keywords(self, frequencies: Counter[str], n_documents: int) -> tuple[str, str | None] | None:
        fewest, most = _KEYWORDS
        surface: dict[str, str] = {}
        for start, end, token in self.words:
            if _telling(token):
                surface.setdefault(token, self._text[start:end])
        tokens = list(surface)
        if len(tokens) < 2 * fewest:
            return None
        count = min(int(self._random.integers(fewest, most + 1)), len(tokens) // 2)
        weights = _idf(np.array([frequencies[token] for token in tokens]), n_documents) ** 2
        drawn = self._random.choice(len(tokens), count, replace=False, p=weights / weights.sum())
        return " ".join(" ".join(surface[tokens[position]].split()) for position in drawn.tolist()), None


def _check(kinds: Sequence[str], per_document: int) -> None:
    for kind in kinds:
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, 1, 0.0)[0]
            raise SettingsError(
                f"there are no queries of the kind {kind!r}", f"Known: {', '.join(KINDS)}; did you mean {near!r}?"
            )
    if not kinds:
        raise SettingsError("no kind of query was asked for", f"Give some of {', '.join(KINDS)}")
    if per_document < 1:
        raise SettingsError(f"per_document is {per_document}", "It must be at least 1")


def _document_frequencies(documents: Sequence[str]) -> Counter[str]:
    frequencies: Counter[str] = Counter()
    for text in documents:
        frequencies.update(set(tokenise(text)))
    return frequencies


def _idf(frequencies: NDArray[np.int64], n_documents: int) -> NDArray[np.float64]:
    """Return ln(1 + (N - df + 0.5) / (df + 0.5)), as BM25 has it: above 0 for every df from 0 to N."""
    idf: NDArray[np.float64] = np.log1p((n_documents - frequencies + 0.5) / (frequencies + 0.5))
    return idf


def _telling(token: str) -> bool:
    """Return whether a token may stand in a query of keywords: letters, and not too few of them for its script."""
    return len(token) > (2 if token.isascii() else 1) and not token.isdigit() and any(map(str.isalpha, token))


def _sentence_spans(text: str) -> list[tuple[int, int]]:
    spans = []
    start = 0
    for match in _END.finditer(text):
        end = match.end()
        if match.group()[0] == "." and not _is_end(text, match.start(), end):
            continue
        if text[start:end].strip():
            spans.append((start, end))
            start = end
    if text[start:].strip():
        spans.append((start, len(text)))
    return spans


def _is_end(text: str, stop: int, end: int) -> bool:
    """Return whether a full stop at `stop`, with what closes after it up to `end`, ends a sentence."""
    following = text[end:].lstrip()[:1]
    if following.islower():
        return False
    return end > stop + 1 or _ABBREVIATED.search(text[max(0, stop - 12) : stop]) is None
