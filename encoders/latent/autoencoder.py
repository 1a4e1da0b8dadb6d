"""A sparse autoencoder's encoder: a dense vector becomes the few latents that it is best rebuilt from.

    z = W · (x - c) + b        latents(x) = the k largest of max(z, 0)

W, b and c are the weights, the bias and the centre (Gao et al., "Scaling and evaluating sparse autoencoders", 2024,
section 2.3; Wen et al., "Beyond Matryoshka", ICML 2025, section 3).
Latents are terms of an inverted index: there are many of them, and few in a text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector
from lexhound.encoders.checkpoints.files import read_object
from lexhound.encoders.checkpoints.hub import CONFIG
from lexhound.encoders.checkpoints.tensors import read_weights_of
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.runtime.int16.packing import in_turn

from .largest import Largest, largest_of_rows

Floats = NDArray[np.float32]

ENCODER, DECODER = "encoder.weight", "decoder.linear.weight"
"""Two names of one matrix, which is its own transpose's decoder; sentence-transformers writes either."""
BIAS, CENTRE, IDF = "latent_bias", "pre_bias", "idf"

_CHUNK = 240  # rows whose pre-activations are held together
_EPSILON = 1e-5  # of layer norm, as sentence-transformers has it


@dataclass(frozen=True, slots=True, eq=False)
class Autoencoder:
    """The weights of a sparse autoencoder's encoder.

    Attributes:
        weight: float32[latents, width]; bias: float32[latents]; centre: float32[width].
        k: how many latents a vector keeps where nobody says.
        normalise: whether a vector is brought to mean 0 and deviation 1 first.
        idf: float32[latents], -ln of the share of the texts that it was trained on which have each; None where nobody
            counted.
    """

    weight: Floats
    bias: Floats
    centre: Floats
    k: int
    normalise: bool = False
    idf: Floats | None = None

    @property
    def latents(self) -> int:
        """How many latents there are."""
        return len(self.weight)


