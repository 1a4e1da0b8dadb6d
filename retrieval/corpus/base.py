"""What every corpus is: a stream of documents and of rows that could not become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lexhound.core.streams import MAX_RAW_BYTES, MAX_ROW_BYTES, InputStream
from lexhound.encoders.base import SparseEncoder
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import BadRowError, CorpusError

from .rows import FieldNames


def corpus_fault(message: str, where: str, hint: str) -> CorpusError:
    """Return what a reader of files raises for a corpus."""
    return CorpusError(message, where=where, hint=hint)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot become a document.

    `file` is the file as the user named it, `line` the 1-based line at which the row starts (`unit` is "row" and
    `line` counts rows in Parquet; None where the row is a whole file), `reason` what is wrong, `hint` what to do,
    `raw` the first bytes of the row as they stand in the input, `lines` how many lines are lost with it.
    """

    file: str
    line: int | None
    reason: str
    hint: str = ""
    raw: bytes = b""
    unit: str = "line"
    lines: int = 1

    @property
    def where(self) -> str:
        """File and line, for people: `corpus.jsonl, line 12`."""
        return self.file if self.line is None else f"{self.file}, {self.unit} {self.line}"

    def error(self) -> BadRowError:
        """Return the exception for an ingest job that stops at this row."""
        return BadRowError(self.reason, where=self.where, hint=self.hint or None)

    def __str__(self) -> str:
        return str(self.error())


class Corpus(ABC):
    """An iterable of `Document | BadRow`, read as a stream.

    Iterating again starts from the beginning and gives the same rows in the same order (except for standard input
    and pipes, which can be read once). One iteration at a time: `bytes_read` and `bad_row` speak of the latest.
    A corpus that cannot be read on raises `CorpusError` in the middle of the iteration.

    Attributes:
        brings_vectors: whether its documents bring their vectors (`EncodedDocument`), so that none has to be made.
        special_weights: how many weights of special tokens the latest iteration has left out of such vectors.
    """

    brings_vectors = False
    special_weights = 0

    def __init__(self, name: str, unit: str = "line") -> None:
        self.name = name
        self._unit = unit
        self._file = name
        self._line: int | None = None
        self._raw = b""
        self._lines = 1

    @property
    @abstractmethod
    def total_bytes(self) -> int | None:
        """Size of the input as stored (compressed, if it is), or None for a pipe."""

    @property
    @abstractmethod
    def bytes_read(self) -> int:
        """How much of `total_bytes` the latest iteration has read."""

    @abstractmethod
    def __iter__(self) -> Iterator[Document | BadRow]: ...

    def bind(self, encoder: SparseEncoder | None) -> None:  # noqa: B027  most corpora have nothing to do
        """Name the learned encoder of the collection that this corpus is read into, None where that is BM25.

        Corpora that bring vectors take the ids of their terms from it.

        Raises:
            CorpusError: such vectors do not belong into that collection.
        """

    def bad_row(self, reason: str, hint: str = "") -> BadRow:
        """Return the row that was yielded last as a bad one, for faults that only the reader of the corpus can see.

        >>> row = corpus.bad_row("the id 'a' was already used", "Keep one of the two.")
        """
        raw = self._raw[:MAX_RAW_BYTES].rstrip(b"\r\n")
        return BadRow(self._file, self._line, reason, hint, raw, self._unit, self._lines)

    @property
    def where(self) -> str:
        """File and line of the row that was yielded last."""
        return self.bad_row("").where

    def notices(self) -> list[str]:
        """Return what a person should look at in what the latest iteration read; a sentence each."""
        return []

    def empty_error(self) -> CorpusError:
        """Return the error for a corpus without documents."""
        return CorpusError(
            "the corpus is empty: it holds not one document",
            where=self.name,
            hint="Check that this is the right file or folder.",
        )


class StreamCorpus(Corpus):
    """A corpus in one file or pipe, which `open_stream` opens anew for each iteration."""

    def __init__(
        self,
        name: str,
        open_stream: Callable[[], InputStream],
        total_bytes: int | None,
        names: FieldNames,
        max_row_bytes: int = MAX_ROW_BYTES,
        unit: str = "line",
    ) -> None:
        super().__init__(name, unit)
        self._open_stream = open_stream
        self._total_bytes = total_bytes
        self._names = names
        self._max_row_bytes = max_row_bytes
        self._stream: InputStream | None = None

    @property
    def total_bytes(self) -> int | None:
        return self._total_bytes

    @property
    def bytes_read(self) -> int:
        return self._stream.bytes_read if self._stream is not None else 0

    def __iter__(self) -> Iterator[Document | BadRow]:
        with self._open_stream() as stream:
            self._stream = stream
            yield from self._rows(stream)

    @abstractmethod
    def _rows(self, stream: InputStream) -> Iterator[Document | BadRow]: ...
