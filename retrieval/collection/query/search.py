"""Answering a query over a snapshot: ranked hits, each with its document and, on request, its explanation.

Order is part of the contract: score descending, then insertion order, at every cut and merge.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.index import SearchStats
from lexhound.index.inverted.quantization import Query
from lexhound.index.topk import TopK
from lexhound.retrieval.collection.fields.field import Representation
from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.collection.store.stored_documents import ROWS_AT_ONCE, document_of, read_rows
from lexhound.retrieval.documents.document import Document, is_encodable
from lexhound.retrieval.errors import CorruptCollectionError, QueryError, StaleSnapshotError

from .deadline import check_deadline, current_deadline
from .row_filter import rows_passing
from .snapshot import Part, Snapshot

MAX_K = 100_000
# Beyond this a query is surely a mistake (a whole file pasted), and scoring it would take seconds.
MAX_QUERY_CHARACTERS = 50_000

# Far beyond any model's weights, and small enough that no sum of them overflows.
MAX_WEIGHT = 1e9

# What stands for a side in an explanation, where there is no term to name.
DENSE_TERM, SPARSE_TERM = "(dense)", "(sparse)"

_CHUNK = 100
# Queries of a batch that are answered together where there is a deadline to look at.
_TOGETHER = 50
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one term gave to a score: query weight x document weight, up to the index's quantisation.

    `typed` is false for a term that the encoder added to those of the query's own words.
    """

    term: str
    query_weight: float
    document_weight: float
    score: float
    typed: bool = True


@dataclass(frozen=True, slots=True)
class Share:
    """What one side of a dense or hybrid search gave to a hit.

    Attributes:
        side: "sparse" or "dense".
        score: this side's own score of the document; rank: its place among the candidates on this side, None where the
            document does not match (no term in common).
        value: the score as fusion maps it (`retrieval.fusion`); weight: the side's; share: weight x value.
    """

    side: str
    score: float
    rank: int | None
    value: float
    weight: float
    share: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer.

    Attributes:
        contributions: where an explanation was asked for: what each term gave, and the dense vectors as one entry named
            DENSE_TERM. They sum to `score` in every mode: in a hybrid search the terms divide the sparse side's share
            in proportion to what they gave to that side's own score.
        shares: likewise, in modes dense and hybrid: what each side gave. They sum to `score`.
    """

    rank: int
    id: str
    score: float
    document: Document
    contributions: tuple[Contribution, ...] | None = None
    shares: tuple[Share, ...] | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answers to one query.

    Attributes:
        hits: best first.
        terms: the terms of the query that the collection knows, for marking them in texts.
        took: seconds from the query's text to the hits; encoding: those of them that went into its vector.
        stats: postings read and rows scored, over all segments.
        unknown: terms of a query given as weights that the collection does not know.
        mode: "sparse", "dense" or "hybrid": how it was searched.
    """

    hits: tuple[Hit, ...]
    terms: frozenset[int]
    took: float
    stats: SearchStats
    encoding: float = 0.0
    unknown: tuple[str, ...] = ()
    mode: str = "sparse"


@dataclass(frozen=True, slots=True, eq=False)
class RankedRows:
    """The best rows of a snapshot, best first: part number, row in the part, seq and score of each."""

    parts: NDArray[np.int64]
    rows: NDArray[np.int64]
    seqs: NDArray[np.int64]
    scores: NDArray[np.float64]


def check_request(k: int, offset: int, queries: Sequence[str]) -> None:
    """Refuse what no search can answer.

    Raises:
        QueryError: k below 1 or above MAX_K, a negative offset, a query that is no text or too long.
    """
    if not 1 <= k <= MAX_K:
        hint = "ask for at least one hit" if k < 1 else f"ask for at most {MAX_K:,} hits"
        raise QueryError(f"k is {k:,}; it must be from 1 to {MAX_K:,}", hint=hint)
    if offset < 0 or offset + k > MAX_K:
        hint = "the first page has offset 0" if offset < 0 else "make the query or the filter narrower"
        raise QueryError(f"offset is {offset:,}; it must not be negative, and offset + k at most {MAX_K:,}", hint=hint)
    for query in queries:
        if len(query) > MAX_QUERY_CHARACTERS:
            raise QueryError(
                f"the query has {len(query):,} characters; at most {MAX_QUERY_CHARACTERS:,} are allowed",
                hint="shorten the query",
            )


