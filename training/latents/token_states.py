"""The states of a frozen model's tokens, which an autoencoder of tokens is trained on: computed once, kept on disk.

Texts follow each other in one file of 16-bit floats, some 768 bytes a token at a width of 384. A run that was killed
goes on after the last texts whose states are whole.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import make_directories
from lexhound.encoders.base import fingerprint_of
from lexhound.encoders.checkpoints.hub import files_hash
from lexhound.encoders.errors import CheckpointError, EncoderError, TrainingDataError
from lexhound.encoders.runtime.backbone import Backbone
from lexhound.encoders.runtime.batching import by_length

_VERSION = 1  # of how texts become states: part of the name of every file
_TEXTS = 256  # that are read together, and written before the next ones are read
_BATCH = 8192  # tokens
_SAMPLE = 200_000  # tokens whose mean is the centre

Progress = Callable[[int, int], None]
"""Called with how many texts are done, and how many there are."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenStates:
    """The states of texts' tokens, without special ones.

    Attributes:
        states: float16[tokens, width], mapped from a file, the texts one after the other.
        tokens: int32[tokens], their ids.
        lengths: int64[texts], how many each text has.
    """

    states: NDArray[np.float16]
    tokens: NDArray[np.int32]
    lengths: NDArray[np.int64]

    def centre(self) -> NDArray[np.float32]:
        """Return the mean of the first states, float32[width]."""
        mean: NDArray[np.float64] = self.states[:_SAMPLE].mean(axis=0, dtype=np.float64)
        return mean.astype(np.float32)

    def drawn(self, random: np.random.Generator, batch: int, *, queries: bool) -> tuple[NDArray[np.float32], int]:
        """Return the states of tokens drawn at random, float32[batch, width]; a token may come twice. No queries."""
        rows = np.sort(random.integers(0, len(self.states), batch))
        return self.states[rows].astype(np.float32), 0

    def sampled(self, random: np.random.Generator, count: int, among: int) -> TokenStates:
        """Return those of `count` of the first `among` texts, drawn at random."""
        chosen = np.sort(random.permutation(among)[:count])
        edges = np.cumsum([0, *self.lengths])
        rows = np.concatenate([np.arange(edges[text], edges[text + 1]) for text in chosen.tolist()])
        return TokenStates(self.states[rows], self.tokens[rows], self.lengths[chosen])


def read_states(
    backbone: Backbone, texts: Sequence[str], limit: int, cache: Path, progress: Progress | None = None
) -> TokenStates:
    """Return the states of texts, those of `cache` where they are of the same model and texts.

    Args:
        limit: the longest text in tokens, special ones included; longer ones are cut.
        cache: the folder of the files, made if need be.
        progress: told after every few texts.

    Raises:
        EncoderError: the folder cannot be written to, or has no room. TrainingDataError: no text has a token.
    """
    name = _name(backbone, texts, limit)
    files = {part: cache / f"{name}.{part}" for part in ("states", "tokens", "lengths")}
    try:
        make_directories(cache)
        done = _whole(files, backbone.width)
        _require_room(cache, backbone, texts[done:], limit)
        handles = {part: path.open("ab") for part, path in files.items()}
        try:
            for start in range(done, len(texts), _TEXTS):
                chunk = texts[start : start + _TEXTS]
                states, tokens, lengths = _read(backbone, chunk, limit)
                # In this order: a text counts once its length is written.
                for part, values in (("states", states.data), ("tokens", tokens.data), ("lengths", lengths.data)):
                    handles[part].write(values)
                    handles[part].flush()
                if progress is not None:
                    progress(start + len(chunk), len(texts))
        finally:
            for handle in handles.values():
                handle.close()
    except OSError as error:
        raise EncoderError(
            f"states of tokens cannot be kept in {cache}: {error.strerror or error}",
            "Free some space, or give another folder",
        ) from error
    lengths = np.fromfile(files["lengths"], dtype="<i4")
    if not lengths.sum():
        raise TrainingDataError("none of the texts has a token", "Give texts that the model can read")
    states = np.memmap(files["states"], dtype="<f2", mode="r").reshape(-1, backbone.width)
    return TokenStates(states, np.fromfile(files["tokens"], dtype="<i4"), lengths.astype(np.int64))


