"""Marking words of given terms: the same as looking through all spans, for every text and language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lexhound.encoders.lexical import LexicalEncoder, LexicalSettings
from lexhound.encoders.vocabulary import MemoryVocabulary

PIECES = [
    "heat", "Heating", "HEATS", "heat's", "o'heat", "a-heat", "heat.heat", "preheat", "heat_heat", "x1", "'", " ", "  ",
    "\n", "流动传热", "İstanbul", "istanbul", "ISTANBUL", "½", "Wärme", "WÄRME", "été",
    "\u0301", "\u200d", "😀", "don't", "I",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=14).map("".join)


@pytest.mark.parametrize("language", ["english", "german", "turkish", "none"])
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), wanted=st.sets(st.integers(0, 20), max_size=5))
def test_marks_are_the_spans_of_the_terms(language: str, texts: list[str], wanted: set[int]) -> None:
    encoder = LexicalEncoder(LexicalSettings(language=language), MemoryVocabulary())
    encoder.count_documents(texts)
    terms = {term for term in wanted if term < len(encoder.vocabulary)}
    for text in (*texts, "heat unseen text"):
        expected = [span for span in encoder.spans(text) if span[2] in terms]
        assert sorted(encoder.marks(text, terms)) == sorted(expected)
        starts = [start for start, _, _ in encoder.marks(text, terms)]
        assert starts == sorted(starts)


def test_what_is_remembered_does_not_outlive_the_vocabulary() -> None:
    encoder = LexicalEncoder(LexicalSettings(), MemoryVocabulary())
    encoder.count_documents(["heat flow"])
    (heat, flow) = encoder.vocabulary.lookup(["heat", "flow"]).tolist()
    assert encoder.marks("the heating flows", {heat}) == [(4, 11, heat)]
    encoder.vocabulary = MemoryVocabulary()
    encoder.vocabulary = MemoryVocabulary()  # as after a transaction that was rolled back
    encoder.forget()
    encoder.count_documents(["flow heat"])
    assert encoder.marks("the heating flows", {flow}) == [(4, 11, flow)]
