"""The elements of a JSON array of any length, found as it comes in pieces: what is held is the element being read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from .errors import LexhoundError

BLANK = b" \t\r\n"
# What matters to where an element of an array ends.
_OUTSIDE = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'["\\]')

Fault: TypeAlias = Literal["no array", "comma", "breaks off"]


class ArrayError(LexhoundError):
    """What comes in pieces is not one JSON array.

    Attributes:
        fault: "no array"; "comma", with no element beside it; or "breaks off", before its end.
        count: elements before that; line: where it is noticed, from 1.
    """

    http_status = 400

    def __init__(self, fault: Fault, count: int, line: int) -> None:
        super().__init__(
            {
                "no array": "not one JSON array",
                "comma": f"the array has a comma with no element beside it, after element {count}",
                "breaks off": f"the array breaks off after element {count}",
            }[fault]
        )
        self.fault = fault
        self.count = count
        self.line = line


class Element(NamedTuple):
    """An element of an array as JSON, None if it is too long, and the line on which it starts, from 1."""

    json: bytes | None
    line: int


class ArraySplitter:
    """The elements of one JSON array. Finds where they end; whether each is JSON is found when it is parsed."""

    def __init__(self, limit: int) -> None:
        """`limit`: the bytes of an element, at most."""
        self._limit = limit
        self._rest = bytearray()  # the open element
        self._searched = 0  # how much of it has been looked at
        self._inside = False  # a string
        self._depth = 0
        self._skipping = False
        self._count = 0
        self._ended = False
        self._expected = False  # whether a comma has announced an element
        self._line = 1  # on which `_rest` begins
        self._started = 0  # the line on which a skipped element began

    def feed(self, piece: bytes) -> Iterator[Element]:
        """Yield the elements that end in this piece.

        Raises:
            ArrayError: it is no array; the elements before that have been given.
        """
        self._rest += piece
        while match := (_IN_STRING if self._inside else _OUTSIDE).search(self._rest, self._searched):
            token = match.group()
            if token == b"\\":
                if match.end() == len(self._rest):  # what it escapes has not come yet
                    self._searched = match.start()
                    break
                self._searched = match.end() + 1
                continue
            self._searched = match.end()
            if token == b'"':
                if self._depth == 0:
                    raise self._error("no array")
                self._inside = not self._inside
            else:
                yield from self._bracket(token, match.start())
        else:
            self._searched = len(self._rest)
        if self._depth == 0:
            self._outside(self._rest)
        if len(self._rest) > self._limit:
            self._started = self._started if self._skipping else self._first_line(len(self._rest))
            self._skipping = True
            self._cut()

    def end(self) -> None:
        """Be sure that the array has ended.

        Raises:
            ArrayError: it has not.
        """
        if not self._ended:
            raise self._error("breaks off" if self._depth else "no array")

    def _bracket(self, token: bytes, start: int) -> Iterator[Element]:
        if self._depth == 0:
            self._outside(self._rest[:start])
            if token != b"[" or self._ended:
                raise self._error("no array")
            self._depth = 1
            self._cut()
        elif token in b"[{":
            self._depth += 1
        elif token in b"]}":
            self._depth -= 1
            if self._depth == 0:
                if token != b"]":
                    raise self._error("no array")
                self._ended = True
                yield from self._element(start)
        elif self._depth == 1:
            yield from self._element(start)

    def _element(self, end: int) -> Iterator[Element]:
        line = self._started if self._skipping else self._first_line(end)
        element = bytes(self._rest[:end]).strip(BLANK)
        skipped, expected = self._skipping or len(element) > self._limit, self._expected
        self._skipping, self._expected = False, not self._ended
        self._cut()
        if skipped or element:
            self._count += 1
            yield Element(None if skipped else element, line)
        elif expected or not self._ended:
            raise self._error("comma")

    def _first_line(self, end: int) -> int:
        """Return the line of the first character of what is held that is no blank."""
        held = self._rest[:end]
        return self._line + held.count(b"\n", 0, len(held) - len(held.lstrip(BLANK)))

    def _cut(self) -> None:
        self._line += self._rest.count(b"\n", 0, self._searched)
        del self._rest[: self._searched]
        self._searched = 0

    def _outside(self, text: bytes | bytearray) -> None:
        if text.strip(BLANK):
            raise self._error("no array")

    def _error(self, fault: Fault) -> ArrayError:
        return ArrayError(fault, self._count, self._first_line(len(self._rest)))
