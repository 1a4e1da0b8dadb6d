"""The Common Index File Format: one file of length-delimited messages, of which we write and read these fields.

    Header        1 version, 2 num_postings_lists, 3 num_docs, 4 total_postings_lists, 5 total_docs,
                  6 total_terms_in_collection, 7 average_doclength (double), 8 description
    PostingsList  1 term, 2 df, 3 cf, 4 postings (repeated Posting)
    Posting       1 docid (the gap to the one before), 2 tf
    DocRecord     1 docid, 2 collection_docid, 3 doclength

A header, its lists in the order of their terms' bytes, its records. (Lin et al., "Supporting Interoperability Between
Open-Source Search Engines with the Common Index File Format", SIGIR 2020.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import OnStep, Pace, Stage
from lexhound.index.inverted.forward import forward_windows, postings_of
from lexhound.index.inverted.quantization import requantised
from lexhound.retrieval.collection.query.snapshot import SegmentView
from lexhound.retrieval.errors import ExportError

from .base import Source
from .passages import row_name, split_documents
from .protobuf import (
    all_varints,
    bytes_field,
    delimited,
    double_field,
    fields,
    number_field,
    put_varints,
    read_delimited,
    varint_sizes,
)
from .terms import document_frequencies, terms_by_text

NAME = "index.ciff"
_VERSION = 1
_POSTING, _DOCID, _TF = 4 << 3 | 2, 1 << 3, 2 << 3
_MOST_DOCUMENTS = 2**31 - 1
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class CiffHeader:
    """What a file says of itself."""

    lists: int
    documents: int
    total_terms: int
    average_length: float
    description: str


@dataclass(frozen=True, slots=True, eq=False)
class CiffList:
    """A term's postings: docids int64[m], ascending, and tfs int64[m]."""

    term: str
    docids: NDArray[np.int64]
    tfs: NDArray[np.int64]


class CiffForm:
    """One file, `index.ciff`: impacts as term frequencies, or the real ones of BM25."""

    def write(self, source: Source, folder: Path, progress: OnStep | None) -> tuple[str, ...]:
        """See `Form`."""
        if source.snapshot.n_rows > _MOST_DOCUMENTS:
            raise ExportError(f"CIFF holds at most {_MOST_DOCUMENTS:,} documents", hint="export in another format")
        parts = [_Numbered(view, base, source.header.scale) for view, base in _bases(source)]
        frequencies = document_frequencies(source.snapshot)
        lists = int((frequencies > 0).sum())
        total = sum(int(view.lengths[view.live].sum()) for view in parts)
        documents = source.snapshot.n_rows
        header = number_field(1, _VERSION) + number_field(2, lists) + number_field(3, documents)
        header += number_field(4, lists) + number_field(5, documents) + number_field(6, total)
        header += double_field(7, total / documents if documents else 0.0)
        header += bytes_field(8, _description(source).encode())
        with (folder / NAME).open("xb", buffering=_BUFFER) as file:
            file.write(delimited(header))
            stage = Stage(progress, "writing lists", source.header.postings, "postings")
            self._write_lists(source, parts, frequencies, file, stage.add)
            stage = Stage(progress, "writing records", documents)
            split = split_documents(source.snapshot)
            for view in parts:
                _write_records(view, split, file, stage.add)
        return (NAME,)

    def _write_lists(
        self, source: Source, parts: list[_Numbered], frequencies: NDArray[np.int64], file: IO[bytes], pace: Pace
    ) -> None:
        before: bytes | None = None
        for text, term in terms_by_text(source.snapshot, source.sparse_field, frequencies > 0):
            if text == before:
                raise ExportError(
                    f"two terms have the same text, {text.decode()!r}, and CIFF names terms by their text",
                    hint="export as qdrant or parquet, which number the terms",
                )
            before = text
            postings = [view.postings(term) for view in parts]
            docids = np.concatenate([np.empty(0, np.int64), *(docids for docids, _ in postings)])
            tfs = np.concatenate([np.empty(0, np.int64), *(tfs for _, tfs in postings)])
            head = bytes_field(1, text) + number_field(2, len(docids)) + number_field(3, int(tfs.sum()))
            file.write(delimited(head + encode_postings(docids, tfs)))
            pace(len(docids))

    def readme(self, source: Source) -> str:
        """See `Form`."""
        if source.lexical:
            what = """\
The postings hold term frequencies (at most 255) and the records lengths in words, so the receiving engine computes BM25
itself. Terms are stems, as the collection's analysis made them: give queries that went through the same analysis."""
        else:
            what = """\
The postings hold impacts as term frequencies. Score with a sum of query weight × tf and nothing else: no idf, no length
normalisation. A record's length is the sum of its impacts."""
        return f"""\
## Loading

One file, `{NAME}`: a header, the postings lists in the order of their terms' bytes, the document records; docids are
gap-coded within a list. Texts, titles, metadata and dense vectors have no place in CIFF and are left out.

{what}
"""


