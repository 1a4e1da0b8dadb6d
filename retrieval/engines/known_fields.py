"""Which fields the documents of another engine have, by counting those that pass a filter."""

from __future__ import annotations

from lexhound.retrieval.errors import UnknownFieldError
from lexhound.retrieval.filters import Comparison, Exists, Expression, Or
from lexhound.retrieval.filters.known_fields import Kind, check_known

from .engine import Engine

_KINDS: tuple[Kind, ...] = ("number", "text")


class EngineFields:
    """The fields of an engine's documents. What was there once is remembered.

    Cost: at most three counts a field that is asked for the first time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kinds: dict[str, frozenset[Kind]] = {}
        self._inner: dict[str, list[str]] = {}

    def check(self, expression: Expression) -> None:
        """Refuse an expression that names what no document has.

        Raises:
            UnknownFieldError: it does, and there are documents.
        """
        try:
            check_known(expression, self)
        except UnknownFieldError:
            self._kinds.clear()  # it may have come since
            self._inner.clear()
            if self._engine.count():
                check_known(expression, self)

    def kinds(self, field: str) -> frozenset[Kind]:
        """Return what values a field has in any document."""
        if field not in self._kinds:
            self._kinds[field] = frozenset(kind for kind in _KINDS if self._engine.count(_any_of(kind, field)))
        return self._kinds[field]

    def inner(self, field: str) -> list[str]:
        """Return what stands for the fields within a field, where there are any; or it has a value itself."""
        if field not in self._inner:
            self._inner[field] = [f"{field}.*"] if self._engine.count(Exists(field)) else []
        return self._inner[field]

    def names(self) -> None:
        """Return None: engines do not list them."""


def _any_of(kind: Kind, field: str) -> Expression:
    """Return the filter that documents with such a value of the field pass."""
    if kind == "text":
        return Comparison(field, ">=", "")
    return Or((Comparison(field, ">=", 0), Comparison(field, "<", 0)))
