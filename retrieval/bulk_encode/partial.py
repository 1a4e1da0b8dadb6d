"""The unfinished vectors of an encoding job: a file of JSON Lines, and notes of how much of it counts."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import orjson

from lexhound.core.atomic_files import move_file, write_file
from lexhound.encoders.errors import VectorFileError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.vector_files import (
    JSON_LINES,
    NPZ,
    Maker,
    compress,
    read_json_lines,
    read_places,
    stacked,
    write_npz,
)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many texts were encoded, and how.

    Attributes:
        texts: all of them; vectors: made of them, one a text or one a passage.
        split: texts with several passages; passages: of those texts.
        cut: texts of which the model reads no more than the beginning, or a part of a passage.
    """

    texts: int = 0
    vectors: int = 0
    split: int = 0
    passages: int = 0
    cut: int = 0

    def with_text(self, vectors: int, *, cut: bool) -> Counts:
        """Return the counts with one text more."""
        is_split = vectors > 1
        return Counts(
            self.texts + 1,
            self.vectors + vectors,
            self.split + is_split,
            self.passages + (vectors if is_split else 0),
            self.cut + cut,
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(own + its for own, its in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True, slots=True)
class Kept:
    """How far a partial file counts: texts and vectors, bytes, and a digest of the ids and texts read for them."""

    counts: Counts
    size: int
    digest: str


NOTHING = Kept(Counts(), 0, "")


@dataclass(frozen=True, slots=True)
class PartialFile:
    """The unfinished vectors of an attempt, and the notes that say how much of them counts."""

    file: IO[bytes]
    notes: Path
    made: dict[str, object]
    earlier: Kept

    def acknowledge(self, counts: Counts, digest: str) -> None:
        """Bring what was written to the disk; from now on it counts.

        Raises:
            OSError: it cannot be written.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        # `lines` is what notes of earlier versions have in the place of all counts: of texts that are whole.
        kept = {"lines": counts.texts, "size": self.file.tell(), "digest": digest, "counts": asdict(counts)}
        write_file(self.notes, orjson.dumps({"made": self.made, "kept": kept}))


def partial_files(out: Path) -> tuple[Path, Path]:
    """Return the unfinished vectors, and what is known of them."""
    return out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.partial.json")


def kept_counts(out: Path) -> Counts:
    """Return what an interrupted run holds for the next attempt."""
    try:
        return _parse(partial_files(out)[1].read_bytes())[1].counts
    except (OSError, ValueError, KeyError, TypeError):
        return Counts()


def kept_vectors(out: Path) -> int:
    """Return how many vectors an interrupted run holds for the next attempt."""
    return kept_counts(out).vectors


def resume(out: Path, made: dict[str, object], *, start_over: bool) -> Kept:
    """Return how much of an earlier attempt counts.

    Raises:
        VectorFileError: there is one of another encoder, side, shard, input or division into passages, or one that
            cannot be read; with `start_over` it is dropped.
    """
    partial, notes = partial_files(out)
    if not partial.exists():
        return NOTHING
    before: dict[str, object] | None = None
    kept: Kept | None = None
    try:
        before, kept = _parse(notes.read_bytes())
    except FileNotFoundError:
        if partial.stat().st_size == 0 or start_over:  # stopped before its first chunk was whole
            return NOTHING
    except (ValueError, KeyError, TypeError):
        pass  # damaged: said below, or dropped
    if before == made and kept is not None and partial.stat().st_size >= kept.size:
        return kept
    if start_over:
        notes.unlink(missing_ok=True)
        return NOTHING
    names = {
        "encoder": "encoder or settings",
        "side": "side",
        "shard": "shard",
        "source": "input",
        "passages": "size of passages",
    }
    others = [words for name, words in names.items() if before is not None and before.get(name) != made.get(name)]
    what = f"of another {', '.join(others)}" if others else "that cannot be read"
    raise VectorFileError(
        f"an unfinished run {what} is here",
        "Finish it with the command it was begun with, or start over with --overwrite",
        where=str(partial),
    )


def _parse(notes: bytes) -> tuple[dict[str, object], Kept]:
    """Read notes; ValueError, KeyError or TypeError where they are none."""
    values = orjson.loads(notes)
    kept = values["kept"]
    counts = Counts(**kept["counts"]) if "counts" in kept else Counts(int(kept["lines"]), int(kept["lines"]))
    return values["made"], Kept(counts, int(kept["size"]), str(kept["digest"]))


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
            ids = [identifier for identifier, _ in named]
            write_npz(aside, ids, vectors, Maker.of(identity), read_places(partial))
        else:
            compress(partial, aside)
        move_file(aside, out)
    finally:
        aside.unlink(missing_ok=True)
