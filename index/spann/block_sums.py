"""Sums over blocks of sign codes: what thirty-two codes hold of a query, by tables of four values at a time.

A code has a bit a value. For every four values there is a table of what each of their sixteen patterns adds up to, as a
whole number of 7 bits; a code's sum is one entry from every table. AVX2 looks thirty-two codes up in a table by one
instruction (André, Kermarrec and Le Scouarnec, "Cache locality is not enough: high-performance nearest neighbor search
with product quantization fast scan", PVLDB 2015). The compiler does not find this by itself. Other processors run the
loop, to the same sums.

The codes of a block lie byte by byte: the first eight values of all thirty-two, then the next eight. Code j of a block
is byte `2 * j` of each such row for j below 16, and byte `2 * (j - 16) + 1` from there on, which is the order in which
AVX2 has its sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel, need_instructions

BLOCK = 32
"""Codes of a block."""

PATTERNS = 16
"""Entries of a table: four bits."""

_GREATEST = 127  # two entries must fit into a byte

need_instructions("lexhound.index.spann.block_instructions")


def place_of(code: Integer) -> Integer:
    """Return which byte of a row holds code `code` of a block."""
    return 2 * (code % 16) + code // 16


@kernel
def fill_tables(query: NDArray[np.float32], tables: NDArray[np.uint8]) -> tuple[float, float]:
    """Write the tables of a rotated query and return (unit, offset): a sum s stands for `unit * s + offset`.

    query: float32[d]. tables: uint8[2 * ceil(d / 8), 32]: each twice, for two halves of a register. What the sums stand
    for are inner products of the query with vectors of ones, where a bit is set, and minus ones.
    """
    d, most, total = len(query), 0.0, 0.0
    for position in range(len(tables)):
        span = 0.0
        for j in range(4 * position, min(d, 4 * position + 4)):
            span += 2 * abs(np.float64(query[j]))
        most = max(most, span)
        total += span / 2
    if not 0 < most < np.inf:
        tables[:] = 0
        return 0.0, (-total if most == 0 else np.nan)
    # All sums stay below 2**16.
    unit = most / min(_GREATEST, 65535 // max(1, len(tables)))
    values = np.empty(PATTERNS, np.float64)
    for position in range(len(tables)):
        first, stop = 4 * position, min(d, 4 * position + 4)
        values[0] = 0.0
        for j in range(first, stop):
            values[0] += abs(np.float64(query[j])) - np.float64(query[j])
        for j in range(4):
            part = 2 * np.float64(query[first + j]) if first + j < stop else 0.0
            for pattern in range(1 << j):
                values[pattern + (1 << j)] = values[pattern] + part
        for pattern in range(PATTERNS):
            entry = np.uint8(np.rint(max(0.0, values[pattern]) / unit))
            tables[position, pattern] = entry
            tables[position, pattern + PATTERNS] = entry
    return unit, -total


def block_sums(codes: NDArray[np.uint8], at: Integer, tables: NDArray[np.uint8], sums: NDArray[np.uint16]) -> None:
    """Write the sums of the block of codes that begins at `codes[at]`, for kernels. sums: uint16[32]."""
    looping_sums.function(codes, at, tables, sums)  # type: ignore[attr-defined]


@kernel
def looping_sums(codes: NDArray[np.uint8], at: Integer, tables: NDArray[np.uint8], sums: NDArray[np.uint16]) -> None:
    """Do as `block_sums` by a loop."""
    for j in range(BLOCK):
        byte = at + 2 * (j % 16) + j // 16
        total = np.uint32(0)
        for pair in range(len(tables) // 2):
            code = codes[byte + BLOCK * pair]
            total += np.uint32(tables[2 * pair, code & 15]) + np.uint32(tables[2 * pair + 1, code >> 4])
        sums[j] = np.uint16(total)
