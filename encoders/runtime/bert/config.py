"""What `config.json` says of a BERT-type transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.checkpoints.files import read_object
from lexhound.encoders.checkpoints.hub import CONFIG
from lexhound.encoders.errors import CheckpointError

from .activations import ACTIVATIONS


@dataclass(frozen=True, slots=True)
class BertConfig:
    """A BERT-type transformer.

    Attributes:
        family: "bert", "roberta" or "distilbert": how its weights are called.
        layers, heads: how many there are; width: of a state; inner: of the feed-forward layers.
        activation: one of `activations.ACTIVATIONS`.
        epsilon: of the layer norms.
        positions: rows of the table of positions.
        padding: the token that fills up a batch.
        counts_from_padding: whether positions begin after the padding token's id, and padding has none.
        tied: whether the decoder's weights are those of the token embeddings.
    """

    family: str
    layers: int
    heads: int
    width: int
    inner: int
    activation: str
    epsilon: float
    positions: int
    padding: int
    counts_from_padding: bool
    tied: bool

    @property
    def max_length(self) -> int:
        """The longest input in tokens, special ones included."""
        return self.positions - (self.padding + 1 if self.counts_from_padding else 0)

    def position_ids(self, row: Sequence[int]) -> NDArray[np.int64]:
        """Return the row of the table of positions for each of a text's tokens, int64[len(row)]."""
        if not self.counts_from_padding:
            return np.arange(len(row))
        counted = np.asarray(row) != self.padding
        ids: NDArray[np.int64] = np.cumsum(counted) * counted + self.padding
        return ids


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of one model type's `config.json`, and what holds where one is not there."""

    family: str
    padding: int = 0
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    width: str = "hidden_size"
    inner: str = "intermediate_size"
    activation: str = "hidden_act"


_ROBERTA = _Keys("roberta", padding=1)
_DISTILBERT = _Keys(
    "distilbert", layers="n_layers", heads="n_heads", width="dim", inner="hidden_dim", activation="activation"
)
_TYPES = {
    "bert": _Keys("bert"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
}
_DEFAULTS = {"layers": 12, "heads": 12, "width": 768, "inner": 3072}


def read_bert_config(folder: Path) -> BertConfig | None:
    """Return the configuration of a BERT-type transformer; None where the folder's is of another form.

    Other forms: other model types, decoders, relative positions, activations that are not known here, and checkpoints
    that bring code of their own.

    Raises:
        CheckpointError: the file cannot be read, or a value is no whole number above 0 (of layers, from 0).
    """
    path = folder / CONFIG
    values = read_object(path)
    keys = _TYPES.get(str(values.get("model_type")))
    if keys is None or values.get("auto_map") or values.get("is_decoder") or values.get("add_cross_attention"):
        return None
    activation = values.get(keys.activation) or "gelu"
    if values.get("position_embedding_type") not in (None, "absolute") or activation not in ACTIVATIONS:
        return None
    layers = 6 if keys.family == "distilbert" else _DEFAULTS["layers"]
    padding = values.get("pad_token_id", keys.padding)
    return BertConfig(
        family=keys.family,
        layers=_count(path, values, keys.layers, layers, least=0),  # none: embeddings alone
        heads=_count(path, values, keys.heads, _DEFAULTS["heads"]),
        width=_count(path, values, keys.width, _DEFAULTS["width"]),
        inner=_count(path, values, keys.inner, _DEFAULTS["inner"]),
        activation=str(activation),
        epsilon=float(values.get("layer_norm_eps", 1e-12)),
        positions=_count(path, values, "max_position_embeddings", 512),
        padding=padding if isinstance(padding, int) and padding >= 0 else 0,
        counts_from_padding=keys.family == "roberta",
        tied=bool(values.get("tie_word_embeddings", True)),
    )


def _count(path: Path, values: Mapping[str, Any], name: str, default: int, *, least: int = 1) -> int:
    value = values.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise CheckpointError(f"{path}: {name} is {value!r}", f"It must be a whole number of at least {least}")
    return value
