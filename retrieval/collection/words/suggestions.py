"""What a query may have been to be: its last word completed, and its misspelt words put right.

A word is misspelt where no document has it, nor another form of it, and some document has a word that differs in one
letter (two from MANY letters on). Distances are those of optimal string alignment: a letter is left out, put in,
replaced, or has changed places with its neighbour (Damerau 1964).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from heapq import nsmallest

from lexhound.encoders.text.analyzer import Analyser
from lexhound.encoders.text.tokenizer import surface_token_spans
from lexhound.retrieval.collection.result import Suggestions

from .word_table import WordTable, is_word

MOST_COMPLETIONS = 8
"""Ways in which a query's last word is completed, unless others are asked for."""
MIN_PREFIX = 2
MIN_MISSPELT, MANY = 4, 7
"""Shorter words are not put right; two letters may differ in words of at least `MANY`."""


def suggest(query: str, tables: Sequence[WordTable], k: int, is_known: Callable[[str], bool]) -> Suggestions:
    """Return what a query may become by the words of tables.

    Args:
        is_known: whether documents have a word that is in no table: in another form, or beyond the sample.
    """
    return Suggestions(put_right(query, tables, is_known), complete(query, tables, k))


def complete(query: str, tables: Sequence[WordTable], k: int) -> tuple[str, ...]:
    """Return a query with its last word completed in up to `k` ways; none where it ends after a word."""
    last = None
    for last in surface_token_spans(query):  # noqa: B007  the last one
        pass
    if last is None or last[0] + len(last[1]) != len(query):
        return ()
    start, token = last
    prefix = token.lower()
    if len(prefix) < MIN_PREFIX or not is_word(prefix):
        return ()
    counted: Counter[str] = Counter()
    for table in tables:
        for word, count in table.beginning(prefix):
            counted[word] += count
    counted.pop(prefix, None)
    best = nsmallest(k, counted.items(), key=lambda each: (-each[1], each[0]))
    return tuple(f"{query[:start]}{token}{word[len(token) :]}" for word, _ in best)


def put_right(query: str, tables: Sequence[WordTable], is_known: Callable[[str], bool]) -> str | None:
    """Return a query with its misspelt words put right; None where none is."""
    pieces, end = [], 0
    for start, token in surface_token_spans(query):
        word = token.lower()
        if len(word) < MIN_MISSPELT or not is_word(word) or not word.isalpha():
            continue
        if any(table.count(word) for table in tables) or is_known(word):
            continue
        right = _nearest(word, tables)
        if right is not None:
            pieces += [query[end:start], right]
            end = start + len(token)
    return "".join([*pieces, query[end:]]) if pieces else None


def _nearest(word: str, tables: Sequence[WordTable]) -> str | None:
    """Return the word of tables that a misspelt one was to be: the nearest, of those the one that most documents have.

    Of equally near words those with the same first letter come first: people get that one right (Yannakoudakis &
    Fawthrop 1983).
    """
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import extract

    most = 1 if len(word) < MANY else 2
    distances: dict[str, float] = {}
    counted: Counter[str] = Counter()
    for table in tables:
        for near, distance, place in extract(word, table.words, scorer=OSA.distance, score_cutoff=most, limit=None):
            if near.isalpha():
                distances[near] = distance
                counted[near] += int(table.counts[place])
    stem = _stems().term(word)
    if any(_stems().term(near) == stem for near in distances):  # another form of a word that documents have
        return None
    return min(distances, key=lambda near: (distances[near], near[0] != word[0], -counted[near], near), default=None)


@cache
def _stems() -> Analyser:
    return Analyser("english", stemming=True, stop_words=False)
