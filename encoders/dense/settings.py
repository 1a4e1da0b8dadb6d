"""Options of dense encoders."""

from __future__ import annotations

from dataclasses import dataclass

from lexhound.encoders.checkpoints.modules import POOLINGS
from lexhound.encoders.errors import SettingsError
from lexhound.encoders.runtime.device import DEVICES, PRECISIONS
from lexhound.encoders.settings import EncoderSettings, require_flag, require_one_of, require_whole


@dataclass(frozen=True, slots=True)
class DenseSettings(EncoderSettings):
    """Options of a dense encoder; None believes what the model's folder says.

    Attributes:
        max_length: longest input in tokens, special ones included; never more than the model's own limit. What is
            beyond it is left out.
        pooling: "mean", "cls" or "lasttoken".
        normalise: bring vectors to unit length, so that inner products are cosines.
        query_prompt, document_prompt: put before every text of that side ("query: " and "passage: " for some models).
        batch_tokens: tokens a batch, padding included.
        device, precision: as of `lexhound.encoders.sparse.settings.LearnedSettings`; vectors are float32 in any case.
    """

    max_length: int | None = None
    pooling: str | None = None
    normalise: bool | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    batch_tokens: int = 8192
    device: str = "auto"
    precision: str = "auto"

    _RUNNING = frozenset({"batch_tokens", "device", "precision"})

    def __post_init__(self) -> None:
        if self.max_length is not None:
            require_whole("max_length", self.max_length, 3)
        require_whole("batch_tokens", self.batch_tokens, 1)
        if self.pooling is not None:
            require_one_of("pooling", self.pooling, POOLINGS)
        if self.normalise is not None:
            require_flag("normalise", self.normalise)
        for name in ("query_prompt", "document_prompt"):
            if not isinstance(getattr(self, name), str | None):
                raise SettingsError(f"{name} is {getattr(self, name)!r}", "It must be a text")
        require_one_of("device", self.device, DEVICES)
        require_one_of("precision", self.precision, PRECISIONS)
