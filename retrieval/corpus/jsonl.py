"""JSON: one object a line, or one array of objects. Also the `corpus.jsonl` of a BEIR folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lexhound.core.rows import BadRecord, JsonRecord, read_json_rows
from lexhound.core.streams import InputStream
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import InvalidDocumentError

from .base import BadRow, StreamCorpus
from .rows import FieldNames, document_from_row


class JsonLinesCorpus(StreamCorpus):
    """One JSON object a line, blank lines passed over; or one JSON array of objects, of any length.

    The id is in `id`, `_id` or `docid`, the text in `text`, `contents` or `body` (the first that is there and not
    null, in this order), the title in `title`; every other field is metadata. A key that occurs twice in one object
    is an error, and so are integers that do not fit 64 bits, save as ids.
    """

    def _rows(self, stream: InputStream) -> Iterator[Document | BadRow]:
        for record in read_json_rows(stream, self._max_row_bytes):
            self._line, self._raw = record.line, record.raw
            if isinstance(record, JsonRecord):
                yield self._parse(record.values)
            elif self.brings_vectors and record.reason.startswith("not JSON") and b"NaN" in record.raw:
                yield self.bad_row(f"NaN is no weight, and {record.reason}", "Weights are finite and 0 or more.")
            else:
                yield self.bad_row(record.reason, self._hint(record))

    def _hint(self, record: BadRecord) -> str:
        separator = _separator(record, self._names)
        if separator is None:
            return record.hint
        return f"This looks like a table: say so (format={separator!r}, --format {separator})."

    def _parse(self, row: dict[str, Any]) -> Document | BadRow:
        try:
            return self._document(row)
        except InvalidDocumentError as error:
            return self.bad_row(error.message, error.hint or "")

    def _document(self, row: dict[str, Any]) -> Document:
        """Return the document of a row; raises InvalidDocumentError."""
        return document_from_row(row, self._names)


def _separator(record: BadRecord, names: FieldNames) -> str | None:
    """Return "csv" or "tsv" where a record that is no JSON is the header of such a table; else None."""
    if record.line != 1 or not record.reason.startswith("not JSON"):
        return None
    line = record.raw.decode("utf-8", "replace")
    for name, separator in (("tsv", "\t"), ("csv", ",")):
        cells = {cell.strip().strip('"') for cell in line.split(separator)}
        if len(cells) > 1 and cells & {*names.id, *names.text, *names.title}:
            return name
    return None
