"""The shards of an encoding job: files in a folder beside the vectors, and putting them together in the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from lexhound.core.atomic_files import write_file
from lexhound.encoders.errors import VectorFileError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.vector_files import passage_id
from lexhound.retrieval.collection.write.progress import Phase, Progress
from lexhound.retrieval.corpus import BadRow, Corpus, open_corpus

from .encoding import TWICE, TWICE_HINT, EncodingReport, TextDigest, shard_of
from .partial import Counts, kept_counts, publish

# Shards a worker gets in turn: more make less of a worker's death and of the last worker's wait, and read more often.
SHARDS_A_SLOT = 4
MOST_SHARDS = 1000


@dataclass(frozen=True, slots=True)
class Texts:
    """A corpus by its arguments to `open_corpus`, so that every worker can open it."""

    path: str
    format: str | None = None
    id_field: str | None = None
    text_field: str | None = None
    title_field: str | None = None

    def open(self) -> Corpus:
        """Open the corpus.

        Raises:
            CorpusError: it cannot be opened.
        """
        return open_corpus(
            self.path,
            format=self.format,
            id_field=self.id_field,
            text_field=self.text_field,
            title_field=self.title_field,
        )


def shard_folder(out: Path) -> Path:
    """Return where the shards of an unfinished run are."""
    return out.with_name(f"{out.name}.shards")


def shard_stem(number: int, count: int) -> str:
    """Return what the names of a shard's files begin with."""
    return f"{number}-of-{count}"


