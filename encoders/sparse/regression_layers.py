"""The heads of term-weighting models: one weight a token."""

from __future__ import annotations

from pathlib import Path

from lexhound.encoders.checkpoints.tensors import read_weights_of
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.runtime.bert.weights import Linear

# The layers of known heads, in order, by the names of their weights; a relu stands between two.
_LAYERS = (
    ("tok_proj",),  # uniCOIL
    ("impact_score_encoder.0", "impact_score_encoder.3"),  # DeepImpact
    ("classifier",),  # DeepCT, saved as a token classifier with one label
)


def read_regression_layers(folder: Path) -> tuple[Linear, ...]:
    """Return the layers that make a token's raw weight of its state; the last one has one output.

    Raises:
        CheckpointError: the files hold no such head, or cannot be read.
        MissingExtraError: the files are pickled, and torch is not installed.
    """
    arrays = read_weights_of(folder, ("tok_proj.", "impact_score_encoder.", "classifier."))
    names = next((names for names in _LAYERS if all(f"{name}.weight" in arrays for name in names)), None)
    if names is None or any(f"{name}.bias" not in arrays for name in names):
        raise CheckpointError(
            f"{folder} has no term-weighting head", "Its weights must hold tok_proj, impact_score_encoder or classifier"
        )
    layers = tuple(Linear(arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in names)
    if len(layers[-1].weight) != 1:
        raise CheckpointError(
            f"{folder}: the head gives {len(layers[-1].weight)} values a token", "A term has one weight"
        )
    return layers
