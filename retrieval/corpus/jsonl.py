"""JSON Lines: one object a line. Also the `corpus.jsonl` of a BEIR folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from lexhound.core.streams import InputStream, read_lines
from lexhound.core.strict_json import json_fault, parse_json
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import InvalidDocumentError

from .base import BadRow, StreamCorpus
from .rows import document_from_row

_ONE_OBJECT_A_LINE = "Write one JSON object a line; `jq -c '.[]' FILE` makes that of a JSON array."

_FINITE = "Weights are finite and 0 or more."


class JsonLinesCorpus(StreamCorpus):
    """One JSON object a line; blank lines are passed over.

    The id is in `id`, `_id` or `docid`, the text in `text`, `contents` or `body` (the first that is there and not
    null, in this order), the title in `title`; every other field is metadata. A key that occurs twice in one object
    is an error, and so are integers that do not fit 64 bits, save as ids.
    """

    def _rows(self, stream: InputStream) -> Iterator[Document | BadRow]:
        for number, (line, complete) in enumerate(read_lines(stream, self._max_row_bytes), 1):
            if complete and (not line or line.isspace()):
                continue
            self._line = number
            self._raw = line
            yield self._parse(line) if complete else self._too_long()

    def _parse(self, line: bytes) -> Document | BadRow:
        try:
            row = parse_json(line)
        except orjson.JSONDecodeError as error:
            return self._not_json(line, error)
        if not isinstance(row, dict):
            return self.bad_row("JSON, but not an object", _ONE_OBJECT_A_LINE)
        try:
            return self._document(row)
        except InvalidDocumentError as error:
            return self.bad_row(error.message, error.hint or "")

    def _document(self, row: dict[str, Any]) -> Document:
        """What a row holds; raises InvalidDocumentError."""
        return document_from_row(row, self._names)

    def _not_json(self, line: bytes, error: orjson.JSONDecodeError) -> BadRow:
        try:
            line.decode()
        except UnicodeDecodeError as bad:
            return self.bad_row(
                f"not UTF-8: byte {bad.start + 1} of the line is 0x{line[bad.start]:02x}",
                "Convert the file to UTF-8.",
            )
        if self.brings_vectors and b"NaN" in line:
            return self.bad_row(f"NaN is no weight, and {json_fault(error)}", _FINITE)
        hint = _ONE_OBJECT_A_LINE if line.lstrip().startswith(b"[") else "Write one JSON object a line."
        if line.strip() == b"{":
            hint = "Write each object on one line; `jq -c . FILE` does that."
        return self.bad_row(json_fault(error), hint)
