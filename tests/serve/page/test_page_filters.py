"""The search page: filters that are ticked, ranges, and the expression that they write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from command import lines
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from page_notes import NOTES
from page_server import PageServer, build_collection
from page_visits import Visits, ids, parameters, until, wait_for_hits

from lexhound.retrieval.filters import And, Comparison, Expression, Membership, Not, Or, parse_filter

pytestmark = pytest.mark.browser


def test_boxes_and_ranges_write_an_expression(visit: Visits) -> None:
    page = visit("?c=attacked&q=heat")
    everything = wait_for_hits(page)
    page.get_by_role("checkbox", name="physics").check()
    until(page, "count => document.querySelectorAll('.hit').length < count", len(everything))
    expression = page.locator("#filter")
    assert expression.input_value() == 'topic = "physics"'
    page.get_by_role("checkbox", name="technology").check()
    assert expression.input_value() == 'topic in ("physics", "technology")'
    page.get_by_role("group", name="year").get_by_label("from").fill("2000")
    until(page, "document.querySelector('#filter').value.includes('year')")
    assert expression.input_value() == 'topic in ("physics", "technology") and year >= 2000'
    assert page.locator("#filter-count").inner_text() == "2"
    wanted = {n["_id"] for n in NOTES if n["topic"] in {"physics", "technology"} and n["year"] >= 2000}
    until(page, "count => document.querySelectorAll('.hit').length === count", len(wanted & set(everything)))
    assert set(ids(page)) == wanted & set(everything)
    assert parameters(page)["filter"] == expression.input_value()
    page.get_by_role("button", name="Clear filters").click()
    wait_for_hits(page, len(everything))
    assert expression.input_value() == ""
    assert "filter" not in parameters(page)


def test_the_expression_can_be_written_by_hand(visit: Visits) -> None:
    page = visit("?c=attacked&q=heat")
    wait_for_hits(page)
    page.locator("#filter").fill('lang = "en" and (year < 2000 or exists note)')
    old = {n["_id"] for n in NOTES if n["lang"] == "en" and n["year"] < 2000}
    until(page, "ids => [...document.querySelectorAll('.hit')].every(hit => ids.includes(hit.dataset.id))", sorted(old))
    assert page.get_by_role("checkbox", name=re.compile(r"^en\b")).is_checked()
    page.get_by_role("checkbox", name="medicine").check()
    assert (
        page.locator("#filter").input_value() == 'lang = "en" and topic = "medicine" and (year < 2000 or exists note)'
    )


def test_a_mistake_in_the_expression_is_told_beside_it(visit: Visits) -> None:
    visit.expected.append("400")
    page = visit(f"?c=attacked&q=heat&filter={quote('lang = en')}")
    trouble = page.locator("#filter-trouble")
    trouble.get_by_text("Put text in quotes").wait_for()
    assert page.locator("#filter").get_attribute("aria-invalid") == "true"
    page.locator("#filter").fill('lang = "en"')
    wait_for_hits(page)
    assert not trouble.is_visible()


FIELDS = st.sampled_from(
    ["lang", "year", "author.name", "page count", "and", "a`b", "x-y", "数", "naïve", "9lives", "in"]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.floats(allow_nan=False, allow_infinity=False))


@pytest.fixture(scope="module")
def composer(browser: Any, server: PageServer) -> Iterator[Callable[[str, Any], Any]]:
    """Run an expression over the page's own module `filter.js`, in the browser."""
    page = browser.new_page()
    page.goto(server.base)
    page.evaluate("async () => { globalThis.filters = await import(new URL('page/filter.js', document.baseURI)); }")
    yield page.evaluate
    page.close()


@settings(max_examples=examples(150))
@given(st.dictionaries(FIELDS, st.lists(st.one_of(TEXTS, NUMBERS), min_size=1, max_size=4), min_size=1, max_size=4))
@example({"note": ['"\\', "\n", "\\n", "'", "\u2028"]})
def test_written_filters_mean_what_was_chosen(
    composer: Callable[[str, Any], Any], chosen: dict[str, list[Any]]
) -> None:
    text = composer(
        """chosen => filters.expressionOf({
          ...filters.nothing(), values: new Map(chosen.map(([field, values]) => [field, new Set(values)])) })""",
        list(chosen.items()),
    )
    wanted: list[Expression] = []
    for field, values in chosen.items():
        distinct = tuple(dict.fromkeys(values))
        wanted.append(Comparison(field, "=", distinct[0]) if len(distinct) == 1 else Membership(field, distinct))
    assert parse_filter(text) == (wanted[0] if len(wanted) == 1 else And(tuple(wanted)))
    assert composer("text => filters.expressionOf(filters.choicesOf(text))", text) == text


def quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


