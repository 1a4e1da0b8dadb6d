"""Marking words of given terms: the same as looking through all spans, for every text and language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.encoders.text import highlighting as marking
from lexhound.encoders.text.tokenizer import surface_tokens, tokens_of

PIECES = [
    "heat", "Heating", "HEATS", "heat's", "o'heat", "a-heat", "heat.heat", "preheat", "heat_heat", "x1", "'", " ", "  ",
    "\n", "流动传热", "İstanbul", "istanbul", "ISTANBUL", "½", "Wärme", "WÄRME", "été",
    "\u0301", "\u200d", "😀", "don't", "I", "\u00a0", "\u3000", "\u2028", "–", "“heat”", "heat–Heat", "a", "aa",
    "x" * 70, "'" * 70, "Heat" * 20 + "é",
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
        assert sorted(encoder.highlights(text, terms)) == sorted(expected)
        starts = [start for start, _, _ in encoder.highlights(text, terms)]
        assert starts == sorted(starts)


@given(texts=st.lists(TEXTS, min_size=2, max_size=6))
def test_marks_stay_the_same_when_memory_is_full(texts: list[str]) -> None:
    encoder = LexicalEncoder(LexicalSettings(), MemoryVocabulary())
    encoder.count_documents(texts)
    terms = set(range(len(encoder.vocabulary)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marking, "_MAX_REMEMBERED", 3)
        for text in (*texts, *texts):
            assert encoder.highlights(text, terms) == sorted(encoder.spans(text), key=lambda span: span[0])


@pytest.mark.parametrize("gap", [" ", "\u00a0", "–", "。"])
def test_one_pass_or_many_find_the_same(gap: str) -> None:
    words = [f"word{number}" for number in range(60)]
    text = gap.join([*words, "other", *words])
    encoder = LexicalEncoder(LexicalSettings(), MemoryVocabulary())
    encoder.count_documents([text])
    spans = encoder.spans(text)
    for few in (1, 16, 17, 61):
        terms = set(range(few))
        assert encoder.highlights(text, terms) == [span for span in spans if span[2] in terms]
    terms = set(encoder.vocabulary.lookup(["word3", "other"]).tolist())
    short = gap.join(["other", "thing", "word3", "other"])
    many = terms | set(range(61))  # more terms than the text has words
    assert len(encoder.highlights(short, terms)) == 3
    assert encoder.highlights(short, many) == encoder.highlights(short, terms)


@given(st.text(max_size=12), st.sampled_from("AEIKSZ"), st.text(max_size=12))
def test_tokens_do_not_depend_on_the_case_of_ascii_letters(before: str, letter: str, after: str) -> None:
    """What lets marks be looked for in a line whose ASCII letters are in lower case."""
    for form in surface_tokens(before + letter + after):
        lower = form.translate({code: code + 32 for code in range(ord("A"), ord("Z") + 1)})
        assert tokens_of(form) == tokens_of(lower)


def test_what_is_remembered_does_not_outlive_the_vocabulary() -> None:
    encoder = LexicalEncoder(LexicalSettings(), MemoryVocabulary())
    encoder.count_documents(["heat flow"])
    (heat, flow) = encoder.vocabulary.lookup(["heat", "flow"]).tolist()
    assert encoder.highlights("the heating flows", {heat}) == [(4, 11, heat)]
    encoder.vocabulary = MemoryVocabulary()
    encoder.vocabulary = MemoryVocabulary()  # as after a transaction that was rolled back
    encoder.forget()
    encoder.count_documents(["flow heat"])
    assert encoder.highlights("the heating flows", {flow}) == [(4, 11, flow)]