@dataclass(slots=True)
class LatentActivations:
    """The largest latents of vectors, computed by an autoencoder. Safe to call from several threads.

    Args:
        autoencoder: the weights.
        integers: multiply 16-bit integers, so that latents are the same to the bit on every processor that has the
            kernels, in any batch; else float32.
    """

    autoencoder: Autoencoder
    integers: bool = False
    _packed: tuple[NDArray[np.int16], Floats, Floats] | None = field(default=None, init=False)
    _offset: Floats = field(init=False)

    def __post_init__(self) -> None:
        model = self.autoencoder
        offset = model.bias.astype(np.float64) - model.weight.astype(np.float64) @ model.centre.astype(np.float64)
        self._offset = offset.astype(np.float32)
        if self.integers:
            from lexhound.encoders.runtime.int16.packing import packed
            from lexhound.encoders.runtime.int16.tiles import COLUMNS

            room = -model.weight.shape[1] % COLUMNS
            self._packed = packed(np.pad(model.weight, ((0, 0), (0, room))), self._offset)

    def largest(self, vectors: Floats, k: int | None = None) -> list[QueryVector]:
        """Return each vector's `k` largest latents above 0: ids int32 ascending, and their activations, float32.

        Of equal activations, the lower id is kept.

        Args:
            vectors: float32[n, width]; k: the autoencoder's own by default.
        """
        most = self.autoencoder.k if k is None else k
        rows, columns, values = self.largest_of(vectors, most)
        edges = np.searchsorted(rows, np.arange(len(vectors) + 1))
        found: list[QueryVector] = []
        for start, stop in pairwise(edges.tolist()):
            ascending = np.argsort(columns[start:stop])
            found.append((columns[start:stop][ascending].astype(np.int32), values[start:stop][ascending]))
        return found

    def largest_of(self, vectors: NDArray[np.floating[Any]], k: int, threads: int = 1) -> Largest:
        """Return the `k` largest latents above 0 of float32[n, width]; see `largest_of_rows`."""

        def run(start: int) -> Largest:
            part = vectors[start : start + _CHUNK].astype(np.float32, copy=False)
            rows, columns, values = largest_of_rows(self.activations(part), k)
            return Largest(rows + start, columns, values)

        none = Largest(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        parts = [none, *in_turn(run, range(0, len(vectors), _CHUNK), threads)]
        return Largest(*map(np.concatenate, zip(*parts, strict=True)))

    def activations(self, vectors: Floats) -> Floats:
        """Return max(z, 0), float32[n, latents], of float32[n, width]."""
        if self.autoencoder.normalise:
            vectors = _normalised(vectors)
        if self._packed is None:
            z: Floats = np.maximum(vectors @ self.autoencoder.weight.T + self._offset, np.float32(0))
            return z
        return self._in_integers(vectors)

    def _in_integers(self, vectors: Floats) -> Floats:
        from lexhound.encoders.runtime.int16.kernels import maxima, quantised
        from lexhound.encoders.runtime.int16.packing import filled

        assert self._packed is not None  # noqa: S101
        padded = np.zeros((filled(len(vectors)), self._packed[0].shape[1] * 2), dtype=np.float32)
        padded[: len(vectors), : vectors.shape[1]] = vectors
        rows, scales = quantised(padded)
        largest = np.zeros((len(padded), len(self._packed[1])), dtype=np.float32)
        maxima(rows, scales, self._packed, np.arange(len(padded)), largest)
        return largest[: len(vectors), : self.autoencoder.latents]


def _normalised(vectors: Floats) -> Floats:
    """Return rows of mean 0 and standard deviation 1, as sentence-transformers' SparseAutoEncoder makes them."""
    centred = vectors - vectors.mean(axis=1, keepdims=True, dtype=np.float32)
    deviation = centred.std(axis=1, ddof=1, keepdims=True, dtype=np.float32)
    result: Floats = centred / (deviation + np.float32(_EPSILON))
    return result


def read_autoencoder(folder: Path) -> Autoencoder:
    """Read a SparseAutoEncoder's folder, as sentence-transformers writes it.

    Raises:
        CheckpointError: a file is missing or damaged, or shapes do not fit each other.
        MissingExtraError: its weights are pickled ones, and torch is not installed.
    """
    values = read_object(folder / CONFIG)
    k, normalise = values.get("k", 8), values.get("normalize", False)
    if not isinstance(k, int) or isinstance(k, bool) or k < 1 or not isinstance(normalise, bool):
        raise CheckpointError(
            f"{folder / CONFIG}: k is {k!r} and normalize {normalise!r}", "A whole number, and true or false"
        )
    arrays = read_weights_of(folder)
    weight = arrays.get(ENCODER, arrays.get(DECODER))
    missing = [name for name in (BIAS, CENTRE) if name not in arrays] + ([] if weight is not None else [ENCODER])
    if missing or weight is None:
        raise CheckpointError(f"{folder} lacks the weights {', '.join(missing)}", "Download the whole folder again")
    bias, centre = arrays[BIAS], arrays[CENTRE]
    if weight.ndim != 2 or bias.shape != (len(weight),) or centre.shape != (weight.shape[1],):
        shapes = ", ".join(str(list(each.shape)) for each in (weight, bias, centre))
        raise CheckpointError(f"{folder}: weights of shapes {shapes} do not fit each other", "Download it again")
    if not all(np.isfinite(each).all() for each in (weight, bias, centre)):
        raise CheckpointError(f"{folder}: a weight is not a number", "Download it again")
    idf = arrays.get(IDF)
    if idf is not None and (idf.shape != bias.shape or not (np.isfinite(idf) & (idf >= 0)).all()):
        raise CheckpointError(f"{folder}: idf is not a number of at least 0 for each latent", "Download it again")
    return Autoencoder(weight, bias, centre, min(k, len(weight)), normalise, idf)


def write_autoencoder(autoencoder: Autoencoder, folder: Path) -> None:
    """Write the folder of a SparseAutoEncoder, which sentence-transformers loads."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    width = autoencoder.weight.shape[1]
    config = {
        "input_dim": width,
        "hidden_dim": autoencoder.latents,
        "k": autoencoder.k,
        "k_aux": 512,
        "normalize": autoencoder.normalise,
        "dead_threshold": 30,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors: dict[str, NDArray[Any]] = {
        CENTRE: np.ascontiguousarray(autoencoder.centre, dtype=np.float32),
        BIAS: np.ascontiguousarray(autoencoder.bias, dtype=np.float32),
        DECODER: np.ascontiguousarray(autoencoder.weight, dtype=np.float32),
        "stats_last_nonzero": np.zeros(autoencoder.latents, dtype=np.int64),
    }
    if autoencoder.idf is not None:
        tensors[IDF] = np.ascontiguousarray(autoencoder.idf, dtype=np.float32)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
