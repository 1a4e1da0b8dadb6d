"""Queries made of documents: what each kind promises, on texts of many scripts."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.encoders.errors import SettingsError
from lexhound.encoders.text.tokenizer import tokenise
from lexhound.training.data.query_generation import KINDS, PseudoQuery, pseudo_queries, sentences

ENGLISH = (
    "The boundary layer on a flat plate grows with distance, as Smith et al. (1951) have shown. Is it laminar? "
    "Transition depends on the Reynolds number, e.g. at supersonic speeds. Dr. Jones measured 3.5 times the heat "
    "transfer in Fig. 3 of that report! Nothing else was found."
)
JAPANESE = "平板上の境界層は距離とともに成長する。遷移はレイノルズ数に依存するのか？熱伝達は三倍になると報告された。"
ARABIC = "تنمو الطبقة الحدية على لوح مسطح مع المسافة. هل هي صفائحية؟ يعتمد الانتقال على عدد رينولدز في السرعات العالية."
HINDI = "सीमा परत दूरी के साथ बढ़ती है। क्या यह समतल है? संक्रमण रेनॉल्ड्स संख्या पर निर्भर करता है।"

words = st.sampled_from(["wing", "flow", "Heat.", "shock!", "the", "東京都", "x", "é", "3.5", "\n\n", "—", "flow"])
documents = st.lists(st.lists(words, max_size=60).map(" ".join) | st.text(max_size=40), max_size=5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENGLISH, ["The boundary", "Is it", "Transition", "Dr. Jones", "Nothing"]),
        (JAPANESE, ["平板上", "遷移は", "熱伝達"]),
        (ARABIC, ["تنمو", "هل", "يعتمد"]),
        (HINDI, ["सीमा", "क्या", "संक्रमण"]),
        ('He said "no." Then he left.', ["He said", "Then"]),
        ("A heading\n\nThe text of\none line.", ["A heading", "The text of one"]),
        ("J. R. Smith met U.S. officials.", ["J. R. Smith"]),
        ("It costs 3.5 dollars... maybe.", ["It costs"]),
        ("no stop at all", ["no stop"]),
        (" \n\n ", []),
        ("...", ["..."]),
    ],
)
def test_sentences_of_many_scripts(text: str, expected: list[str]) -> None:
    found = sentences(text)
    assert len(found) == len(expected), found
    assert all(sentence.startswith(start) for sentence, start in zip(found, expected, strict=True))


@given(st.text(alphabet=".!? \n。ab'\"", max_size=40))
def test_no_word_is_lost_between_sentences(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(documents, st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 9))
def test_what_every_query_promises(texts: list[str], kinds: list[str], per_document: int, seed: int) -> None:
    found = pseudo_queries(texts, kinds=kinds, per_document=per_document, seed=seed)
    assert found == pseudo_queries(texts, kinds=kinds, per_document=per_document, seed=seed)
    assert [query.document for query in found] == sorted(query.document for query in found)
    assert len({query.text.casefold() for query in found}) == len(found)
    removed: set[int] = set()
    for query in found:
        assert query.kind in kinds
        assert sum(other.document == query.document for other in found) <= per_document
        tokens, text = tokenise(query.text), texts[query.document]
        assert tokens
        assert query.text == " ".join(query.text.split())
        flat = " ".join(text.split())
        if query.kind == "sentence":
            assert 6 <= len(tokens) <= 45
            assert query.text in flat
            assert query.remaining_text is None
        elif query.kind == "span":
            assert query.text in flat
            if query.remaining_text is not None:
                assert query.document not in removed  # one a document at most
                removed.add(query.document)
        else:
            assert 2 <= len(query.text.split()) <= 6
            assert query.remaining_text is None
            assert all(word in text for word in query.text.split())


def only(kind: str, texts: list[str], seed: int = 0) -> list[PseudoQuery]:
    return pseudo_queries(texts, kinds=[kind], per_document=1, seed=seed)


def test_a_span_is_cut_out_of_its_document() -> None:
    spans = [only("span", [ENGLISH], seed) for seed in range(50)]
    lengths = set()
    for (query,) in spans:
        lengths.add(len(tokenise(query.text)))
        if query.remaining_text is None:
            continue
        # Put back where it was cut, it gives the document again.
        before = next(
            place for place in range(len(ENGLISH)) if ENGLISH[place:].startswith(query.text)
            and f"{ENGLISH[:place].rstrip()} {ENGLISH[place + len(query.text) :].lstrip()}".strip()
            == query.remaining_text
        )  # fmt: skip
        assert before >= 0
    assert min(lengths) >= 8
    assert max(lengths) <= len(tokenise(ENGLISH)) // 2
    assert len(lengths) > 5
    assert len({query.text for (query,) in spans}) > 25


def test_nine_spans_of_ten_are_cut_out() -> None:
    found = only("span", [f"{ENGLISH} {number}" for number in range(300)])
    assert abs(np.mean([query.remaining_text is not None for query in found]) - 0.9) < 0.06


def test_spans_and_sentences_without_spaces_between_words() -> None:
    (span,) = only("span", [JAPANESE])
    assert span.text in JAPANESE
    assert len(span.remaining_text or "") < len(JAPANESE)
    (sentence,) = only("sentence", [JAPANESE])
    assert sentence.text in sentences(JAPANESE)


def test_keywords_are_drawn_in_proportion_to_squared_idf() -> None:
    # "common" is in every document, the others in one each.
    texts = [f"common rare{number} seldom{number} unique{number}" for number in range(400)]
    found = only("keywords", texts)
    assert len({query.text for query in found}) == len(found)
    drawn = [re.sub(r"\d", "", word) for query in found for word in query.text.split()]
    assert drawn.count("common") <= len(found) // 100
    for word in ("rare", "seldom", "unique"):
        assert 0.25 < drawn.count(word) / len(drawn) < 0.42
    # Half of a document's words at most: two of four here.
    assert all(len(query.text.split()) == 2 for query in only("keywords", texts))


def test_keywords_leave_out_numbers_and_crumbs() -> None:
    texts = ["1951 12 is a of an 東京都 wing laminar turbulent heat"] * 1
    for seed in range(30):
        for query in only("keywords", texts, seed):
            assert not {"1951", "12", "is", "a", "of", "an"} & set(query.text.split())


def test_all_kinds_have_their_turn() -> None:
    texts = [" ".join(f"{one[:-1]} {number}{one[-1]}" for one in sentences(ENGLISH)) for number in range(100)]
    one = pseudo_queries(texts, kinds=KINDS, per_document=1, seed=0)
    counts = {kind: sum(query.kind == kind for query in one) for kind in KINDS}
    assert len(one) > 90
    assert min(counts.values()) > 8
    several = pseudo_queries(texts, kinds=KINDS, per_document=3, seed=0)
    row_0 = [query.kind for query in several if query.document == 0]
    assert sorted(row_0) == sorted(KINDS)


def test_a_document_draws_the_same_whatever_stands_beside_it() -> None:
    alone = pseudo_queries([ENGLISH], kinds=["span", "sentence"], per_document=2, seed=3)
    among = pseudo_queries([JAPANESE, ENGLISH, HINDI], kinds=["span", "sentence"], per_document=2, seed=3)
    assert [query.text for query in alone] == [query.text for query in among if query.document == 1]
    other = pseudo_queries([ENGLISH], kinds=["span", "sentence"], per_document=2, seed=4)
    assert [query.text for query in other] != [query.text for query in alone]


def test_queries_that_two_documents_share_are_left_out_once() -> None:
    # Four words of which two are drawn: among a hundred documents of the same words, the same pairs come again.
    found = only("keywords", [f"wing flow heat plate {'.' * number}" for number in range(100)])
    assert len(found) <= 12
    assert len({query.text.casefold() for query in found}) == len(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ["sentense"]}, "sentense"),
        ({"kinds": []}, "no kind"),
        ({"per_document": 0}, "per_document is 0"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        pseudo_queries(["a", "b"], **{"kinds": ["span"], "per_document": 1, "seed": 0, **options})
    assert caught.value.hint


def test_nothing_to_make_queries_of() -> None:
    assert pseudo_queries([], kinds=KINDS, per_document=3, seed=0) == []
    assert pseudo_queries(["", " ", "!?", "one"], kinds=KINDS, per_document=3, seed=0) == []