def check_recall(recall: float | None) -> None:
    """Refuse a recall that means nothing; None and 1 are exact search.

    Raises:
        QueryError: it is not above 0 and at most 1.
    """
    if recall is not None and not 0 < recall <= 1:
        raise QueryError(
            f"recall is {recall:g}; it must be above 0 and at most 1",
            hint="0.95 finds 95 of 100 hits faster; leave it out for exact search",
        )


def answer(
    snapshot: Snapshot,
    representation: Representation,
    query: str | Mapping[str, float],
    k: int,
    *,
    offset: int,
    filter: str | None,
    explain: bool,
    recall: float | None = None,
) -> SearchResult:
    """Everything from a query to hits with their documents; see `Collection.search`."""
    started = perf_counter()
    unknown: tuple[str, ...] = ()
    if isinstance(query, str):
        terms, weights = representation.query(query, snapshot)
    else:
        terms, weights, unknown = weighted_terms(representation, query)
    encoded = Query.from_weights(terms, weights)
    encoding = perf_counter() - started
    ranked, stats = rank(snapshot, encoded, offset + k, rows_passing(snapshot, filter), recall)
    typed = representation.typed_terms(query) if explain and isinstance(query, str) else None
    hits = hits_of(snapshot, representation, encoded, ranked, offset, explain=explain, typed=typed)
    return SearchResult(hits, frozenset(terms.tolist()), perf_counter() - started, stats, encoding, unknown)


def weighted_terms(
    representation: Representation, weights: Mapping[str, float]
) -> tuple[NDArray[np.int32], NDArray[np.float32], tuple[str, ...]]:
    """Given weights as a query vector, and the terms that the collection does not know."""
    if not all(0 < weight < MAX_WEIGHT for weight in weights.values()):
        raise QueryError(
            f"a weight of the query vector is not above 0 and below {MAX_WEIGHT:g}",
            hint="leave out terms that are to count for nothing",
        )
    names = list(weights)
    for name in names:
        if _SURROGATE.search(name):
            raise QueryError(
                f"the term {name!a} of the query vector has half of a surrogate pair, which is no character",
                hint="check how it was decoded",
            )
    ids = representation.lookup(names)
    values = np.fromiter(weights.values(), np.float32, len(names))
    known = (ids >= 0) & (values > 0)  # float32 may round the smallest to 0
    order = np.argsort(ids[known], kind="stable")
    unknown = tuple(name for name, number in zip(names, ids.tolist(), strict=True) if number < 0)
    return ids[known][order], values[known][order], unknown


def rank(
    snapshot: Snapshot,
    query: Query,
    depth: int,
    allowed: Sequence[NDArray[np.bool_] | None],
    recall: float | None = None,
) -> tuple[RankedRows, SearchStats]:
    """The best `depth` rows over all parts; approximate where `recall` is given (see `check_recall`)."""
    found = [TopK.empty()] * len(snapshot.parts)
    stats = SearchStats(0, 0)
    floor = _Floor(depth)
    for i in _largest_first(snapshot):
        check_deadline()
        index = snapshot.parts[i].segment.index
        found[i], own = index.search_with_stats(
            query, depth, allowed=allowed[i], slack=index.dial.slack_for(recall), at_least=floor.score
        )
        stats = SearchStats(stats.postings_read + own.postings_read, stats.rows_scored + own.rows_scored)
        if len(found) > 1:
            floor.raise_by(found[i])
    return merge_ranked(snapshot, found, depth), stats


def rank_many(
    snapshot: Snapshot,
    queries: Sequence[Query],
    depth: int,
    allowed: Sequence[NDArray[np.bool_] | None],
    threads: int | None,
    recall: float | None = None,
) -> list[list[tuple[str, float]]]:
    """(id, score) pairs of many queries, over `threads` threads (all cores by default); no document is read."""
    return [named(snapshot, ranked) for ranked in rank_rows(snapshot, queries, depth, allowed, threads, recall)]


def rank_rows(
    snapshot: Snapshot,
    queries: Sequence[Query],
    depth: int,
    allowed: Sequence[NDArray[np.bool_] | None],
    threads: int | None,
    recall: float | None = None,
) -> list[RankedRows]:
    """The best `depth` rows of many queries, over `threads` threads (all cores by default)."""
    if len(queries) == 1:  # a batch has to be laid out, which takes longer than a short search
        return [rank(snapshot, queries[0], depth, allowed, recall)[0]]
    if len(queries) > _TOGETHER and current_deadline() is not None:
        ranked: list[RankedRows] = []
        for start in range(0, len(queries), _TOGETHER):
            ranked += rank_rows(snapshot, queries[start : start + _TOGETHER], depth, allowed, threads, recall)
        return ranked
    check_deadline()
    found: list[list[TopK]] = [[]] * len(snapshot.parts)
    floors = [_Floor(depth) for _ in queries]
    for i in _largest_first(snapshot):
        index = snapshot.parts[i].segment.index
        found[i] = index.search_many(
            queries,
            depth,
            allowed=allowed[i],
            slack=index.dial.slack_for(recall),
            at_least=[floor.score for floor in floors],
            threads=threads,
        )
        if len(found) > 1:
            for floor, top in zip(floors, found[i], strict=True):
                floor.raise_by(top)
    return [merge_ranked(snapshot, [tops[i] for tops in found], depth) for i in range(len(queries))]


