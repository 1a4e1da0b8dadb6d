"""Documents ranked by their passages in an engine that ranks rows, by the rule of our own index (`query.grouping`).

An engine returns the best n rows, so rows are asked for until the first k documents are certain: one none of whose rows
is among them has two passages that score no more than the last of them. A document of which one row is there, and whose
second could still count, is asked for by itself. Where an engine's lists end before that, the documents that were seen
are left out and it is asked again. So the answer is that of scoring every row.

An engine may show rows of a document that is being replaced, or whose replacing was interrupted. The head of a document
says which of its versions holds (`Engine.heads`); what is ranked of another is left out, and the search made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.query.grouping import PassageScoring
from lexhound.retrieval.filters import Expression

from .engine import Engine, Ranked, Scope

# Rows asked for beyond those that are needed at least, and how many times as many where they were too few.
_SPARE = 8
_WIDER = 4

Ask: TypeAlias = Callable[[Sequence[int], int, Scope], list[Ranked]]
"""(places of queries, limit, scope) to a ranking of rows each, in any order among equals."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldSearch:
    """One field of an engine, asked some queries.

    Attributes:
        where: a filter that all rows pass. ask: asks the engine. scoring: how scores of rows become a document's.
    """

    engine: Engine
    where: Expression | None
    ask: Ask
    scoring: PassageScoring

    def scope(self, without: Sequence[int]) -> Scope:
        """Return where to look for hits, passing over the documents with some internal ids."""
        return Scope(self.where, without=without)

    def documents_scored(self, query: int, ranked: Ranked) -> Ranked:
        """Return the documents of some rows, each by its best row for a query, with their scores; best first."""
        documents, first = np.unique(ranked.documents, return_index=True)
        found = []
        for some, rows in within(documents.tolist(), ranked.counts[first].tolist(), self.engine.max_rows):
            found += self.ask([query], rows, Scope(documents=some))
        return best_two(self, query, Ranked.joined(found), len(documents), complete=True)

    def rows_scored(self, query: int, internal_ids: Sequence[int]) -> Ranked:
        """Return those of some rows that a query finds."""
        found = []
        for start in range(0, len(internal_ids), self.engine.max_rows):
            some = internal_ids[start : start + self.engine.max_rows]
            found += self.ask([query], len(some), Scope(rows=some))
        return Ranked.joined(found)

    def stale(self, rankings: Sequence[Ranked]) -> set[int]:
        """Return the internal ids of ranked documents whose heads are of other versions, or gone."""
        versions: dict[int, str] = {}
        for ranked in rankings:
            split = np.flatnonzero(ranked.counts > 1)
            versions.update((int(ranked.documents[at]), ranked.ids[at]) for at in split.tolist())
        heads = self.engine.heads(list(dict.fromkeys(versions.values()))) if versions else {}
        return {number for number, name in versions.items() if name not in heads or heads[name].internal_id != number}


def group_many(
    field: FieldSearch, queries: Sequence[int], number: int, depth: int, without: Sequence[int]
) -> list[Ranked]:
    """Return the best `depth` documents of each of `number` queries, each by its best row; empty for those not in
    `queries`.
    """
    most = field.engine.max_rows
    rankings = [Ranked.of(())] * number
    waiting, limit = list(queries), min(2 * depth + _SPARE, most)
    while waiting:
        unfinished = []
        for query, rows in zip(waiting, field.ask(waiting, limit, field.scope(without)), strict=True):
            complete = len(rows) < limit
            ranked = best_two(field, query, rows, depth, complete=complete)
            if complete or _certain(field, ranked, rows, depth):
                rankings[query] = ranked
            elif limit == most:
                rankings[query] = _beyond(field, query, depth, without, (ranked, rows))
            else:
                unfinished.append(query)
        waiting, limit = unfinished, min(limit * _WIDER, most)
    return rankings


def best_two(field: FieldSearch, query: int, rows: Ranked, depth: int, *, complete: bool) -> Ranked:
    """Return the best `depth` documents of ranked rows by their two best rows, each by the best of them.

    Args:
        complete: the rows are all that the query finds of their documents.
    """
    ordered = rows.ordered()
    order = np.argsort(ordered.documents, kind="stable")
    first = np.flatnonzero(np.diff(ordered.documents[order], prepend=-1) != 0)
    best, found = ordered.at(order[first]), np.diff(np.append(first, len(order)))
    twice = found > 1
    second = np.zeros(len(first), np.float64)
    second[twice] = ordered.scores[order[first[twice] + 1]]
    several = twice | (field.scoring.zeros & (best.counts > 1))
    scores = best.scores.copy()
    scores[several] = field.scoring.combined(scores[several], second[several])
    ranked = replace(best, scores=scores)
    if complete or not len(ranked):
        return ranked.ordered(depth)
    # A second row that lies beyond scores no more than the last one here, and so does an earlier equal of the best.
    last = ordered.scores[-1]
    doubtful = (found < best.counts) & ((found == 1) | (best.scores == last))
    if not doubtful.any():
        return ranked.ordered(depth)
    highest = np.maximum(best.scores, field.scoring.combined(best.scores, np.full(len(first), last)))
    doubtful &= highest >= _last(scores[~doubtful], depth)
    exact = ranked.at(np.flatnonzero(~doubtful))
    if not doubtful.any():
        return exact.ordered(depth)
    return Ranked.joined([exact, field.documents_scored(query, best.at(np.flatnonzero(doubtful)))]).ordered(depth)


def _beyond(field: FieldSearch, query: int, depth: int, without: Sequence[int], found: tuple[Ranked, Ranked]) -> Ranked:
    """Return the best `depth` documents of a query whose rows the engine's longest list does not hold; `found` are
    those of that list, and its rows.
    """
    (ranked, rows), passed = found, set(without)
    while True:
        passed.update(rows.documents.tolist())
        rows = field.ask([query], field.engine.max_rows, field.scope(sorted(passed)))[0]
        complete = len(rows) < field.engine.max_rows
        more = best_two(field, query, rows, depth, complete=complete)
        ranked = Ranked.joined([ranked, more]).ordered(depth)
        if complete or _certain(field, ranked, rows, depth):
            return ranked


def _certain(field: FieldSearch, ranked: Ranked, rows: Ranked, depth: int) -> bool:
    """Return whether no document without a row among `rows` can be one of the best `depth`."""
    return len(ranked) >= depth and ranked.scores[depth - 1] > field.scoring.most(float(rows.scores.min()))


def _last(scores: NDArray[np.float64], depth: int) -> float:
    """Return the least of the best `depth` scores; below all where there are fewer."""
    return float(np.partition(scores, -depth)[-depth]) if len(scores) >= depth else -np.inf


def within(documents: Sequence[int], counts: Sequence[int], most: int) -> Iterator[tuple[list[int], int]]:
    """Yield documents of no more than `most` rows together, or one alone, and how many rows to ask for."""
    chunk: list[int] = []
    rows = 0
    for document, count in zip(documents, counts, strict=True):
        if chunk and rows + count > most:
            yield chunk, min(rows, most)
            chunk, rows = [], 0
        chunk.append(document)
        rows += count
    if chunk:
        yield chunk, min(rows, most)
