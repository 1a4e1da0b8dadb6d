"""Files of tables: Parquet, and Arrow's own (Feather version 2, and Arrow's stream), some hundred rows at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfileobj
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from .arrow_rows import BATCH_ROWS
from .streams import InputStream, buffered

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_SUFFIXES = {".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow"}
"""The formats that suffixes of names promise."""


class TableFile(NamedTuple):
    """An open file: the names of its columns, the number of its rows where it says that, and the rows in batches."""

    columns: list[str]
    rows: int | None
    batches: Iterator[pa.RecordBatch]


def open_table(stack: ExitStack, format: str, source: Path | InputStream) -> TableFile:
    """Open a file in place, or what a stream holds; `stack` closes it.

    A file has to be read from both ends, so a stream is first unpacked to a temporary file.

    Raises:
        ModuleNotFoundError: pyarrow is not installed. pyarrow.ArrowException, OSError: it cannot be read.
    """
    file = stack.enter_context(source.open("rb") if isinstance(source, Path) else _unpacked(source))
    return _open_parquet(stack, file) if format == "parquet" else _open_arrow(stack, file, source)


def _open_parquet(stack: ExitStack, file: BinaryIO) -> TableFile:
    import pyarrow.parquet as pq

    opened = stack.enter_context(pq.ParquetFile(file))
    return TableFile(opened.schema_arrow.names, opened.metadata.num_rows, opened.iter_batches(batch_size=BATCH_ROWS))


def _open_arrow(stack: ExitStack, file: BinaryIO, source: Path | InputStream) -> TableFile:
    import pyarrow as pa

    # Uncompressed batches of a file on disk are views of its pages.
    opened = stack.enter_context(pa.memory_map(str(source)) if isinstance(source, Path) else pa.PythonFile(file))
    try:
        reader = stack.enter_context(pa.ipc.open_file(opened))
        batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
    except pa.ArrowInvalid:  # it has no end to begin from: a stream
        opened.seek(0)
        reader = stack.enter_context(pa.ipc.open_stream(opened))
        batches = iter(reader)
    return TableFile(reader.schema.names, None, _slices(batches))


def _slices(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


def _unpacked(stream: InputStream) -> BinaryIO:
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with stream, buffered(stream) as reader:
            copyfileobj(reader, unpacked, 2**20)
    except BaseException:
        unpacked.close()
        raise
    unpacked.seek(0)
    return unpacked
