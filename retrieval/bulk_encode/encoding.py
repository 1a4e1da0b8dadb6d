"""A corpus into a file of vectors, in chunks; an interrupted run goes on where it stopped.

The vectors go to `OUT.partial`, JSON Lines whatever the form of OUT, and after every chunk `OUT.partial.json` says how
much of it counts, by which encoder, and of which texts (a digest). What a crash left behind that is cut off. At the end
the file gets its form and its name at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import orjson

from lexhound.core.atomic_files import move_file, write_file
from lexhound.encoders.base import QueryVector, ShareDone, part_of
from lexhound.encoders.errors import VectorFileError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.vector_files import (
    JSON_LINES,
    NPZ,
    Maker,
    compress,
    json_line,
    read_json_lines,
    stacked,
    write_npz,
)
from lexhound.retrieval.collection.fields.document_vectors import GROUP
from lexhound.retrieval.collection.write.progress import Meter, Pace, Progress
from lexhound.retrieval.corpus import BadRow, Corpus
from lexhound.retrieval.documents.document import Document

CHUNK = 256  # texts kept together, at most

TWICE = "its id occurs a second time"
TWICE_HINT = "Give every text an id of its own, or remove one of the two."


@dataclass(frozen=True, slots=True)
class EncodingOptions:
    """What an encoding job makes, and of which texts.

    Attributes:
        source: what identifies the corpus and how it is read.
        queries: encode with the query encoder.
        shard: `(number, count)`: only the texts for whose ids `in_shard` holds.
        overwrite: replace the file, when the new one is complete, and drop an earlier attempt that cannot go on.
    """

    source: str
    queries: bool = False
    shard: tuple[int, int] = (1, 1)
    overwrite: bool = False

    def made_by(self, encoder: LearnedEncoder) -> dict[str, object]:
        """Return what makes two jobs the same, their shards apart."""
        identity = encoder.identity
        return {
            "encoder": identity.fingerprint,
            "name": identity.name,
            "side": "query" if self.queries else "document",
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class EncodingReport:
    """What a finished run wrote.

    Attributes:
        vectors: all of them, of which `resumed` came from an earlier attempt.
        tokens: read by the model in this attempt.
        digest: of the ids and texts that the vectors are of, in hexadecimal (`TextDigest`).
    """

    vectors: int
    resumed: int
    rejected: int
    tokens: int
    digest: str = ""


class TextDigest:
    """A digest of ids and texts in their order, to tell whether texts have changed since they were encoded."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, row: Document) -> None:
        """Add a text."""
        for text in (row.id, row.encoded_text):
            data = text.encode()
            self._hash.update(len(data).to_bytes(8, "big"))
            self._hash.update(data)

    def hexdigest(self) -> str:
        """Return the digest of all texts so far, in hexadecimal."""
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class _Counted:
    """How far a partial file counts: lines, bytes, and a digest of the ids and texts read for them."""

    lines: int
    size: int
    digest: str


def in_shard(identifier: str, number: int, count: int) -> bool:
    """Return whether an id belongs to shard `number` of `count`, from 1: the first 8 bytes of its SHA-256 modulo
    `count`.
    """
    return shard_of(identifier, count) == number


def shard_of(identifier: str, count: int) -> int:
    """Return the shard of `count`, from 1, that an id belongs to."""
    return int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:8], "big") % count + 1


def partial_files(out: Path) -> tuple[Path, Path]:
    """Return the unfinished vectors, and what is known of them."""
    return out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.partial.json")


