"""The arrays of an inverted index: their names, types and meanings, in memory and on disk.

Rows are cut into windows of `2**window_bits`. Postings are sorted by term, then row; a posting is a row within its
window and an impact. A term's postings in one window are described by one *entry* of the directory; a term's entries
stand together, in the order of their windows.

    terms          uint16 or uint32 [T]      ids of the terms that have postings, ascending
    entry_starts   uint32 [T + 1]            first entry of each term
    entry_windows  uint16 [E]                window of each entry
    entry_ends     uint32 [E]                end of its postings (they start where the entry before it ends)
    entry_maxima   uint8  [E]                its greatest impact
    rows           uint16 [P]                row of each posting, counted from the start of its window
    impacts        uint8  [P]                its impact, 1..255
    blocked_terms  uint32 [M]                places in `terms` of the frequent ones, ascending
    blocked_starts uint32 [M + 1]            how many entries those before each have
    block_maxima   uint8  [F * B]            of each of their entries, its greatest impact in each block of 256 rows
    frequencies    uint8  [P]  optional      its term frequency, for weighing again when indexes are merged
    lengths        uint32 [N]  optional      length of each row, likewise

A term that occurs in one row, as most do, costs 15 bytes beside its posting. `entry_starts` and `entry_ends` are
uint64 in an index of 2**32 postings or more. On disk terms are uint16 where every id fits; in memory they are always
uint32, so that the search kernel is compiled once. B blocks are a window, and windows of less than 8,192 rows have no
frequent terms. Formats 1 and 2 had no blocks, as if no term was frequent; format 1 no `entry_maxima`: 255 stands for
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.index.array_files import ArrayDirectory
from lexhound.index.jit import frozen

from .quantization import MAX_IMPACT

FORMAT = 3
"""The number of this layout, written into index directories that have frequent terms."""

FORMAT_WITHOUT_BLOCKS = 2
"""The number of those that have none, as older versions read them."""

BLOCKS = ("blocked_terms", "blocked_starts", "block_maxima")

KIND = "inverted"

_NOTHING: NDArray[np.uint8] = frozen(np.empty(0, np.uint8))
_NO_TERMS: NDArray[np.uint32] = frozen(np.empty(0, np.uint32))
_NO_ENTRIES: NDArray[np.uint32] = frozen(np.zeros(1, np.uint32))

# Windows of 32,768 rows: their scores take 128 KiB, which fits the second-level cache of any recent processor.
# Speed hardly depends on it (microseconds a query on one thread of a Xeon with AVX-512, k = 10: 300,000 passages of
# Wikipedia, 17,558 postings a question: 2**12 rows 41, 2**13 38, 2**14 37, 2**15 37, 2**16 36; made-up vectors, 252,000
# postings a query over 120,000 rows: 2**13 149, 2**14 162, 2**15 163, 2**16 166). The size of the directory does:
# 1.76, 1.34, 1.02, .79 and .61 million entries of 6 bytes beside those passages' 13.9 million postings of 3.
DEFAULT_WINDOW_BITS = 15

_LEAST_WINDOW_BITS = 8

BLOCK_BITS = 8
"""A block is of 2 to this power rows."""

LEAST_BLOCKED_BITS = 13
"""Windows of fewer bits have no blocks: searching them takes too little time."""

MAX_WINDOW_BITS = 16  # a row within its window is a uint16
MAX_WINDOWS = 1 << 16  # a window is a uint16


def usual_window_bits(n_rows: int) -> int:
    """Return the bits of windows of so many rows: 15, or, where that is less, those of one window that holds all.

    A search clears and looks through the whole of a window: over 5,183 passages a window of 2**15 cost it 3 of 41
    microseconds.
    """
    return min(DEFAULT_WINDOW_BITS, max(_LEAST_WINDOW_BITS, (n_rows - 1).bit_length()))


def blocks_of_window(window_bits: int) -> int:
    """Return how many blocks a window has."""
    return max(1, 1 << window_bits >> BLOCK_BITS)


ARRAYS = (
    "terms",
    "entry_starts",
    "entry_windows",
    "entry_ends",
    "entry_maxima",
    "rows",
    "impacts",
    *BLOCKS,
    "frequencies",
    "lengths",
)

STRUCTURE = frozenset(
    {"terms", "entry_starts", "entry_windows", "entry_ends", "entry_maxima", "blocked_terms", "blocked_starts"}
)
"""Arrays that kernels trust: wrong bytes in them could lead out of an array, so they are verified at open."""


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """The arrays of an inverted index, each read-only; see the head of this file."""

    terms: NDArray[np.uint32]
    entry_starts: NDArray[np.uint32]
    entry_windows: NDArray[np.uint16]
    entry_ends: NDArray[np.uint32]
    entry_maxima: NDArray[np.uint8]
    rows: NDArray[np.uint16]
    impacts: NDArray[np.uint8]
    frequencies: NDArray[np.uint8] | None
    lengths: NDArray[np.uint32] | None
    n_rows: int
    window_bits: int
    blocked_terms: NDArray[np.uint32] = field(default_factory=lambda: _NO_TERMS)
    blocked_starts: NDArray[np.uint32] = field(default_factory=lambda: _NO_ENTRIES)
    block_maxima: NDArray[np.uint8] = field(default_factory=lambda: _NOTHING)

    @classmethod
    def of(cls, stored: ArrayDirectory) -> Postings:
        """Return the arrays of a directory; raises KeyError, TypeError or ValueError where it is of no index."""
        attributes = stored.attributes
        if stored.format > 1:
            entry_maxima = stored.array("entry_maxima")
        else:
            entry_maxima = frozen(np.full(len(stored.array("entry_ends")), MAX_IMPACT, np.uint8))
        blocks = {}
        if "blocked_terms" in stored:
            blocks = {name: stored.array(name) for name in BLOCKS}
        return cls(
            terms=frozen(stored.array("terms").astype(np.uint32)),
            entry_starts=stored.array("entry_starts"),
            entry_windows=stored.array("entry_windows"),
            entry_ends=stored.array("entry_ends"),
            entry_maxima=entry_maxima,
            rows=stored.array("rows"),
            impacts=stored.array("impacts"),
            frequencies=stored.array("frequencies") if "frequencies" in stored else None,
            lengths=stored.array("lengths") if "lengths" in stored else None,
            n_rows=int(attributes["n_rows"]),
            window_bits=int(attributes["window_bits"]),
            **blocks,
        )

    @property
    def weighable(self) -> bool:
        """Whether the postings can be weighed again: they come with frequencies and lengths."""
        return self.frequencies is not None and self.lengths is not None

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays in memory."""
        arrays = (getattr(self, name) for name in ARRAYS)
        return sum(array.nbytes for array in arrays if array is not None)

    def lists(self, *, with_frequencies: bool = False) -> tuple[Any, ...]:
        """Return the fields of `arguments.PostingLists`."""
        frequencies = self.frequencies if with_frequencies and self.frequencies is not None else _NOTHING
        return (
            self.entry_starts,
            self.entry_windows,
            self.entry_ends,
            self.rows,
            self.impacts,
            frequencies,
            self.window_bits,
        )

    def problem(self) -> str:
        """Return what does not fit together, or an empty text. Cheap: sizes and ends, not contents."""
        ends = (len(self.entry_windows), int(self.entry_ends[-1]) if len(self.entry_ends) else 0)
        if not 0 <= self.window_bits <= MAX_WINDOW_BITS:
            return f"windows of 2**{self.window_bits} rows are not possible"
        if (
            len(self.entry_starts) != len(self.terms) + 1
            or not len(self.entry_ends) == len(self.entry_maxima) == ends[0]
        ):
            return "its arrays of terms and entries do not fit together"
        if int(self.entry_starts[-1]) != ends[0] or not len(self.rows) == len(self.impacts) == ends[1]:
            return "its directory and its postings do not fit together"
        if self.n_rows < 0 or (
            len(self.entry_windows) and int(self.entry_windows.max()) << self.window_bits >= self.n_rows
        ):
            return "its postings lie beyond its last row"
        if not self._blocks_fit():
            return "its frequent terms do not fit to its entries"
        if self.frequencies is not None and len(self.frequencies) != ends[1]:
            return "it does not have one frequency per posting"
        if self.lengths is not None and len(self.lengths) != self.n_rows:
            return "it does not have one length per row"
        return ""

    def _blocks_fit(self) -> bool:
        """Return whether every entry of a frequent term has its maxima."""
        places, starts = self.blocked_terms.astype(np.int64), self.blocked_starts.astype(np.int64)
        if len(starts) != len(places) + 1 or (len(places) and int(places.max()) >= len(self.terms)):
            return False
        entries = self.entry_starts[places + 1].astype(np.int64) - self.entry_starts[places].astype(np.int64)
        fits = starts[0] == 0 and np.array_equal(np.diff(starts), entries)
        return bool(fits) and int(starts[-1]) * blocks_of_window(self.window_bits) == len(self.block_maxima)