def finished_shards(out: Path) -> tuple[int, int]:
    """Return how many shards an interrupted run has finished, and of how many; (0, 0) where there is none."""
    try:
        count = int(orjson.loads((shard_folder(out) / "run.json").read_bytes())["shards"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0
    return sum(finished_shard(shard_folder(out), number, count) is not None for number in range(1, count + 1)), count


def prepare_shards(folder: Path, made: dict[str, object], shards: int | None, slots: int, *, start_over: bool) -> int:
    """Make the folder, or take over the one of an earlier attempt; returns how many shards there are."""
    notes = folder / "run.json"
    before: dict[str, Any] | None = None
    if folder.exists() and not start_over:
        try:
            before = orjson.loads(notes.read_bytes())
        except (OSError, ValueError):
            before = None
        same = isinstance(before, dict) and before.get("made") == made
        if isinstance(before, dict) and same and shards in (None, before.get("shards")):
            _sweep(folder)
            return int(before["shards"])
        if any(folder.glob("*.jsonl")):
            raise VectorFileError(
                "an unfinished run of another encoder, side, input, size of passages or number of shards is here",
                "Finish it with the command it was begun with, or start over with --overwrite",
                where=str(folder),
            )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    count = shards or min(max(slots * SHARDS_A_SLOT, 1), MOST_SHARDS)
    write_file(notes, orjson.dumps({"made": made, "shards": count}))
    return count


def _sweep(folder: Path) -> None:
    """Remove what workers of an earlier attempt left unfinished."""
    for leftover in folder.iterdir():
        if leftover.name.count(".") > 1 and leftover.name != "run.json":
            leftover.unlink(missing_ok=True)


def finished_shard(folder: Path, number: int, count: int) -> dict[str, Any] | None:
    """Return what is known of a finished shard; None for one that is not finished."""
    stem = shard_stem(number, count)
    try:
        if not (folder / f"{stem}.jsonl").is_file():
            return None
        notes = orjson.loads((folder / f"{stem}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return notes if isinstance(notes, dict) else None


def shard_notes(report: EncodingReport) -> bytes:
    """Return what is kept of a finished shard beside its vectors."""
    notes = {"lines": report.counts.texts, "digest": report.digest, "tokens": report.tokens}
    return orjson.dumps(notes | {"counts": asdict(report.counts)})


def shard_counts(folder: Path, number: int, count: int) -> Counts:
    """Return how many texts and vectors a finished shard has; none for one that is not finished."""
    notes = finished_shard(folder, number, count)
    if notes is None:
        return Counts()
    return Counts(**notes["counts"]) if "counts" in notes else Counts(int(notes["lines"]), int(notes["lines"]))


class ShardProgress:
    """The sum of how far the shards are, from their files."""

    def __init__(self, folder: Path, count: int, before: Counts, progress: Callable[[Progress], None] | None) -> None:
        self._folder = folder
        self._count = count
        self.before = before
        self._progress = progress
        self.tokens = 0

    def __call__(self, phase: Phase, bytes_read: int = 0, total_bytes: int | None = None) -> None:
        if self._progress is None:
            return
        numbers = range(1, self._count + 1)
        done = {number: shard_counts(self._folder, number, self._count).texts for number in numbers}
        for partial in self._folder.glob("*.partial"):
            # Of several attempts at a shard the one that is farthest counts.
            number = int(partial.name.partition("-of-")[0])
            done[number] = max(done[number], kept_counts(partial.with_suffix("")).texts)
        texts = sum(done.values())
        self._progress(Progress(phase, texts, self.before.texts, 0, bytes_read, total_bytes, self.tokens))


def merge_shards(
    texts: Texts,
    folder: Path,
    count: int,
    out: Path,
    encoder: LearnedEncoder,
    on_bad_row: Callable[[BadRow], None] | None,
    progress: ShardProgress,
    *,
    passages: bool = False,
) -> EncodingReport:
    """Put the lines of the shards in the order of the corpus, and check that they are of its texts.

    Args:
        passages: a line is a passage's.

    Raises:
        VectorFileError: the texts are others than those that the shards were made of. BadRowError, CorpusError.
    """
    corpus = texts.open()
    digests = [TextDigest() for _ in range(count)]
    seen: set[str] = set()
    rejected = merged_texts = 0
    merged = folder / "merged.jsonl"
    with ExitStack() as stack:
        files: list[IO[bytes]] = [
            stack.enter_context((folder / f"{shard_stem(number, count)}.jsonl").open("rb"))
            for number in range(1, count + 1)
        ]
        target = stack.enter_context(merged.open("wb"))
        for row in corpus:
            if not isinstance(row, BadRow) and row.id in seen:
                row = corpus.bad_row(TWICE, TWICE_HINT)
            if isinstance(row, BadRow):
                rejected += 1
                if on_bad_row is None:
                    raise row.error()
                on_bad_row(row)
                continue
            seen.add(row.id)
            shard = shard_of(row.id, count) - 1
            digests[shard].add(row)
            target.writelines(_lines_of(row.id, files[shard], passages=passages))
            merged_texts += 1
            if merged_texts % 10_000 == 0:
                progress("publishing", corpus.bytes_read, corpus.total_bytes)
        target.flush()
        os.fsync(target.fileno())
    for number, digest in enumerate(digests, 1):
        notes = finished_shard(folder, number, count)
        if notes is None or notes["digest"] != digest.hexdigest():
            raise VectorFileError(
                "the texts are no longer those of which the shards hold vectors",
                "Restore the texts, or start over with --overwrite",
                where=str(folder),
            )
    progress("publishing")
    publish(merged, out, encoder)
    counts = sum((shard_counts(folder, number, count) for number in range(1, count + 1)), Counts())
    return EncodingReport(counts, progress.before, rejected, progress.tokens)


def _lines_of(identifier: str, file: IO[bytes], *, passages: bool) -> Iterator[bytes]:
    """Yield the next lines of a shard as far as they are a text's: one, or one a passage."""
    if not passages:
        yield file.readline()
        return
    number = 0
    while True:
        place = file.tell()
        line = file.readline()
        if not line.startswith(b'{"id":' + orjson.dumps(passage_id(identifier, number)) + b","):
            file.seek(place)
            return
        yield line
        number += 1
