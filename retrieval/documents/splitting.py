"""Long texts cut into passages: at headings, paragraphs and sentences where there are any, sizes in tokens.

A passage is a stretch of the text, begin and end in characters. Every character that is not white space is in at least
one passage. Passages ascend, and a passage begins at most `overlap` tokens before the one before it ends.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Span: TypeAlias = tuple[int, int]
"""Where a passage begins and ends in its text, in characters."""

# How good a place is for a cut: a heading begins, a paragraph ends, a sentence ends.
HEADING, PARAGRAPH, SENTENCE = 3, 2, 1

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_MARKED_HEADING = re.compile(r"^[^\S\n]*(?:#{1,6}[^\S\n]+\S|={2,6}[^=\n]+={2,6}[^\S\n]*$)", re.MULTILINE)
_PLAIN_HEADING = re.compile(r"(?:\A|\n[^\S\n]*\n)[^\S\n]*([^\s\n][^\n]{0,78}[^\s.,;:!?])[^\S\n]*\n[^\S\n]*\n")
_SENTENCE_END = re.compile(r"""[.!?\u2026]+["'\u201d\u2019)\]]*\s+|[\u3002\uff01\uff1f]+[\u300d\u300f"\u201d)]*\s*""")
# What looks like the end of a sentence and seldom is one.
_ABBREVIATION = re.compile(
    r"(?:\b[A-Za-z]|\b(?:Dr|Mr|Mrs|Ms|Prof|St|vs|cf|Fig|Eq|No|Vol|approx|e\.g|i\.e|al|etc|Inc|Jr|Sr))\.$"
)
# Headings are looked for from this share of a passage on, paragraphs and sentences from half of it on.
_EARLIEST = {HEADING: 4, PARAGRAPH: 2, SENTENCE: 2}


def split_text(text: str, starts: NDArray[np.int64], tokens: int, overlap: int = 0) -> list[Span]:
    """Return the passages of a text; one of all of it where it has no more than `tokens` tokens.

    A passage ends where the next heading begins, where a paragraph ends or where a sentence ends: the best of these in
    its later part, of equally good places the last; between words where there is none, and within a word where that is
    longer than a passage. After a heading nothing is repeated; elsewhere the next passage begins with the last whole
    sentences of the one before, as many as `overlap` tokens hold.

    Args:
        starts: int64[n], where each token of the text begins, ascending.
        tokens: how many a passage has at most, 1 or more.
        overlap: how many of them the next passage may repeat, at most half of `tokens`.
    """
    if len(starts) <= tokens:
        return [(0, len(text))]
    places, kinds = boundaries(text)
    at = np.searchsorted(starts, places)  # the token that would be the first of the next passage
    inside = (at > 0) & (at < len(starts))
    at, kinds = at[inside], kinds[inside]
    spans: list[Span] = []
    first, begin = 0, 0
    while len(starts) - first > tokens:
        last, kind = _cut(text, starts, at, kinds, first, tokens)
        end = int(starts[last])
        spans.append((begin, end))
        first = _next(text, starts, at, kinds, (first, last), kind, overlap)
        begin = int(starts[first])
    spans.append((begin, len(text)))
    stripped = [_stripped(text, span) for span in spans]
    return [span for span in stripped if span[0] < span[1]] or [(0, len(text))]


def boundaries(text: str) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return where a text may be cut well, ascending, int64[n], and how good each place is, int8[n]."""
    best: dict[int, int] = {}
    for match in _SENTENCE_END.finditer(text):
        following = text[match.end() : match.end() + 1]
        head = text[max(0, match.start() - 8) : match.start() + 1]
        if not following.islower() and not _ABBREVIATION.search(head):
            best[match.end()] = SENTENCE
    for match in _BLANK_LINES.finditer(text):
        best[match.end()] = PARAGRAPH
    for match in _PLAIN_HEADING.finditer(text):
        best[match.start(1)] = HEADING
        best.pop(match.end(), None)  # what follows a heading belongs to it
    for match in _MARKED_HEADING.finditer(text):
        best[match.start()] = HEADING
        best.pop(_after_line(text, match.end()), None)
    places = np.array(sorted(best), np.int64)
    return places, np.array([best[place] for place in places.tolist()], np.int8)


def _after_line(text: str, position: int) -> int:
    """Return where the text goes on after the end of a line and the white space behind it."""
    end = text.find("\n", position)
    end = len(text) if end < 0 else end
    while end < len(text) and text[end].isspace():
        end += 1
    return end


def _cut(
    text: str,
    starts: NDArray[np.int64],
    at: NDArray[np.int64],
    kinds: NDArray[np.int8],
    first: int,
    tokens: int,
) -> tuple[int, int]:
    """Return the token at which a passage that begins at `first` ends, and how good the place is; 0 between words."""
    for kind, share in _EARLIEST.items():
        low, high = np.searchsorted(at, (first + max(1, tokens // share), first + tokens + 1))
        fitting = np.flatnonzero(kinds[low:high] >= kind)
        if len(fitting):
            return int(at[low + fitting[-1]]), kind
    return _word(text, starts, first + 1, first + tokens), 0


def _next(
    text: str,
    starts: NDArray[np.int64],
    at: NDArray[np.int64],
    kinds: NDArray[np.int8],
    passage: tuple[int, int],
    kind: int,
    overlap: int,
) -> int:
    """Return the token at which the next passage begins."""
    first, last = passage
    earliest = max(first + 1, last - overlap)
    if not overlap or kind == HEADING or earliest >= last:
        return last
    low, high = np.searchsorted(at, (earliest, last))
    if low < high:
        return int(at[low])
    return last if kind else _word(text, starts, earliest, last)


def _word(text: str, starts: NDArray[np.int64], low: int, high: int) -> int:
    """Return the last token from `low` to `high` that begins a word; `high` where none does."""
    for token in range(high, low - 1, -1):
        start = int(starts[token])
        if text[start - 1 : start + 1].strip() != text[start - 1 : start + 1]:
            return token
    return high


def _stripped(text: str, span: Span) -> Span:
    begin, end = span
    piece = text[begin:end]
    return begin + len(piece) - len(piece.lstrip()), begin + len(piece.rstrip())
