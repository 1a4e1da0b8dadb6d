"""From what the user names (a file, a folder, `-`) to a corpus."""

from __future__ import annotations

import difflib
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from lexhound.core.arrow_files import TABLE_SUFFIXES
from lexhound.core.arrow_rows import is_table, table_name
from lexhound.core.streams import COMPRESSIONS, InputStream, find_compressed, open_input, without_compression
from lexhound.retrieval.errors import CorpusError

from .arrow import FrameCorpus, TableFileCorpus
from .base import Corpus, corpus_fault
from .folder import FolderCorpus
from .jsonl import JsonLinesCorpus
from .rows import FieldNames
from .table import CsvCorpus, TsvCorpus

FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "folder")

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    **TABLE_SUFFIXES,
}
_SAY_FORMAT = f"Say which it is (format, --format): {', '.join(FORMATS)}."


def open_corpus(
    source: str | os.PathLike[str] | Any,
    *,
    format: str | None = None,
    id_field: str | None = None,
    text_field: str | None = None,
    title_field: str | None = None,
    stdin: BinaryIO | None = None,
) -> Corpus:
    """Open the corpus at `source`.

    - a BEIR folder (one that holds `corpus.jsonl`, `.gz` or `.zst`), or a `.jsonl`, `.ndjson` or `.json` file: one
      object a line, or one array of objects;
    - a `.csv` or `.tsv` file with a header row; a `.parquet`, `.arrow`, `.feather` or `.ipc` file;
    - any of these files compressed: `.gz`, `.zst`;
    - a folder of `.txt`, `.md` and `.html` files, and of `.pdf` and `.docx` with the extra `documents`;
    - a table in memory: a DataFrame of pandas or polars, a data set of Hugging Face `datasets`, a table of pyarrow, or
      what else gives Arrow's stream;
    - `-`: standard input (`stdin` in its place, if given), as JSON unless `format` says otherwise. It may be
      compressed, and can be iterated once.

    `format` (one of `FORMATS`) overrides what the name says. `id_field`, `text_field` and `title_field` name the
    fields to take instead of the usual ones. Raises `CorpusError` for a source that is missing, unreadable or of no
    known format; nothing else of it is read yet.
    """
    if is_table(source):
        if format is not None:
            raise CorpusError("a table in memory has no format", where=table_name(source), hint="Leave it out.")
        return FrameCorpus(source, FieldNames.choose(id_field, text_field, title_field))
    if format is not None and format not in FORMATS:
        raise CorpusError(f"there is no format {format!r}", where=os.fspath(source), hint=_SAY_FORMAT)
    names = FieldNames.choose(id_field, text_field, title_field)
    if os.fspath(source) == "-":
        return _open_pipe(format or "jsonl", names, stdin)
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _missing(path, error) from error
    if stat.S_ISDIR(mode):
        return _open_folder(path, format, names, named_fields=(id_field or text_field or title_field) is not None)
    return _open_file(path, format, names, regular=stat.S_ISREG(mode))


def _open_folder(path: Path, format: str | None, names: FieldNames, *, named_fields: bool) -> Corpus:
    if format in (None, "jsonl"):
        corpus_file = find_compressed(path / "corpus.jsonl")
        if corpus_file is not None:
            return _open_file(corpus_file, "jsonl", names, regular=True)
    if format not in (None, "folder"):
        raise CorpusError(f"a folder cannot be read as {format}", where=str(path), hint="Name a file in it.")
    if named_fields:
        raise CorpusError(
            "a folder of text files has no fields to choose from",
            where=str(path),
            hint="Leave out the field names: the id is the path, the title the heading.",
        )
    corpus = FolderCorpus(path, str(path))
    if not corpus.has_files():
        raise CorpusError(
            "the folder holds nothing to read: neither corpus.jsonl nor .txt, .md or .html files",
            where=str(path),
            hint=_tables_in(path) or corpus.others() or "Check that this is the right folder.",
        )
    return corpus


def _open_file(path: Path, format: str | None, names: FieldNames, *, regular: bool) -> Corpus:
    name = str(path)
    compressed = path.suffix.lower() in COMPRESSIONS
    if format is None:
        suffix = without_compression(path).suffix.lower()
        format = _SUFFIXES.get(suffix)
        if format is None:
            raise _unknown(path, suffix)
    if format == "folder":
        raise CorpusError("not a folder", where=name, hint="Name the folder that holds the files.")
    # Opened once now, so that a file which may not be read, or is not what its name says, is known at once. A pipe
    # must not be opened twice.
    if regular:
        open_input(path, name, corpus_fault).close()
    size = path.stat().st_size if regular else None
    in_place = path if regular and not compressed else None
    return _corpus(format, name, lambda: open_input(path, name, corpus_fault), size, names, in_place)


def _open_pipe(format: str, names: FieldNames, stdin: BinaryIO | None) -> Corpus:
    name = "standard input"
    if format == "folder":
        raise CorpusError("standard input is not a folder", hint="Name the folder, or another format.")
    stream = sys.stdin.buffer if stdin is None else stdin
    used = False

    def open_once() -> InputStream:
        nonlocal used
        if used:
            raise CorpusError("can be read only once", where=name, hint="Save it to a file and name the file.")
        used = True
        return InputStream(stream, name, corpus_fault)

    return _corpus(format, name, open_once, None, names, None)


def _corpus(
    format: str,
    name: str,
    open_stream: Callable[[], InputStream],
    size: int | None,
    names: FieldNames,
    in_place: Path | None,
) -> Corpus:
    if format in TABLE_SUFFIXES.values():
        return TableFileCorpus(name, format, open_stream, size, names, in_place)
    if format in ("jsonl", "json"):
        return JsonLinesCorpus(name, open_stream, size, names)
    return (CsvCorpus if format == "csv" else TsvCorpus)(name, open_stream, size, names)


def _missing(path: Path, error: OSError | ValueError) -> CorpusError:
    if not isinstance(error, FileNotFoundError):
        reason = getattr(error, "strerror", None) or error
        return CorpusError(f"cannot be read: {reason}", where=ascii(str(path))[1:-1], hint="Check the path.")
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    if parent != path.parent:
        return CorpusError("no such file or folder", where=str(path), hint=f"There is no folder {path.parent}.")
    try:
        near = difflib.get_close_matches(path.name, [entry.name for entry in parent.iterdir()], n=3)
    except OSError:
        near = []
    hint = f"Did you mean {' or '.join(str(path.parent / name) for name in near)}?" if near else "Check the path."
    return CorpusError("no such file or folder", where=str(path), hint=hint)


def _unknown(path: Path, suffix: str) -> CorpusError:
    if suffix in {".txt", ".md", ".markdown", ".html", ".htm"}:
        hint = "Name the folder that holds it: each text file in a folder is a document."
    else:
        hint = f"Known are {', '.join(_SUFFIXES)}, with .gz or .zst after them, and folders. {_SAY_FORMAT}"
    what = f"{suffix} is no format that can be read" if suffix else "the name does not tell the format"
    return CorpusError(what, where=str(path), hint=hint)


def _tables_in(folder: Path) -> str:
    """Return a hint that names the first files of the folder that could be corpora by themselves."""
    try:
        names = sorted(
            entry.name for entry in folder.iterdir() if without_compression(entry).suffix.lower() in _SUFFIXES
        )
    except OSError:
        return ""
    return f"It does hold {', '.join(names[:3])}: name that file." if names else ""