class _Numbered:
    """A part with the docids of its live rows, and impacts in steps of `scale`."""

    def __init__(self, view: SegmentView, base: int, scale: float) -> None:
        index = view.segment.index
        self._levels = requantised(index.scale, scale)
        self.view = view
        self.live = np.ones(index.n_rows, np.bool_) if view.live is None else view.live
        self.docids = (np.cumsum(self.live) + (base - 1)).astype(np.int32)
        self.lengths = _impact_sums(view, self._levels) if index.lengths is None else index.lengths

    def postings(self, term: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return docids and tfs of a term's live postings."""
        index = self.view.segment.index
        slot = int(np.searchsorted(index.postings.terms, term))
        if slot == len(index.postings.terms) or index.postings.terms[slot] != term:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows, impacts, frequencies = postings_of(index, slot)
        live = self.live[rows]
        values = self._levels[impacts] if frequencies is None else frequencies
        return self.docids[rows[live]].astype(np.int64), values[live].astype(np.int64)


def _bases(source: Source) -> Iterator[tuple[SegmentView, int]]:
    base = 0
    for view in source.snapshot.segments:
        yield view, base
        base += view.n_rows


def _impact_sums(view: SegmentView, levels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    sums = np.zeros(view.segment.n_rows, np.uint32)
    for window in forward_windows(view.segment.index):
        totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(levels[window.impacts], dtype=np.int64)])
        sums[window.first : window.first + len(window)] = np.diff(totals[window.indptr])
    return sums


def _write_records(view: _Numbered, split: NDArray[np.int64], file: IO[bytes], pace: Pace) -> None:
    segment = view.view.segment
    is_passage = np.isin(segment.documents, split)
    for row in np.flatnonzero(view.live).tolist():
        name = segment.ids[row]
        if is_passage[row]:
            name = row_name(name, segment.passage_of(row))
        record = number_field(1, int(view.docids[row])) + bytes_field(2, name.encode())
        file.write(delimited(record + number_field(3, int(view.lengths[row]))))
        pace(1)


def _description(source: Source) -> str:
    header = source.header
    what = "term frequencies" if source.lexical else f"8-bit impacts in steps of {header.scale:.6g} as tf"
    return f"{header.created_by}, encoder {header.encoder.name}, {what}"


def encode_postings(docids: NDArray[np.int64], tfs: NDArray[np.int64]) -> bytes:
    """Return the field `postings` of a list: docids int64[m], ascending; tfs int64[m], above 0."""
    gaps = np.diff(docids, prepend=0)
    gap_sizes = np.where(gaps > 0, varint_sizes(gaps) + 1, 0)  # a gap of 0, of document 0, is left out
    bodies = gap_sizes + varint_sizes(tfs) + 1
    ends = np.cumsum(bodies + 2)
    starts = ends - bodies - 2
    out = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    out[starts] = _POSTING
    out[starts + 1] = bodies
    with_gap = gaps > 0
    out[starts[with_gap] + 2] = _DOCID
    put_varints(out, starts[with_gap] + 3, gaps[with_gap])
    out[starts + 2 + gap_sizes] = _TF
    put_varints(out, starts + 3 + gap_sizes, tfs)
    return out.tobytes()


