"""Tokens of a model's vocabulary: of a text that is cut, no more is looked at than is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexhound.encoders.text.subwords import Subwords

TEXTS = [
    "heat transfer in hypersonic flow " * 4000,
    "高超音速流动中的传热" * 9000,
    "a" * 90_000 + " wing",
    " " * 90_000 + "wing in a slipstream " * 20,
    "short text",
    "",
    "x" * 100 + " " + "boundary-layer, plate; " * 3000,
]


@pytest.fixture(scope="module")
def subwords(root: Path) -> Subwords:
    return Subwords.open(root / "encoders" / "models" / "lexhound-mini" / "document_0_Transformer")


@pytest.fixture(scope="module")
def whole(subwords: Subwords) -> list[list[int]]:
    """All tokens of each text."""
    return [subwords.ids(text) for text in TEXTS]


@pytest.mark.parametrize("most", [1, 30, 510])
def test_the_first_tokens_are_those_of_the_whole_text(subwords: Subwords, whole: list[list[int]], most: int) -> None:
    assert [ids[:most] for ids in subwords.ids_of(TEXTS, most)] == [ids[:most] for ids in whole]
    assert len(subwords.ids_of(TEXTS[:1], most)[0]) < len(whole[0])
    assert subwords.ids_of([], most) == []
