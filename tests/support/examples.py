"""How many examples a property test tries, where the number is its own."""

from __future__ import annotations

import os

USUAL = 60
TRIED = int(os.environ.get("LEXHOUND_EXAMPLES", str(USUAL)))
_FEWEST = 5


def examples(count: int) -> int:
    """Return `count` in the whole suite, and its share where LEXHOUND_EXAMPLES asks for fewer, as `make check` does."""
    return min(count, max(_FEWEST, count * TRIED // USUAL))
