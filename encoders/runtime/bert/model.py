"""A BERT-type transformer on this processor: in 16-bit integers where the processor has the instructions, else float32.

torch is not needed. `config_without_torch` says which checkpoints run so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Protocol
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.checkpoints.hub import CONFIG, weight_files
from lexhound.encoders.checkpoints.loading import require_weights
from lexhound.encoders.errors import SettingsError
from lexhound.encoders.runtime.device import precision_name, runs_on_cpu

from .config import BertConfig, read_bert_config
from .float32 import Float32Backbone, Float32Head, Function, linear
from .weights import BertWeights, HeadWeights, Linear, read_bert, read_masked_lm

Floats = NDArray[np.float32]

_opening = RLock()
_open: WeakValueDictionary[tuple[object, ...], StatesModel] = WeakValueDictionary()


class StatesModel(Protocol):
    """Token ids in, last hidden states out."""

    def states(self, rows: Sequence[Sequence[int]], threads: int = 1) -> Floats:
        """Return float32[tokens, width], the states of the rows' tokens, one row after the other."""
        ...


class Head(Protocol):
    """A masked-language-model head."""

    def transform(self, states: Floats, lengths: Sequence[int], threads: int = 1) -> Floats:
        """Return what the decoder takes, float32[tokens, width]; `lengths` of the texts."""
        ...

    def largest(
        self, transformed: Floats, lengths: Sequence[int], threads: int = 1
    ) -> list[tuple[NDArray[np.int32], Floats]]:
        """Return each text's terms with a logit above 0, and the largest one of each."""
        ...

    def sums(self, transformed: Floats, lengths: Sequence[int], function: Function, threads: int = 1) -> Floats:
        """Return float32[texts, terms]: each text's sum over its tokens of function(logits)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MaskedLM:
    """A backbone and its head.

    Attributes:
        decoder: weight float32[vocabulary, width] and bias float32[vocabulary] of logits = decoder(transform(states)).
    """

    config: BertConfig
    backbone: StatesModel
    head: Head
    decoder: Linear


def config_without_torch(folder: Path, device: str, precision: str) -> BertConfig | None:
    """Return the configuration of a checkpoint that runs without torch; None of one that torch has to run.

    Args:
        device, precision: as of `lexhound.encoders.sparse.settings.LearnedSettings`.

    Raises:
        CheckpointError: the folder has no configuration or no weights, or the configuration cannot be read.
        SettingsError: the environment names a precision that there is not.
    """
    require_weights(folder)
    if not runs_on_cpu(device) or precision_name(precision) == "bfloat16":
        return None
    return read_bert_config(folder)


def open_backbone(folder: Path, config: BertConfig, precision: str) -> StatesModel:
    """Load a transformer, or return the one that this process has of the same files.

    So the sparse and the dense encoder of a collection, which are often one model, hold it once.

    Raises:
        CheckpointError, MissingExtraError: as `read_bert` does.
        SettingsError: integers are asked for in vain.
    """
    integers = in_integers(folder, config, precision)
    key = _key(folder, integers)
    with _opening:
        backbone = _open.get(key)
        if backbone is None:
            backbone = _open[key] = _backbone(read_bert(folder, config), integers)
    return backbone


def open_masked_lm(folder: Path, config: BertConfig, precision: str) -> MaskedLM:
    """Load a transformer and its masked-language-model head; raises as `open_backbone` does."""
    integers = in_integers(folder, config, precision)
    key = _key(folder, integers)
    with _opening:
        weights, head = read_masked_lm(folder, config)
        backbone = _open.get(key)
        if backbone is None:
            backbone = _open[key] = _backbone(weights, integers)
    return MaskedLM(config, backbone, _head(head, config, integers), head.decoder)


def _key(folder: Path, integers: bool) -> tuple[object, ...]:
    """Return what tells one model from another: where its files are, and when and how large they were written."""
    states = [(path.name, path.stat()) for path in (folder / CONFIG, *weight_files(folder))]
    written = [(name, state.st_size, state.st_mtime_ns, state.st_ino) for name, state in states]
    return (folder.resolve(), integers, *written)


def in_integers(folder: Path, config: BertConfig, precision: str) -> bool:
    """Return whether the checkpoint runs in 16-bit integers; raise SettingsError where it must and cannot."""
    name = precision_name(precision)
    if name not in ("auto", "int16"):
        return False
    from lexhound.encoders.runtime.int16.layers import runs_in_integers

    able = runs_in_integers(config)
    if name == "int16" and not able:
        raise not_in_integers(folder)
    return able


def _backbone(weights: BertWeights, integers: bool) -> StatesModel:
    if not integers:
        return Float32Backbone(weights)
    from lexhound.encoders.runtime.int16.layers import IntegerBackbone

    return IntegerBackbone(weights)


def _head(weights: HeadWeights, config: BertConfig, integers: bool) -> Head:
    if not integers:
        return Float32Head(weights, config.activation, config.epsilon)
    from lexhound.encoders.runtime.int16.masked_lm_head import IntegerHead

    return IntegerHead(weights, config.epsilon)


def multiplication(layer: Linear, *, integers: bool) -> Function:
    """Return what makes float32[rows, out] of float32[rows, in] by a layer behind a transformer that runs so."""
    if not integers:
        return partial(linear, layer=layer)
    from lexhound.encoders.runtime.int16.linear import IntegerLinear

    return IntegerLinear(layer)


def not_in_integers(folder: Path) -> SettingsError:
    """Return the error of a checkpoint that 16-bit integers were asked for in vain."""
    return SettingsError(
        f"{folder} cannot be run in 16-bit integers here",
        "That takes a CPU with AVX2, and a model of BERT's, RoBERTa's or DistilBERT's form: choose another precision",
    )
