"""Finding the words of a text that stand for some given terms: for marking what matched, many texts a query.

The same as looking through `token_spans`, in a fraction of the time. What each form stands for is remembered, both ways
round, so that a text becomes one set of forms, made in C, which is compared with the forms of the wanted terms; only
what they have in common is looked for in the text. A form that was never met before is analysed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter

from lexhound.encoders.base import Span

from .analyzer import Analyser
from .tokenizer import belongs_to_form, form_spans, forms, spaced_forms

# Forms remembered, about 300 bytes each; when there are more, all are dropped.
_MAX_REMEMBERED = 100_000
_MAX_REMEMBERED_LENGTH = 64
# Each form that is looked for is a pass over the text; of more than these, all are looked for in one pass in Python.
_MAX_PASSES = 16

_Part = tuple[int, int, str]
_START = itemgetter(0)


class _Memory:
    """What forms stand for, both ways round."""

    __slots__ = ("forms", "parts")

    def __init__(self) -> None:
        self.parts: dict[str, tuple[_Part, ...]] = {}  # form -> (start, end, term) within it
        self.forms: dict[str, set[str]] = {}  # term -> the forms that hold it

    def add(self, form: str, parts: tuple[_Part, ...]) -> None:
        for _, _, term in parts:
            self.forms.setdefault(term, set()).add(form)
        self.parts[form] = parts  # last: a thread that finds the form here finds it under its terms too


class Marker:
    """Marks words by their terms; safe to call from several threads."""

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser
        self._memory = _Memory()

    def marks(self, text: str, terms: Mapping[str, int]) -> list[Span]:
        """(start, end, id) of every word of `text` whose term is a key of `terms`, in order of their start.

        Args:
            terms: the wanted terms and what to call them.
        """
        line, distinct = self._forms_of(text)
        memory, passing = self._learn(distinct)
        if len(terms) > len(distinct):
            wanted = {form for form in distinct if form in memory.parts}
        else:
            wanted = set()
            for term in terms:
                known = memory.forms.get(term)
                if known is not None:
                    wanted |= distinct & known
        chosen = {}
        for form in (*wanted, *passing):
            parts = passing[form] if form in passing else memory.parts[form]
            named = [(first, last, terms[term]) for first, last, term in parts if term in terms]
            if named:
                chosen[form] = named
        found = _look_through(line, chosen) if len(chosen) > _MAX_PASSES else _look_for(line, chosen)
        found.sort(key=_START)  # stable: parts of one form that begin together stay in their order
        return found

    def _forms_of(self, text: str) -> tuple[str, set[str]]:
        """Return `text` with blanks between its forms, and the distinct forms."""
        if self._analyser.turkic:
            return text, set(forms(text, turkic=True))
        line = spaced_forms(text)
        distinct = set(line.split())  # forms hold no white space
        if not text.isascii():
            mixed = [piece for piece in distinct if not piece.isascii()]
            distinct.difference_update(mixed)
            distinct.update(forms(" ".join(mixed)))
        return line, distinct

    def _learn(self, distinct: set[str]) -> tuple[_Memory, dict[str, tuple[_Part, ...]]]:
        """The memory, which now knows these forms, and those of them that are too long to be remembered."""
        memory = self._memory
        passing = {}
        for form in distinct.difference(memory.parts):
            parts = self._analyse(form)
            if len(form) > _MAX_REMEMBERED_LENGTH:
                passing[form] = parts
                continue
            if len(memory.parts) >= _MAX_REMEMBERED and memory is self._memory:
                self._memory = _Memory()  # for the calls to come; those under way keep the old one
            memory.add(form, parts)
        return memory, passing

    def _analyse(self, form: str) -> tuple[_Part, ...]:
        return tuple(self._analyser.parts(form))


def _look_for(line: str, chosen: Mapping[str, list[Span]]) -> list[Span]:
    """Return the spans of the chosen forms in `line`, in no order; a pass for each form."""
    found = []
    line = f" {line} "
    for form, parts in chosen.items():
        size = len(form)
        place = line.find(form)
        while place >= 0:
            before, after = line[place - 1], line[place + size]
            if (before != " " and belongs_to_form(before)) or (after != " " and belongs_to_form(after)):
                place = line.find(form, place + 1)
                continue
            for first, last, term in parts:
                found.append((place - 1 + first, place - 1 + last, term))
            place = line.find(form, place + size)
    return found


def _look_through(line: str, chosen: Mapping[str, list[Span]]) -> list[Span]:
    """Return the same in a single pass."""
    return [
        (start + first, start + last, term)
        for start, form in form_spans(line)
        for first, last, term in chosen.get(form, ())
    ]
