"""Snippets: the stretch of a document that shows best why it was found, safe to print on a terminal."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

WIDTH = 240

# Embeddings, overrides and isolates of the bidirectional algorithm: cut off from their closing counterpart they would
# turn round whatever is printed after them. Left-to-right and right-to-left *marks* close nothing and stay.
_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"
# Runs of whitespace and directions that are not what they become, a single blank: at either end of the text, longer
# than one character, or no blank.
_GAP = re.compile(f"\\A[\\s{_DIRECTIONS}]+|[\\s{_DIRECTIONS}]+\\Z|[\\s{_DIRECTIONS}]{{2,}}|[^\\S ]|[{_DIRECTIONS}]")
# C0 and C1 controls (the escape character among them) and lone surrogates. No code point moves: 1 for 1.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ELLIPSIS = "…"
# How far from its place a cut may move to fall between two words.
_REACH = 24


@dataclass(frozen=True, slots=True)
class Snippet:
    """A stretch of a document on one line; `marks` are start and end of matched words, in Unicode code points."""

    # Whitespace is collapsed, control characters are replaced, and `…` stands where the document goes on.
    text: str
    # Ascending, not overlapping.
    marks: tuple[tuple[int, int], ...]


def printable(text: str) -> str:
    """Return a text on one line: whitespace collapsed, characters that could command a terminal as U+FFFD."""
    return _HARMFUL.sub("\ufffd", _GAP.sub(_filling, text))


def make_snippet(
    text: str, spans: Sequence[tuple[int, int, int]], terms: Collection[int], width: int = WIDTH
) -> Snippet:
    """Return the window of a text that holds the most distinct matched terms, cut between words.

    Of windows with equally many terms the one with more matches wins, then the earliest; without a match it is the
    beginning of the text. Script-agnostic: where words are not separated by blanks, cuts fall between characters
    (never before a combining mark).

    Args:
        spans: `(start, end, term id)` of words of `text`, ascending by start, as `Collection.spans` gives them.
        terms: the ids of the query's terms.
        width: the greatest number of characters of the snippet, at least 8; ellipses count.
    """
    if width < 8:
        raise ValueError(f"width is {width}; at least 8 characters are needed")
    line, position = _one_line(text)
    if position is None:
        matches = [span for span in spans if span[2] in terms and span[0] < span[1]]
    else:
        matches = [(position(start), position(end), term) for start, end, term in spans if term in terms]
        matches = [match for match in matches if match[0] < match[1]]
    start, end = _window(line, matches, width)
    shown = line[start:end].strip(" ")
    start += len(line[start:end]) - len(line[start:end].lstrip(" "))
    end = start + len(shown)
    head = _ELLIPSIS if start > 0 else ""
    tail = _ELLIPSIS if end < len(line) else ""
    shift = start - len(head)
    marks = _merged(
        [
            (max(first, start) - shift, min(last, end) - shift)
            for first, last, _ in matches
            if first < end and last > start
        ]
    )
    return Snippet(head + shown + tail, marks)


def _one_line(text: str) -> tuple[str, _Places | None]:
    """Return the text made printable, and the place that each of its characters has moved to; None where none has."""
    if (
        text.isprintable() and "  " not in text and " " not in (text[:1], text[-1:])
    ):  # most texts are such a line already
        return text, None
    edges = [0]
    removed = [0]
    pieces = []
    for gap in _GAP.finditer(text):
        pieces += [text[edges[-1] : gap.start()], _filling(gap)]
        edges.append(gap.end())
        removed.append(gap.end() - gap.start() - len(pieces[-1]))
    line = _HARMFUL.sub("\ufffd", "".join((*pieces, text[edges[-1] :])))
    return line, _Places(edges, list(accumulate(removed)), len(line))


class _Places:
    """Where a character of the original text is in the collapsed one."""

    def __init__(self, edges: list[int], removed: list[int], length: int) -> None:
        self._edges = edges
        self._removed = removed
        self._length = length

    def __call__(self, position: int) -> int:
        return min(position - self._removed[bisect_right(self._edges, position) - 1], self._length)


def _filling(gap: re.Match[str]) -> str:
    at_edge = gap.start() == 0 or gap.end() == len(gap.string)
    return " " if not at_edge and any(character.isspace() for character in gap.group()) else ""


def _window(line: str, matches: Sequence[tuple[int, int, int]], width: int) -> tuple[int, int]:
    """Start and end of the part of `line` to show, ellipses not counted."""
    if len(line) <= width:
        return 0, len(line)
    inner = width - 2  # an ellipsis at either end
    first, last = _best_cluster(matches, inner)
    # What room is left goes on both sides of the matches, more of it after them.
    start = first - (inner - (last - first)) // 3
    if start <= _REACH // 2 or not matches:
        start = 0
    end = start + inner + (1 if start == 0 else 0)
    if end >= len(line):
        end = len(line)
        start = min(first, max(0, end - inner - 1))
    return _cut_start(line, start, first), _cut_end(line, end, last)


def _best_cluster(matches: Sequence[tuple[int, int, int]], inner: int) -> tuple[int, int]:
    """Start and end of the matches that fit into `inner` characters and have the most distinct terms."""
    if not matches:
        return 0, 0
    cluster = matches[0][0], min(matches[0][1], matches[0][0] + inner)
    best = range(0)  # of matches
    best_terms = 0
    inside: dict[int, int] = {}  # term -> matches in the window
    stop = 0
    for first, (start, _, term) in enumerate(matches):
        stop = max(stop, first)
        while stop < len(matches):
            _, end, other = matches[stop]
            if end - start > inner:
                break
            inside[other] = inside.get(other, 0) + 1
            stop += 1
        if stop > first:
            if len(inside) > best_terms or (len(inside) == best_terms and stop - first > len(best)):
                best_terms, best = len(inside), range(first, stop)
            if stop == len(matches):  # what follows are parts of this window
                break
            inside[term] -= 1
            if not inside[term]:
                del inside[term]
    if best:
        cluster = matches[best[0]][0], max(matches[each][1] for each in best)
    return cluster


def _cut_start(line: str, start: int, limit: int) -> int:
    """Move `start` right, behind the next blank; never beyond `limit`."""
    if start <= 0 or line[start - 1] == " ":
        return max(start, 0)
    blank = line.find(" ", start, min(start + _REACH, limit))
    return blank + 1 if blank >= 0 else _character_boundary(line, start, +1, limit)


def _cut_end(line: str, end: int, limit: int) -> int:
    """Move `end` left, before the last blank; never before `limit`."""
    if end >= len(line) or line[end] == " ":
        return min(end, len(line))
    blank = line.rfind(" ", max(end - _REACH, limit), end)
    return blank if blank >= 0 else _character_boundary(line, end, -1, limit)


def _character_boundary(line: str, cut: int, step: int, limit: int) -> int:
    """Move `cut` by `step` until it stands before no combining mark or joiner, at most up to `limit`."""
    while cut != limit and 0 < cut < len(line) and _continues(line[cut]):
        cut += step
    return cut


def _continues(character: str) -> bool:
    return character in "\u200c\u200d" or unicodedata.category(character)[0] == "M"


def _merged(marks: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Merge overlapping marks, of character bigrams, say."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(marks):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return tuple(merged)
