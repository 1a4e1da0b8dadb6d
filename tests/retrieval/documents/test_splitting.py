"""Splitting: everything is in a passage, none is too long, and cuts fall where a reader would make them."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.encoders.errors import SettingsError
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval.collection.fields.splitter import Splitter
from lexhound.retrieval.collection.settings import CollectionSettings
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.passages import PassageSettings, parse_passages
from lexhound.retrieval.documents.splitting import split_text

PIECES = [
    "heat ",
    "flow. ",
    "Dr. ",
    "\n\n",
    "\n",
    "# Part\n",
    "a",
    "。",
    "end?\n\nTitle line\n\n",
    "x" * 30,
    "  ",
    "\t",
]

texts = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


def words(text: str) -> np.ndarray:
    return np.array([match.start() for match in re.finditer(r"\w+|[^\w\s]", text)], np.int64)


@settings(max_examples=examples(150))
@given(text=texts, tokens=st.integers(2, 20), share=st.floats(0, 0.5))
def test_every_character_is_in_a_passage_and_none_is_too_long(text: str, tokens: int, share: float) -> None:
    overlap = int(share * tokens)
    spans = split_text(text, words(text), tokens, overlap)
    covered = np.zeros(len(text), np.bool_)
    for begin, end in spans:
        covered[begin:end] = True
    assert all(text[place].isspace() for place in np.flatnonzero(~covered))
    assert [begin for begin, _ in spans] == sorted({begin for begin, _ in spans})
    assert [end for _, end in spans] == sorted({end for _, end in spans})
    for begin, end in spans:
        assert ((words(text) >= begin) & (words(text) < end)).sum() <= tokens
    for (_, end), (begin, _) in pairwise(spans):
        assert ((words(text) >= begin) & (words(text) < end)).sum() <= overlap


def test_a_text_that_fits_is_one_passage() -> None:
    assert split_text("Heat flows. It does.", words("Heat flows. It does."), 6) == [(0, 20)]


def cut(text: str, tokens: int, overlap: int = 0) -> list[str]:
    return [text[begin:end] for begin, end in split_text(text, words(text), tokens, overlap)]


def test_cuts_fall_before_headings_then_after_paragraphs_then_after_sentences() -> None:
    assert cut("One two three. Four five.\n\nSix seven.\n# Head\nEight nine ten.", 13) == [
        "One two three. Four five.\n\nSix seven.",
        "# Head\nEight nine ten.",
    ]
    assert cut("One two three four.\n\nFive six. Seven eight nine.", 9)[0] == "One two three four."
    assert cut("One two. Three four. Five six. Seven eight.", 7)[0] == "One two. Three four."


def test_abbreviations_and_small_letters_end_no_sentence() -> None:
    assert cut("See Dr. Smith of the J. Mill vs. the others. Then go on now.", 14)[0].endswith("others.")


def test_the_last_whole_sentences_are_repeated_and_nothing_across_a_heading() -> None:
    passages = cut("One two three. Four five. Six seven eight. Nine ten. Eleven twelve.", 8, 4)
    assert passages[0] == "One two three. Four five."
    assert passages[1].startswith("Four five.")
    assert cut("One two three. Four five.\n\n## Part\nSix seven eight nine ten.", 8, 4)[1].startswith("## Part")


def test_a_word_longer_than_a_passage_is_cut_within() -> None:
    letters = "y" * 10
    spans = split_text(letters, np.arange(10), 4)
    assert spans == [(0, 4), (4, 8), (8, 10)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("much", "passages are 'much'"),
        ("256/", "passages are '256/'"),
        ("-1", "passages are '-1'"),
        ("8", "passages of 8 tokens are too small"),
        ("100/51", "passages of 100 tokens cannot overlap by 51"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        parse_passages(text)


def test_sizes_are_read() -> None:
    assert parse_passages("none") is None
    assert parse_passages("256/32") == PassageSettings(256, 32)
    assert str(parse_passages("128")) == "128/0"


def test_a_title_stands_over_every_passage_and_counts() -> None:
    document = Document("d", " ".join(f"w{n}" for n in range(40)), title="On heat")
    (split,) = Splitter(PassageSettings(18), None, None).split([document])
    assert [len(piece.encoded_text.split()) for piece in split.pieces] == [18, 18, 10]
    assert all(piece.title == "On heat" for piece in split.pieces)
    assert not split.cut


def test_a_title_longer_than_half_a_passage_is_cut_and_told() -> None:
    document = Document("d", " ".join(f"w{n}" for n in range(40)), title=" ".join(f"t{n}" for n in range(12)))
    (split,) = Splitter(PassageSettings(16), None, None).split([document])
    assert split.cut
    assert split.pieces[0].title == "t0 t1 t2 t3"


def test_empty_and_blank_texts_are_whole() -> None:
    for text in ("", " \n" * 200):
        (split,) = Splitter(PassageSettings(16), None, None).split([Document("d", text)])
        assert len(split.pieces) == 1
        assert not split.spans


def test_texts_that_are_read_whole_may_stay_whole() -> None:
    splitter = Splitter(PassageSettings(16, 4, whole=64), None, None)
    short, long = splitter.split([Document("a", "w " * 60), Document("b", "w " * 70)])
    assert len(short.pieces) == 1
    assert len(long.pieces) > 4
    assert all(len(piece.text.split()) <= 16 for piece in long.pieces)


def test_learned_encoders_split_what_they_do_not_read_and_bm25_nothing() -> None:
    assert CollectionSettings().passage_settings(lexical=False) == PassageSettings(256, 32, 512)
    assert CollectionSettings().passage_settings(lexical=True) is None
    short = CollectionSettings(learned=LearnedSettings(max_length=128))
    assert short.passage_settings(lexical=False) == PassageSettings(128, 32, 128)
    windows = CollectionSettings(learned=LearnedSettings(long_texts="windows"))
    assert windows.passage_settings(lexical=False) is None
    assert CollectionSettings(passages="64/8").passage_settings(lexical=False) == PassageSettings(64, 8)
