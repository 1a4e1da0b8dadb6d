"""Which rows go where when segments are merged: their order in the new one, and which tenants share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.fields.scale_groups import Group
from lexhound.retrieval.collection.store.segment import Segment
from lexhound.retrieval.collection.store.tenant_order import is_of_one_tenant, shares_of, tenant_order
from lexhound.retrieval.tenants.keys import prefix_of_key


@dataclass(frozen=True, slots=True, eq=False)
class MergedOrder:
    """The rows of a segment that is made of several.

    Attributes:
        internal_ids: int64[n]; ids_of: gives the ids of the next rows; shared: whether several tenants have some.
        new_rows: of each part, int64[its rows], -1 for those that are dropped.
    """

    internal_ids: NDArray[np.int64]
    new_rows: list[NDArray[np.int64]]
    ids_of: Callable[[NDArray[np.int64]], list[str]]
    shared: bool = False


def merged_order(chosen: Sequence[tuple[Segment, NDArray[np.bool_]]], *, tenants: bool) -> MergedOrder:
    """Return the rows of parts of segments in their order: of insertion, or with `tenants` by tenant and insertion."""
    numbers = np.concatenate([segment.internal_ids[rows] for segment, rows in chosen])
    new_rows = [np.full(segment.n_rows, -1, np.int64) for segment, _ in chosen]
    if not tenants:
        internal_ids = np.sort(numbers)
        for (segment, rows), new in zip(chosen, new_rows, strict=True):
            new[rows] = np.searchsorted(internal_ids, segment.internal_ids[rows])
        return MergedOrder(internal_ids, new_rows, partial(_ids_of, [segment for segment, _ in chosen]))
    keys = [segment.ids[row] for segment, rows in chosen for row in np.flatnonzero(rows).tolist()]
    order = tenant_order(keys, numbers)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    begin = 0
    for (_, rows), new in zip(chosen, new_rows, strict=True):
        end = begin + int(np.count_nonzero(rows))
        new[rows] = places[begin:end]
        begin = end
    ordered = [keys[row] for row in order.tolist()]
    remaining = iter(ordered)

    def next_ids(internal_ids: NDArray[np.int64]) -> list[str]:
        return list(islice(remaining, len(internal_ids)))

    return MergedOrder(numbers[order], new_rows, next_ids, not is_of_one_tenant(ordered))


def shared_groups(segments: Sequence[Segment], groups: Sequence[Sequence[Group]]) -> list[list[Group]]:
    """Return groups of rows, each of some of the segments, as tenants are to share them; see `tenant_order`."""
    prefixes = [[prefix_of_key(segment.ids[row]) for row in range(segment.n_rows)] for segment in segments]
    shared: list[list[Group]] = []
    for group in groups:
        chosen = [np.flatnonzero(part.rows) for part in group]
        for share in shares_of([[names[row] for row in rows] for names, rows in zip(prefixes, chosen, strict=True)]):
            parts = []
            for segment, part, rows, of_share in zip(segments, group, chosen, share, strict=True):
                mask = np.zeros(segment.n_rows, np.bool_)
                mask[rows[of_share]] = True
                parts.append(Group(mask, part.scale))
            shared.append(parts)
    return shared


def _ids_of(segments: Sequence[Segment], internal_ids: NDArray[np.int64]) -> list[str]:
    """Return the ids of rows; from segments and not from the database, where rows may go while they are merged."""
    ids = [""] * len(internal_ids)
    for segment in segments:
        rows = np.minimum(np.searchsorted(segment.internal_ids, internal_ids), segment.n_rows - 1)
        for position in np.flatnonzero(segment.internal_ids[rows] == internal_ids).tolist():
            ids[position] = segment.ids[rows[position]]
    return ids
