"""Tables in memory as rows: pandas, polars, pyarrow, Hugging Face `datasets`, and whatever else gives Arrow's stream.

A table stays in Arrow. Rows become Python values in batches of some hundred, which are let go again.
"""

from __future__ import annotations

import datetime
import decimal
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .errors import LexhoundError
from .extras import extra

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 256
_SLICE_ROWS = 8192  # of a table that is converted a slice at a time


class CellError(LexhoundError):
    """A value that cannot be kept as it is; the message says which, `hint` what to do."""

    http_status = 400


def is_table(value: object) -> bool:
    """Return whether a value is a table of named columns; loads no package."""
    return _kind(value) is not None


def table_name(value: object) -> str:
    """Return what messages call a table: `pandas DataFrame`."""
    kind = type(value)
    return f"{kind.__module__.partition('.')[0]} {kind.__name__}"


def table_size(value: Any) -> int | None:
    """Return how many rows a table has; None where it is a stream."""
    try:
        return len(value)
    except TypeError:
        return None


def is_stream(value: object) -> bool:
    """Return whether a table can be read once alone."""
    return type(value).__name__ == "RecordBatchReader"


def record_batches(table: Any) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in Arrow, `BATCH_ROWS` at most at a time.

    Raises:
        MissingExtraError: pyarrow is not installed. pyarrow.ArrowException: a column has no form in Arrow.
    """
    with extra("parquet", "reading tables"):
        import pyarrow as pa
    kind = _kind(table)
    if kind == "pandas":
        for start in range(0, len(table), _SLICE_ROWS):
            part = table.iloc[start : start + _SLICE_ROWS]
            # An index that has a name is a column like any other; one without counts rows.
            named = any(name is not None for name in table.index.names)
            yield from pa.Table.from_pandas(part, preserve_index=named).to_batches(BATCH_ROWS)
    elif kind == "datasets":
        for part in table.with_format("arrow").iter(batch_size=_SLICE_ROWS):
            yield from part.to_batches(BATCH_ROWS)
    else:
        reader = table.collect() if kind == "lazy" else table
        for batch in pa.RecordBatchReader.from_stream(reader):
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def column_names(table: Any) -> list[str]:
    """Return the names of a table's columns as far as they are known without reading it; empty where they are not."""
    names = getattr(getattr(table, "schema", None), "names", None)
    if callable(names):  # polars
        names = names()
    if names is None:
        names = getattr(table, "column_names", None) or getattr(table, "columns", None)
    return [] if names is None else [str(name) for name in names]


def batch_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | ValueError | OverflowError]:
    """Yield the rows of a batch as dicts; in place of one with a value out of Python's range, the error."""
    batch = _microseconds(batch)
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):  # raised before the first row: `to_pylist` makes all of them
        for position in range(batch.num_rows):
            try:
                yield from batch.slice(position, 1).to_pylist()
            except (ValueError, OverflowError) as error:
                yield error


def table_rows(table: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table as dicts of what JSON has a form for; null is None.

    Raises:
        CellError: a value cannot be kept. What `record_batches` raises.
    """
    for batch in record_batches(table):
        for row in batch_rows(batch):
            if isinstance(row, Exception):
                raise CellError(f"a value cannot be held in Python: {row}", "Write it as text.")
            yield {name: plain(name, value) for name, value in row.items()}


def plain(field: str, value: Any) -> Any:
    """Return a value of pyarrow's as JSON has it; what JSON has no form for is left as it is.

    Raises:
        CellError: a decimal number would lose digits.
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
            raise CellError(
                f"the field {field!r} holds {value}, which has more digits than a floating-point number keeps",
                "Write it as text, or as a floating-point number.",
            )
        return number
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, dict):
        return {name: plain(field, item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(field, item) for item in value]
    return value


def _kind(value: object) -> str | None:
    """Return how a table gives its rows: "pandas", "datasets", "lazy" (polars) or "stream"; None for no table."""
    package, name = type(value).__module__.partition(".")[0], type(value).__name__
    if package == "pandas" and name == "DataFrame":
        return "pandas"
    if package == "polars":
        return {"LazyFrame": "lazy", "DataFrame": "stream"}.get(name)
    datasets = sys.modules.get("datasets")
    if datasets is not None and isinstance(value, (datasets.Dataset, datasets.IterableDataset)):
        return "datasets"
    # A column (a polars Series, a pyarrow Array of structs) gives such a stream too; a table has names of columns.
    return "stream" if hasattr(value, "__arrow_c_stream__") and column_names(value) else None


def _microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cut nanosecond timestamps to the microseconds that Python's own times hold."""
    import pyarrow as pa

    for position, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            kind = pa.timestamp("us", tz=column.type.tz)
            batch = batch.set_column(position, column.name, batch.column(position).cast(kind, safe=False))
    return batch
