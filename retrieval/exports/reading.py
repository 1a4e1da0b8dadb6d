"""Reading exports back: documents with the term ids, impacts and dense vectors that stand in the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.core.rows import BadRecord, read_json_lines
from lexhound.core.streams import InputStream
from lexhound.core.strict_json import json_fault, parse_json
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import ExportError, InvalidDocumentError

from .ciff import CiffReader
from .header import ExportHeader
from .opensearch import DENSE_FIELD, FIELD
from .parquet import NAME as PARQUET_FILE
from .parquet import require_pyarrow
from .qdrant import DENSE, SPARSE
from .terms import TERMS

_MAX_LINE_BYTES = 2**40  # a document and its vectors, however long
_MOST_IMPACT = 255
_HINT = "export the collection again"


@dataclass(frozen=True, slots=True, eq=False)
class ExportedRow:
    """A document of an export: term ids int32, ascending; impacts uint8; dense float32[width], None where none is."""

    document: Document
    terms: NDArray[np.int32]
    impacts: NDArray[np.uint8]
    dense: NDArray[np.float32] | None


Fields: TypeAlias = tuple[str, str, str, Any]
"""Id, text, title and metadata."""


def read_rows(folder: Path, header: ExportHeader) -> Iterator[ExportedRow]:
    """Yield all rows of an export, in order, a few at a time (of CIFF: after reading all postings into memory).

    Raises:
        ExportError: a file is missing, damaged or truncated; says which, and the line.
    """
    reader = _READERS[header.format]
    count = 0
    try:
        for row in reader(folder, header):
            count += 1
            yield row
    except FileNotFoundError as error:
        raise ExportError("a file of the export is missing", where=str(error.filename), hint=_HINT) from error
    if count != header.rows:
        raise ExportError(
            f"the export is truncated: it tells of {header.rows:,} rows and has {count:,}",
            where=str(folder),
            hint=_HINT,
        )


def _anserini(folder: Path, header: ExportHeader) -> Iterator[ExportedRow]:
    ids = _ids_of_terms(folder)
    for where, row in _lines(folder, header.files):

        def parse(row: Any = row) -> ExportedRow:
            fields = (row["id"], row["contents"], row.get("title", ""), row.get("metadata", {}))
            vector = row["vector"]
            return _row(header, fields, [ids[token] for token in vector], list(vector.values()), None)

        yield _checked(parse, where)


def _opensearch(folder: Path, header: ExportHeader) -> Iterator[ExportedRow]:
    files = [name for name in header.files if name.startswith("sparse_vector")]
    for number, (where, row) in enumerate(_lines(folder, files)):
        if number % 2 == 0:  # what is to be done with the next line
            continue

        def parse(row: Any = row) -> ExportedRow:
            vector = row[FIELD]
            return _row(header, _fields(row), list(map(int, vector)), list(vector.values()), row.get(DENSE_FIELD))

        yield _checked(parse, where)


def _qdrant(folder: Path, header: ExportHeader) -> Iterator[ExportedRow]:
    for name in header.files:
        path = folder / name
        try:
            points = parse_json(path.read_bytes())["points"]
        except orjson.JSONDecodeError as error:
            raise ExportError(json_fault(error), where=str(path), hint=_HINT) from error
        except (KeyError, TypeError) as error:
            raise ExportError(f"damaged: {error}", where=str(path), hint=_HINT) from error
        for number, point in enumerate(points, 1):

            def parse(point: Any = point) -> ExportedRow:
                vector = point["vector"]
                sparse = vector.get(SPARSE, {"indices": [], "values": []})
                return _row(header, _fields(point["payload"]), sparse["indices"], sparse["values"], vector.get(DENSE))

            yield _checked(parse, f"{path}, point {number}")


def _parquet(folder: Path, header: ExportHeader) -> Iterator[ExportedRow]:
    pa, parquet = require_pyarrow("reading Parquet")
    path = folder / PARQUET_FILE
    number = 0
    with path.open("rb") as source:
        try:
            with parquet.ParquetFile(source) as file:
                for batch in file.iter_batches(batch_size=512):
                    for row in batch.to_pylist():
                        number += 1

                        def parse(row: Any = row) -> ExportedRow:
                            fields = (row["id"], row["text"], row["title"], parse_json(row["metadata"].encode()))
                            return _row(header, fields, row["indices"], row["values"], row.get("dense"))

                        yield _checked(parse, f"{path}, row {number}")
        except (pa.ArrowException, OSError) as error:
            raise ExportError(
                f"not a readable Parquet file: {str(error).splitlines()[0]}", where=str(path), hint=_HINT
            ) from error


def _ciff(folder: Path, header: ExportHeader) -> Iterator[ExportedRow]:
    ids = _ids_of_terms(folder)
    path = folder / header.files[0]
    with path.open("rb") as file:
        reader = CiffReader(file, str(path))
        if reader.header.documents != header.rows:
            raise ExportError("it is not the file that the export tells of", where=str(path), hint=_HINT)
        docids, terms, impacts = _all_postings(reader, ids, str(path))
        order = np.lexsort((terms, docids))
        docids, terms, impacts = docids[order], terms[order], impacts[order]
        ends = np.searchsorted(docids, np.arange(reader.header.documents + 1))
        for number, (docid, identifier, _) in enumerate(reader.records()):

            def parse(number: int = number, docid: int = docid, identifier: str = identifier) -> ExportedRow:
                if docid != number:
                    raise ValueError(f"record {number} is of docid {docid}")
                postings = slice(int(ends[number]), int(ends[number + 1]))
                return _row(header, (identifier, "", "", {}), terms[postings], impacts[postings], None)

            yield _checked(parse, f"{path}, record {number}")


def _all_postings(
    reader: CiffReader, ids: dict[str, int], where: str
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """Return docids, term ids and impacts of a whole file, 9 bytes a posting."""
    docids: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    terms: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    impacts: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
    for postings in reader.lists():
        if postings.term not in ids or len(postings.docids) == 0:
            raise ExportError(
                f"the list of {postings.term!r} is empty or of no term of {TERMS}", where=where, hint=_HINT
            )
        inside = postings.docids[0] >= 0 and postings.docids[-1] < reader.header.documents
        if (
            not inside
            or (np.diff(postings.docids) <= 0).any()
            or postings.tfs.min() < 1
            or postings.tfs.max() > _MOST_IMPACT
        ):
            raise ExportError(f"the list of {postings.term!r} is damaged", where=where, hint=_HINT)
        docids.append(postings.docids.astype(np.int32))
        terms.append(np.full(len(postings.docids), ids[postings.term], np.int32))
        impacts.append(postings.tfs.astype(np.uint8))
    return np.concatenate(docids), np.concatenate(terms), np.concatenate(impacts)


_READERS: dict[str, Callable[[Path, ExportHeader], Iterator[ExportedRow]]] = {
    "anserini": _anserini,
    "opensearch": _opensearch,
    "qdrant": _qdrant,
    "parquet": _parquet,
    "ciff": _ciff,
}


def _fields(row: Any) -> Fields:
    return row["id"], row["text"], row["title"], row["metadata"]


def _row(header: ExportHeader, fields: Fields, terms: Any, impacts: Any, dense: Any) -> ExportedRow:
    """Return a row of an export; raises ValueError, TypeError, KeyError or InvalidDocumentError for anything else."""
    identifier, text, title, metadata = fields
    document = Document(identifier, text, title, metadata)
    ids, values = np.asarray(terms, np.int64), np.asarray(impacts, np.float64)
    if ids.ndim != 1 or ids.shape != values.shape:
        raise ValueError(f"{ids.shape} terms and {values.shape} impacts")
    order = np.argsort(ids, kind="stable")
    ids, values = ids[order], values[order]
    size = header.encoder.vocabulary_size
    if len(ids) and (ids[0] < 0 or (size is not None and ids[-1] >= size) or (np.diff(ids) == 0).any()):
        raise ValueError("a term id is out of range or a duplicate")
    if len(values) and not ((values >= 1) & (values <= _MOST_IMPACT) & (values == np.rint(values))).all():
        raise ValueError("a value is not a whole number from 1 to 255")
    vector = None
    if dense is not None:
        vector = np.asarray(dense, np.float32)
        if header.dense is None or vector.shape != (header.dense.width,) or not np.isfinite(vector).all():
            raise ValueError("a dense vector is of another length, or has a value that is not finite")
    return ExportedRow(document, ids.astype(np.int32), values.astype(np.uint8), vector)


def _checked(parse: Callable[[], ExportedRow], where: str) -> ExportedRow:
    try:
        return parse()
    except InvalidDocumentError as error:
        raise ExportError(error.message, where=where, hint=_HINT) from error
    except KeyError as error:
        raise ExportError(f"damaged: nothing is told of {error}", where=where, hint=_HINT) from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ExportError(f"damaged: {error}", where=where, hint=_HINT) from error


def _lines(folder: Path, files: tuple[str, ...] | list[str]) -> Iterator[tuple[str, Any]]:
    for name in files:
        path = folder / name
        with path.open("rb") as file, InputStream(file, str(path), _fault) as stream:
            for record in read_json_lines(stream, _MAX_LINE_BYTES):
                where = f"{path}, line {record.line}"
                if isinstance(record, BadRecord):
                    raise ExportError(record.reason, where=where, hint=_HINT)
                yield where, record.values


def _fault(message: str, where: str, _: str) -> ExportError:
    return ExportError(message, where=where, hint=_HINT)


def _ids_of_terms(folder: Path) -> dict[str, int]:
    ids: dict[str, int] = {}
    for where, row in _lines(folder, (TERMS,)):
        try:
            ids[row["term"]] = int(row["id"])
        except (KeyError, TypeError, ValueError) as error:
            raise ExportError(f"damaged: {error}", where=where, hint=_HINT) from error
    return ids
