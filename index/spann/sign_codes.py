"""Sign codes: one bit a value of what lies between a vector and a centre, with an estimate and a bound of its error.

RaBitQ (Gao and Long, "RaBitQ: quantizing high-dimensional vectors with a theoretical error bound for approximate
nearest neighbor search", SIGMOD 2024, sections 3.1 to 3.3). With r the rotated difference of a vector and its centre c,
s the signs of r (1 or -1), and q a rotated query, all of d values:

    <q - c, r>  is about  f <q - c, s>,  f = |r|² / <r, s>

which is right on average over rotations, and off by about e |q - c|, with e = |r| sqrt((1 - a²) / (a² (d - 1))) and
a = <r, s> / (|r| sqrt(d)). So the inner product of the query and the vector is about

    <q, c> + f <q, s> + b,  b = <c, r> - f <c, s>

A code is row, f, b, e, and the signs as bits. Thirty-two codes are a block: u32[32] rows, f32[32] f, f32[32] b,
f32[32] e, then the bits in the order of `block_sums`. The last block of a posting is filled up with codes of no row,
whose b is minus infinity, so that they are below every bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.index.spann.block_sums import BLOCK, place_of

NO_ROW = (1 << 32) - 1

ROWS, FACTORS, SHIFTS, ERRORS = 0, BLOCK, 2 * BLOCK, 3 * BLOCK
"""Where the numbers of a block begin, in units of four bytes."""

HEAD_BYTES = 16 * BLOCK

_TOGETHER = 1 << 14  # codes made at a time


@dataclass(frozen=True, slots=True)
class SignCodec:
    """The sign codes of vectors of `dimension` values."""

    dimension: int

    @property
    def sign_bytes(self) -> int:
        """Bytes of the signs of a code."""
        return -(-self.dimension // 8)

    @property
    def block_bytes(self) -> int:
        """Bytes of a block: a multiple of 32."""
        return HEAD_BYTES + BLOCK * self.sign_bytes

    def encode(
        self,
        rows: NDArray[np.int64],
        lists: NDArray[np.int64],
        vectors: NDArray[np.float32],
        centres: NDArray[np.float32],
    ) -> NDArray[np.uint8]:
        """Return the blocks of lists of codes, one list behind the other: uint8[blocks, block_bytes].

        rows: int64[m]. lists: int64[m], ascending, the list of each row; every list from 0 to the last has at least one
        block where it has a row, and none where it has not. vectors: float32[m, d], and centres: float32[lists, d],
        both rotated.
        """
        counts = np.bincount(lists, minlength=len(centres))
        blocks = -(-counts // BLOCK)
        first_blocks = np.cumsum(blocks) - blocks
        places = np.arange(len(rows)) - (np.cumsum(counts) - counts)[lists]
        block, slot = first_blocks[lists] + places // BLOCK, places % BLOCK
        encoded = np.zeros((int(blocks.sum()), self.block_bytes), np.uint8)
        words, floats = encoded[:, :HEAD_BYTES].view(np.uint32), encoded[:, :HEAD_BYTES].view(np.float32)
        words[:, ROWS : ROWS + BLOCK] = NO_ROW
        floats[:, SHIFTS : SHIFTS + BLOCK] = -np.inf
        words[block, ROWS + slot] = rows
        signs = encoded[:, HEAD_BYTES:].reshape(len(encoded), self.sign_bytes, BLOCK)
        bytes_of = np.array([place_of(code) for code in range(BLOCK)])
        for start in range(0, len(rows), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            factors, shifts, errors, bits = self._numbers(vectors[some], centres[lists[some]])
            floats[block[some], FACTORS + slot[some]] = factors
            floats[block[some], SHIFTS + slot[some]] = shifts
            floats[block[some], ERRORS + slot[some]] = errors
            signs[block[some], :, bytes_of[slot[some]]] = bits
        return encoded

    def _numbers(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
        """Return f, b and e, float64[m], and the bits, uint8[m, sign_bytes], of rotated vectors and their centres."""
        rest = vectors - centres
        positive = rest > 0
        squares = np.einsum("ij,ij->i", rest, rest, dtype=np.float64)
        absolute = np.abs(rest).sum(axis=1, dtype=np.float64)
        some = absolute > 0
        factors = np.divide(squares, absolute, out=np.zeros(len(rest)), where=some)
        of_signs = 2 * np.einsum("ij,ij->i", centres, positive, dtype=np.float64) - centres.sum(1, dtype=np.float64)
        shifts = np.einsum("ij,ij->i", centres, rest, dtype=np.float64) - factors * of_signs
        # e² = (d |r|² / <r, s>² - 1) |r|² / (d - 1)
        spread = np.divide(self.dimension * squares, absolute**2, out=np.ones(len(rest)), where=some) - 1
        errors = np.sqrt(np.maximum(spread, 0) * squares / max(1, self.dimension - 1))
        return factors, shifts, errors, np.packbits(positive, axis=1, bitorder="little")