def _whole(files: dict[str, Path], width: int) -> int:
    """Cut the files behind the last text whose states are whole; return how many texts there are."""
    sizes = {part: path.stat().st_size if path.is_file() else 0 for part, path in files.items()}
    whole = sizes["lengths"] // 4
    lengths = np.fromfile(files["lengths"], dtype="<i4", count=whole) if whole else np.empty(0, np.int32)
    ends = np.cumsum(lengths, dtype=np.int64)
    texts = int(np.searchsorted(ends, min(sizes["states"] // (2 * width), sizes["tokens"] // 4), side="right"))
    tokens = int(ends[texts - 1]) if texts else 0
    for part, size in (("states", 2 * width * tokens), ("tokens", 4 * tokens), ("lengths", 4 * texts)):
        with files[part].open("ab") as file:
            file.truncate(size)
    return texts


def _require_room(cache: Path, backbone: Backbone, texts: Sequence[str], limit: int) -> None:
    """Tell before the work how much room it takes, by the first texts."""
    sample = backbone.subwords.ids_of(list(texts[:_TEXTS]), limit)
    if not sample:
        return
    tokens = sum(min(len(ids), limit) for ids in sample) / len(sample) * len(texts)
    needed, free = int(tokens * (2 * backbone.width + 4)), shutil.disk_usage(cache).free
    if needed > free:
        raise CheckpointError(
            f"{cache} has room for {free / 1e9:.1f} GB, and the states of {len(texts):,} texts take some "
            f"{needed / 1e9:.1f} GB",
            "Free some space, or limit the texts in [data]",
        )


def _read(
    backbone: Backbone, texts: Sequence[str], limit: int
) -> tuple[NDArray[np.float16], NDArray[np.int32], NDArray[np.int32]]:
    """Return the states, the tokens and the lengths of texts."""
    subwords = backbone.subwords
    room = limit - len(subwords.prefix) - len(subwords.suffix)
    ids = [each[:room] for each in subwords.ids_of(list(texts), room)]
    states: list[NDArray[np.float16]] = [np.empty((0, backbone.width), np.float16)] * len(texts)
    around = len(subwords.prefix) + len(subwords.suffix)
    some = [number for number, each in enumerate(ids) if each]
    for positions in by_length([len(ids[number]) + around for number in some], _BATCH):
        rows = [[*subwords.prefix, *ids[some[position]], *subwords.suffix] for position in positions]
        parts = np.split(backbone.states(rows), np.cumsum([len(row) for row in rows])[:-1])
        for position, row, part in zip(positions, rows, parts, strict=True):
            states[some[position]] = part[~subwords.special[np.array(row)]].astype("<f2")
    own = [np.array(each, dtype="<i4") for each in ids]
    tokens = [each[~subwords.special[each]] if len(each) else each for each in own]
    lengths = np.array([len(each) for each in tokens], dtype="<i4")
    return np.concatenate(states), np.concatenate(tokens), lengths


def _name(backbone: Backbone, texts: Sequence[str], limit: int) -> str:
    total = hashlib.sha256()
    values = {
        "version": _VERSION, "files": files_hash(backbone.folder), "limit": limit,
        "precision": backbone.states_precision(), "tokens": backbone.subwords.tokens_digest,
    }  # fmt: skip
    for part in (fingerprint_of(values), *texts):
        encoded = part.encode("utf-8", "surrogatepass")
        total.update(len(encoded).to_bytes(8, "little"))
        total.update(encoded)
    return total.hexdigest()[:40]
