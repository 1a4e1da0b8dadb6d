"""JSON Lines: one object a line. Also the `corpus.jsonl` of a BEIR folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lexhound.core.rows import JsonRecord, read_json_lines
from lexhound.core.streams import InputStream
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import InvalidDocumentError

from .base import BadRow, StreamCorpus
from .rows import document_from_row


class JsonLinesCorpus(StreamCorpus):
    """One JSON object a line; blank lines are passed over.

    The id is in `id`, `_id` or `docid`, the text in `text`, `contents` or `body` (the first that is there and not
    null, in this order), the title in `title`; every other field is metadata. A key that occurs twice in one object
    is an error, and so are integers that do not fit 64 bits, save as ids.
    """

    def _rows(self, stream: InputStream) -> Iterator[Document | BadRow]:
        for record in read_json_lines(stream, self._max_row_bytes):
            self._line, self._raw = record.line, record.raw
            if isinstance(record, JsonRecord):
                yield self._parse(record.values)
            elif self.brings_vectors and record.reason.startswith("not JSON") and b"NaN" in record.raw:
                yield self.bad_row(f"NaN is no weight, and {record.reason}", "Weights are finite and 0 or more.")
            else:
                yield self.bad_row(record.reason, record.hint)

    def _parse(self, row: dict[str, Any]) -> Document | BadRow:
        try:
            return self._document(row)
        except InvalidDocumentError as error:
            return self.bad_row(error.message, error.hint or "")

    def _document(self, row: dict[str, Any]) -> Document:
        """Return the document of a row; raises InvalidDocumentError."""
        return document_from_row(row, self._names)
