"""Examples of a training step: some documents, and every query that has something to do with them.

A step draws seed queries and takes the best candidates of each as its documents. On the query encoder there is no
model, so further queries are nearly free: those documents' own queries join, and every query is scored against every
document of the step. A step's draw depends on the seed and the step alone, so that a resumed run goes on as if it had
not stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lexhound.training.recipe import OptimiserRecipe

if TYPE_CHECKING:
    from lexhound.training.teachers.terms import TermTeacher


class Teacher(Protocol):
    """Scores any queries against any documents of the training set."""

    def block(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return float32[queries, documents], normalised; NaN where this teacher has no opinion."""
        ...


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Everything a run trains on, in memory.

    Attributes:
        documents: each document's token ids, int32.
        queries: each query's distinct terms, int32 ascending.
        own: int32[queries], the document that a query was made of or is answered by, -1 for none.
        candidates: int32[seeds, depth], documents for each seed query, best first, -1 where there are no more.
        seeds: int64[seeds], which queries those are.
        teachers: with their weights, which need not sum to 1.
        idf: float32[vocabulary], the query table to start from.
        query_token_ids: each query's token ids in their order, int32; only for a model that reads queries too.
        dense: float32[documents, width], the first dense teacher's vectors; None where there is no dense teacher.
        term_teacher: what that teacher thinks of words, where the recipe asks for it.
        given: int32[seeds], how many of the first candidates the data names, which a step takes before others; empty
            where it names none.
    """

    documents: Sequence[NDArray[np.int32]]
    queries: Sequence[NDArray[np.int32]]
    own: NDArray[np.int32]
    candidates: NDArray[np.int32]
    seeds: NDArray[np.int64]
    teachers: Sequence[tuple[Teacher, float]]
    idf: NDArray[np.float32]
    query_token_ids: Sequence[NDArray[np.int32]] = ()
    given: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    dense: NDArray[np.float32] | None = None
    term_teacher: TermTeacher | None = None

    @cached_property
    def _queries_of(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Queries in the order of their own documents, and where each document's begin."""
        order = np.argsort(self.own, kind="stable")
        order = order[self.own[order] >= 0]
        counts = np.bincount(self.own[order], minlength=len(self.documents))
        return order, np.concatenate([[0], np.cumsum(counts)])

    def queries_of(self, document: int) -> NDArray[np.int64]:
        """Return the queries whose own document this is."""
        order, starts = self._queries_of
        return order[starts[document] : starts[document + 1]]

    def teach(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the weighted average of the teachers, float32[queries, documents], NaN where none has an opinion."""
        total = np.zeros((len(queries), len(documents)), dtype=np.float32)
        share = np.zeros_like(total)
        for teacher, weight in self.teachers:
            scores = teacher.block(queries, documents)
            known = ~np.isnan(scores)
            total += np.where(known, scores, 0.0) * weight
            share += known * weight
        with np.errstate(invalid="ignore", divide="ignore"):
            return total / share


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step's rows.

    Attributes:
        queries, documents: int64, distinct.
        positive: int64[queries], the column of each query's own document, -1 where it is not among them.
    """

    queries: NDArray[np.int64]
    documents: NDArray[np.int64]
    positive: NDArray[np.int64]


def draw_step(training: TrainingSet, recipe: OptimiserRecipe, seed: int, step: int) -> Step:
    """Return what step number `step`, from 0, sees."""
    random = np.random.default_rng((seed, 1, step))
    queries: list[int] = []
    documents: list[int] = []
    chosen: set[int] = set()
    for position in _seeds_of(len(training.seeds), recipe.seeds, seed, step):
        query = int(training.seeds[position])
        queries.append(query)
        answer = int(training.own[query])
        listed = training.candidates[position]
        listed = listed[listed >= 0]
        ordered = [answer] if answer >= 0 else []
        if len(training.given) and training.given[position]:
            named = listed[: training.given[position]]
            ordered += named[random.permutation(len(named))].tolist()
            listed = listed[len(named) :]
        # The best is always there; of the others, any: near ones teach order, farther ones what to leave out.
        ordered += listed[:1].tolist() + listed[1:][random.permutation(max(0, len(listed) - 1))].tolist()
        drawn = 0
        for document in ordered:
            if document not in chosen and drawn < recipe.candidates:
                chosen.add(document)
                documents.append(document)
                drawn += 1
    for document in documents:
        own_queries = training.queries_of(document)
        if len(own_queries) > recipe.own_queries:
            own_queries = own_queries[random.permutation(len(own_queries))[: recipe.own_queries]]
        queries += own_queries.tolist()
    rows = np.array(list(dict.fromkeys(queries)), dtype=np.int64)
    columns = np.array(sorted(documents), dtype=np.int64)
    place_of = {int(document): position for position, document in enumerate(columns)}
    positive = np.array([place_of.get(int(training.own[query]), -1) for query in rows], dtype=np.int64)
    return Step(rows, columns, positive)


def _seeds_of(seeds: int, count: int, seed: int, step: int) -> list[int]:
    """Return the places of a step's seeds: every seed once, in a new order each time round."""
    positions: list[int] = []
    count = min(count, seeds)
    start = step * count
    while len(positions) < count:
        epoch, offset = divmod(start + len(positions), seeds)
        order = np.random.default_rng((seed, 0, epoch)).permutation(seeds)
        for position in order[offset : offset + count - len(positions)].tolist():
            positions.append(position)
    return list(dict.fromkeys(positions))
