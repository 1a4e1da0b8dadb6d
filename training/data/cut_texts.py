"""Which texts are longer than a model reads, so that nothing is left out of a training run in silence."""

from __future__ import annotations

from collections.abc import Sequence

from lexhound.encoders.text.token_reader import TokenReader


def cut_notice(reader: TokenReader, texts: Sequence[str], what: str, setting: str) -> str | None:
    """Return how many of some texts are not read to their end, as a sentence; None where all are.

    Args:
        what: what the texts are, with the verb, such as `documents are`.
        setting: the name of the recipe's key that says how much is read.
    """
    count = sum(map(reader.cuts, texts))
    if not count:
        return None
    return (
        f"{count:,} of {len(texts):,} {what} longer than {reader.limit} tokens ({setting}): what is beyond is left out"
    )
