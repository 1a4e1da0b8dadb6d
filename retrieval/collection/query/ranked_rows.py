"""Rows of a snapshot, ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.result import RankedIds

from .snapshot import Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class RankedRows:
    """The best rows of a snapshot, best first: part number, row in the part, seq and score of each.

    Attributes:
        documents: int64[n], the seq of each row's document: its own, unless it is a further passage.
    """

    parts: NDArray[np.int64]
    rows: NDArray[np.int64]
    internal_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    documents: NDArray[np.int64]

    def at(self, positions: NDArray[np.int64] | slice) -> RankedRows:
        """Return those at some places, in their order."""
        return RankedRows(
            self.parts[positions],
            self.rows[positions],
            self.internal_ids[positions],
            self.scores[positions],
            self.documents[positions],
        )


def joined(rankings: Sequence[RankedRows]) -> RankedRows:
    """Return some rankings, of at least one query, one after the other."""
    if len(rankings) == 1:
        return rankings[0]
    return RankedRows(
        np.concatenate([ranked.parts for ranked in rankings]),
        np.concatenate([ranked.rows for ranked in rankings]),
        np.concatenate([ranked.internal_ids for ranked in rankings]),
        np.concatenate([ranked.scores for ranked in rankings]),
        np.concatenate([ranked.documents for ranked in rankings]),
    )


def ranked_parts(snapshot: Snapshot, found: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> RankedRows:
    """Return rows and scores of each part, one part after the other."""
    segments = [view.segment for view in snapshot.segments]
    nothing = np.empty(0, np.int64)
    parts = np.repeat(np.arange(len(found)), [len(rows) for rows, _ in found]).astype(np.int64)
    rows = [rows for rows, _ in found]
    return RankedRows(
        parts,
        np.concatenate([nothing, *rows]),
        np.concatenate([nothing, *(each.internal_ids[own] for each, own in zip(segments, rows, strict=True))]),
        np.concatenate([np.empty(0, np.float64), *(scores for _, scores in found)]),
        np.concatenate([nothing, *(each.documents_of(own) for each, own in zip(segments, rows, strict=True))]),
    )


def named(snapshot: Snapshot, ranked: RankedRows) -> RankedIds:
    """Return ranked rows as (id, score) pairs."""
    return [
        (snapshot.segments[part].segment.ids[row], score)
        for part, row, score in zip(ranked.parts.tolist(), ranked.rows.tolist(), ranked.scores.tolist(), strict=True)
    ]
