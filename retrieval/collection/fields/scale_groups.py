"""Rows of a collection by the scale of their weights, each group for an index and a segment of its own.

As a rule there is one group. Rows that weigh far more than the others get their own, so that 8 bits serve both
(`index.inverted.scales`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.index import InvertedIndex
from lexhound.index.inverted.scales import RowRanges, choose_groups, group_of, row_ranges, stored_ranges
from lexhound.retrieval.collection.store.sparse_batches import Batch, keep_rows

from .sparse_field import SparseField

# Of a field that has one scale for all documents.
FIXED: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Rows that are indexed together: bool[n], true where a row is of them; and the weight of an impact of 1."""

    rows: NDArray[np.bool_]
    scale: float


def ranges_of(sparse_field: SparseField, batch: Batch) -> RowRanges | None:
    """Return which scales suit the rows of a batch; None where all have the field's."""
    if sparse_field.scale is not None:
        return None
    return row_ranges(batch.indptr, np.asarray(batch.values, np.float32))


def grouped(
    sparse_field: SparseField,
    batch: Batch,
    groups: tuple[int, ...] | None = None,
    *,
    scale: float | None = None,
) -> list[Group]:
    """Return the rows of a batch, in the groups given or else in those that suit them; groups without rows are left
    out.

    With a `scale` they are one group with that.
    """
    scale = sparse_field.scale if scale is None else scale
    if scale is not None:
        return [Group(np.ones(len(batch.internal_ids), np.bool_), scale)]
    ranges = row_ranges(batch.indptr, np.asarray(batch.values, np.float32))
    chosen = choose_groups(ranges) if groups is None else groups
    numbers = group_of(ranges, chosen)
    all_groups = [Group(numbers == number, math.ldexp(1.0, exponent)) for number, exponent in enumerate(chosen)]
    return [group for group in all_groups if group.rows.any()]


def regrouped(
    sparse_field: SparseField, indexes: Sequence[InvertedIndex], live: Sequence[NDArray[np.bool_]]
) -> list[list[Group]]:
    """Return the kept rows of several indexes in groups that suit them all: for each group, its rows in each index.

    Where all that is in a group has one scale already it stays, so that impacts are copied.
    """
    if sparse_field.scale is not None:
        return [[Group(keep, sparse_field.scale) for keep in live]] if any(keep.any() for keep in live) else []
    ranges = [stored_ranges(index) for index in indexes]
    chosen = choose_groups(RowRanges.joined([each.of(keep) for each, keep in zip(ranges, live, strict=True)]))
    numbers = [group_of(each, chosen) for each in ranges]
    regrouped_rows = []
    for number, exponent in enumerate(chosen):
        rows = [keep & (group_rows == number) for keep, group_rows in zip(live, numbers, strict=True)]
        if not any(group_rows.any() for group_rows in rows):
            continue
        scales = {
            index.scale
            for index, group_rows, each in zip(indexes, rows, ranges, strict=True)
            if (group_rows & ~each.empty).any()
        }
        scale = scales.pop() if len(scales) == 1 else math.ldexp(1.0, exponent)
        regrouped_rows.append([Group(group_rows, scale) for group_rows in rows])
    return regrouped_rows


def part_of(batch: Batch, group: Group) -> Batch:
    """Return the rows of a batch that are of a group."""
    return keep_rows(batch, group.rows)
