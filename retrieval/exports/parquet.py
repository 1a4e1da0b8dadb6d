"""Parquet: one table, a document a row, for data frames and whatever else reads Arrow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from lexhound.core.progress import OnStep, Stage
from lexhound.retrieval.errors import ExportError

from .base import Source
from .rows import RowChunk

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "documents.parquet"
_GROUP_ROWS = 8192


class ParquetForm:
    """`documents.parquet`: id, title, text, metadata (JSON), indices, values, and dense where there is one."""

    def write(self, source: Source, folder: Path, progress: OnStep | None) -> tuple[str, ...]:
        """See `Form`."""
        pa, parquet = require_pyarrow("writing Parquet")
        width = None if source.header.dense is None else source.header.dense.width
        schema = _schema(pa, width)
        held = 0
        stage = Stage(progress, "writing", source.header.documents)
        waiting: list[Any] = []
        with (folder / NAME).open("xb") as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for chunk in source.rows():
                waiting.append(_batch(pa, chunk, schema))
                held += len(chunk.documents)
                if held >= _GROUP_ROWS:
                    writer.write_table(pa.Table.from_batches(waiting, schema))
                    waiting, held = [], 0
                stage.add(len(chunk.documents))
            if waiting:
                writer.write_table(pa.Table.from_batches(waiting, schema))
        return (NAME,)

    def readme(self, source: Source) -> str:
        """See `Form`."""
        return f"""\
## Loading

    import pyarrow.parquet as pq
    table = pq.read_table("{NAME}")

| column | type | what |
|---|---|---|
| `id`, `title`, `text` | string | of the document |
| `metadata` | string | JSON, `{{}}` where there is none |
| `indices` | list of uint32 | term ids, ascending; `terms.jsonl` names them |
| `values` | list of uint8 | the impact of each |
| `dense` | list of float32 | the dense vector, where the collection has them; zeros stand for none |
"""


def require_pyarrow(what: str) -> tuple[Any, Any]:
    """Return the packages `pyarrow` and `pyarrow.parquet`.

    Raises:
        ExportError: they are not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ExportError(
            f"{what} needs pyarrow, which is not installed", hint="install it: pip install 'lexhound[parquet]'"
        ) from error
    return pa, parquet


def _schema(pa: Any, width: int | None) -> pa.Schema:
    columns = [
        ("id", pa.string()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("metadata", pa.string()),
        ("indices", pa.list_(pa.uint32())),
        ("values", pa.list_(pa.uint8())),
    ]
    if width is not None:
        columns.append(("dense", pa.list_(pa.float32(), width)))
    return pa.schema(columns)


def _batch(pa: Any, chunk: RowChunk, schema: pa.Schema) -> pa.RecordBatch:
    offsets = pa.array(chunk.indptr.astype(np.int32))
    arrays = [
        pa.array([document.id for document in chunk.documents], pa.string()),
        pa.array([document.title for document in chunk.documents], pa.string()),
        pa.array([document.text for document in chunk.documents], pa.string()),
        pa.array([orjson.dumps(document.metadata).decode() for document in chunk.documents], pa.string()),
        pa.ListArray.from_arrays(offsets, pa.array(chunk.terms)),
        pa.ListArray.from_arrays(offsets, pa.array(chunk.impacts)),
    ]
    if chunk.dense is not None:
        flat = pa.array(np.ascontiguousarray(chunk.dense).reshape(-1))
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, chunk.dense.shape[1]))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
