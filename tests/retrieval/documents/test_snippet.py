"""Snippets: the best window, cut between words, with nothing in it that a terminal would obey."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.encoders.text.tokenizer import token_spans
from lexhound.retrieval.documents.snippet import Snippet, _best_cluster, make_snippet, printable


def spans_of(text: str, vocabulary: dict[str, int]) -> list[tuple[int, int, int]]:
    return [(start, end, vocabulary[token]) for start, end, token in token_spans(text) if token in vocabulary]


def marked(snippet: Snippet) -> list[str]:
    return [snippet.text[start:end] for start, end in snippet.marks]


def snip(text: str, words: str, width: int = 240) -> Snippet:
    vocabulary = {token: number for number, (_, _, token) in enumerate(token_spans(words))}
    return make_snippet(text, spans_of(text, vocabulary), set(vocabulary.values()), width)


def test_short_text_is_shown_whole() -> None:
    snippet = snip("Heat transfer  in\n\nhypersonic flow.", "hypersonic heat")
    assert snippet.text == "Heat transfer in hypersonic flow."
    assert marked(snippet) == ["Heat", "hypersonic"]


def test_window_with_most_distinct_terms_wins_over_more_matches() -> None:
    text = "wing " * 60 + "nothing here " * 40 + "the heat of a wing in flow " + "nothing here " * 40
    snippet = snip(text, "heat wing flow", 80)
    assert {word.lower() for word in marked(snippet)} == {"heat", "wing", "flow"}
    assert snippet.text.startswith("…")
    assert snippet.text.endswith("…")
    assert len(snippet.text) <= 80


def test_without_a_match_it_is_the_beginning() -> None:
    text = "alpha beta gamma " * 50
    snippet = snip(text, "missing", 40)
    assert snippet == Snippet("alpha beta gamma alpha beta gamma alpha…", ())


def test_words_are_not_cut_apart() -> None:
    words = [f"word{number}" for number in range(300)]
    snippet = snip(" ".join(words), "word150", 100)
    assert set(snippet.text.strip("…").split()) <= set(words)
    assert marked(snippet) == ["word150"]


def test_empty_text() -> None:
    assert make_snippet("", [], {1}) == Snippet("", ())
    assert make_snippet(" \n\t ", [], {1}) == Snippet("", ())


def test_arabic_is_found_marked_and_cut_between_words() -> None:
    text = "هذا نص طويل عن أشياء كثيرة " * 20 + "انتقال الحرارة في التدفق " + "هذا نص طويل عن أشياء كثيرة " * 20
    snippet = snip(text, "الحرارة التدفق", 90)
    assert marked(snippet) == ["الحرارة", "التدفق"]
    assert set(snippet.text.strip("…").split()) <= set(text.split())


def test_chinese_bigrams_become_one_mark() -> None:
    text = "今天天气很好我们去公园散步" * 20 + "高超音速流动中的传热" + "今天天气很好我们去公园散步" * 20
    snippet = snip(text, "超音速", 40)
    assert marked(snippet) == ["超音速"]
    assert len(snippet.text) <= 40
    assert snippet.text.strip("…") in text


def test_no_cut_before_a_combining_mark() -> None:
    text = "กำลังเรียนรู้การค้นหาข้อมูลภาษาไทย" * 30
    for width in range(8, 60):
        shown = make_snippet(text, [], set(), width).text.rstrip("…")
        assert not unicodedata.category(text[len(shown)]).startswith("M")


def test_nothing_commands_a_terminal() -> None:
    text = "safe \x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J bell\x07 nul\x00 \u202eevil\u202c back\x08 \ud800 heat"
    snippet = snip(text, "heat evil")
    assert marked(snippet) == ["evil", "heat"]
    assert all(unicodedata.category(character) not in {"Cc", "Cs"} for character in snippet.text)
    assert "\u202e" not in snippet.text
    assert printable("a\x1b[2Jb\r\nc") == "a\ufffd[2Jb c"


def test_a_match_longer_than_the_window_is_clipped() -> None:
    text = "start " * 40 + "x" * 300 + " end" * 40
    snippet = snip(text, "x" * 255, 50)
    # The tokeniser cuts a word's term, not its span: the span is longer than the window.
    assert len(snippet.text) <= 50
    assert len(snippet.marks) == 1
    assert set(marked(snippet)[0]) == {"x"}


def test_width_is_checked() -> None:
    with pytest.raises(ValueError, match="width is 7"):
        make_snippet("text", [], set(), 7)


WORDS = st.lists(
    st.sampled_from(
        ["heat", "flow", "wing", "a", "of", "longerword", "\n\n", "\u202e", "\x1b[1m", "中文字", "  ", "ü̈"]
    ),
    max_size=120,
)


@given(WORDS, st.sets(st.sampled_from(["heat", "flow", "wing", "中文"])), st.integers(12, 90))
def test_properties(words: list[str], wanted: set[str], width: int) -> None:
    text = " ".join(words)
    vocabulary = {word: number for number, word in enumerate(sorted(wanted))}
    spans = spans_of(text, vocabulary)
    snippet = make_snippet(text, spans, set(vocabulary.values()), width)
    assert len(snippet.text) <= width
    assert printable(snippet.text) == snippet.text
    assert snippet.text.removeprefix("…").removesuffix("…") in printable(text)
    flat = [position for mark in snippet.marks for position in mark]
    assert flat == sorted(flat)
    assert all(0 <= start < end <= len(snippet.text) for start, end in snippet.marks)
    assert all("".join(marked(snippet)) for _ in snippet.marks)
    # As many distinct terms as any stretch of that width has (two characters go to the ellipses).
    line = printable(text)
    shown = spans_of(line, vocabulary)
    best = max(
        (
            len({term for first, last, term in shown if first >= start and last <= start + width - 2})
            for start, _, _ in shown
        ),
        default=0,
    )
    assert len({term for _, _, term in spans_of(snippet.text, vocabulary)}) >= best
    if best:
        assert snippet.marks


def best_window(spans: list[tuple[int, int, int]], inner: int) -> tuple[int, int]:
    """Every window that begins with a match, looked at as a whole: the slow plain twin."""
    best, found = (0, 0), (spans[0][0], min(spans[0][1], spans[0][0] + inner))
    for left, (start, _, _) in enumerate(spans):
        inside = []
        for span in spans[left:]:
            if span[1] - start > inner:
                break
            inside.append(span)
        worth = len({term for _, _, term in inside}), len(inside)
        if worth > best:
            best, found = worth, (start, max(end for _, end, _ in inside))
    return found


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 40), st.integers(0, 4)), min_size=1, max_size=25),
    st.integers(6, 60),
)
def test_window_is_the_one_that_looking_at_all_of_them_finds(steps: list[tuple[int, int, int]], inner: int) -> None:
    spans = []
    place = 0
    for gap, length, term in steps:
        place += gap
        spans.append((place, place + length, term))  # they may overlap, as bigrams do
    assert _best_cluster(spans, inner) == best_window(spans, inner)
