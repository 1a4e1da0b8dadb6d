"""Transformers that are run for their hidden states or logits: their inputs and limits, loaded when needed.

What a dense encoder and a cross-encoder have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.checkpoints.loading import load_complete, place_model, quiet, read_config, require_neural
from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.text.subwords import TOKENIZER_FILES, Subwords

from .bert.model import StatesModel, config_without_torch, in_integers, not_in_integers, open_backbone
from .device import choose_device, choose_precision, precision_name, threads
from .torch_backbone import TorchBackbone

if TYPE_CHECKING:
    import torch

_NO_LIMIT = 512  # where neither the tokenizer nor the model says one


class Backbone:
    """A model's tokenizer, the longest input it takes, and the model itself once that is asked for.

    Args:
        folder: of config and weights; root: where the tokenizer is, if not there.
        max_length: never more than this, in tokens, special ones included.
        stated: the longest input that the folder states, in place of its tokenizer's settings.
        lower_case: whether texts are lower-cased before they become tokens.
        device, precision: as of `lexhound.encoders.sparse.settings.LearnedSettings`.

    Attributes:
        folder: of config and weights.
        limit: the longest input in tokens; padding: the token id that fills up a batch; width: of a hidden state.

    Raises:
        CheckpointError, MissingExtraError: the folder is no model, or cannot be read.
        SettingsError: `max_length` leaves no room for a token of the text.
    """

    def __init__(
        self,
        folder: Path,
        root: Path,
        *,
        max_length: int | None,
        device: str,
        precision: str,
        stated: int | None = None,
        lower_case: bool = False,
    ) -> None:
        bert = config_without_torch(folder, device, precision)
        has_tokenizer = any((folder / name).is_file() for name in TOKENIZER_FILES)
        self.subwords = Subwords.open(folder if has_tokenizer else root, lower_case=lower_case)
        self.folder = folder
        self._device = device
        self._precision = precision
        self._bert = bert
        self._states: StatesModel | None = None
        self._loaded: Any = None
        self._lock = RLock()
        positions: int | None
        if bert is not None:
            positions, self.padding, self.width = bert.max_length, bert.padding, bert.width
        else:
            config = self._config
            positions, self.width = _positions(config), int(config.hidden_size)
            padding = getattr(config, "pad_token_id", None)
            self.padding = padding if isinstance(padding, int) and padding >= 0 else 0
        self._most = (max_length, positions)
        self.limit = self.limit_of(stated)

    def limit_of(self, stated: int | None) -> int:
        """Return the longest input in tokens, given what the folder states; raise SettingsError as the class does."""
        limits = (stated or self.subwords.max_length, *self._most)
        limit = min((each for each in limits if each is not None), default=_NO_LIMIT)
        if limit <= len(self.subwords.prefix) + len(self.subwords.suffix):
            raise SettingsError(f"max_length is {limit}", "Special tokens alone are that many")
        return limit

    @cached_property
    def _config(self) -> Any:
        """transformers' configuration."""
        require_neural()
        with quiet():
            return read_config(self.folder, trust_remote_code=False)

    def where(self) -> tuple[torch.device, torch.dtype]:
        """Return the device and precision of what `load` returns."""
        device = choose_device(self._device)
        return device, choose_precision(self._precision, device)

    def states_precision(self) -> str:
        """Return what the states are computed in: "int16", or a dtype of torch as it writes it."""
        if self._bert is None:
            return str(self.where()[1])
        return "int16" if in_integers(self.folder, self._bert, self._precision) else "torch.float32"

    def prepare(self) -> None:
        """Load what makes states, so that whatever is wrong with it is told now."""
        self._states_model()

    def states(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return float32[tokens, width], the last hidden states of the rows' tokens, one row after the other."""
        return self._states_model().states(rows, threads())

    def _states_model(self) -> StatesModel:
        with self._lock:
            if self._states is None:
                if self._bert is not None:
                    self._states = open_backbone(self.folder, self._bert, self._precision)
                elif precision_name(self._precision) == "int16":
                    raise not_in_integers(self.folder)
                else:
                    model, device = self.load("AutoModel", "model", ignored="pooler.")
                    self._states = TorchBackbone(model, device, self.padding, self._most[1])
            return self._states

    def load(self, family: str, kind: str, ignored: str = "\0") -> tuple[Any, torch.device]:
        """Return the model, an `AutoModel...` of transformers, in evaluation mode, and its device.

        Args:
            kind: what to call it in messages; ignored: weights whose names hold this may be missing.
        """
        require_neural()
        import transformers

        device, dtype = self.where()
        with self._lock:
            if self._loaded is None:
                if getattr(self._config, "is_encoder_decoder", False):
                    raise CheckpointError(
                        f"{self.folder} is an encoder with a decoder", "Choose a model that is one or the other"
                    )
                with quiet():
                    family_class = getattr(transformers, family)
                    model = load_complete(family_class, self.folder, self._config, kind, False, ignored)
                model = model.float().eval()
                place_model(model, device, dtype)
                self._loaded = model
            return self._loaded, device


def _positions(config: Any) -> int | None:
    """Return the longest input that a model's positions allow."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    # RoBERTa and its kin number positions from after the padding index.
    kind = str(getattr(config, "model_type", ""))
    after = "roberta" in kind or kind in {"mpnet", "camembert", "longformer"}
    return positions - (int(config.pad_token_id) + 1 if after else 0)
