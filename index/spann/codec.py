"""What stands in a posting: entries of fixed length, and how vectors become entries."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .kernels import FLOAT16, FLOAT32, HEADER_BYTES, INT8
from .options import Codec
from .rotation import Rotation

_ITEM_BYTES = {"int8": 1, "float16": 2, "float32": 4}
_KINDS = {"int8": INT8, "float16": FLOAT16, "float32": FLOAT32}


@dataclass(frozen=True, slots=True)
class EntryFormat:
    """Entries of vectors of `dimension` in a codec: u32 row, u32 version, f32 scale, f32 squared norm, codes."""

    codec: Codec
    dimension: int
    rotation: Rotation | None = field(default=None, compare=False)
    """How vectors are turned before they become codes of 8 bits."""

    @property
    def kind(self) -> int:
        """The codec as kernels know it."""
        return _KINDS[self.codec]

    @property
    def entry_bytes(self) -> int:
        """Bytes of an entry: a multiple of four."""
        return HEADER_BYTES + (self.dimension * _ITEM_BYTES[self.codec] + 3) // 4 * 4

    def encode(
        self, rows: NDArray[np.int64], versions: NDArray[np.uint16], vectors: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """Entries, uint8[m, entry_bytes], of rows, their versions, and their vectors, float32[m, d]."""
        entries = np.zeros((len(rows), self.entry_bytes), np.uint8)
        words, floats = entries.view(np.uint32), entries.view(np.float32)
        words[:, 0] = rows
        words[:, 1] = versions
        with np.errstate(over="ignore"):  # an infinite norm ranks last and is scored again
            floats[:, 3] = np.einsum("ij,ij->i", vectors, vectors)
        end = HEADER_BYTES + self.dimension * _ITEM_BYTES[self.codec]
        if self.codec == "float32":
            floats[:, 2] = 1
            entries[:, HEADER_BYTES:end] = np.ascontiguousarray(vectors).view(np.uint8)
            return entries
        if self.rotation is not None:
            vectors = self.rotation.turned(vectors)
        largest = np.abs(vectors).max(axis=1, initial=0)
        scales = np.where(largest > 0, largest, 1).astype(np.float32)
        if self.codec == "int8":
            scales = np.maximum(scales / np.float32(127), np.float32(1e-38))
            codes = np.clip(np.rint(vectors / scales[:, None]), -127, 127).astype(np.int8)
        else:
            codes = (vectors / scales[:, None]).astype(np.float16)
        floats[:, 2] = scales
        entries[:, HEADER_BYTES:end] = codes.view(np.uint8)
        return entries

    def rows(self, entries: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and versions of entries, int64[m] each."""
        words = entries.view(np.uint32)
        return words[:, 0].astype(np.int64), words[:, 1].astype(np.int64)

    def decode(self, entries: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The vectors that entries stand for, about: float32[m, d]."""
        scales = entries.view(np.float32)[:, 2]
        end = HEADER_BYTES + self.dimension * _ITEM_BYTES[self.codec]
        codes = np.ascontiguousarray(entries[:, HEADER_BYTES:end]).view(self.codec)
        decoded: NDArray[np.float32] = codes.astype(np.float32) * scales[:, None]
        return decoded if self.rotation is None else self.rotation.back(decoded)
