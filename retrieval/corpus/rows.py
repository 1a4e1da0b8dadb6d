"""From a row of named fields to a document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lexhound.core.field_names import DOCUMENT_ID, DOCUMENT_TEXT, DOCUMENT_TITLE
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorpusError, InvalidDocumentError


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Where the parts of a document are looked for: of each tuple, the first field that is there and not null."""

    id: tuple[str, ...] = DOCUMENT_ID
    text: tuple[str, ...] = DOCUMENT_TEXT
    title: tuple[str, ...] = DOCUMENT_TITLE

    @classmethod
    def choose(cls, id_field: str | None, text_field: str | None, title_field: str | None) -> FieldNames:
        """Return the usual names, save for those that the caller names."""
        usual = cls()
        return cls(
            usual.id if id_field is None else (id_field,),
            usual.text if text_field is None else (text_field,),
            usual.title if title_field is None else (title_field,),
        )

    def require(self, columns: Iterable[str], where: str) -> None:
        """Raise `CorpusError` unless the columns of a table hold an id and a text."""
        present = list(columns)
        for names, option in ((self.id, "id"), (self.text, "text")):
            if not any(name in present for name in names):
                shown = ", ".join(repr(name) for name in present[:20])
                separator = " Are the columns separated by something else?" if len(present) == 1 else ""
                raise CorpusError(
                    f"no column for the {option}: looked for {_alternatives(names)}, found {shown}",
                    where=where,
                    hint=f"Name the column that holds it ({option}_field, --{option}-field).{separator}",
                )


def document_from_row(row: dict[str, Any], names: FieldNames, *, nameable: bool = True) -> Document:
    """Return the document that a row holds; `row` is used up.

    Integer ids become their decimal form. What is no id, text or title is metadata; the entries of an object named
    `metadata` (as BEIR has) are lifted to the top level, where a field of the row itself wins over one of the same
    name. Raises `InvalidDocumentError`, whose hint says that other fields can be named only if they are `nameable`.
    """
    found = list(row)
    document_id = _take(row, names.id)
    if document_id is None:
        other = ", or name the field that holds it (id_field, --id-field)" if nameable else ""
        raise InvalidDocumentError(f"no id: {_absent(names.id, found)}", hint=f"Give the row an id{other}.")
    if isinstance(document_id, int) and not isinstance(document_id, bool):
        document_id = str(document_id)
    text = _take(row, names.text)
    if text is None:
        other = ", or name the field that holds it (text_field, --text-field)" if nameable else ""
        raise InvalidDocumentError(
            f"no text: {_absent(names.text, found)}",
            hint=f"Give the row a text (it may be empty){other}.",
        )
    title = _take(row, names.title)
    metadata = row
    if isinstance(row.get("metadata"), dict):
        metadata = {**row.pop("metadata"), **row}
    return Document(document_id, text, "" if title is None else title, metadata)


def _take(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Remove and return the first value that is not null; nulls met before it are removed too."""
    for name in names:
        value = row.pop(name, None)
        if value is not None:
            return value
    return None


def _absent(names: tuple[str, ...], found: list[str]) -> str:
    """Return that a row has none of the fields, and which it has."""
    null = [name for name in names if name in found]
    if null:
        return f"the field {null[0]!r} is null"
    shown = ", ".join(repr(name[:60]) for name in found[:12]) + (", …" if len(found) > 12 else "")
    return f"there is no field {_alternatives(names)}" + (f", found {shown}" if found else ": the row has no fields")


def _alternatives(names: tuple[str, ...]) -> str:
    quoted = [repr(name) for name in names]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
