"""The weights of BERT-type transformers and of their masked-language-model heads, by the names in the files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.checkpoints.loading import without_weights
from lexhound.encoders.checkpoints.tensors import Arrays, read_weights_of
from lexhound.encoders.errors import CheckpointError

from .config import BertConfig

Floats = NDArray[np.float32]


class Linear(NamedTuple):
    """weight float32[out, in] and bias float32[out] of y = weight · x + bias."""

    weight: Floats
    bias: Floats


class Norm(NamedTuple):
    """gain and shift of a layer norm, float32[width]."""

    gain: Floats
    shift: Floats


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer: self-attention, then the feed-forward layers, a layer norm after each."""

    query: Linear
    key: Linear
    value: Linear
    mix: Linear
    mix_norm: Norm
    up: Linear
    down: Linear
    down_norm: Norm


@dataclass(frozen=True, slots=True)
class BertWeights:
    """A transformer without a head.

    Attributes:
        words: float32[vocabulary, width]; positions: float32[positions, width], with what the first type of token adds.
    """

    config: BertConfig
    words: Floats
    positions: Floats
    norm: Norm
    layers: tuple[LayerWeights, ...]


@dataclass(frozen=True, slots=True)
class HeadWeights:
    """logits = decoder(norm(activation(dense(state))))."""

    dense: Linear
    norm: Norm
    decoder: Linear


class _LayerNames(NamedTuple):
    layer: str
    query: str
    key: str
    value: str
    mix: str
    mix_norm: str
    up: str
    down: str
    down_norm: str


_BERT_NAMES = _LayerNames(
    "encoder.layer", "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
)  # fmt: skip
_DISTILBERT_NAMES = _LayerNames(
    "transformer.layer", "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm",
    "ffn.lin1", "ffn.lin2", "output_layer_norm",
)  # fmt: skip
# Of each family: the head's dense layer, its norm, the decoder, and where else the decoder's bias may stand.
_HEADS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder",
             "cls.predictions.bias"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector.bias"),
}  # fmt: skip


class _Checkpoint:
    """Takes weights out of the files' arrays, and remembers the names of those that are not there."""

    def __init__(self, folder: Path, family: str) -> None:
        self._folder = folder
        self._arrays: Arrays = read_weights_of(folder)
        for name in list(self._arrays):  # as the first releases of BERT call them
            modern = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
            self._arrays[modern] = self._arrays.pop(name)
        self.prefix = f"{family}." if any(name.startswith(f"{family}.") for name in self._arrays) else ""
        self.missing: list[str] = []

    def has(self, name: str) -> bool:
        return name in self._arrays

    def take(self, name: str, *shape: int | None) -> Floats:
        """Return the array `name`; raise CheckpointError where a dimension is not that of `shape` (None for any)."""
        array = self._arrays.get(name)
        if array is None:
            self.missing.append(name)
            return np.zeros([size or 1 for size in shape], dtype=np.float32)
        if len(array.shape) != len(shape) or any(b not in (None, a) for a, b in zip(array.shape, shape, strict=True)):
            wanted = " × ".join("any" if size is None else str(size) for size in shape)
            found = " × ".join(map(str, array.shape))
            raise CheckpointError(
                f"{self._folder}: the weights {name} are {found}, and its configuration makes them {wanted}",
                "The two come from different models: download the checkpoint again",
            )
        return array

    def linear(self, name: str, out: int, width: int) -> Linear:
        return Linear(self.take(f"{name}.weight", out, width), self.take(f"{name}.bias", out))

    def norm(self, name: str, width: int) -> Norm:
        return Norm(self.take(f"{name}.weight", width), self.take(f"{name}.bias", width))

    def require_all(self, kind: str) -> None:
        if self.missing:
            raise without_weights(self._folder, kind, sorted(self.missing))


def read_bert(folder: Path, config: BertConfig) -> BertWeights:
    """Read a transformer; a head that the files hold too is left out.

    Raises:
        CheckpointError: a file cannot be read, a weight is missing or has another shape.
        MissingExtraError: the weights are pickled, and torch is not installed.
    """
    files = _Checkpoint(folder, config.family)
    weights = _backbone(files, config)
    files.require_all("model")
    return weights


def read_masked_lm(folder: Path, config: BertConfig) -> tuple[BertWeights, HeadWeights]:
    """Read a transformer and its masked-language-model head; raises as `read_bert` does."""
    files = _Checkpoint(folder, config.family)
    dense, norm, decoder, other_bias = _HEADS[config.family]
    tied = config.tied or not files.has(f"{decoder}.weight")
    if tied and files.has(f"{decoder}.weight") and not files.has(f"{files.prefix}embeddings.word_embeddings.weight"):
        # Files that hold a shared tensor once may call it by either name.
        backbone = _backbone(files, config, files.take(f"{decoder}.weight", None, config.width))
    else:
        backbone = _backbone(files, config)
    weight = backbone.words if tied else files.take(f"{decoder}.weight", None, config.width)
    bias = f"{decoder}.bias" if files.has(f"{decoder}.bias") else other_bias
    head = HeadWeights(
        files.linear(dense, config.width, config.width),
        files.norm(norm, config.width),
        Linear(weight, files.take(bias, len(weight))),
    )
    files.require_all("masked language model")
    return backbone, head


def _backbone(files: _Checkpoint, config: BertConfig, words: Floats | None = None) -> BertWeights:
    width, inner, at = config.width, config.inner, files.prefix
    if words is None:
        words = files.take(f"{at}embeddings.word_embeddings.weight", None, width)
    positions = files.take(f"{at}embeddings.position_embeddings.weight", config.positions, width)
    if config.family != "distilbert":
        positions = positions + files.take(f"{at}embeddings.token_type_embeddings.weight", None, width)[0]
    names = _DISTILBERT_NAMES if config.family == "distilbert" else _BERT_NAMES

    def layer(number: int) -> LayerWeights:
        start = f"{at}{names.layer}.{number}."
        return LayerWeights(
            query=files.linear(start + names.query, width, width),
            key=files.linear(start + names.key, width, width),
            value=files.linear(start + names.value, width, width),
            mix=files.linear(start + names.mix, width, width),
            mix_norm=files.norm(start + names.mix_norm, width),
            up=files.linear(start + names.up, inner, width),
            down=files.linear(start + names.down, width, inner),
            down_norm=files.norm(start + names.down_norm, width),
        )

    norm = files.norm(f"{at}embeddings.LayerNorm", width)
    return BertWeights(config, words, positions, norm, tuple(layer(number) for number in range(config.layers)))
