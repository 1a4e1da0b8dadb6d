"""A segment: a fixed run of document rows with their vectors in an inverted index, as a directory of raw arrays.

    segments/<name>/rows/       internal ids int64[n]; ids as UTF-8 bytes with their ends; where a document is split,
                                the number of each row among its document's passages, uint32[n]
    segments/<name>/<index>/    the inverted index over the same rows; the folder is named after the field
    segments/<name>/dense/      the dense vectors of the same rows, where the collection has them

A segment is written aside, synced and renamed; from then on it never changes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import publish_directory
from lexhound.core.progress import BYTES, OnStep, Pace, Stage, no_pace
from lexhound.index.array_files import (
    ArrayDirectory,
    ArrayDirectoryWriter,
    FileProblem,
)
from lexhound.index.array_verification import verify_arrays
from lexhound.index.dense.flat import VectorIndex
from lexhound.index.errors import CorruptFileError
from lexhound.index.inverted.index import InvertedIndex
from lexhound.index.jit import frozen
from lexhound.index.sorted_bytes import find_beginning
from lexhound.retrieval.errors import CorruptCollectionError

from .dense_index import NAME as DENSE
from .dense_index import open_dense, verify_dense

SEGMENTS = "segments"
ROWS = "rows"
ROWS_FORMAT = 1
PASSAGES = "passages"
# Ids held in memory at a time while they are copied or compared.
ROWS_AT_ONCE = 1 << 16
_BUILDING = ".building-"


class Ids(Protocol):
    """The external ids of a segment's rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> str: ...

    def rows_of(self, identifier: str) -> Iterator[int]:
        """Return the rows that have an id, deleted ones too: more than one where a document was replaced."""
        ...


class MappedIds:
    """Ids read from a segment's files, decoded one at a time."""

    def __init__(self, data: NDArray[np.uint8], ends: NDArray[np.uint64]) -> None:
        # Reading single values through a memoryview takes a fifth of the time that it takes through an array.
        self._bytes, self._id_ends = frozen(data), frozen(ends)
        self._data = data.data
        self._ends = ends.data

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> str:
        start = self._ends[row - 1] if row else 0
        try:
            return str(self._data[start : self._ends[row]], "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptCollectionError(
                f"the id of row {row} of a segment is damaged",
                hint="run `lexhound verify`; restore the collection from a backup or index the corpus again",
            ) from error

    def rows_beginning(self, prefix: bytes) -> tuple[int, int]:
        """Return the first of the rows whose ids begin with a prefix, and the end of them, where ids are sorted and
        none is a beginning of the prefix. Two binary searches, without a look at the other ids.
        """
        return find_beginning(self._bytes, self._id_ends, prefix)

    def rows_of(self, identifier: str) -> Iterator[int]:
        """See `Ids`; a scan of the bytes of all ids."""
        encoded, data = identifier.encode("utf-8", "replace"), bytes(self._data)
        ends = np.asarray(self._ends)
        position = data.find(encoded)
        while position >= 0:
            row = int(np.searchsorted(ends, position, side="right"))
            if row < len(ends) and (ends[row - 1] if row else 0) == position and ends[row] == position + len(encoded):
                yield row
            position = data.find(encoded, position + 1)


class ListedIds(list[str]):
    """Ids in memory."""

    def rows_of(self, identifier: str) -> Iterator[int]:
        """See `Ids`."""
        return (row for row, listed in enumerate(self) if listed == identifier)


