"""A query of several clauses as a tree; needs neither NumPy nor an index.

A clause says which documents match, and what score each gets from it:

- `TextClause`: documents with a term of the text; the score is that of a search for it.
- `WeightsClause`: the same, of terms with given weights.
- `FilterClause`: documents that pass a filter expression, or all of them; each gets the same score.
- `AllOf`: documents that match every `must` and `filter`, no `must_not`, and at least `minimum` of `should`; the score
  is the sum of the scores of those of `must` and `should` that the document matches.

Every score is multiplied by the clause's `boost`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from lexhound.retrieval.errors import QueryError

MAX_CLAUSES = 1024
MAX_CLAUSE_DEPTH = 32
MAX_BOOST = 1e6


def _check_boost(boost: float) -> None:
    if isinstance(boost, bool) or not isinstance(boost, int | float) or not 0 < boost <= MAX_BOOST:
        raise QueryError(f"a boost is {boost!r}", hint=f"it must be a number above 0 and at most {MAX_BOOST:g}")


@dataclass(frozen=True, slots=True)
class TextClause:
    """Documents with a term of a text; with `every_term` all of its terms, where words are terms (bm25)."""

    text: str
    boost: float = 1.0
    every_term: bool = False

    def __post_init__(self) -> None:
        _check_boost(self.boost)


@dataclass(frozen=True, slots=True)
class WeightsClause:
    """Documents with one of some terms, weighted as given; terms are named as explanations name them."""

    weights: Mapping[str, float]
    boost: float = 1.0

    def __post_init__(self) -> None:
        _check_boost(self.boost)


@dataclass(frozen=True, slots=True)
class FilterClause:
    """Documents that pass a filter expression; all of them without one. Each has the score of the boost."""

    filter: str | None = None
    boost: float = 1.0

    def __post_init__(self) -> None:
        _check_boost(self.boost)


@dataclass(frozen=True, slots=True)
class AllOf:
    """Clauses that are combined; without any all documents match.

    Attributes:
        minimum: of `should`, how many must match; None for one where there is neither `must` nor `filter`, else none.
    """

    must: tuple[Clause, ...] = ()
    should: tuple[Clause, ...] = ()
    filter: tuple[Clause, ...] = ()
    must_not: tuple[Clause, ...] = ()
    minimum: int | None = None
    boost: float = field(default=1.0)

    def __post_init__(self) -> None:
        _check_boost(self.boost)

    @property
    def needed(self) -> int:
        """How many of `should` must match."""
        if self.minimum is None:
            return 1 if self.should and not self.must and not self.filter else 0
        return max(0, self.minimum)


Clause: TypeAlias = TextClause | WeightsClause | FilterClause | AllOf
CLAUSES = (TextClause, WeightsClause, FilterClause, AllOf)


def leaves(clause: Clause, depth: int = 1) -> list[Clause]:
    """Return the clauses of a tree that hold no others.

    Raises:
        QueryError: there are too many, or they are nested too deeply.
    """
    if depth > MAX_CLAUSE_DEPTH:
        raise QueryError(f"clauses are nested more than {MAX_CLAUSE_DEPTH} deep", hint="join those of one kind")
    if not isinstance(clause, AllOf):
        return [clause]
    found = []
    for inner in (*clause.must, *clause.should, *clause.filter, *clause.must_not):
        found += leaves(inner, depth + 1)
        if len(found) > MAX_CLAUSES:
            raise QueryError(f"there are more than {MAX_CLAUSES:,} clauses", hint="join values with `in (...)`")
    return found


def scored_texts(clause: Clause) -> list[str]:
    """Return the texts that give a score to what they match."""
    if isinstance(clause, TextClause):
        return [clause.text]
    if not isinstance(clause, AllOf):
        return []
    return [text for inner in (*clause.must, *clause.should) for text in scored_texts(inner)]
