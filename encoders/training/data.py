"""Training files: pairs, triples, ids over a corpus, and teachers' scores, read as streams.

JSON Lines (`.jsonl`, `.json`, `.ndjson`) with one object a row, or tab-separated columns (`.tsv`) without a header;
either may be compressed (`.gz`, `.zst`). A row that is wrong stops the reading with its file and line: a training run
that passes over bad rows in silence trains on something else than was meant.
"""

from __future__ import annotations

import difflib
import gzip
import io
import math
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
from zstandard import ZstdDecompressor, ZstdError

from ..errors import TrainingDataError

QUERY = ("query", "anchor", "question")
POSITIVE = ("positive", "text", "answer", "document", "pos")
NEGATIVES = ("negatives", "negative", "neg")
QUERY_ID = ("query_id", "query-id", "qid")
DOCUMENT_IDS = ("document_ids", "docids", "doc_ids")
SCORES = ("scores", "score")
# Fields that rows may have beside those of their kind.
BESIDE = ("id", "_id", "title", "source", "metadata")

_TABLE = ".tsv"
_COMPRESSIONS = (".gz", ".zst")
_MAX_LINE = 64 * 2**20
_ZSTD_CHUNK = 2 * 2**10  # which may become 32,000 times as much

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a text that answers it."""

    query: str
    text: str


@dataclass(frozen=True, slots=True)
class Triple:
    """A query, a text that answers it, and at least one that does not."""

    query: str
    text: str
    negatives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identified:
    """The ids of a query and of documents of a corpus: the answer first, or all candidates."""

    query_id: str
    document_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a teacher gives documents of a corpus for a query; as many scores as documents."""

    query_id: str
    document_ids: tuple[str, ...]
    scores: tuple[float, ...]


def read_pairs(path: Path) -> Iterator[Pair]:
    """Yield pairs: JSON rows with a query and a positive (`QUERY`, `POSITIVE`), or two columns.

    Raises:
        TrainingDataError: from the iteration: the file is missing, empty or damaged, or a row is wrong (its line is
            named).
    """

    def pair(row: _Row) -> Pair:
        return Pair(row.text(QUERY, "query"), row.text(POSITIVE, "positive"))

    return _read(path, (QUERY, POSITIVE), ("query", "positive"), pair)


def read_triples(path: Path) -> Iterator[Triple]:
    """Yield triples: JSON rows with one negative or a list of them, or three and more columns.

    Raises as `read_pairs`.
    """

    def triple(row: _Row) -> Triple:
        negatives = tuple(row.texts(NEGATIVES, "negative"))
        return Triple(row.text(QUERY, "query"), row.text(POSITIVE, "positive"), negatives)

    return _read(path, (QUERY, POSITIVE, NEGATIVES), ("query", "positive", "negatives"), triple)


def read_ids(
    path: Path, *, queries: Collection[str] | None = None, documents: Collection[str] | None = None
) -> Iterator[Identified]:
    """Yield ids: JSON rows `{"query_id", "document_ids"}`, or a query's id and documents' ids as columns.

    Args:
        queries, documents: the ids that there are; None where they are not known.

    Raises:
        TrainingDataError: as `read_pairs`; or a row names a query or document that there is not.
    """

    def identified(row: _Row) -> Identified:
        return Identified(*_ids(row, queries, documents))

    return _read(path, (QUERY_ID, DOCUMENT_IDS), ("query_id", "document_ids"), identified)


def read_scores(
    path: Path, *, queries: Collection[str] | None = None, documents: Collection[str] | None = None
) -> Iterator[Scored]:
    """Yield a teacher's scores: JSON rows `{"query_id", "document_ids", "scores"}`; raises as `read_ids`.

    A table has three columns, query id, document id and score; rows of one query that follow each other are joined.
    """

    def scored(row: _Row) -> Scored:
        query, candidates = _ids(row, queries, documents)
        scores = row.numbers(SCORES, "scores")
        if len(scores) != len(candidates):
            raise row.error(
                f"there are {len(candidates)} documents and {len(scores)} scores", "Give each document its score"
            )
        return Scored(query, candidates, scores)

    rows = _read(path, (QUERY_ID, DOCUMENT_IDS, SCORES), ("query_id", "document_ids", "scores"), scored)
    return _joined(rows) if _plain_suffix(path) == _TABLE else rows


