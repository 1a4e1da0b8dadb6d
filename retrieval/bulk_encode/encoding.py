"""A corpus into a file of vectors, in chunks; an interrupted run goes on where it stopped.

The vectors go to `OUT.partial`, JSON Lines whatever the form of OUT, and after every chunk `OUT.partial.json` says how
much of it counts, by which encoder, and of which texts (a digest). What a crash left behind that is cut off. At the end
the file gets its form and its name at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lexhound.encoders.base import part_of
from lexhound.encoders.errors import VectorFileError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.vector_files import JSON_LINES, NPZ
from lexhound.retrieval.collection.fields.document_vectors import GROUP
from lexhound.retrieval.collection.write.progress import Meter, Pace, Progress
from lexhound.retrieval.corpus import BadRow, Corpus
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.passages import PassageSettings

from .partial import Counts, PartialFile, partial_files, publish, resume
from .texts import EncodedTexts

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
        passages: how long texts are split, a vector a passage; None for one vector a text, of the beginning of one that
            is longer than the model reads.
    """

    source: str
    queries: bool = False
    shard: tuple[int, int] = (1, 1)
    overwrite: bool = False
    passages: PassageSettings | None = None

    def made_by(self, encoder: LearnedEncoder) -> dict[str, object]:
        """Return what makes two jobs the same, their shards apart."""
        identity = encoder.identity
        made: dict[str, object] = {
            "encoder": identity.fingerprint,
            "name": identity.name,
            "side": "query" if self.queries else "document",
            "source": self.source,
        }
        return made if self.passages is None else made | {"passages": str(self.passages)}


@dataclass(frozen=True, slots=True)
class EncodingReport:
    """What a finished run wrote.

    Attributes:
        counts: of all texts and their vectors; earlier: of those that came from an earlier attempt.
        tokens: read by the model in this attempt.
        digest: of the ids and texts that the vectors are of, in hexadecimal (`TextDigest`).
    """

    counts: Counts
    earlier: Counts
    rejected: int
    tokens: int
    digest: str = ""

    @property
    def vectors(self) -> int:
        """How many vectors the file has."""
        return self.counts.vectors

    @property
    def resumed(self) -> int:
        """How many of them came from an earlier attempt."""
        return self.earlier.vectors


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


def in_shard(identifier: str, number: int, count: int) -> bool:
    """Return whether an id belongs to shard `number` of `count`, from 1: the first 8 bytes of its SHA-256 modulo
    `count`.
    """
    return shard_of(identifier, count) == number


def shard_of(identifier: str, count: int) -> int:
    """Return the shard of `count`, from 1, that an id belongs to."""
    return int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:8], "big") % count + 1


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
        SettingsError: passages are longer than the model reads, or queries are to be split.
    """
    check_out(out, overwrite=options.overwrite)
    texts = EncodedTexts(encoder, options.passages, queries=options.queries)
    partial, notes = partial_files(out)
    made = options.made_by(encoder) | {"shard": list(options.shard)}
    earlier = resume(out, made, start_over=options.overwrite)
    with partial.open("r+b" if earlier.counts.texts else "wb") as file:
        file.truncate(earlier.size)
        file.seek(earlier.size)
        attempt = _Attempt(corpus, texts, options, PartialFile(file, notes, made, earlier), on_bad_row, progress)
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


class _Attempt:
    """One attempt at an encoding job."""

    def __init__(
        self,
        corpus: Corpus,
        texts: EncodedTexts,
        options: EncodingOptions,
        partial: PartialFile,
        on_bad_row: Callable[[BadRow], None] | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._corpus = corpus
        self._texts = texts
        self._options = options
        self._partial = partial
        self._earlier = partial.earlier
        self._counts = partial.earlier.counts
        self._on_bad_row = on_bad_row
        self.meter = Meter(corpus, lambda: texts.encoder.tokens_encoded, progress)
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
            if self.meter.documents < self._earlier.counts.texts:
                self._pass_over(row)
                continue
            chunk.append(row)
            if self._pace.is_full(len(chunk), row):
                self._store(chunk)
        if is_empty:
            raise self._corpus.empty_error()
        if self.meter.documents < self._earlier.counts.texts:
            raise self._changed()
        self._store(chunk)

    def report(self) -> EncodingReport:
        meter = self.meter
        digest = self._digest.hexdigest()
        return EncodingReport(self._counts, self._earlier.counts, meter.rejected, meter.tokens or 0, digest)

    def _pass_over(self, row: Document) -> None:
        self._digest.add(row)
        self.meter.passed_over()
        if self.meter.documents == self._earlier.counts.texts:
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
            for row, lines, cut in self._texts.lines(group, part):
                self._partial.file.writelines(lines)
                self._counts = self._counts.with_text(len(lines), cut=cut)
                self._digest.add(row)
        self.meter.documents += len(chunk)
        self._partial.acknowledge(self._counts, self._digest.hexdigest())
        self.meter.tell()
        self._pace.finish(len(chunk))
        chunk.clear()

    def _reject(self, row: BadRow) -> None:
        self.meter.rejected += 1
        if self._on_bad_row is None:
            raise row.error()
        self._on_bad_row(row)

    def _changed(self) -> VectorFileError:
        return VectorFileError(
            f"the texts are no longer those of which an interrupted run holds {self._earlier.counts.vectors:,} vectors",
            "Restore the texts, or start over with --overwrite",
            where=str(self._partial.notes.with_suffix("")),
        )
