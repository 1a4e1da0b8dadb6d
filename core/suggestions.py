"""Suggestions of near names: "did you mean ...?"."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of the known names that look most like `name`, whatever the case of their letters."""
    by_lower: dict[str, str] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), candidate)
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)]


# What others call an argument; of ours, the first that is known counts.
_OTHER_NAMES = {
    **dict.fromkeys(("limit", "n", "size", "top_k", "topk", "count", "num_results"), ("k",)),
    **dict.fromkeys(("where", "query_filter"), ("filter",)),
    **dict.fromkeys(("model", "encoder_name"), ("encoder",)),
    **dict.fromkeys(("k1", "b", "language", "stemming", "stop_words"), ("lexical",)),
}


def check_keywords(where: str, given: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse keyword arguments that are not known.

    Raises:
        TypeError: one is not; it names the nearest that there is.
    """
    for name in given:
        if name not in known:
            meant = [each for each in _OTHER_NAMES.get(name, ()) if each in known] or nearest(name, known)
            hint = f"did you mean {' or '.join(meant)}?" if meant else f"there are {', '.join(known)}"
            raise TypeError(f"{where} has no option {name!r}: {hint}")
