"""What reads all of a text, for dense fields of tests that have no model."""

from __future__ import annotations

import re

import numpy as np


class WholeTexts:
    """A reader of documents without a limit; tokens are words."""

    room = limit = None
    around = 0
    vocabulary = "words"

    def starts(self, text: str) -> np.ndarray:
        return np.array([match.start() for match in re.finditer(r"\S+", text)], np.int64)

    def reads_all(self, text: str) -> bool:
        return True

    def cuts(self, text: str) -> bool:
        return False
