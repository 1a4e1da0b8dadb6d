"""Bytes of a file, a compressed file or a pipe, counted as they are read."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from zstandard import ZstdDecompressor, ZstdError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Fault = Callable[[str, str, str], Exception]
"""Makes the caller's error of what is wrong, the name of the input (with a line), and what to do about it."""

MAX_ROW_BYTES = 64 * 2**20  # a row (line, record, file) beyond this is bad, so that memory stays bounded
MAX_RAW_BYTES = 200  # of a bad row, kept for messages and rejects files
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""What the last suffix of a name promises."""

UTF8_MARK = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PLAIN_CHUNK = 64 * 2**10  # small, as progress is told by what was read
# The most that a chunk can decompress to bounds our memory: about 1,000 times its size with gzip, 32,000 times with
# zstd. Both give at most 64 MiB; honest data is read as fast as with larger chunks.
_GZIP_CHUNK = 32 * 2**10
_ZSTD_CHUNK = 2 * 2**10


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class InputStream(io.RawIOBase):
    """The decompressed bytes of one input; `bytes_read` counts what was read of the input itself.

    Compression is recognised by its first bytes, so a pipe may be compressed too and a `.gz` inside a `.gz` is not
    opened twice; an input *named* `.gz` or `.zst` must be what its name says. Everything that can go wrong while
    reading, an end within compressed data too, is raised as one error that names the input: `fault` makes it.
    """

    def __init__(self, stream: BinaryIO, name: str, fault: Fault, *, expected: str | None = None) -> None:
        """Read the head of `stream`. `expected` is the compression that the name promises ("gzip", "zstd") or None."""
        super().__init__()
        self.bytes_read = 0
        self._stream = stream
        self.name = name
        self.fault = fault
        self._head = self._read_head()
        self._kind = self._compression()
        if expected is not None and self._kind != expected:
            what = "is empty" if not self._head else f"does not hold {expected} data"
            raise fault(
                f"the file is named like a {expected} file but {what}", name, "Check the download, or rename the file."
            )
        self._chunks = self._decode(self._kind)
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        self._fill()
        size = min(len(target), len(self._pending))
        target[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size

    def beginning(self) -> bytes:
        """Return the beginning without reading it, from its first character that is no blank; empty where none is."""
        held = bytes(self._pending)
        while not (begun := held.removeprefix(UTF8_MARK).lstrip()) and len(held) < MAX_ROW_BYTES:
            chunk = self._next_chunk()
            if chunk is None:
                break
            held += chunk
        self._pending = memoryview(held)
        return begun

    def _fill(self) -> None:
        while not self._pending and (chunk := self._next_chunk()) is not None:
            self._pending = memoryview(chunk)

    def _next_chunk(self) -> bytes | None:
        try:
            return next(self._chunks, None)
        except (zlib.error, ZstdError, EOFError, OSError) as error:
            raise self._failure(error) from error

    def _read_head(self) -> bytes:
        head = b""
        try:
            while len(head) < len(_ZSTD_MAGIC) and (data := self._stream.read(len(_ZSTD_MAGIC) - len(head))):
                head += data
        except OSError as error:
            raise self._failure(error) from error
        return head

    def _compression(self) -> str | None:
        if self._head.startswith(_GZIP_MAGIC):
            return "gzip"
        # A zstd file may open with a skippable frame: any of 16 magic numbers, 50 2a 4d 18 to 5f 2a 4d 18.
        skippable = self._head[1:] == b"\x2a\x4d\x18" and self._head[0] & 0xF0 == 0x50
        return "zstd" if self._head == _ZSTD_MAGIC or skippable else None

    def _read(self, size: int) -> bytes:
        data = self._head or self._stream.read(size)
        self._head = b""
        self.bytes_read += len(data)
        return data

    def _decode(self, compression: str | None) -> Iterator[bytes]:
        if compression == "gzip":
            return self._decompress(lambda: zlib.decompressobj(wbits=31), _GZIP_CHUNK)
        if compression == "zstd":
            return self._decompress(lambda: ZstdDecompressor().decompressobj(), _ZSTD_CHUNK)
        return iter(lambda: self._read(_PLAIN_CHUNK), b"")

    def _decompress(self, new_decoder: Callable[[], _Decoder], chunk_size: int) -> Iterator[bytes]:
        """Yield members (gzip) or frames (zstd) one after the other; ends inside one are an EOFError."""
        decoder = new_decoder()
        complete = False
        while data := self._read(chunk_size):
            while data:
                if complete and self._kind == "gzip":
                    data = data.lstrip(b"\0")  # tape archives and some tools pad gzip files with zeros
                    if not data:
                        break
                complete = False
                chunk = decoder.decompress(data)
                if chunk:
                    yield chunk
                data = b""
                if decoder.eof:
                    data = decoder.unused_data
                    decoder = new_decoder()
                    complete = True
        if not complete:
            raise EOFError

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, OSError):
            reason = f"cannot be read: {error.strerror or error}"
            return self.fault(reason, self.name, "Check the file's permissions and the disk.")
        if isinstance(error, EOFError):
            message = f"the {self._kind} data is truncated"
        else:
            message = f"the {self._kind} data is damaged ({error})"
        return self.fault(message, self.name, "Fetch or compress the file again.")


def without_compression(path: Path) -> Path:
    """Return the name without what says that it is compressed: `queries.jsonl` for `queries.jsonl.gz`."""
    return path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path


def find_compressed(path: Path) -> Path | None:
    """Return the path itself, or the same name with `.gz` or `.zst` behind it; None where there is no such file."""
    candidates = (path, *(path.with_name(path.name + suffix) for suffix in COMPRESSIONS))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def open_input(path: Path, name: str, fault: Fault) -> InputStream:
    """Return the bytes of a file, decompressed. Raises what `fault` makes."""
    try:
        stream = path.open("rb", buffering=0)
    except OSError as error:
        raise fault(f"cannot be opened: {error.strerror or error}", name, "Check the file's permissions.") from error
    try:
        return _Owned(stream, name, fault, expected=COMPRESSIONS.get(path.suffix.lower()))
    except BaseException:
        stream.close()
        raise


class _Owned(InputStream):
    """An `InputStream` that closes the file below it."""

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def buffered(stream: InputStream) -> io.BufferedReader:
    """Return `stream`, buffered, for reading by lines. Closing it closes `stream`."""
    return io.BufferedReader(stream, buffer_size=_PLAIN_CHUNK)


def read_lines(stream: InputStream, max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Yield pairs (line with its line break, complete); of a line beyond `max_bytes`, its first bytes and False.

    A byte order mark at the start is dropped. UTF-16 and UTF-32, which one could only read as rubbish, are an error.
    """
    reader = buffered(stream)
    readline = reader.readline
    first = True
    while line := readline(max_bytes + 1):
        if first:
            first = False
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise stream.fault(
                    "the text is UTF-16, not UTF-8",
                    stream.name,
                    "Convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW-FILE.",
                )
            line = line.removeprefix(UTF8_MARK)
        if len(line) <= max_bytes or line.endswith(b"\n"):
            yield line, True
        else:
            head = line[:MAX_RAW_BYTES]
            while line and not line.endswith(b"\n"):
                line = readline(_PLAIN_CHUNK)
            yield head, False
