"""The order of rows in the segments of a collection with tenants: by tenant, and of each by insertion.

Rows of a tenant are a run of every segment. A tenant with many rows gets segments of its own, so that its dense vectors
are clustered as in a collection of its own; the others share segments, where theirs are few enough to compare with all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.tenants.keys import prefix_of_key

from .dense_index import CLUSTERED_FROM
from .segment import Ids

OWN_SEGMENT_FROM = CLUSTERED_FROM
"""Rows of a tenant from which it gets a segment of its own."""


def tenant_order(keys: Sequence[str], internal_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order of rows, int64[n], by the tenants of their keys and then by their numbers."""
    prefixes = [prefix_of_key(key) for key in keys]
    numbers = internal_ids.tolist()
    return np.array(sorted(range(len(prefixes)), key=lambda row: (prefixes[row], numbers[row])), np.int64)


def shares_of(prefixes_of_parts: Sequence[Sequence[str]]) -> list[list[NDArray[np.bool_]]]:
    """Return the rows of several parts as they are to share segments: for each segment, bool[rows] of each part.

    First those of the tenants that have few rows over all parts, then each of the others, by prefix. Groups without
    rows are left out.
    """
    totals: Counter[str] = Counter()
    for prefixes in prefixes_of_parts:
        totals.update(prefixes)
    large = sorted(prefix for prefix, rows in totals.items() if rows >= OWN_SEGMENT_FROM)
    numbers = {prefix: number for number, prefix in enumerate(large, 1)}
    of_rows = [
        np.fromiter((numbers.get(prefix, 0) for prefix in prefixes), np.int64, len(prefixes))
        for prefixes in prefixes_of_parts
    ]
    shares = [[rows == number for rows in of_rows] for number in range(len(large) + 1)]
    return [share for share in shares if any(rows.any() for rows in share)]


def is_of_one_tenant(keys: Ids | Sequence[str]) -> bool:
    """Return whether all of some sorted keys are of one tenant."""
    return len(keys) > 0 and prefix_of_key(keys[0]) == prefix_of_key(keys[len(keys) - 1])
