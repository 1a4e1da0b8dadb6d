"""Whether a tokenizer and a head over its vocabulary belong together."""

from __future__ import annotations

from pathlib import Path

from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.text.subwords import Subwords


def require_outputs(root: Path, subwords: Subwords, outputs: int) -> None:
    """Raise CheckpointError where the tokenizer has more tokens than the head has outputs."""
    if subwords.size > outputs:
        raise CheckpointError(
            f"{root}: the tokenizer has {subwords.size} tokens and the model's head {outputs} outputs",
            "The two come from different models: put the tokenizer that the model was trained with into the folder",
        )
