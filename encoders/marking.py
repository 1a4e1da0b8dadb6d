"""Finding the words of a text that stand for some given terms: for marking what matched, many texts a query.

The same as looking through `token_spans`, in a fraction of the time. The distinct forms of a text are compared, as a
set, with the forms that are known to stand for a wanted term, and only what they have in common is looked for in the
text; a form that was never met before is analysed once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from .analysis import Analyser
from .tokenise import continues_form, forms, spaced_forms, tokens_of

# Forms remembered, about 300 bytes each; when there are more, all are dropped.
_MAX_REMEMBERED = 100_000
_MAX_REMEMBERED_LENGTH = 64

_Part = tuple[int, int, str]


class _Memory:
    """What forms stand for, both ways round."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[_Part, ...]] = {}  # form -> (start, end, term) within it
        self.forms: dict[str, set[str]] = {}  # term -> forms that hold it


class Marker:
    """Marks words by their terms, as texts; safe to call from several threads."""

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser
        self._memory = _Memory()

    def marks(self, text: str, terms: Collection[str]) -> list[_Part]:
        """(start, end, term) of every word of `text` whose term is among `terms`, in order of their start."""
        turkic = self._analyser.turkic
        distinct = set(forms(text, turkic=turkic))
        memory = self._memory
        found: list[_Part] = []
        passing: dict[str, tuple[_Part, ...]] = {}
        for form in distinct.difference(memory.parts):
            parts = self._analyse(form)
            if len(form) <= _MAX_REMEMBERED_LENGTH:
                self._remember(memory, form, parts)
            elif any(term in terms for _, _, term in parts):
                passing[form] = parts
        wanted = distinct.intersection(form for term in terms for form in tuple(memory.forms.get(term, ())))
        if not wanted and not passing:
            return found
        plain = text.isascii() and not turkic
        line = spaced_forms(text) if plain else text
        inside = _not_blank if plain else continues_form
        for form in (*wanted, *passing):
            parts = passing.get(form) or memory.parts[form]
            for start in _places(line, form, inside):
                found += [(start + first, start + last, term) for first, last, term in parts if term in terms]
        found.sort()
        return found

    def _analyse(self, form: str) -> tuple[_Part, ...]:
        analyser = self._analyser
        return tuple(
            (start, end, analyser.term(token)) for start, end, token in tokens_of(form, turkic=analyser.turkic)
        )

    def _remember(self, memory: _Memory, form: str, parts: tuple[_Part, ...]) -> None:
        if len(memory.parts) >= _MAX_REMEMBERED and memory is self._memory:
            self._memory = _Memory()  # calls that are under way keep the old one
        for _, _, term in parts:
            memory.forms.setdefault(term, set()).add(form)
        memory.parts[form] = parts  # last: who finds the form here finds it under its terms


def _places(line: str, form: str, inside: Callable[[str], object]) -> list[int]:
    """Where `form` stands in `line` as a whole, with nothing on either side that is `inside` a form."""
    places = []
    start = line.find(form)
    while start >= 0:
        end = start + len(form)
        if (start == 0 or not inside(line[start - 1])) and (end == len(line) or not inside(line[end])):
            places.append(start)
            start = line.find(form, end)
        else:
            start = line.find(form, start + 1)
    return places


def _not_blank(character: str) -> bool:
    return character != " "