class _Floor:
    """The score that a row of the next part must reach: that of the last of the best `depth` hits so far."""

    def __init__(self, depth: int) -> None:
        self.score = 0.0
        self._depth = depth
        self._scores: NDArray[np.float64] = np.empty(0, np.float64)

    def raise_by(self, top: TopK) -> None:
        """Take in another part's hits."""
        scores = np.concatenate([self._scores, top.scores])
        self._scores = -np.sort(-scores)[: self._depth]
        if len(self._scores) == self._depth:
            self.score = float(self._scores[-1])


def _largest_first(snapshot: Snapshot) -> list[int]:
    """The parts in the order in which they are searched: the threshold of a large one serves all others."""
    return sorted(range(len(snapshot.parts)), key=lambda i: -snapshot.parts[i].segment.n_rows)


def merge_ranked(snapshot: Snapshot, found: Sequence[TopK], depth: int) -> RankedRows:
    """The best `depth` rows of a ranking of each part."""
    if not found:
        nothing = np.empty(0, np.int64)
        return RankedRows(nothing, nothing, nothing, np.empty(0, np.float64))
    parts = np.repeat(np.arange(len(found)), [len(top.rows) for top in found])
    if len(found) == 1:
        rows, scores = found[0].rows, found[0].scores
        return RankedRows(parts, rows, snapshot.parts[0].segment.seqs[rows], scores)
    rows = np.concatenate([top.rows for top in found])
    scores = np.concatenate([top.scores for top in found])
    seqs = np.concatenate([part.segment.seqs[top.rows] for part, top in zip(snapshot.parts, found, strict=True)])
    order = np.lexsort((seqs, -scores))[:depth]
    return RankedRows(parts[order], rows[order], seqs[order], scores[order])


def named(snapshot: Snapshot, ranked: RankedRows) -> list[tuple[str, float]]:
    """Ranked rows as (id, score) pairs."""
    return [
        (snapshot.parts[part].segment.ids[row], score)
        for part, row, score in zip(ranked.parts.tolist(), ranked.rows.tolist(), ranked.scores.tolist(), strict=True)
    ]


def hits_of(
    snapshot: Snapshot,
    representation: Representation,
    query: Query | None,
    ranked: RankedRows,
    offset: int,
    *,
    explain: bool,
    typed: frozenset[int] | None = None,
    shares: Sequence[tuple[Share, ...]] | None = None,
) -> tuple[Hit, ...]:
    """The ranked rows from `offset` on, with their documents.

    `typed` are the terms of the query's own words, `shares` what each side gave to each of `ranked`.
    """
    seqs = ranked.seqs[offset:].tolist()
    documents = read_documents(snapshot, seqs)
    hits = []
    for position, seq in enumerate(seqs):
        check_deadline()
        place = offset + position
        part = snapshot.parts[int(ranked.parts[place])]
        row = int(ranked.rows[place])
        if documents[seq].id != part.segment.ids[row]:
            raise CorruptCollectionError(
                f"damaged: the index calls row {seq} {part.segment.ids[row]!a}, the database {documents[seq].id!a}",
                where=part.segment.name,
                hint="run `lexhound verify`; restore the collection from a backup or index the corpus again",
            )
        own = None if shares is None else shares[place]
        contributions = None
        if explain:
            contributions = () if query is None else _explain(representation, part, row, query, typed)
            if own is not None:
                contributions = shared_contributions(contributions, own)
        hits.append(Hit(place + 1, documents[seq].id, float(ranked.scores[place]), documents[seq], contributions, own))
    return tuple(hits)


def shared_contributions(
    contributions: tuple[Contribution, ...], shares: tuple[Share, ...]
) -> tuple[Contribution, ...]:
    """Contributions to the sparse side's own score, as contributions to the sum of the shares; largest first."""
    found: list[Contribution] = []
    for share in shares:
        total = sum(each.score for each in contributions)
        if share.side == "sparse" and total > 0:
            found += [replace(each, score=share.share * (each.score / total)) for each in contributions]
        elif share.side == "dense" or share.share:
            term = DENSE_TERM if share.side == "dense" else SPARSE_TERM
            found.append(Contribution(term, share.weight, share.value, share.share))
    return tuple(sorted(found, key=lambda each: (-each.score, each.term)))


