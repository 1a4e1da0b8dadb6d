"""Documents that the tests of the service put in."""

from __future__ import annotations

from typing import Any

WORDS = ("heat", "transfer", "flow", "wing", "boundary", "layer", "shock", "tube", "pressure", "plate")


def document(number: int, **metadata: Any) -> dict[str, Any]:
    """A document of a few words; many have equal scores, so that order matters."""
    words = [WORDS[(number // step) % len(WORDS)] for step in (1, 2, 3, 7)]
    return {
        "id": f"d{number}",
        "title": f"Report {number % 5}",
        "text": " ".join(words),
        "metadata": {"year": 1950 + number % 40, "lang": "en" if number % 3 else "de", **metadata},
    }
