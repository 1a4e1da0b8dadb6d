"""Names that were meant for an encoder that is here: told before a hub is asked for them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path

from lexhound.encoders.errors import UnknownEncoderError

from .bundled import DEFAULT, bundled_names

BM25 = "bm25"  # `lexhound.encoders.bm25.encoder.KIND`, known without that package
BUILT_IN = (BM25, *bundled_names())
_ALIKE = 0.75  # the share of characters in common, in order: one wrong of four, or two exchanged
_SHORTEST_PART = 4


def check_spelling(name: str, folders: Iterable[str]) -> None:
    """Refuse a name without a slash that is nearly a built-in encoder's or one of `folders`.

    Raises:
        UnknownEncoderError: it names what was probably meant.
    """
    if "/" in name:
        return
    meant = [each for each in dict.fromkeys([*BUILT_IN, DEFAULT, *folders]) if _is_meant(name, each)]
    if meant:
        raise UnknownEncoderError(
            f"there is no encoder {name!r}",
            f"Did you mean {' or '.join(meant)}? A model of the Hugging Face hub is named with its owner: OWNER/{name}",
        )


def encoder_folders(place: Path) -> list[str]:
    """Return the names of the folders at a place that may hold a checkpoint."""
    try:
        return sorted(path.parent.name for path in place.glob("*/config.json"))
    except OSError:
        return []


def _is_meant(name: str, known: str) -> bool:
    written, held = _folded(name), _folded(known)
    if written == held or (len(written) >= _SHORTEST_PART and written in held.split("-")):
        return True
    return SequenceMatcher(None, written, held).ratio() >= _ALIKE


def _folded(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")