def read_documents(snapshot: Snapshot, seqs: Sequence[int]) -> dict[int, Document]:
    """Stored documents by row number, each compared with its hash.

    Raises:
        StaleSnapshotError: one has been deleted or replaced since, and the snapshot holds no transaction.
        CorruptCollectionError: one is not what was written, and is named, or the index has a row that the database does
            not know.
    """
    documents: dict[int, Document] = {}
    with snapshot.reading() as connection:
        for start in range(0, len(seqs), ROWS_AT_ONCE):
            check_deadline()
            rows = read_rows(connection, list(seqs[start : start + ROWS_AT_ONCE]))
            documents.update((row[0], document_of(row, exact=snapshot.exact)) for row in rows)
    _check_found(snapshot, seqs, documents)
    return documents


def read_latest(connection: sqlite3.Connection, identifier: str, *, exact: bool) -> Document | None:
    """The document with this id as the database has it now; `exact`, and raises, as `content.document_of`."""
    if not is_encodable(identifier):
        return None
    row = connection.execute(
        "SELECT seq FROM rows WHERE id = ? AND run NOT IN (SELECT run FROM runs)", (identifier,)
    ).fetchone()
    if row is None:
        _refuse_hidden(connection, identifier)
        return None
    return asked_document(document_of(read_rows(connection, row)[0], exact=exact), identifier)


def _refuse_hidden(connection: sqlite3.Connection, identifier: str) -> None:
    """Raise CorruptCollectionError where a row is said to be of an unfinished run that began only after it."""
    hidden = connection.execute(
        "SELECT 1 FROM rows JOIN runs USING (run) WHERE id = ? AND seq < first_seq", (identifier,)
    ).fetchone()
    if hidden is not None:
        raise CorruptCollectionError(
            f"the document {identifier!a} is damaged: it is said to be of a run that began after it",
            where=DATABASE,
            hint="restore the file from a backup or index the corpus again",
        )


def asked_document(document: Document, identifier: str) -> Document:
    """A document that was looked up by its id.

    Raises:
        CorruptCollectionError: it has another one.
    """
    if document.id != identifier:
        raise CorruptCollectionError(
            f"the index of ids is damaged: it leads from {identifier!a} to {document.id!a}",
            where=DATABASE,
            hint="restore the file from a backup or index the corpus again",
        )
    return document


def read_ids(snapshot: Snapshot, seqs: Sequence[int]) -> list[str]:
    """The ids of rows, in the order given; raises as `read_documents` does."""
    ids: dict[int, str] = {}
    with snapshot.reading() as connection:
        for start in range(0, len(seqs), _CHUNK):
            check_deadline()
            chunk = list(seqs[start : start + _CHUNK])
            marks = ",".join("?" * len(chunk))
            ids.update(connection.execute(f"SELECT seq, id FROM rows WHERE seq IN ({marks})", chunk))
    _check_found(snapshot, seqs, ids)
    return [ids[seq] for seq in seqs]


def _check_found(snapshot: Snapshot, seqs: Sequence[int], found: Mapping[int, object]) -> None:
    if len(found) == len(seqs):
        return
    lost = [seq for seq in seqs if seq not in found]
    if snapshot.held is None and lost:
        raise StaleSnapshotError("documents of this state have been deleted since", hint="refresh the collection")
    if lost:
        raise CorruptCollectionError(
            f"damaged: the index has {len(lost):,} documents that the database does not know, row {lost[0]} first",
            hint="restore the collection from a backup or index the corpus again",
        )


def _explain(
    representation: Representation, part: Part, row: int, query: Query, typed: frozenset[int] | None
) -> tuple[Contribution, ...]:
    index = part.segment.index
    scores = index.contributions(row, query)
    weights = scores / (query.weights * query.scale)  # exact: scores are integer multiples of this
    found = [
        Contribution(
            representation.term_text(term),
            query_weight * query.scale,
            document_weight,
            score,
            typed is None or term in typed,
        )
        for term, query_weight, document_weight, score in zip(
            query.terms.tolist(), query.weights.tolist(), weights.tolist(), scores.tolist(), strict=True
        )
        if score > 0
    ]
    return tuple(sorted(found, key=lambda contribution: (-contribution.score, contribution.term)))
