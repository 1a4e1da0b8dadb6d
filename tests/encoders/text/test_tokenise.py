"""Words of many scripts, their offsets, and text that no one should write but someone will send."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.encoders.text.tokenizer import (
    MAX_WORD_LENGTH,
    _patterns,
    fold,
    pieces,
    surface_tokens,
    token_spans,
    tokenise,
    tokens_of,
)

# Weighted towards what the tokeniser decides about; lone surrogates included.
CHARACTERS = st.one_of(
    st.sampled_from(
        "한국책을각\u1112\u1161\u11ab\u11a8ㅋﾡ"
        "aZ09 '’-_.ßİıIéÅﬁ½℃㎏™²\u0301\u0307\u3099\u00ad\u200c\u200d\u200b\ufe0f\ufeff\0\n日本語カﾊﾟภาคำ한हि🎉𠀀𝐇ʼŉ"
    ),
    st.characters(codec=None, exclude_categories=()),
)
TEXTS = st.text(CHARACTERS, max_size=60)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \t\n.,;!-_'", []),
        ("The quick, brown fox-trot 42", ["the", "quick", "brown", "fox", "trot", "42"]),
        ("snake_case e-mail 3.5", ["snake", "case", "e", "mail", "3", "5"]),
        ("Don't 'quote' dogs' rock'n'roll a''b", ["don't", "quote", "dogs", "rock'n'roll", "a", "b"]),
        ("don’t don＇t", ["don't", "don't"]),
        ("п’ять пʼять п'ять", ["п'ять"] * 3),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("İstanbul Istanbul", ["istanbul", "istanbul"]),
        ("Ångström A\u030angstro\u0308m", ["ångström", "ångström"]),
        ("ﬁsh ＡＢＣ", ["fish", "abc"]),
        ("½ 20℃ 5㎏", ["1", "2", "20", "c", "5kg"]),
        ("Lexhound™ x²", ["lexhound", "x2"]),
        ("🎉party🎉 👩‍👩‍👧", ["party"]),
        ("a\0b\ud800c", ["a", "b", "c"]),
        ("السَّلام عليكم", ["السَّلام", "عليكم"]),
        ("می‌خواهم co\u00adop", ["میخواهم", "coop"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("한국어 검색", ["한국", "국어", "검색"]),
        ("도서관에서", ["도서", "서관", "관에", "에서"]),
        ("책 책을 책들에서는 책상", ["책", "책", "책을", "책", "책들", "들에", "에서", "서는", "책상"]),
        ("IT기업이 3월에", ["it", "기업", "업이", "3", "월", "월에"]),
        ("中國에 大學교", ["中國", "에", "大學", "교"]),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", ["한국"]),
        ("ㅋㅋㅋ ﾡￂ ㉮", ["\u110f\u110f\u110f", "가", "가"]),
        ("中国人", ["中国", "国人"]),
        ("中", ["中"]),
        ("2024年の夏", ["2024", "年の", "の夏"]),
        ("ﾊﾟｿｺﾝ", ["パソ", "ソコ", "コン"]),
        ("か\u3099く", ["がく"]),
        ("𠀀𠀁", ["𠀀𠀁"]),
        ("ภาษา", ["ภา", "าษ", "ษา"]),
        ("กี่ปี", ["กี่ปี"]),
        ("Python语言3", ["python", "语言", "3"]),
        ("㋿ ㌔", ["令和", "キロ"]),
        ("\u0301abc", ["abc"]),
    ],
)
def test_words_of_many_scripts(text: str, tokens: list[str]) -> None:
    assert tokenise(text) == tokens


def test_turkish_reads_the_dotless_i() -> None:
    assert tokenise("ISPARTA İzmir I\u0307zmir", turkic=True) == ["ısparta", "izmir", "izmir"]


def test_spans_point_into_the_text_as_given() -> None:
    text = "Die STRASSE — ½ ﾊﾟｿｺﾝ, it’s e\u0301te\u0301"
    assert [(text[start:end], token) for start, end, token in token_spans(text)] == [
        ("Die", "die"), ("STRASSE", "strasse"), ("½", "1"), ("½", "2"), ("ﾊﾟｿ", "パソ"), ("ｿｺ", "ソコ"),
        ("ｺﾝ", "コン"), ("it’s", "it's"), ("e\u0301te\u0301", "été"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("한국어 책을", ["한국어", "책을"]), ("IT기업이 3월에", ["it기업이", "3월에"]), ("日本語", ["日本", "本語"])],
)
def test_hangul_as_the_first_version_read_it(text: str, tokens: list[str]) -> None:
    assert tokenise(text, hangul=False) == tokens


def test_spans_of_hangul_that_is_not_composed() -> None:
    text = unicodedata.normalize("NFD", "도서관은")
    assert [(text[start:end], token) for start, end, token in token_spans(text)] == [
        (unicodedata.normalize("NFD", pair), pair) for pair in ("도서", "서관", "관은")
    ]


@given(TEXTS, st.booleans(), st.booleans())
def test_spans_agree_with_tokens(text: str, turkic: bool, hangul: bool) -> None:
    spans = list(token_spans(text, turkic=turkic, hangul=hangul))
    assert [token for _, _, token in spans] == tokenise(text, turkic=turkic, hangul=hangul)
    assert all(0 <= start < end <= len(text) for start, end, _ in spans)
    assert [start for start, _, _ in spans] == sorted(start for start, _, _ in spans)


@given(TEXTS, st.booleans())
def test_a_token_is_its_own_only_token_of_its_stretch(text: str, turkic: bool) -> None:
    for start, end, token in token_spans(text, turkic=turkic):
        assert token in tokenise(text[start:end], turkic=turkic)


@given(TEXTS)
def test_tokens_hold_nothing_that_breaks_storage(text: str) -> None:
    for token in tokenise(text):
        token.encode("utf-8")  # no lone surrogates
        assert token.strip()
        assert "\0" not in token
        assert len(token) <= MAX_WORD_LENGTH


@given(TEXTS)
def test_canonically_equal_texts_have_equal_tokens(text: str) -> None:
    assert tokenise(unicodedata.normalize("NFD", text)) == tokenise(unicodedata.normalize("NFC", text))


@given(TEXTS)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(TEXTS, st.integers(0, 12), st.booleans())
def test_pieces_together_have_the_tokens_of_the_text(text: str, size: int, turkic: bool) -> None:
    cut = list(pieces(text, size))
    assert "".join(cut) == text
    assert all(cut)
    assert [token for piece in cut for token in tokenise(piece, turkic=turkic)] == tokenise(text, turkic=turkic)


def test_pieces_are_of_the_size_that_is_asked_for() -> None:
    text = "heat transfer in hypersonic flow, and 高超音速流动中的传热。" * 1000
    sizes = [len(piece) for piece in pieces(text, 500)]
    assert len(sizes) > 60
    assert max(sizes) < 520


@given(st.text(st.characters(max_codepoint=127), max_size=80))
def test_ascii_path_agrees_with_the_plain_definition(text: str) -> None:
    assert tokenise(text) == re.findall(r"[a-z0-9]+(?:'[a-z0-9]+)*", text.lower())


@given(TEXTS)
def test_case_is_no_matter(text: str) -> None:
    ascii_only = text.encode("ascii", "ignore").decode()
    assert tokenise(ascii_only.upper()) == tokenise(ascii_only.lower())


def test_every_character_is_classed_as_unicode_says() -> None:
    """A run of letters and marks is never split, and what is neither never is a token, over all of Unicode."""
    patterns = _patterns()
    neither = []
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        category = unicodedata.category(char)
        if category[0] in "LN":
            assert patterns.surface.fullmatch(char), hex(code)
            assert patterns.piece.fullmatch(char) or char in "\uff9e\uff9f\u0e33\u0eb3", hex(code)
        elif category[0] in "CZ":
            neither.append(char)
        elif category[0] == "M":
            assert patterns.piece.fullmatch("a" + char), hex(code)
            assert not patterns.piece.match(char), hex(code)
    for found in patterns.piece.finditer("".join(neither)):
        for char in found[0]:
            assert 0x20000 <= ord(char) < 0x323B0, hex(ord(char))  # unassigned Han to be


def test_a_megabyte_of_one_word() -> None:
    assert tokenise("word " * 200_000) == ["word"] * 200_000
    assert tokenise("ぐ" * 300_000) == ["ぐぐ"] * 299_999


def test_a_megabyte_long_word_is_cut() -> None:
    for letter in "aé":
        text = letter * 1_000_000
        assert tokenise(text) == [letter * MAX_WORD_LENGTH]
        assert [(start, end) for start, end, _ in token_spans(text)] == [(0, len(text))]
    assert len(tokenise("\ufdfa" * 400)[0]) <= MAX_WORD_LENGTH  # one character that folds to eighteen


def test_a_character_under_a_thousand_marks() -> None:
    (token,) = tokenise("か" + "\u0301" * 5000)
    assert len(token) <= MAX_WORD_LENGTH


def test_forms_are_remembered_alike_whatever_the_path() -> None:
    assert surface_tokens("Plain Words") == ["plain", "words"]
    assert [tokens_of(form) for form in surface_tokens("Plain é")] == [[(0, 5, "plain")], [(0, 1, "é")]]