def _ids(row: _Row, queries: Collection[str] | None, documents: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    query = row.text(QUERY_ID, "query_id")
    found = tuple(row.texts(DOCUMENT_IDS, "document_ids"))
    if queries is not None and query not in queries:
        raise row.error(f"there is no query {query!r}", "Check that the file belongs to these queries")
    for document in found:
        if documents is not None and document not in documents:
            raise row.error(f"there is no document {document!r}", "Check that the file belongs to this corpus")
    return query, found


def _joined(rows: Iterator[Scored]) -> Iterator[Scored]:
    ids: list[str] = []
    scores: list[float] = []
    query: str | None = None
    for row in rows:
        if query is not None and row.query_id != query:
            yield Scored(query, tuple(ids), tuple(scores))
            ids, scores = [], []
        query = row.query_id
        ids += row.document_ids
        scores += row.scores
    if query is not None:
        yield Scored(query, tuple(ids), tuple(scores))


@dataclass(frozen=True, slots=True)
class _Row:
    """The fields of one row, and where it stands."""

    values: Mapping[str, Any]
    where: str

    def error(self, message: str, hint: str) -> TrainingDataError:
        return TrainingDataError(f"{self.where}: {message}", hint)

    def value(self, names: tuple[str, ...], called: str) -> Any:
        found = [name for name in names if self.values.get(name) is not None]
        if not found:
            raise self.error(f"the row has no {called}", f"It must stand in {', '.join(names)}")
        if len(found) > 1:
            raise self.error(
                f"the row has both {found[0]!r} and {found[1]!r}", f"Keep one: the {called} is one of them"
            )
        return self.values[found[0]]

    def text(self, names: tuple[str, ...], called: str) -> str:
        return self._as_text(self.value(names, called), called, ids=names is QUERY_ID)

    def texts(self, names: tuple[str, ...], called: str) -> list[str]:
        values = self.value(names, called)
        values = values if isinstance(values, list) else [values]
        if not values:
            raise self.error(f"the list of the {called} is empty", "Give at least one")
        return [self._as_text(value, called, ids=names is DOCUMENT_IDS) for value in values]

    def numbers(self, names: tuple[str, ...], called: str) -> tuple[float, ...]:
        values = self.value(names, called)
        values = values if isinstance(values, list) else [values]
        for value in values:
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                raise self.error(f"{value!r} among the {called} is no number", "Give finite numbers")
        return tuple(map(float, values))

    def _as_text(self, value: Any, called: str, *, ids: bool) -> str:
        if ids and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise self.error(f"the {called} is {type(value).__name__}, not text", "Write it in quotes")
        if not value.strip():
            raise self.error(f"the {called} is empty", "Leave the row out, or fill it in")
        return value


def _read(
    path: Path, fields: tuple[tuple[str, ...], ...], called: tuple[str, ...], make: Callable[[_Row], Row]
) -> Iterator[Row]:
    parse = _parse_table if _plain_suffix(path) == _TABLE else _parse_json
    known = {name for names in fields for name in names} | set(BESIDE)
    empty = True
    for where, line in _lines(path):
        empty = False
        row = _Row(parse(line, where, fields, called), where)
        for name in row.values:
            if name not in known:
                near = difflib.get_close_matches(name, sorted(known), 1, 0.0)[0]
                raise row.error(
                    f"the row has the unknown field {name!r}",
                    f"A row has {', '.join(called)}; did you mean {near!r}? Other things belong in 'metadata'",
                )
        yield make(row)
    if empty:
        raise TrainingDataError(f"{path} is empty: it holds not one row", "Check that this is the right file")


def _parse_json(line: bytes, where: str, _: tuple[tuple[str, ...], ...], called: tuple[str, ...]) -> dict[str, Any]:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise TrainingDataError(f"{where}: not JSON: {error}", "Write one JSON object a line, in UTF-8") from error
    if not isinstance(values, dict):
        raise TrainingDataError(f"{where}: not an object", f"Write an object with {', '.join(called)} on each line")
    return values


def _parse_table(
    line: bytes, where: str, fields: tuple[tuple[str, ...], ...], called: tuple[str, ...]
) -> dict[str, Any]:
    try:
        columns = line.decode().rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise TrainingDataError(f"{where}: not UTF-8", "Convert the file to UTF-8") from error
    many = fields[-1] in (NEGATIVES, DOCUMENT_IDS)  # the last field takes all further columns
    if len(columns) < len(fields) or (len(columns) > len(fields) and not many):
        raise TrainingDataError(
            f"{where}: {len(columns)} columns where {', '.join(called)} are expected", "Separate them by one tab each"
        )
    values: dict[str, Any] = {names[0]: column for names, column in zip(fields, columns, strict=False)}
    if many:
        values[fields[-1][0]] = columns[len(fields) - 1 :]
    if fields[-1] is SCORES:
        try:
            values[SCORES[0]] = [float(columns[-1])]
        except ValueError as error:
            raise TrainingDataError(
                f"{where}: {columns[-1]!r} is no number", "The third column is the score"
            ) from error
    return values


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield `FILE, line N` and the line, for all lines that are not blank."""
    number = 0
    try:
        with path.open("rb") as stored, _decompressed(stored, path.suffix.lower()) as stream:
            while line := stream.readline(_MAX_LINE + 1):
                number += 1
                if len(line) > _MAX_LINE:
                    raise TrainingDataError(
                        f"{path}, line {number}: longer than {_MAX_LINE:,} bytes",
                        "Check that the file has line breaks between its rows",
                    )
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield f"{path}, line {number}", line
    except FileNotFoundError as error:
        raise TrainingDataError(f"there is no file {path}", "Give the path of a training file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile, ZstdError) as error:
        raise TrainingDataError(
            f"{path}: the compressed data is damaged or cut short after line {number} ({error})", "Fetch it again"
        ) from error
    except OSError as error:
        raise TrainingDataError(
            f"{path} cannot be read: {error.strerror or error}", "Check its path and its permissions"
        ) from error


def _decompressed(stored: io.BufferedReader, suffix: str) -> io.BufferedIOBase:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=stored)
    if suffix == ".zst":
        return io.BufferedReader(_WholeFrames(stored))
    return stored


class _WholeFrames(io.RawIOBase):
    """The bytes of zstd frames; unlike the library's own reader, data that ends inside one is an error."""

    def __init__(self, stored: io.BufferedReader) -> None:
        super().__init__()
        self._stored = stored
        self._decoder = ZstdDecompressor().decompressobj()
        self._inside = True
        self._left = b""
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        while not self._pending:
            data = self._left or self._stored.read(_ZSTD_CHUNK)
            if not data:
                if self._inside:
                    raise EOFError("it ends inside a frame")
                return 0
            if self._decoder.eof:
                self._decoder = ZstdDecompressor().decompressobj()
            self._pending = memoryview(self._decoder.decompress(data))
            self._inside = not self._decoder.eof
            self._left = b"" if self._inside else self._decoder.unused_data
        size = min(len(target), len(self._pending))
        target[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size


def _plain_suffix(path: Path) -> str:
    inner = path.with_suffix("") if path.suffix.lower() in _COMPRESSIONS else path
    return inner.suffix.lower()