class CiffReader:
    """A CIFF file: `header`, then `lists()`, then `records()`, in this order, each once.

    Raises:
        ExportError: the file is damaged or no CIFF file.
    """

    def __init__(self, file: IO[bytes], where: str) -> None:
        self._file = file
        self._where = where
        values = {number: value for number, value, _ in self._fields(self._message("header"))}
        length = values.get(7, b"")
        try:
            self.header = CiffHeader(
                _number(values.get(2, 0)),
                _number(values.get(3, 0)),
                _number(values.get(6, 0)),
                float(np.frombuffer(length, "<f8")[0]) if isinstance(length, bytes) and len(length) == 8 else 0.0,
                _text(values.get(8, b"")),
            )
        except ValueError as error:
            raise self._damaged(str(error)) from error

    def lists(self) -> Iterator[CiffList]:
        """Yield all postings lists."""
        for _ in range(self.header.lists):
            message = self._message("postings list")
            try:
                yield _list(message)
            except ValueError as error:
                raise self._damaged(str(error)) from error

    def records(self) -> Iterator[tuple[int, str, int]]:
        """Yield (docid, id, length) of all documents."""
        for _ in range(self.header.documents):
            values = {number: value for number, value, _ in self._fields(self._message("document record"))}
            try:
                yield _number(values.get(1, 0)), _text(values.get(2, b"")), _number(values.get(3, 0))
            except ValueError as error:
                raise self._damaged(str(error)) from error

    def _message(self, what: str) -> bytes:
        try:
            message = read_delimited(self._file)
        except ValueError as error:
            raise self._damaged(str(error)) from error
        if message is None:
            raise self._damaged(f"it ends where a {what} should be")
        return message

    def _fields(self, message: bytes) -> Iterator[tuple[int, int | bytes, int]]:
        try:
            yield from fields(message)
        except ValueError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, problem: str) -> ExportError:
        return ExportError(f"damaged, or no CIFF file: {problem}", where=self._where, hint="export it again")


def _list(message: bytes) -> CiffList:
    term, df, begin = "", 0, 0
    for number, value, end in fields(message):
        if number == 4:
            break
        if number == 1:
            term = _text(value)
        elif number == 2:
            df = _number(value)
        begin = end
    gaps, tfs = _postings(message[begin:])
    if len(gaps) != df:
        raise ValueError(f"the list of {term!r} has {len(gaps)} postings and tells of {df}")
    return CiffList(term, np.cumsum(gaps), tfs)


def _postings(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return gaps and tfs; quickly where all but the first posting have both fields in order, as ours and most have."""
    values = all_varints(data)
    first = 4 if len(values) >= 4 and values[2] == _TF else 6
    rest = values[first:].reshape(-1, 6) if len(values) >= first and (len(values) - first) % 6 == 0 else None
    if rest is not None:
        head = values[:first] if first == 6 else np.concatenate([values[:2], [_DOCID, 0], values[2:4]])
        table = np.concatenate([head[np.newaxis], rest]) if len(values) else rest
        if (table[:, [0, 2, 4]] == (_POSTING, _DOCID, _TF)).all():
            return table[:, 3], table[:, 5]
    gaps, tfs = [], []
    for number, value, _ in fields(data):
        if number != 4:
            continue
        if not isinstance(value, bytes):
            raise ValueError("a posting is not a message")
        posting = {inner: _number(what) for inner, what, _ in fields(value)}
        gaps.append(posting.get(1, 0))
        tfs.append(posting.get(2, 0))
    return np.array(gaps, np.int64), np.array(tfs, np.int64)


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("a field holds bytes where a number should be")
    return value


def _text(value: int | bytes) -> str:
    if isinstance(value, int):
        raise ValueError("a field holds a number where a text should be")
    return value.decode()
