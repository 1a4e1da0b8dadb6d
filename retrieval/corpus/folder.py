"""A folder of text, Markdown and HTML files, and of PDF and Word files where the packages for them are installed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from lexhound.core.streams import MAX_ROW_BYTES, buffered, open_input, without_compression
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorpusError, InvalidDocumentError, OfficeError

from . import markup
from .base import BadRow, Corpus, corpus_fault
from .office import PACKAGES, can_read, read_office


def _markdown(text: str) -> markup.Extracted:
    from .markdown import markdown

    return markdown(text)


_SHOWN_KINDS = 5
_SHOWN_READ = (".txt", ".md", ".html")
_READERS: dict[str, Callable[[str], markup.Extracted]] = {
    ".txt": markup.plain,
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": markup.html,
    ".htm": markup.html,
}


class FolderCorpus(Corpus):
    """One document a file: every `.txt`, `.md` and `.html` in the folder and the folders in it, and with the extra
    `documents` every `.pdf` and `.docx`.

    The id is the path relative to the folder, with `/`. The title is that of the front matter or the first heading
    (Markdown), the `<title>` or first `<h1>` (HTML), or the file's name without its suffix. Hidden files and folders
    (`.name`), files of other kinds and links to folders are passed over. Order: by name, folder by folder. The files
    may be compressed (`.txt.gz`); their id keeps the whole name.
    """

    def __init__(self, folder: Path, name: str, *, max_row_bytes: int = MAX_ROW_BYTES) -> None:
        super().__init__(name)
        self._folder = folder
        self._max_row_bytes = max_row_bytes
        self._total_bytes: int | None = None
        self._bytes_read = 0
        self._others: Counter[str] = Counter()

    @property
    def total_bytes(self) -> int | None:
        """Sizes of all files, from a first walk through the folder."""
        if self._total_bytes is None:
            self._total_bytes = sum(_size(entry) for entry in _walk(self._folder) if not isinstance(entry, OSError))
        return self._total_bytes

    @property
    def bytes_read(self) -> int:
        return self._bytes_read

    def has_files(self) -> bool:
        """Return whether the folder holds a single file that would be read."""
        self._others.clear()
        return any(not isinstance(entry, OSError) for entry in _walk(self._folder, self._others))

    def notices(self) -> list[str]:
        """Return how many files were not read, by kind."""
        others = self.others()
        return [f"{self.name}: {others}"] if others else []

    def others(self) -> str:
        """Return a sentence on the files that the latest walk passed over, by kind; empty where there are none."""
        total = sum(self._others.values())
        if not total:
            return ""
        kinds = [f"{count:,} {kind}" for kind, count in self._others.most_common(_SHOWN_KINDS)]
        more = ", and others" if len(self._others) > _SHOWN_KINDS else ""
        files = "1 file is" if total == 1 else f"{total:,} files are"
        absent = [kind for kind in PACKAGES if self._others[kind]]
        install = f" ({' and '.join(absent)} with: pip install 'lexhound[documents]')" if absent else ""
        *first, last = (*_SHOWN_READ, *filter(can_read, PACKAGES))
        return (
            f"{files} of a kind that is not read: {', '.join(kinds)}{more}; {', '.join(first)} and {last} are{install}"
        )

    def __iter__(self) -> Iterator[Document | BadRow]:
        self._bytes_read = 0
        self._others.clear()
        for entry in _walk(self._folder, self._others):
            if isinstance(entry, OSError):
                self._file = _shown(entry.filename)
                yield self.bad_row(f"the folder cannot be listed: {entry.strerror}", "Check the folder's permissions.")
                continue
            self._file, self._line = _shown(entry), None
            yield self._read(entry)
            self._bytes_read += _size(entry)

    def _read(self, path: Path) -> Document | BadRow:
        try:
            with open_input(path, self._file, corpus_fault) as stream, buffered(stream) as reader:
                content = reader.read(self._max_row_bytes + 1)
        except CorpusError as error:
            return self.bad_row(error.message, error.hint or "")
        if len(content) > self._max_row_bytes:
            return self.bad_row(f"longer than {self._max_row_bytes:,} bytes", "Split it into smaller files.")
        suffix = _suffix(path.name)
        if suffix in PACKAGES:
            try:
                return self._document(path, read_office(suffix, content))
            except OfficeError as error:
                return self.bad_row(error.message, error.hint or "")
        try:
            text = markup.decode(content, html=suffix.startswith(".htm"))
        except UnicodeDecodeError as error:
            return self.bad_row(
                f"not UTF-8: byte {error.start + 1} is 0x{content[error.start]:02x}", "Convert the file to UTF-8."
            )
        try:
            extracted = _READERS[suffix](text)
        except markup.FrontMatterError as error:
            self._line = error.line
            return self.bad_row(error.message, "Correct the YAML between the two --- lines.")
        return self._document(path, extracted)

    def _document(self, path: Path, extracted: markup.Extracted) -> Document | BadRow:
        try:
            return Document(
                path.relative_to(self._folder).as_posix(),
                extracted.text,
                extracted.title or _stem(path.name),
                extracted.metadata,
            )
        except InvalidDocumentError as error:
            return self.bad_row(error.message, error.hint or "")


def _walk(folder: Path, others: Counter[str] | None = None) -> Iterator[Path | OSError]:
    """Yield the files to read, in order; in place of a folder that cannot be listed, the error.

    `others` counts, by suffix, the files that are not hidden and not read.
    """
    pending = [folder]  # a stack: the next path is the last
    while pending:
        path = pending.pop()
        if path != folder and not path.is_dir():
            yield path
            continue
        try:
            paths = []
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False) or (_is_read(_suffix(entry.name)) and entry.is_file()):
                        paths.append(path / entry.name)
                    elif others is not None and entry.is_file():
                        others[_suffix(entry.name) or "without a suffix"] += 1
        except OSError as error:
            yield error
            continue
        pending.extend(sorted(paths, reverse=True))


def _is_read(suffix: str) -> bool:
    return suffix in _READERS or can_read(suffix)


def _suffix(name: str) -> str:
    """Return the suffix that tells how to read a file, below a suffix of compression."""
    path = Path(name.lower())
    return without_compression(path).suffix


def _stem(name: str) -> str:
    path = Path(name)
    return without_compression(path).stem


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _shown(path: object) -> str:
    """Return a path for messages: names that are not UTF-8 are shown with escapes."""
    return str(path).encode(errors="backslashreplace").decode()
