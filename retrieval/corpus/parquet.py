"""Parquet files."""

from __future__ import annotations

import datetime
import decimal
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lexhound.core.streams import MAX_RAW_BYTES, InputStream, buffered
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorpusError, InvalidDocumentError

from .base import BadRow, Corpus
from .rows import FieldNames, document_from_row

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 256


class ParquetCorpus(Corpus):
    """One document a row; id, text and title are the columns that JSON Lines would take, the others metadata.

    Dates and times become ISO 8601 text, decimals become numbers where these keep all their digits (and are an error
    otherwise), NaN is null, bytes that are UTF-8 are text. Row groups are read a few columns' pages at a time. A
    Parquet file has to be read from both ends, so one that is compressed as a whole, or comes through a pipe, is first
    unpacked to a temporary file.

    Needs pyarrow (`pip install 'lexhound[parquet]'`).
    """

    def __init__(
        self,
        name: str,
        open_stream: Callable[[], InputStream],
        total_bytes: int | None,
        names: FieldNames,
        path: Path | None = None,
    ) -> None:
        """`path` where the input is an uncompressed file on disk, which is then read in place."""
        super().__init__(name, unit="row")
        self._open_stream = open_stream
        self._path = path
        self._total_bytes = total_bytes
        self._names = names
        self._bytes_read = 0

    @property
    def total_bytes(self) -> int | None:
        return self._total_bytes

    @property
    def bytes_read(self) -> int:
        """In proportion to the rows read: the file's own order is by columns."""
        return self._bytes_read

    def __iter__(self) -> Iterator[Document | BadRow]:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise CorpusError(
                "reading Parquet needs pyarrow, which is not installed",
                where=self.name,
                hint="Install it: pip install 'lexhound[parquet]'.",
            ) from error
        self._bytes_read = 0
        with ExitStack() as stack:
            try:
                source = stack.enter_context(self._open())
                file = stack.enter_context(pq.ParquetFile(source))
                names = file.schema_arrow.names
                self._names.require(names, self.name)
                repeated = sorted({name for name in names if names.count(name) > 1})
                if repeated:
                    raise CorpusError(
                        f"the file has the column {repeated[0]!r} more than once",
                        where=self.name,
                        hint="Give every column a name of its own.",
                    )
                total_rows = file.metadata.num_rows
                rows_read = 0
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    for row in _rows(_microseconds(batch)):
                        rows_read += 1
                        self._line = rows_read
                        self._raw = repr(row).encode(errors="replace")[:MAX_RAW_BYTES]
                        yield self._parse(row)
                    if self._total_bytes is not None:
                        self._bytes_read = self._total_bytes * rows_read // total_rows
            except (pa.ArrowException, OSError) as error:
                raise CorpusError(
                    f"not a readable Parquet file: {str(error).splitlines()[0]}",
                    where=self.name,
                    hint="Fetch or write the file again.",
                ) from error

    def _parse(self, row: dict[str, Any] | ValueError | OverflowError) -> Document | BadRow:
        if isinstance(row, Exception):
            return self.bad_row(f"holds a value that Python cannot hold: {row}", "Write the value as text.")
        try:
            return document_from_row({name: _plain(name, value) for name, value in row.items()}, self._names)
        except InvalidDocumentError as error:
            return self.bad_row(error.message, error.hint or "")

    def _open(self) -> BinaryIO:
        if self._path is not None:
            return self._path.open("rb")
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            with self._open_stream() as stream, buffered(stream) as reader:
                shutil.copyfileobj(reader, unpacked, 2**20)
        except BaseException:
            unpacked.close()
            raise
        unpacked.seek(0)
        return unpacked


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | ValueError | OverflowError]:
    """Yield the rows of a batch as dicts; in place of one with a value out of Python's range, the error."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):  # raised before the first row: `to_pylist` makes all of them
        for position in range(batch.num_rows):
            try:
                yield from batch.slice(position, 1).to_pylist()
            except (ValueError, OverflowError) as error:
                yield error


def _microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cut nanosecond timestamps to the microseconds that Python's own times hold."""
    import pyarrow as pa

    for position, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            kind = pa.timestamp("us", tz=column.type.tz)
            batch = batch.set_column(position, column.name, batch.column(position).cast(kind, safe=False))
    return batch


def _plain(field: str, value: Any) -> Any:
    """Return a value of pyarrow's as JSON has it; what JSON has no form for is left for validation to name.

    Raises:
        InvalidDocumentError: a decimal number would lose digits.
    """
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        if value == value.to_integral_value():
            return int(value)
        number = float(value)
        if decimal.Decimal(repr(number)) != value:
            raise InvalidDocumentError(
                f"the field {field!r} holds {value}, which has more digits than a floating-point number keeps",
                hint="Write it as text, or as a floating-point number.",
            )
        return number
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, dict):
        return {name: _plain(field, item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(field, item) for item in value]
    return value
