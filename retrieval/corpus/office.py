"""The texts of PDF and Word files, by pypdf and python-docx (extra `documents`)."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from lexhound.retrieval.errors import OfficeError

from .markup import Extracted

PACKAGES = {".pdf": "pypdf", ".docx": "docx"}
"""The package that reads files of a suffix."""


def can_read(suffix: str) -> bool:
    """Return whether the package is installed that reads files of a suffix."""
    return suffix in PACKAGES and find_spec(PACKAGES[suffix]) is not None


def read_office(suffix: str, content: bytes) -> Extracted:
    """Return the title (empty where the file names none) and the text of a file.

    Raises:
        OfficeError: it is damaged, needs a password, or has no text, as scans have none.
    """
    extracted = _pdf(content) if suffix == ".pdf" else _docx(content)
    if not extracted.text.strip():
        raise OfficeError(
            "it has no text: it may be a scan", hint="Recognise its text first (OCR), or leave the file out."
        )
    return extracted


def _pdf(content: bytes) -> Extracted:
    import pypdf
    from pypdf.errors import PyPdfError

    with _quiet("pypdf"), _told("PDF", (PyPdfError, ValueError, KeyError, TypeError, RecursionError)):
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise OfficeError("it needs a password", hint="Save it without one, or leave the file out.")
        pages = [page.extract_text() for page in reader.pages]
        title = reader.metadata.title if reader.metadata is not None else None
        return Extracted(str(title or "").strip(), "\n\n".join(page.strip() for page in pages if page.strip()))


def _docx(content: bytes) -> Extracted:
    import zipfile

    import docx
    from docx.opc.exceptions import OpcError
    from docx.table import Table

    with _told("Word", (OpcError, zipfile.BadZipFile, KeyError, ValueError)):
        document = docx.Document(io.BytesIO(content))
        parts: list[str] = []
        heading = ""
        for item in document.iter_inner_content():
            if isinstance(item, Table):
                parts += ["\t".join(cell.text.strip() for cell in row.cells) for row in item.rows]
                continue
            text = item.text.strip()
            style = str(getattr(item.style, "name", "") or "")
            if text and not heading and style.startswith(("Heading", "Title")):
                heading = text
            parts.append(text)
        title = str(document.core_properties.title or "").strip()
        return Extracted(title or heading, "\n\n".join(part for part in parts if part))


@contextmanager
def _told(kind: str, kinds: tuple[type[Exception], ...]) -> Iterator[None]:
    """Raise OfficeError in place of what a library raises for a file that is none of its kind."""
    try:
        yield
    except OfficeError:
        raise
    except kinds as error:
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise OfficeError(f"not a readable {kind} file: {reason}", hint="Fetch or save the file again.") from error


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library from telling on standard error what it puts right by itself."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