NAMES = st.sampled_from(["lang", "year", "`a b`"])
VALUES = st.one_of(st.sampled_from(["en", 'a "b"', "x and y"]), st.integers(-9, 9)).map(quoted)
CONDITIONS = st.one_of(
    st.tuples(NAMES, st.sampled_from(["=", "==", "!=", "<", "<=", ">", ">="]), VALUES).map(" ".join),
    st.builds(
        lambda name, word, values: f"{name} {word} ({', '.join(values)})",
        NAMES,
        st.sampled_from(["in", "not in", "IN"]),
        st.lists(VALUES, min_size=1, max_size=3),
    ),
    st.sampled_from(["exists lang", "not exists year", "NOT lang = 'en'", "flag = true"]),
)
EXPRESSIONS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(lambda a, b, w: f"{a} {w} {b}", inner, inner, st.sampled_from(["and", "or", "AND"])),
        st.builds(lambda a: f"({a})", inner),
        st.builds(lambda a: f"not ({a})", inner),
    ),
    max_leaves=6,
)


def conjuncts(expression: Expression) -> list[str]:
    """The conditions of an expression that must all hold, in a form that does not depend on their order."""
    if isinstance(expression, And):
        return sorted({part for operand in expression.operands for part in conjuncts(operand)})
    if isinstance(expression, Or):
        return ["or(" + "; ".join("&".join(conjuncts(operand)) for operand in expression.operands) + ")"]
    if isinstance(expression, Not):
        return ["not(" + "&".join(conjuncts(expression.operand)) + ")"]
    if isinstance(expression, Membership) and len(expression.values) == 1 and not expression.negated:
        expression = Comparison(expression.field, "=", expression.values[0])
    return [repr(expression)]


@settings(max_examples=examples(200))
@given(EXPRESSIONS)
@example('lang = "en" and lang = "de"')
@example("year >= 3 and year >= 5 and year <= 9")
@example("lang = 'it\\'s' or year = 1")
def test_reading_and_writing_an_expression_keeps_its_meaning(composer: Callable[[str, Any], Any], text: str) -> None:
    written = composer("text => filters.expressionOf(filters.choicesOf(text))", text)
    assert conjuncts(parse_filter(written)) == conjuncts(parse_filter(text))


LARGE = [2**53 + 1, 2**53 + 3, -(2**63), 2**63 - 1, 10**16 + 1]


@settings(max_examples=examples(60))
@given(st.lists(st.one_of(st.sampled_from(LARGE), st.integers(-(2**63), 2**63 - 1), TEXTS), min_size=1, max_size=5))
def test_integers_of_64_bits_are_read_shown_and_written_as_they_are(
    composer: Callable[[str, Any], Any], values: list[int | str]
) -> None:
    shown, text, again = composer(
        """async text => {
          const { parse } = await import(new URL("page/exact.js", document.baseURI));
          const { found } = parse(text);
          const chosen = { ...filters.nothing(), values: new Map([["n", new Set(found)]]) };
          const written = filters.expressionOf(chosen);
          return [found.map(String), written, filters.expressionOf(filters.choicesOf(written))];
        }""",
        json.dumps({"score": 0.12345678901234567, "found": values}),
    )
    assert shown == [str(value) for value in values]
    distinct = tuple(dict.fromkeys(values))
    assert parse_filter(text) == (
        Comparison("n", "=", distinct[0]) if len(distinct) == 1 else Membership("n", distinct)
    )
    assert again == text


def test_a_large_integer_is_shown_and_ticked_as_it_is(visits: Callable[[str], Visits], tmp_path: Path) -> None:
    documents = [
        {"id": "even", "text": "heat", "account": 2**53, "near": [{"deep": 2**63 - 1}]},
        {"id": "odd", "text": "heat", "account": 2**53 + 1, "near": [{"deep": 2**63 - 2}]},
    ]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_bytes(lines(*documents))
    build_collection(corpus, tmp_path / "data" / "big.index")
    with PageServer(tmp_path / "data") as server:
        page = visits(server.base)("?q=heat")
        wait_for_hits(page, 2)
        for document in documents:
            told = page.locator(f'.hit[data-id="{document["id"]}"] .facts').inner_text()
            assert str(document["account"]) in told
            assert str(document["near"][0]["deep"]) in told
        page.get_by_role("checkbox", name=str(2**53 + 1)).check()
        assert wait_for_hits(page, 1) == ["odd"]
        assert page.locator("#filter").input_value() == f"account = {2**53 + 1}"
        page.locator(".hit h2 a").click()
        page.locator("#detail .metadata").get_by_text(str(2**53 + 1)).wait_for()


def test_the_numbers_beside_boxes_are_those_of_the_query(visit: Visits) -> None:
    page = visit("?c=attacked&q=")
    box = page.locator("label.box", has_text="physics")
    box.wait_for()
    everything = int(box.locator(".amount").inner_text())
    assert everything == sum(note["topic"] == "physics" for note in NOTES)
    page.locator("#query").fill("heat")
    found = wait_for_hits(page)
    physics = sum(note["topic"] == "physics" for note in NOTES if note["_id"] in found)
    assert physics < everything
    until(
        page,
        """wanted => [...document.querySelectorAll("label.box")].some(
          label => label.innerText.startsWith("physics") && label.querySelector(".amount").textContent === wanted)""",
        str(physics),
    )
