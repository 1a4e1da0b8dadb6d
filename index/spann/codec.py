"""The codes of a posting: of fixed length, and how vectors become codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexhound.index.spann.kernels import FLOAT16, FLOAT32, HEADER_BYTES, INT8
from lexhound.index.spann.options import Codec
from lexhound.index.spann.rotation import Rotation

_ITEM_BYTES = {"int8": 1, "float16": 2, "float32": 4}
_KINDS = {"int8": INT8, "float16": FLOAT16, "float32": FLOAT32}


@dataclass(frozen=True, slots=True)
class PostingCodec:
    """Codes of vectors of `dimension`: u32 row, u32 version (1), f32 scale, f32 squared norm, values."""

    codec: Codec
    dimension: int
    rotation: Rotation | None
    """How vectors are rotated before their values become codes of 8 bits."""

    @property
    def kind(self) -> int:
        """The codec as kernels know it."""
        return _KINDS[self.codec]

    @property
    def code_bytes(self) -> int:
        """Bytes of a code, its head included: a multiple of four."""
        return HEADER_BYTES + (self.dimension * _ITEM_BYTES[self.codec] + 3) // 4 * 4

    def encode(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return codes, uint8[m, code_bytes], of rows and their vectors, float32[m, d]."""
        codes = np.zeros((len(rows), self.code_bytes), np.uint8)
        words, floats = codes.view(np.uint32), codes.view(np.float32)
        words[:, 0] = rows
        words[:, 1] = 1
        floats[:, 3] = np.einsum("ij,ij->i", vectors, vectors)
        end = HEADER_BYTES + self.dimension * _ITEM_BYTES[self.codec]
        if self.codec == "float32":
            floats[:, 2] = 1
            codes[:, HEADER_BYTES:end] = np.ascontiguousarray(vectors).view(np.uint8)
            return codes
        if self.rotation is not None:
            vectors = self.rotation.rotated(vectors)
        largest = np.abs(vectors).max(axis=1, initial=0)
        scales = np.where(largest > 0, largest, 1).astype(np.float32)
        if self.codec == "int8":
            scales = np.maximum(scales / np.float32(127), np.float32(1e-38))
            values = np.clip(np.rint(vectors / scales[:, None]), -127, 127).astype(np.int8)
        else:
            values = (vectors / scales[:, None]).astype(np.float16)
        floats[:, 2] = scales
        codes[:, HEADER_BYTES:end] = values.view(np.uint8)
        return codes
