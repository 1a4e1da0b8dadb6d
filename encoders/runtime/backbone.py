"""Transformers that are run for their hidden states or logits: their inputs, limits and padding, loaded when needed.

What a dense encoder and a cross-encoder have in common.
"""

from __future__ import annotations

from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from lexhound.encoders.checkpoints.loading import load_complete, place_model, quiet, read_config, require_weights
from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.text.subwords import TOKENIZER_FILES, Subwords

from .device import choose_device, choose_precision

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
        limit: the longest input in tokens; padding: the token id that fills up a batch.

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
        require_weights(folder)
        has_tokenizer = any((folder / name).is_file() for name in TOKENIZER_FILES)
        self.subwords = Subwords.open(folder if has_tokenizer else root, lower_case=lower_case)
        self._folder = folder
        self._device = device
        self._precision = precision
        self._loaded: Any = None
        self._lock = RLock()
        with quiet():
            config = read_config(folder, trust_remote_code=False)
        self._most = (max_length, _positions(config))
        self.limit = self.limit_of(stated)
        padding = getattr(config, "pad_token_id", None)
        self.padding = padding if isinstance(padding, int) and padding >= 0 else 0
        self._config = config

    def limit_of(self, stated: int | None) -> int:
        """Return the longest input in tokens, given what the folder states; raise SettingsError as the class does."""
        limits = (stated or self.subwords.max_length, *self._most)
        limit = min((each for each in limits if each is not None), default=_NO_LIMIT)
        if limit <= len(self.subwords.prefix) + len(self.subwords.suffix):
            raise SettingsError(f"max_length is {limit}", "Special tokens alone are that many")
        return limit

    @property
    def width(self) -> int:
        """Length of a hidden state, as the config tells it."""
        return int(self._config.hidden_size)

    def where(self) -> tuple[torch.device, torch.dtype]:
        """Return the device and precision."""
        device = choose_device(self._device)
        return device, choose_precision(self._precision, device)

    def load(self, family: str, kind: str, ignored: str = "\0") -> tuple[Any, torch.device]:
        """Return the model, an `AutoModel...` of transformers, in evaluation mode, and its device.

        Args:
            kind: what to call it in messages; ignored: weights whose names hold this may be missing.
        """
        import transformers

        device, dtype = self.where()
        with self._lock:
            if self._loaded is None:
                if getattr(self._config, "is_encoder_decoder", False):
                    raise CheckpointError(
                        f"{self._folder} is an encoder with a decoder", "Choose a model that is one or the other"
                    )
                with quiet():
                    family_class = getattr(transformers, family)
                    model = load_complete(family_class, self._folder, self._config, kind, False, ignored)
                model = model.float().eval()
                place_model(model, device, dtype)
                self._loaded = model
            return self._loaded, device


def padded(rows: list[list[int]], padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 ids and the bool mask of those that are no padding, both [rows, longest]."""
    import torch

    ids = np.full((len(rows), max(map(len, rows))), padding, dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = True
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def attention(mask: torch.Tensor) -> torch.Tensor | None:
    """Return what a model is told of padding: without any, nothing, and attention takes its fastest path."""
    return None if bool(mask.all()) else mask.long()


def _positions(config: Any) -> int | None:
    """Return the longest input that a model's positions allow."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    # RoBERTa and its kin number positions from after the padding index.
    kind = str(getattr(config, "model_type", ""))
    after = "roberta" in kind or kind in {"mpnet", "camembert", "longformer"}
    return positions - (int(config.pad_token_id) + 1 if after else 0)
