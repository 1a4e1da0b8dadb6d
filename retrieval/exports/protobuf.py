"""As much of Protocol Buffers' wire format as CIFF needs, over arrays: no schema compiler, no package.

A message is a sequence of fields; a field begins with a varint `number << 3 | wire type`. Wire types: 0 a varint, 1
eight bytes, 2 a length and so many bytes. In proto3 a field that is zero or empty is left out. (Protocol Buffers'
public encoding guide.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES = 0, 1, 2
_LONGEST_VARINT = 10
_MOST_BYTES = 2**31 - 1  # Protocol Buffers' own limit of a message


def varint(value: int) -> bytes:
    """Return a number of 0 or more, 7 bits a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(number: int, value: int) -> bytes:
    """Return a field of an integer; nothing for 0."""
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """Return a field of text or bytes; nothing for empty ones."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value if value else b""


def double_field(number: int, value: float) -> bytes:
    """Return a field of a double; nothing for 0."""
    return varint(number << 3 | FIXED64) + np.float64(value).astype("<f8").tobytes() if value else b""


def delimited(message: bytes) -> bytes:
    """Return a message behind its length, as streams of messages hold them."""
    return varint(len(message)) + message


def read_delimited(file: IO[bytes]) -> bytes | None:
    """Return the next message of a stream; None at its end.

    Raises:
        ValueError: the stream ends in the middle of a message.
    """
    size = shift = 0
    for offset in range(_LONGEST_VARINT):
        byte = file.read(1)
        if not byte:
            if offset == 0:
                return None
            break
        size |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            if size > _MOST_BYTES:
                raise ValueError(f"a message of {size:,} bytes")
            message = file.read(size)
            if len(message) != size:
                raise ValueError(f"a message of {size:,} bytes is truncated after {len(message):,}")
            return message
    raise ValueError("the length of a message is damaged or truncated")


def fields(message: bytes) -> Iterator[tuple[int, int | bytes, int]]:
    """Yield (number, value, where the next field begins) of a message's fields; a double as its 8 bytes.

    Raises:
        ValueError: the bytes are no message.
    """
    offset = 0
    while offset < len(message):
        tag, offset = _varint_at(message, offset)
        value: int | bytes
        kind = tag & 7
        if kind == VARINT:
            value, offset = _varint_at(message, offset)
        elif kind in (FIXED64, BYTES):
            size = 8
            if kind == BYTES:
                size, offset = _varint_at(message, offset)
            value = message[offset : offset + size]
            if len(value) != size:
                raise ValueError("a field is truncated")
            offset += size
        else:
            raise ValueError(f"a field of wire type {kind}")
        yield tag >> 3, value, offset


def _varint_at(message: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while offset < len(message) and shift < 70:
        byte = message[offset]
        value |= (byte & 127) << shift
        offset += 1
        shift += 7
        if byte < 128:
            return value, offset
    raise ValueError("a number is truncated")


def varint_sizes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many bytes each of some numbers from 0 to 2**35 - 1 takes."""
    sizes = np.ones(len(values), np.int64)
    for bits in (7, 14, 21, 28):
        sizes += values >= 1 << bits
    return sizes


def put_varints(out: NDArray[np.uint8], offsets: NDArray[np.int64], values: NDArray[np.int64]) -> None:
    """Write each number at its place."""
    sizes = varint_sizes(values)
    for byte in range(5):
        chosen = sizes > byte
        if not chosen.any():
            return
        more = np.where(sizes[chosen] > byte + 1, 128, 0)
        out[offsets[chosen] + byte] = (values[chosen] >> (7 * byte)) & 127 | more


def all_varints(data: bytes) -> NDArray[np.int64]:
    """Return the numbers of a run of varints, each below 2**35.

    Raises:
        ValueError: a number is longer, or cut short.
    """
    read = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(read < 128)
    if (len(ends) and ends[-1] != len(read) - 1) or (len(read) and not len(ends)):
        raise ValueError("a number is truncated")
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1]) if len(ends) else ends
    sizes = ends - starts + 1
    if len(sizes) and sizes.max() > 5:
        raise ValueError("a number is out of range")
    values = np.zeros(len(ends), np.int64)
    for byte in range(int(sizes.max()) if len(sizes) else 0):
        chosen = sizes > byte
        values[chosen] |= (read[starts[chosen] + byte].astype(np.int64) & 127) << (7 * byte)
    return values
