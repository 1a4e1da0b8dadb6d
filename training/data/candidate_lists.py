"""Candidates as lists: joined by turns, and scored by teachers that know no other pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def interleaved(lists: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Return one list a row, int32[n, depth], -1 at its end: the first of each list, then the second of each, and so
    on; what came before is left out.

    Args:
        lists: int32[n, any] each, -1 where a list has no more.
    """
    depth = max(each.shape[1] for each in lists)
    merged = np.full((len(lists[0]), sum(each.shape[1] for each in lists)), -1, dtype=np.int32)
    for row in range(len(merged)):
        turns = [int(each[row, position]) for position in range(depth) for each in lists if position < each.shape[1]]
        distinct = [document for document in dict.fromkeys(turns) if document >= 0]
        merged[row, : len(distinct)] = distinct
    return merged


def led_by(named: Sequence[Sequence[int]], searched: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return lists that begin with the named documents and go on with those searched, int32[n, depth], none twice, -1
    at their ends; and how many of each row are named, int32[n].

    Args:
        named: n lists of documents; searched: int32[n, any], -1 where a list has no more.
    """
    distinct = [list(dict.fromkeys(each)) for each in named]
    width = max(map(len, distinct), default=0)
    merged = np.full((len(distinct), width + searched.shape[1]), -1, dtype=np.int32)
    for row, each in enumerate(distinct):
        merged_row = list(dict.fromkeys([*each, *(document for document in searched[row].tolist() if document >= 0)]))
        merged[row, : len(merged_row)] = merged_row
    return merged, np.array([len(each) for each in distinct], dtype=np.int32)


class ListTeacher:
    """Scores that are known of some pairs alone: what a cross-encoder says of each query's candidates.

    Args:
        queries: int64[n], distinct; documents: int32[n, depth], -1 where there are no more; scores: float32[n, depth].
        normalise: see `normalised_lists`.
    """

    def __init__(
        self,
        queries: NDArray[np.int64],
        documents: NDArray[np.int32],
        scores: NDArray[np.float32],
        normalise: str,
    ) -> None:
        comparable = normalised_lists(scores, documents >= 0, normalise)
        self._known = {
            int(query): dict(zip(listed.tolist(), row_scores.tolist(), strict=True))
            for query, listed, row_scores in zip(queries, documents, comparable, strict=True)
        }

    def block(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return float32[queries, documents], NaN for pairs that were not scored."""
        rows = [self._known.get(query, {}) for query in queries.tolist()]
        columns = documents.tolist()
        scores = [[row.get(column, np.nan) for column in columns] for row in rows]
        return np.array(scores, dtype=np.float32).reshape(len(rows), len(columns))


def normalised_lists(scores: NDArray[np.float32], known: NDArray[np.bool_], kind: str) -> NDArray[np.float32]:
    """Return each row's known scores by "min-max", "z-score" or "none"; rows of equal scores become 0.

    Args:
        scores: float32[n, depth]; known: bool[n, depth], which of them count. The others stay as they are.
    """
    if kind == "none" or not scores.size:
        return scores
    masked = np.ma.masked_array(scores.astype(np.float64), ~known)
    if kind == "min-max":
        low, width = masked.min(axis=1), masked.max(axis=1) - masked.min(axis=1)
    else:
        low, width = masked.mean(axis=1), masked.std(axis=1)
    shift, spread = (np.ma.filled(each, 0.0)[:, None] for each in (low, width))
    factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    normalised: NDArray[np.float32] = np.where(known, (scores - shift) * factor, scores).astype(np.float32)
    return normalised
