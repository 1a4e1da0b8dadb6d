"""What a tree of clauses matches and scores, over a snapshot.

Scores of the inverted index are sums over terms, so clauses that are added up are one query whose weights are added up,
ranked as any other. Only where a clause gives a score to some of the matching documents alone, and not by its terms
(a filter among `should`, say), are scores worked out for every document that matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import Query
from lexhound.retrieval.collection.fields.sparse_field import SparseField, is_confined
from lexhound.retrieval.collection.query.encoding import TermWeights, weighted_terms
from lexhound.retrieval.collection.query.row_filter import Masks, rows_passing
from lexhound.retrieval.collection.query.snapshot import Snapshot
from lexhound.retrieval.deadline import check_deadline
from lexhound.retrieval.errors import QueryError

from .tree import AllOf, Clause, FilterClause, TextClause, WeightsClause

Scores = list[NDArray[np.float64]]
"""float64[rows] for each part."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What a clause matches, and the scores that it gives.

    The score of a row that matches is what the index gives it for `weights`, and `constant`, and `extra`.

    Attributes:
        masks: bool[rows] for each part.
        weights: of query terms, by their ids.
        by_terms: whether just the rows with one of the terms match, so that others get nothing by the sum itself.
    """

    masks: Masks
    weights: dict[int, float] = field(default_factory=dict)
    constant: float = 0.0
    extra: Scores | None = None
    by_terms: bool = False

    def boosted(self, boost: float) -> Matches:
        """Return the same with other scores."""
        if boost == 1.0:
            return self
        weights = {term: weight * boost for term, weight in self.weights.items()}
        extra = None if self.extra is None else [each * boost for each in self.extra]
        return replace(self, weights=weights, constant=self.constant * boost, extra=extra)

    def query(self) -> Query:
        """Return the terms and weights as the index takes them."""
        terms = sorted(self.weights)
        weights = np.array([self.weights[term] for term in terms], np.float32)
        return Query.from_weights(np.array(terms, np.int32), weights)


class Evaluation:
    """The evaluation of one tree.

    Attributes:
        postings_read: by the search for what matches.
        unknown: terms of `WeightsClause` that the collection does not know.
    """

    def __init__(self, snapshot: Snapshot, sparse_field: SparseField, *, allow_unknown_fields: bool) -> None:
        self.postings_read = 0
        self.unknown: list[str] = []
        self._snapshot = snapshot
        self._field = sparse_field
        self._allow = allow_unknown_fields

    def matches(self, clause: Clause) -> Matches:
        """Return what a clause matches.

        Raises:
            QueryError: a text is to be there as a whole, and the collection's terms are not words. FilterSyntaxError,
            UnknownFieldError, DeadlineError: as for filters.
        """
        check_deadline()
        match clause:
            case TextClause():
                return self._text(clause).boosted(clause.boost)
            case WeightsClause():
                terms, weights, unknown = weighted_terms(self._field, clause.weights, self._snapshot)
                self.unknown += unknown
                return self._terms((terms, weights)).boosted(clause.boost)
            case FilterClause(filter):
                return Matches(self._passing(filter), constant=clause.boost)
            case AllOf():
                return self._all_of(clause).boosted(clause.boost)

    def _text(self, clause: TextClause) -> Matches:
        if clause.every_term and not self._field.frequencies:
            raise QueryError(
                "every word of a text cannot be asked for: the collection's terms are a model's, not words",
                hint="leave the operator out, or use a collection with bm25",
            )
        synonyms = self._snapshot.synonyms
        if synonyms is not None and not clause.every_term:  # where every word is asked for, each stands for itself
            return self._terms(synonyms.query(clause.text, self._snapshot.statistics)[0])
        found = self._terms(self._field.query(clause.text, self._snapshot.statistics))
        if not clause.every_term:
            return found
        masks = found.masks
        typed = sorted(self._field.typed_terms(clause.text))
        if is_confined(self._snapshot):  # a word that only others have is as unknown as one that nobody has
            counted = self._snapshot.document_frequencies(np.array(typed, np.int32))
            typed = [term for term, count in zip(typed, counted.tolist(), strict=True) if count]
        for term in typed:
            masks = _both(masks, self._holding(np.array([term], np.int32)))
        return replace(found, masks=masks, by_terms=len(typed) == 1)

    def _terms(self, vector: TermWeights) -> Matches:
        terms, weights = vector
        by_id = dict(zip(terms.tolist(), weights.tolist(), strict=True))
        return Matches(self._holding(terms), by_id, by_terms=True)

    def _holding(self, terms: NDArray[np.int32]) -> Masks:
        masks = []
        for view in self._snapshot.segments:
            mask, read = view.segment.index.matching(terms, view.live)
            self.postings_read += read
            masks.append(mask)
        return masks

    def _passing(self, filter: str | None) -> Masks:
        passing = rows_passing(self._snapshot, filter, allow_unknown_fields=self._allow)
        return [
            np.ones(view.segment.n_rows, np.bool_) if mask is None else mask
            for view, mask in zip(self._snapshot.segments, passing, strict=True)
        ]

    def _all_of(self, clause: AllOf) -> Matches:
        must = [self.matches(each) for each in clause.must]
        should = [self.matches(each) for each in clause.should]
        masks = _counted(self._passing(None), should, clause.needed)
        for required in (*must, *(self.matches(each) for each in clause.filter)):
            masks = _both(masks, required.masks)
        for each in clause.must_not:
            masks = [mask & ~other for mask, other in zip(masks, self.matches(each).masks, strict=True)]
        weights: dict[int, float] = {}
        constant, extra = 0.0, None
        for required in must:
            _add(weights, required.weights)
            constant += required.constant
            extra = _sum(extra, required.extra)
        for optional in should:
            if optional.by_terms:
                _add(weights, optional.weights)
            else:
                extra = _sum(extra, self.scores(optional))
        only_should = not (must or clause.filter or clause.must_not) and clause.needed == 1
        by_terms = only_should and all(each.by_terms for each in should)
        return Matches(masks, weights, constant, extra, by_terms)

    def scores(self, matches: Matches) -> Scores:
        """Return the score of every row, 0 where it does not match; float64[rows] for each part."""
        query = matches.query()
        scores = []
        for number, view in enumerate(self._snapshot.segments):
            check_deadline()
            mask = matches.masks[number]
            found = np.zeros(len(mask), np.float64)
            if len(query) and mask.any():
                top, stats = view.segment.index.search_with_stats(query, int(np.count_nonzero(mask)), allowed=mask)
                self.postings_read += stats.postings_read
                found[top.rows] = top.scores
            found[mask] += matches.constant
            if matches.extra is not None:
                found[mask] += matches.extra[number][mask]
            scores.append(found)
        return scores


def _both(one: Masks, other: Masks) -> Masks:
    return [mine & theirs for mine, theirs in zip(one, other, strict=True)]


def _counted(live: Masks, should: Iterable[Matches], needed: int) -> Masks:
    """Return the rows that match at least so many clauses."""
    if needed == 0:
        return live
    counts = [np.zeros(len(mask), np.int32) for mask in live]
    for each in should:
        for count, mask in zip(counts, each.masks, strict=True):
            count += mask
    return [mask & (count >= needed) for mask, count in zip(live, counts, strict=True)]


def _add(weights: dict[int, float], more: dict[int, float]) -> None:
    for term, weight in more.items():
        weights[term] = weights.get(term, 0.0) + weight


def _sum(one: Scores | None, other: Scores | None) -> Scores | None:
    if one is None or other is None:
        return one if other is None else other
    add: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]] = np.add
    return [add(mine, theirs) for mine, theirs in zip(one, other, strict=True)]
