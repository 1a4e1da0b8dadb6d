"""From tokens to terms in one language: Snowball stems, and which terms are stop words.

Stemmers are Snowball's (PyStemmer); stop words come from the `stop-words` package. A language needs only one of
the two: Chinese has stop words and no stemmer, Basque the other way round.

A listed word is not dropped from documents. The lists are unions of many (the English one has 1,333 entries, among
them `computer`, `fire`, `research`, `ai` and `uk`), so a word counts as a stop word only where the collection shows
that it is one: listed *and* frequent, see `LexicalEncoder.query_weights`. Measured on development data only, brute
force over title and text, k1 0.9, b 0.4; nDCG@10 on SciFact train (809 queries) and NFCorpus dev (324), then
MRR@10 of finding a computer-science abstract by its title among 20,000, and a Simple Wikipedia passage among
30,000; "read" is postings a query on SciFact:

    English list                           SciFact   NFCorpus   abstracts   passages    read
    dropped from documents and queries        .698       .296        .875       .692    3.1k
    none dropped                              .694       .287        .889       .700   16.2k
    left out of queries where frequent        .694       .287           -          -       -

"Frequent" is more than a fifth of the documents: of .1, .2 and .3, which differ by at most .001 on the first two
columns, .1 loses .007 of the abstracts' nDCG@10, because it takes words such as "high" and "problem" with it.
Dropping the whole list helps biomedical text a little and hurts the rest, and a query such as "computer" then finds
nothing; the last line, which is what we do, spares the longest lists and ranks as if none were dropped. Stemming
is worth .02 to .03 (.664 and .266 without); Porter and Porter2 ("english") are within .003 of each other on both sets,
so the maintained Porter2 is the default.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping
from functools import cache
from threading import Lock
from typing import Protocol

from lexhound.encoders.errors import LanguageError
from lexhound.encoders.libraries import STEMMER, STOP_WORDS, UNICODE, digest_of, version_of

from .tokenizer import MAX_WORD_LENGTH, TOKENISER_VERSION, Token, fold, tokenise, tokens_of
from .version_probes import CHARACTERS, probes_of

NO_LANGUAGE = "none"
"""The language name that turns off both stemming and stop words."""

# Snowball has these algorithms beside the one named after the language.
_ALGORITHM_LANGUAGES = {"porter": "english", "dutch_porter": "dutch"}
_TURKIC = frozenset({"turkish"})

STORED: Mapping[str, tuple[str, str]] = {
    "stems": (STEMMER, "stems"),
    "characters": (UNICODE, "words"),
}
"""Parts of an analyser's digests whose change makes other terms of the same text: which library, which output.

Stop words are not of them: documents keep them all, and a query that leaves out others finds what it asks for.
"""


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...  # noqa: N802 (PyStemmer's name)


def languages() -> list[str]:
    """Return the language names that `resolve_language` takes, sorted."""
    import Stemmer
    from stop_words import AVAILABLE_LANGUAGES

    return sorted({NO_LANGUAGE, *Stemmer.algorithms(), *AVAILABLE_LANGUAGES})


def resolve_language(name: str) -> str:
    """Return the full name of a language given by name or ISO 639-1 code, in any case.

    Raises:
        LanguageError: no stemmer and no stop-word list knows it; the hint lists the nearest names.
    """
    from stop_words import LANGUAGE_MAPPING

    known = languages()
    language = name.strip().lower()
    language = LANGUAGE_MAPPING.get(language, language)
    if language in known:
        return str(language)
    near = difflib.get_close_matches(language, known, n=3, cutoff=0.5)
    hint = f"Nearest: {', '.join(near)}. " if near else ""
    raise LanguageError(f"unknown language {name!r}", f"{hint}Known: {', '.join(known)}")


class Analyser:
    """An analyser of surface tokens (see `tokenise`) into terms of one language; safe to call from several threads.

    Args:
        language: a name that `resolve_language` returned.
        stemming: reduce words to Snowball stems, where Snowball has the language.
        stop_words: know the language's stop words, where the library has a list.
        version: of the tokeniser, TOKENISER_VERSION or an earlier one.
    """

    def __init__(self, language: str, *, stemming: bool, stop_words: bool, version: int = TOKENISER_VERSION) -> None:
        self.turkic = language in _TURKIC
        self.hangul = version > 1
        self._language = language
        self._stemming = stemming
        self._stemmer = _stemmer_of(language) if stemming else None
        self._lock = Lock()  # a Snowball stemmer keeps its word in a buffer of its own
        self._stop_words = stop_words_of(language, hangul=self.hangul) if stop_words else frozenset()
        self.stop_terms = frozenset(self.term(word) for word in self._stop_words)

    def term(self, token: str) -> str:
        """Return a folded token's term: its stem, or itself where there is no stemmer."""
        if self._stemmer is None:
            return token
        with self._lock:
            return self._stemmer.stemWord(token) or token

    def parts(self, surface: str) -> list[Token]:
        """Return the terms of one surface token, nearly always one, with offsets from its start."""
        tokens = tokens_of(surface, turkic=self.turkic, hangul=self.hangul)
        return [(start, end, self.term(token)) for start, end, token in tokens]

    def terms(self, surface: str) -> list[str]:
        """Return the terms of one surface token."""
        # Nearly all are of this kind: one token, as `tokens_of` says.
        if surface.isascii() and surface.isalnum() and not self.turkic:
            return [self.term(surface[:MAX_WORD_LENGTH].lower())]
        return [term for _, _, term in self.parts(surface)]

    def digests(self) -> dict[str, str]:
        """Return digests of what the installed libraries make of probes, for an identity's `parts`."""
        digests = {"characters": _characters()}
        if self._stemmer is not None:
            digests["stems"] = digest_of(self.term(word) for word in probes_of(self._language))
        if self._stop_words:
            digests["stop_words"] = digest_of(sorted(self._stop_words))
        return digests

    def libraries(self) -> dict[str, str]:
        """Return the versions of the libraries that it uses, by name."""
        used = [UNICODE] + [STEMMER] * self._stemming + [STOP_WORDS] * bool(self._stop_words)
        return {name: version_of(name) for name in used}


@cache
def _characters() -> str:
    """Return a digest of what this Python's Unicode tables say of the probe characters."""
    return digest_of((fold(CHARACTERS), *(f"{unicodedata.category(char)} {fold(char)}" for char in CHARACTERS)))


@cache
def stop_words_of(language: str, *, hangul: bool = True) -> frozenset[str]:
    """Return a language's stop words, folded as tokens are; empty where the library has no list."""
    from stop_words import AVAILABLE_LANGUAGES, get_stop_words

    language = _ALGORITHM_LANGUAGES.get(language, language)
    if language not in AVAILABLE_LANGUAGES:
        return frozenset()
    words = set()
    for entry in get_stop_words(language):
        tokens = tokenise(entry, turkic=language in _TURKIC, hangul=hangul)
        if len(tokens) == 1:  # an entry of several words ("et-al") says nothing of each alone
            words.add(tokens[0])
    return frozenset(words)


def _stemmer_of(language: str) -> _Stemmer | None:
    import Stemmer

    if language not in Stemmer.algorithms():
        return None
    stemmer: _Stemmer = Stemmer.Stemmer(language, 0)  # no cache of its own: surface tokens are remembered above it
    return stemmer
