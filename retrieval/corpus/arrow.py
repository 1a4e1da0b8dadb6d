"""Corpora in Arrow: tables in memory, and files of Arrow's own formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexhound.core.arrow_files import TableFile, open_table
from lexhound.core.arrow_rows import (
    CellError,
    batch_rows,
    column_names,
    is_stream,
    plain,
    record_batches,
    table_name,
)
from lexhound.core.streams import MAX_RAW_BYTES, InputStream
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorpusError, InvalidDocumentError

from .base import BadRow, Corpus
from .rows import FieldNames, document_from_row

if TYPE_CHECKING:
    import pyarrow as pa


class ArrowCorpus(Corpus):
    """One document a row; id, text and title are the columns that JSON Lines would take, the others metadata.

    Dates and times become ISO 8601 text, decimals become numbers where these keep all their digits (and are an error
    otherwise), NaN is null, bytes that are UTF-8 are text. Some hundred rows at a time are Python values.
    """

    owner = "table"

    def __init__(self, name: str, names: FieldNames) -> None:
        super().__init__(name, unit="row")
        self._names = names

    def _documents(self, columns: list[str], batches: Iterable[pa.RecordBatch]) -> Iterator[Document | BadRow]:
        """Yield the documents of batches.

        Raises:
            CorpusError: a column that is needed is not there, or one is there twice.
        """
        self._names.require(columns, self.name)
        repeated = sorted({name for name in columns if columns.count(name) > 1})
        if repeated:
            raise CorpusError(
                f"the {self.owner} has the column {repeated[0]!r} more than once",
                where=self.name,
                hint="Give every column a name of its own.",
            )
        self._line = 0
        for batch in batches:
            for row in batch_rows(batch):
                self._line += 1
                self._raw = repr(row).encode(errors="replace")[:MAX_RAW_BYTES]
                yield self._parse(row)

    def _parse(self, row: dict[str, Any] | ValueError | OverflowError) -> Document | BadRow:
        if isinstance(row, Exception):
            return self.bad_row(f"holds a value that Python cannot hold: {row}", "Write the value as text.")
        try:
            return document_from_row({name: plain(name, value) for name, value in row.items()}, self._names)
        except CellError as error:
            return self.bad_row(error.message, error.hint or "")
        except InvalidDocumentError as error:
            return self.bad_row(error.message, error.hint or "")


class FrameCorpus(ArrowCorpus):
    """A table in memory: pandas, polars, pyarrow, Hugging Face `datasets`, or what gives Arrow's stream."""

    def __init__(self, table: Any, names: FieldNames) -> None:
        super().__init__(table_name(table), names)
        self._table = table
        self._used = False

    @property
    def total_bytes(self) -> None:
        """None: nothing is read from anywhere."""

    @property
    def bytes_read(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Document | BadRow]:
        import pyarrow as pa

        if self._used and is_stream(self._table):
            raise CorpusError("can be read only once", where=self.name, hint="Give a table in its place.")
        self._used = True
        try:
            batches = record_batches(self._table)
            first = next(batches, None)
            if first is None:  # without rows
                self._names.require(column_names(self._table), self.name)
                return
            yield from self._documents(first.schema.names, _chained(first, batches))
        except pa.ArrowException as error:
            raise CorpusError(
                f"not a table that Arrow can hold: {str(error).splitlines()[0]}",
                where=self.name,
                hint="Give each column values of one kind.",
            ) from error


class TableFileCorpus(ArrowCorpus):
    """A Parquet file, or one of Arrow's own formats (Feather version 2, Arrow's stream)."""

    owner = "file"

    def __init__(
        self,
        name: str,
        format: str,
        open_stream: Callable[[], InputStream],
        total_bytes: int | None,
        names: FieldNames,
        path: Path | None = None,
    ) -> None:
        """`path` where the input is an uncompressed file on disk, which is then read in place."""
        super().__init__(name, names)
        self._format = format
        self._open_stream = open_stream
        self._path = path
        self._total_bytes = total_bytes
        self._bytes_read = 0

    @property
    def total_bytes(self) -> int | None:
        return self._total_bytes

    @property
    def bytes_read(self) -> int:
        """In proportion to the rows read: the file's own order is by columns."""
        return self._bytes_read

    def __iter__(self) -> Iterator[Document | BadRow]:
        shown = self._format.capitalize()
        try:
            import pyarrow as pa
        except ImportError as error:
            raise CorpusError(
                f"reading {shown} needs pyarrow, which is not installed",
                where=self.name,
                hint="Install it: pip install 'lexhound[parquet]'.",
            ) from error
        self._bytes_read = 0
        with ExitStack() as stack:
            try:
                table = open_table(stack, self._format, self._open_stream() if self._path is None else self._path)
                yield from self._documents(table.columns, self._counted(table))
            except (pa.ArrowException, OSError) as error:
                raise CorpusError(
                    f"not a readable {shown} file: {str(error).splitlines()[0]}",
                    where=self.name,
                    hint="Fetch or write the file again.",
                ) from error

    def _counted(self, table: TableFile) -> Iterator[pa.RecordBatch]:
        rows_read = 0
        for batch in table.batches:
            yield batch
            rows_read += batch.num_rows
            if self._total_bytes is not None and table.rows:
                self._bytes_read = self._total_bytes * rows_read // table.rows


def _chained(first: pa.RecordBatch, others: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from others
