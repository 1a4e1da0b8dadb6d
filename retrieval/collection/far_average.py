"""Weights that were made for another average length than today's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lexhound.retrieval.collection.query.snapshot import Snapshot
from lexhound.retrieval.collection.store.average_length import is_far


@dataclass(frozen=True, slots=True)
class FarAverage:
    """How far a collection's older weights are from today's average length, in words a document.

    Attributes:
        documents: live ones whose weights are far; stored: the average of theirs that is farthest; today: that of all.
    """

    documents: int
    stored: float
    today: float


def far_average(snapshot: Snapshot) -> FarAverage | None:
    """Return what a snapshot's weights were made with, if it is far from its average of today; else None."""
    words = documents = 0
    for view in snapshot.segments:
        lengths = view.segment.index.lengths
        if lengths is None:
            return None
        words += int(lengths.sum(dtype=np.int64) if view.live is None else lengths[view.live].sum(dtype=np.int64))
        documents += view.n_rows
    if not words:
        return None
    today = words / documents
    far = [
        (view.n_rows, stored)
        for view in snapshot.segments
        if (stored := view.segment.index.mean_length or snapshot.legacy_average) is not None
        and view.n_rows
        and is_far(stored, today)
    ]
    if not far:
        return None
    farthest = max((stored for _, stored in far), key=lambda stored: abs(np.log(stored / today)))
    return FarAverage(sum(count for count, _ in far), farthest, today)
