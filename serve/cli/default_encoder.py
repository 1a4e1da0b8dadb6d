"""Which encoder indexes for those who name none."""

from __future__ import annotations

import os
from importlib.util import find_spec

from lexhound.encoders.checkpoints.bundled import MINI

from .output import tell

VARIABLE = "LEXHOUND_ENCODER"
"""Environment variable: what `lexhound index` takes where no encoder is named."""

LEXICAL = "bm25"


def default_encoder(*, lexical_options: bool, dense: bool) -> str:
    """Return the encoder's name, and tell which it is and what else there is.

    The bundled model answers better than bm25 on every set that was measured (docs/evaluation.md), and takes far longer
    to index. It is bm25 where the model cannot run, where options of bm25 are given, and beside dense vectors, to which
    words add as much as the model's terms do.
    """
    if lexical_options or dense:
        return LEXICAL
    if named := os.environ.get(VARIABLE):
        return named
    if all(find_spec(package) for package in ("torch", "transformers")):
        tell(f"encoder {MINI}; --encoder {LEXICAL} needs no model and indexes a hundred times as fast")
        return MINI
    tell(f"encoder {LEXICAL}; pip install 'lexhound[neural]' brings what {MINI} needs, which answers better")
    return LEXICAL
