"""Finding the words of a text that stand for some given terms: for marking what matched, many texts a query.

The same as looking through `token_spans`, in a fraction of the time. What each surface token stands for is remembered,
both ways round, so that a text becomes one set of surface tokens, made in C, which is compared with the surface tokens
of the wanted terms; only what they have in common is looked for in the text. A surface token that was never met before
is analysed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter

from lexhound.encoders.base import Span

from .analyzer import Analyser
from .tokenizer import belongs_to_surface_token, spaced_surface_tokens, surface_token_spans, surface_tokens

# Surface tokens remembered, about 300 bytes each; when there are more, all are dropped.
_MAX_REMEMBERED = 100_000
_MAX_REMEMBERED_LENGTH = 64
# Each surface token that is looked for is a pass over the text; of more than these, all are looked for in one pass in
# Python.
_MAX_PASSES = 16

_Part = tuple[int, int, str]
_START = itemgetter(0)


class _Memory:
    """The terms that surface tokens stand for, both ways round."""

    __slots__ = ("parts", "surface_tokens")

    def __init__(self) -> None:
        self.parts: dict[str, tuple[_Part, ...]] = {}  # surface token -> (start, end, term) within it
        self.surface_tokens: dict[str, set[str]] = {}  # term -> the surface tokens that hold it

    def add(self, surface: str, parts: tuple[_Part, ...]) -> None:
        for _, _, term in parts:
            self.surface_tokens.setdefault(term, set()).add(surface)
        self.parts[surface] = parts  # last: a thread that finds the surface token here finds it under its terms too


class Highlighter:
    """Marks words by their terms; safe to call from several threads."""

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser
        self._memory = _Memory()

    def highlights(self, text: str, terms: Mapping[str, int]) -> list[Span]:
        """Return (start, end, id) of every word of `text` whose term is a key of `terms`, in order of their start.

        Args:
            terms: the wanted terms and what to call them.
        """
        line, distinct = self._surface_tokens_of(text)
        memory, passing = self._learn(distinct)
        if len(terms) > len(distinct):
            matching = {surface for surface in distinct if surface in memory.parts}
        else:
            matching = set()
            for term in terms:
                known = memory.surface_tokens.get(term)
                if known is not None:
                    matching |= distinct & known
        chosen = {}
        for surface in (*matching, *passing):
            parts = passing[surface] if surface in passing else memory.parts[surface]
            named = [(first, last, terms[term]) for first, last, term in parts if term in terms]
            if named:
                chosen[surface] = named
        spans = _look_through(line, chosen) if len(chosen) > _MAX_PASSES else _look_for(line, chosen)
        spans.sort(key=_START)  # stable: parts of one surface token that begin together stay in their order
        return spans

    def _surface_tokens_of(self, text: str) -> tuple[str, set[str]]:
        """Return `text` with blanks between its surface tokens, and the distinct surface tokens."""
        if self._analyser.turkic:
            return text, set(surface_tokens(text, turkic=True))
        line = spaced_surface_tokens(text)
        distinct = set(line.split())  # surface tokens hold no white space
        if not text.isascii():
            mixed = [piece for piece in distinct if not piece.isascii()]
            distinct.difference_update(mixed)
            distinct.update(surface_tokens(" ".join(mixed)))
        return line, distinct

    def _learn(self, distinct: set[str]) -> tuple[_Memory, dict[str, tuple[_Part, ...]]]:
        """Return the memory, which now knows these surface tokens, and those of them that are too long to be
        remembered.
        """
        memory = self._memory
        passing = {}
        for surface in distinct.difference(memory.parts):
            parts = self._analyse(surface)
            if len(surface) > _MAX_REMEMBERED_LENGTH:
                passing[surface] = parts
                continue
            if len(memory.parts) >= _MAX_REMEMBERED and memory is self._memory:
                self._memory = _Memory()  # for the calls to come; those under way keep the old one
            memory.add(surface, parts)
        return memory, passing

    def _analyse(self, surface: str) -> tuple[_Part, ...]:
        return tuple(self._analyser.parts(surface))


def _look_for(line: str, chosen: Mapping[str, list[Span]]) -> list[Span]:
    """Return the spans of the chosen surface tokens in `line`, in no order; a pass for each surface token."""
    spans = []
    line = f" {line} "
    for surface, parts in chosen.items():
        size = len(surface)
        position = line.find(surface)
        while position >= 0:
            before, after = line[position - 1], line[position + size]
            if (before != " " and belongs_to_surface_token(before)) or (
                after != " " and belongs_to_surface_token(after)
            ):
                position = line.find(surface, position + 1)
                continue
            for first, last, term in parts:
                spans.append((position - 1 + first, position - 1 + last, term))
            position = line.find(surface, position + size)
    return spans


def _look_through(line: str, chosen: Mapping[str, list[Span]]) -> list[Span]:
    """Return the same in a single pass."""
    return [
        (start + first, start + last, term)
        for start, surface in surface_token_spans(line)
        for first, last, term in chosen.get(surface, ())
    ]
