"""From tokens to terms in one language: stop words out, the rest stemmed.

Stemmers are Snowball's (PyStemmer); stop words come from the `stop-words` package. A language needs only one
of the two: Chinese has stop words and no stemmer, Basque the other way round.
"""

from __future__ import annotations

import difflib
from functools import cache
from threading import Lock
from typing import Protocol

from .errors import LanguageError
from .tokenise import Token, tokenise, tokens_of

NO_LANGUAGE = "none"
"""The language name that turns off both stemming and stop words."""

# Snowball has these algorithms beside the one named after the language.
_ALGORITHM_LANGUAGES = {"porter": "english", "dutch_porter": "dutch"}
_TURKIC = frozenset({"turkish"})


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
    wanted = name.strip().lower()
    wanted = LANGUAGE_MAPPING.get(wanted, wanted)
    if wanted in known:
        return str(wanted)
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"Nearest: {', '.join(near)}. " if near else ""
    raise LanguageError(f"unknown language {name!r}", f"{hint}Known: {', '.join(known)}")


class Analyser:
    """Turns forms (see `tokenise`) into terms of one language; safe to call from several threads.

    Args:
        language: a name that `resolve_language` returned.
        stemming: reduce words to Snowball stems, where Snowball has the language.
        stop_words: drop the language's stop words, where it has a list.
    """

    def __init__(self, language: str, *, stemming: bool, stop_words: bool) -> None:
        self.turkic = language in _TURKIC
        self.stop_words = stop_words_of(language) if stop_words else frozenset()
        self._stemmer = _stemmer_of(language) if stemming else None
        self._lock = Lock()  # a Snowball stemmer keeps its word in a buffer of its own

    def term(self, token: str) -> str | None:
        """Return a folded token's term, or None for a stop word (looked up before stemming)."""
        if token in self.stop_words:
            return None
        if self._stemmer is None:
            return token
        with self._lock:
            return self._stemmer.stemWord(token) or token

    def terms(self, form: str) -> list[Token]:
        """Return the terms one form counts for, with offsets from its start; empty for a stop word."""
        found = []
        for start, end, token in tokens_of(form, turkic=self.turkic):
            term = self.term(token)
            if term is not None:
                found.append((start, end, term))
        return found


@cache
def stop_words_of(language: str) -> frozenset[str]:
    """Return a language's stop words, folded as tokens are; empty where the library has no list."""
    from stop_words import AVAILABLE_LANGUAGES, get_stop_words

    language = _ALGORITHM_LANGUAGES.get(language, language)
    if language not in AVAILABLE_LANGUAGES:
        return frozenset()
    words = set()
    for entry in get_stop_words(language):
        tokens = tokenise(entry, turkic=language in _TURKIC)
        if len(tokens) == 1:  # an entry of several words ("et-al") would drop each of them alone
            words.add(tokens[0])
    return frozenset(words)


def _stemmer_of(language: str) -> _Stemmer | None:
    import Stemmer

    if language not in Stemmer.algorithms():
        return None
    stemmer: _Stemmer = Stemmer.Stemmer(language, 0)  # no cache of its own: forms are remembered above it
    return stemmer