def kept_vectors(out: Path) -> int:
    """Return how many vectors an interrupted run holds for the next attempt."""
    try:
        return int(orjson.loads(partial_files(out)[1].read_bytes())["kept"]["lines"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def encode_corpus(
    corpus: Corpus,
    encoder: LearnedEncoder,
    out: Path,
    options: EncodingOptions,
    *,
    on_bad_row: Callable[[BadRow], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> EncodingReport:
    """Write the vectors of a corpus's texts to `out`, in their order, or go on where an earlier attempt stopped.

    Args:
        out: `.jsonl`, `.jsonl.zst` or `.npz`.
        on_bad_row: called for every bad row, which is then skipped; without it the first one stops the job.
        progress: called after every batch that is encoded and every chunk that is kept.

    Raises:
        VectorFileError: `out` is there, of no known form, or an earlier attempt was of other texts, encoder or options.
        BadRowError: a row is bad, or an id occurs twice, and `on_bad_row` is not given; what came before is kept.
        CorpusError: the corpus cannot be read. EncoderError: texts cannot be encoded.
    """
    check_out(out, overwrite=options.overwrite)
    partial, notes = partial_files(out)
    made = options.made_by(encoder) | {"shard": list(options.shard)}
    earlier = _resume(out, made, start_over=options.overwrite)
    with partial.open("r+b" if earlier.lines else "wb") as file:
        file.truncate(earlier.size)
        file.seek(earlier.size)
        attempt = _Attempt(corpus, encoder, options, _PartialFile(file, notes, made, earlier), on_bad_row, progress)
        attempt.read()
    report = attempt.report()
    attempt.meter.tell("publishing")
    publish(partial, out, encoder)
    notes.unlink(missing_ok=True)
    partial.unlink(missing_ok=True)
    return report


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written. Raises VectorFileError: it is there, or of no known form."""
    if not out.name.endswith((*JSON_LINES, NPZ)):
        raise VectorFileError(
            "the name does not tell the form of the vectors",
            f"End it with one of {', '.join((*JSON_LINES, NPZ))}",
            where=str(out),
        )
    if out.exists() and not overwrite:
        raise VectorFileError("something is here already", "Give another path, or --overwrite", where=str(out))


@dataclass(frozen=True, slots=True)
class _PartialFile:
    """The unfinished vectors of an attempt, and the notes that say how much of them counts."""

    file: IO[bytes]
    notes: Path
    made: dict[str, object]
    earlier: _Counted

    def acknowledge(self, lines: int, digest: str) -> None:
        """Bring what was written to the disk; from now on it counts.

        Raises:
            OSError: it cannot be written.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        _write_notes(self.notes, self.made, _Counted(lines, self.file.tell(), digest))


class _Attempt:
    """One attempt at an encoding job."""

    def __init__(
        self,
        corpus: Corpus,
        encoder: LearnedEncoder,
        options: EncodingOptions,
        partial: _PartialFile,
        on_bad_row: Callable[[BadRow], None] | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._corpus = corpus
        self._encoder = encoder
        self._options = options
        self._partial = partial
        self._earlier = partial.earlier
        self._on_bad_row = on_bad_row
        self.meter = Meter(corpus, lambda: encoder.tokens_encoded, progress)
        self._pace = Pace(CHUNK, models=True)
        self._digest = TextDigest()

    def read(self) -> None:
        """Encode all that is not kept, chunk by chunk."""
        number, count = self._options.shard
        seen: set[bytes] = set()
        chunk: list[Document] = []
        is_empty = True
        self.meter.tell()
        for row in self._corpus:
            if isinstance(row, BadRow):
                self._store(chunk)
                self._reject(row)
                continue
            is_empty = False
            if not in_shard(row.id, number, count):
                continue
            key = hashlib.blake2b(row.id.encode(), digest_size=16).digest()
            if key in seen:
                self._store(chunk)
                self._reject(self._corpus.bad_row(TWICE, TWICE_HINT))
                continue
            seen.add(key)
            if self.meter.documents < self._earlier.lines:
                self._pass_over(row)
                continue
            chunk.append(row)
            if self._pace.is_full(len(chunk), row):
                self._store(chunk)
        if is_empty:
            raise self._corpus.empty_error()
        if self.meter.documents < self._earlier.lines:
            raise self._changed()
        self._store(chunk)

    def report(self) -> EncodingReport:
        meter = self.meter
        digest = self._digest.hexdigest()
        return EncodingReport(meter.documents, self._earlier.lines, meter.rejected, meter.tokens or 0, digest)

    def _pass_over(self, row: Document) -> None:
        self._digest.add(row)
        self.meter.passed_over()
        if self.meter.documents == self._earlier.lines:
            if self._digest.hexdigest() != self._earlier.digest:
                raise self._changed()
            self.meter.tell()

    def _store(self, chunk: list[Document]) -> None:
        if not chunk:
            return
        self._pace.start()
        tell = self.meter.within(len(chunk))
        for start in range(0, len(chunk), GROUP):
            group = chunk[start : start + GROUP]
            part = part_of(tell, start / len(chunk), (start + len(group)) / len(chunk))
            vectors = self._vectors(group, part)
            for row, vector in zip(group, vectors, strict=True):
                self._partial.file.write(json_line(row.id, vector, self._encoder))
                self._digest.add(row)
        self.meter.documents += len(chunk)
        self._partial.acknowledge(self.meter.documents, self._digest.hexdigest())
        self.meter.tell()
        self._pace.finish(len(chunk))
        chunk.clear()

    def _vectors(self, group: list[Document], progress: ShareDone | None) -> list[QueryVector]:
        texts = [row.encoded_text for row in group]
        if self._options.queries:
            return self._encoder.encode_queries(texts)
        rows = self._encoder.encode_documents(texts, progress)
        bounds = list(zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True))
        return [(rows.indices[start:end].astype(np.int32), rows.data[start:end]) for start, end in bounds]

    def _reject(self, row: BadRow) -> None:
        self.meter.rejected += 1
        if self._on_bad_row is None:
            raise row.error()
        self._on_bad_row(row)

    def _changed(self) -> VectorFileError:
        return VectorFileError(
            f"the texts are no longer those of which an interrupted run holds {self._earlier.lines:,} vectors",
            "Restore the texts, or start over with --overwrite",
            where=str(self._partial.notes.with_suffix("")),
        )


def _resume(out: Path, made: dict[str, object], *, start_over: bool) -> _Counted:
    """Return how much of an earlier attempt counts."""
    partial, notes = partial_files(out)
    nothing = _Counted(0, 0, "")
    if not partial.exists():
        return nothing
    try:
        values = orjson.loads(notes.read_bytes())
        counted = _Counted(**values["kept"])
        before = values["made"]
    except FileNotFoundError:
        if partial.stat().st_size == 0 or start_over:  # stopped before its first chunk was whole
            return nothing
        before = counted = None
    except (ValueError, KeyError, TypeError):
        before = counted = None
    if before == made and counted is not None and partial.stat().st_size >= counted.size:
        return counted
    if start_over:
        notes.unlink(missing_ok=True)
        return nothing
    names = {"encoder": "encoder or settings", "side": "side", "shard": "shard", "source": "input"}
    others = [words for name, words in names.items() if before is not None and before.get(name) != made[name]]
    what = f"of another {', '.join(others)}" if others else "that cannot be read"
    raise VectorFileError(
        f"an unfinished run {what} is here",
        "Finish it with the command it was begun with, or start over with --overwrite",
        where=str(partial),
    )


def _write_notes(path: Path, made: dict[str, object], counted: _Counted) -> None:
    values = {"made": made, "kept": {"lines": counted.lines, "size": counted.size, "digest": counted.digest}}
    write_file(path, orjson.dumps(values))


def publish(partial: Path, out: Path, encoder: LearnedEncoder) -> None:
    """Give finished vectors, JSON Lines beside `out`, their form and their name; JSON Lines are renamed."""
    if out.name.endswith(JSON_LINES[0]):
        move_file(partial, out)
        return
    aside = out.with_name(f"{out.name}.new")
    try:
        if out.name.endswith(NPZ):
            identity = encoder.identity
            named = list(read_json_lines(partial, encoder))
            vectors = stacked([vector for _, vector in named], identity.vocabulary_size or 1)
            write_npz(aside, [identifier for identifier, _ in named], vectors, Maker.of(identity))
        else:
            compress(partial, aside)
        move_file(aside, out)
    finally:
        aside.unlink(missing_ok=True)
