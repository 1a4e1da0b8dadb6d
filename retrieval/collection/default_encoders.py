"""Which encoders a new collection has whose maker names none: the same on the command line, over REST and in Python."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lexhound.encoders.bm25.encoder import KIND as BM25
from lexhound.encoders.checkpoints.bundled import MINI
from lexhound.encoders.checkpoints.hub import locate
from lexhound.encoders.sparse.folders import read_layout

VARIABLE = "LEXHOUND_ENCODER"
"""Environment variable: the encoder of new collections where none is named."""

NO_DENSE = "none"
"""In the place of a dense model's name: a collection without dense vectors."""


@dataclass(frozen=True, slots=True)
class ChosenEncoders:
    """The encoders of a new collection.

    Attributes:
        encoder: `bm25`, or the path or hub name of a checkpoint.
        dense: the path or hub name of a dense model, or None for no dense vectors.
        is_default: whether nobody named the encoder.
    """

    encoder: str
    dense: str | None
    is_default: bool


def default_encoder() -> str:
    """Return the encoder of new collections where none is named: the bundled model, or what the environment names."""
    return os.environ.get(VARIABLE) or MINI


def choose_encoders(
    encoder: str | None = None,
    dense: str | None = None,
    *,
    default: str | None = None,
    has_lexical_options: bool = False,
    keeps_dense: bool = True,
) -> ChosenEncoders:
    """Return the encoders that a collection is to have.

    An encoder that is named comes alone, unless a dense model is named too. The default encoder makes dense vectors in
    the same pass where its folder says that it can: hybrid searches find more, at no further cost (docs/hybrid.md).

    Args:
        encoder, dense: what was named; `dense` may be NO_DENSE.
        default: the encoder where none is named; `default_encoder()` unless given.
        has_lexical_options: options of `bm25` are given, which ask for it.
        keeps_dense: whether the engine has a place for dense vectors.

    Raises:
        CheckpointError: the default encoder is a checkpoint that cannot be found or read.
    """
    chosen = encoder or (BM25 if has_lexical_options else default or default_encoder())
    if dense is not None:
        return ChosenEncoders(chosen, None if dense == NO_DENSE else dense, encoder is None)
    own = encoder is None and keeps_dense and makes_dense(chosen)
    return ChosenEncoders(chosen, chosen if own else None, encoder is None)


def makes_dense(name: str) -> bool:
    """Return whether an encoder's folder says that its states make dense vectors too; `bm25` makes none.

    Raises:
        CheckpointError: the checkpoint cannot be found or read.
    """
    return name != BM25 and read_layout(locate(name).folder).document.dense is not None
