"""Which pages of the postings file are free.

Nothing about it is saved: pages are in use when the saved state, the present one, or one that a search still works on
has a posting there. Pages that become free are handed out again only after the next state is saved, so what the saved
state refers to is never overwritten.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .state import State


class Space:
    """Hands out runs of pages."""

    def __init__(self, states: Iterable[State]) -> None:
        """What lies between the postings of `states` is free."""
        used = [np.stack([state.pages, state.capacities], axis=1)[state.capacities > 0] for state in states]
        extents = np.unique(np.concatenate([np.empty((0, 2), np.int64), *used]), axis=0)
        begins, ends = extents[:, 0], np.maximum.accumulate(extents.sum(axis=1)) if len(extents) else extents[:, 0]
        self._gaps: dict[int, list[int]] = {}
        before = np.concatenate([[0], ends])[: len(begins)]
        for begin, end in zip(before.tolist(), begins.tolist(), strict=True):
            if end > begin:
                self._gaps.setdefault(end - begin, []).append(begin)
        self.end = int(ends[-1]) if len(ends) else 0

    def take(self, pages: int) -> int:
        """The first of so many pages in a row, which are no longer free."""
        for size in [pages, *sorted(size for size in self._gaps if size > pages)]:
            if gaps := self._gaps.get(size):
                first = gaps.pop()
                if not gaps:
                    del self._gaps[size]
                if size > pages:
                    self._gaps.setdefault(size - pages, []).append(first + pages)
                return first
        first, self.end = self.end, self.end + pages
        return first