@dataclass(slots=True)
class Condition:
    """What is known of a segment's files: whether every byte has been read, and what was wrong."""

    read: bool = False
    problems: tuple[FileProblem, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """An open segment; immutable, safe to share between threads."""

    name: str
    internal_ids: NDArray[np.int64]
    ids: Ids
    index: InvertedIndex
    dense: VectorIndex | None = None
    rows: ArrayDirectory | None = None
    condition: Condition = field(default_factory=Condition)
    passages: NDArray[np.uint32] | None = None
    """uint32[n], the number of each row among the passages of its document, from 0; None where all are whole."""

    @property
    def n_rows(self) -> int:
        return len(self.internal_ids)

    @property
    def documents(self) -> NDArray[np.int64]:
        """The internal id of each row's document: int64[n], ascending; that of the row itself for a first passage."""
        return self.internal_ids if self.passages is None else self.internal_ids - self.passages

    def documents_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the same of some rows."""
        own: NDArray[np.int64] = self.internal_ids[rows]
        return own if self.passages is None else own - self.passages[rows]

    def rows_of_documents(self, documents: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of some documents (ascending), ascending, and whose they are: places in `documents`."""
        first = np.searchsorted(self.internal_ids, documents)
        counts = self._count_from(first, documents)
        owners = np.repeat(np.arange(len(documents)), counts)
        rows = np.arange(len(owners)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        return rows, owners

    def count_rows(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many rows some documents (ascending) have: int64[n]."""
        return self._count_from(np.searchsorted(self.internal_ids, documents), documents)

    def _count_from(self, first: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many of the rows from the first ones on, none of which is of an earlier document, are theirs."""
        counts = self._is_of(first, documents).astype(np.int64)
        if self.passages is None:
            return counts
        # Few documents have several rows; their ends are found by steps that double, then by halves.
        several = np.flatnonzero(self._is_of(first + 1, documents))
        low, own = first[several] + 1, documents[several]
        step = np.ones(len(several), np.int64)
        while (further := self._is_of(low + step, own)).any():
            low, step = np.where(further, low + step, low), np.where(further, 2 * step, step)
        while (step > 1).any():
            step = np.maximum(step >> 1, 1)
            low = np.where(self._is_of(low + step, own), low + step, low)
        counts[several] = low + 1 - first[several]
        return counts

    def _is_of(self, rows: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each row is there and is of the document beside it."""
        inside = rows < self.n_rows
        if not self.n_rows:
            return inside
        own: NDArray[np.bool_] = inside & (self.documents_of(np.minimum(rows, self.n_rows - 1)) == documents)
        return own

    def passage_of(self, row: int) -> int:
        """Return the number of a row among the passages of its document."""
        return 0 if self.passages is None else int(self.passages[row])

    @property
    def nbytes(self) -> int:
        """Bytes of its files; 0 for one in memory."""
        if self.rows is None:
            return 0
        return self.rows.nbytes + self.index.nbytes + (self.dense.nbytes if self.dense else 0)

    def check_sizes(self) -> None:
        """Refuse to go on with files that have been cut short since they were opened: reading them ends the process.

        Raises:
            CorruptCollectionError: names the file.
        """
        if self.rows is None:
            return
        for files in (self.rows, self.index, self.dense):
            path = None if files is None else files.cut_short()
            if path is not None:
                problem = FileProblem(path, "has been truncated since it was opened")
                if problem not in self.condition.problems:
                    self.condition.problems += (problem,)
                raise damaged_files(self.condition.problems)

    def check_condition(self) -> None:
        """Refuse to answer from files that are known to be damaged.

        Raises:
            CorruptCollectionError: names the first of them.
        """
        if self.condition.problems:
            raise damaged_files(self.condition.problems)


@contextmanager
def damage_errors(directory: Path) -> Iterator[None]:
    """Raise CorruptCollectionError where a file that is read turns out to be damaged."""
    try:
        yield
    except CorruptFileError as error:
        raise damaged_files([FileProblem(error.path or directory, error.problem)]) from error


def damaged_files(problems: Sequence[FileProblem]) -> CorruptCollectionError:
    """Return what is raised where files of a segment are damaged."""
    more = f", and {len(problems) - 1:,} more files are damaged" if len(problems) > 1 else ""
    return CorruptCollectionError(
        f"damaged: {problems[0]}{more}", hint="restore the file from a backup or index the corpus again"
    )


def open_segment(directory: Path, name: str, index_name: str, width: int | None = None) -> Segment:
    """Map the files of a segment, those of dense vectors `width` long too where that is given.

    Raises:
        CorruptFileError: a file is missing, has another size, or holds damaged offsets; the message names it.
    """
    folder = directory / SEGMENTS / name
    rows = ArrayDirectory(folder / ROWS, kind=ROWS, format=ROWS_FORMAT)
    internal_ids = rows.array("seqs")
    dense = None
    if width is not None:
        dense = open_dense(folder / DENSE)
        if (dense.n_rows, dense.width) != (len(internal_ids), width):
            raise CorruptFileError(
                folder / DENSE,
                f"holds {dense.n_rows} vectors of {dense.width} values, not {len(internal_ids)} of {width}",
            )
    ids = MappedIds(rows.array("ids"), rows.array("id_ends"))
    passages = rows.array(PASSAGES) if PASSAGES in rows else None
    return Segment(name, internal_ids, ids, InvertedIndex.open(folder / index_name), dense, rows, passages=passages)


def write_segment(
    directory: Path,
    name: str,
    internal_ids: NDArray[np.int64],
    ids_of: Callable[[NDArray[np.int64]], Sequence[str]],
    indexes: Mapping[str, Callable[[Path], object]],
    passages: NDArray[np.uint32] | None = None,
) -> None:
    """Write a segment so that it exists whole or not at all.

    `ids_of` gives the ids of some row numbers (it is asked for a bounded number at a time); `indexes` writes each index
    into the folder of that name; `passages` are those of `Segment`.

    Raises:
        OSError: the disk is full or cannot be written; nothing is left behind.
    """
    parent = directory / SEGMENTS
    parent.mkdir(exist_ok=True)
    temporary = parent / f"{_BUILDING}{name}"
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir()
    try:
        _write_rows(temporary / ROWS, internal_ids, ids_of, passages)
        for index_name, build_index in indexes.items():
            build_index(temporary / index_name)
        final = parent / name
        if final.exists():  # left by a crash between this rename and the transaction that makes the segment live
            shutil.rmtree(final)
        publish_directory(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write_rows(
    folder: Path,
    internal_ids: NDArray[np.int64],
    ids_of: Callable[[NDArray[np.int64]], Sequence[str]],
    passages: NDArray[np.uint32] | None,
) -> None:
    with ArrayDirectoryWriter(folder, kind=ROWS, format=ROWS_FORMAT) as rows:
        rows.write("seqs", np.asarray(internal_ids, np.int64))
        if passages is not None and passages.any():
            rows.write(PASSAGES, np.asarray(passages, np.uint32))
        rows.declare("ids", np.uint8)
        rows.declare("id_ends", np.uint64)
        written = 0
        for start in range(0, len(internal_ids), ROWS_AT_ONCE):
            encoded = [identifier.encode("utf-8") for identifier in ids_of(internal_ids[start : start + ROWS_AT_ONCE])]
            ends = written + np.cumsum([len(identifier) for identifier in encoded], dtype=np.uint64)
            rows.append("ids", np.frombuffer(b"".join(encoded), np.uint8))
            rows.append("id_ends", ends)
            written = int(ends[-1])
        rows.finish({})


def verify_segment(
    directory: Path, name: str, index_name: str, *, dense: bool = False, pace: Pace = no_pace
) -> Iterator[FileProblem]:
    """Read every byte of a segment; yields what is wrong, file by file."""
    folder = directory / SEGMENTS / name
    yield from verify_arrays(folder / ROWS, kind=ROWS, format=ROWS_FORMAT, pace=pace)
    yield from InvertedIndex.verify(folder / index_name, pace)
    if dense:
        yield from verify_dense(folder / DENSE, pace)


def read_through(directory: Path, segment: Segment, index_name: str, pace: Pace = no_pace) -> None:
    """Read every byte of an open segment's files, if it has any and that has not been done, and note what is wrong."""
    if segment.rows is None or segment.condition.read:
        return
    dense = segment.dense is not None
    try:
        problems = tuple(verify_segment(directory, segment.name, index_name, dense=dense, pace=pace))
    except OSError as error:
        path = Path(error.filename or directory / SEGMENTS / segment.name)
        problems = (FileProblem(path, f"cannot be read: {error.strerror}"),)
    if problems and not (directory / SEGMENTS / segment.name).exists():
        return  # merged into another meanwhile
    segment.condition.problems += tuple(each for each in problems if each not in segment.condition.problems)
    segment.condition.read = True


def read_all(directory: Path, segments: Sequence[Segment], index_name: str, progress: OnStep | None = None) -> None:
    """Read every byte of some open segments' files, where that has not been done.

    Raises:
        CorruptCollectionError: one is damaged; names the file.
    """
    unread = sum(segment.nbytes for segment in segments if not segment.condition.read)
    stage = Stage(progress, "reading segments", unread, BYTES)
    for segment in segments:
        read_through(directory, segment, index_name, stage.add)
        segment.check_condition()
    stage.reach(unread)


def sweep(directory: Path, live: set[str]) -> int:
    """Remove segment directories that a crash left behind; only a writer may call this. Returns how many."""
    parent = directory / SEGMENTS
    if not parent.is_dir():
        return 0
    removed = 0
    for entry in os.scandir(parent):
        if entry.name not in live:
            shutil.rmtree(entry.path, ignore_errors=True)
            removed += 1
    return removed


def segment_bytes(directory: Path, name: str) -> dict[str, int]:
    """Return the bytes of each file of a segment, by its path below the segment's folder."""
    folder = directory / SEGMENTS / name
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
