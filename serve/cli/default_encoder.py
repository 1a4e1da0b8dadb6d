"""Which encoder `lexhound index` uses when it is given none."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .output import tell

VARIABLE = "LEXHOUND_ENCODER"
LEXICAL = "bm25"


def chosen_encoder(given: str | None, lexical_options: Sequence[str]) -> str:
    """The encoder's name: the one given, that of the environment, `bm25` where its options are given, or our choice.

    Args:
        given: the value of --encoder.
        lexical_options: options that are given and belong to `bm25`.
    """
    if given is not None:
        return given
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    if lexical_options:
        return LEXICAL
    from ...encoders.bundled import MINI, bundled_folder, can_encode

    if bundled_folder(MINI) is None:
        return LEXICAL
    if not can_encode():
        tell(f"encoder bm25: {MINI} needs torch (pip install 'lexhound[neural]')")
        return LEXICAL
    tell(f"encoder {MINI}: some tens of passages a second; --encoder bm25 takes thousands, and finds a little less")
    return MINI
