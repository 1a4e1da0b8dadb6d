"""The text of filters: what is written, what is parsed, and where an error is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs.filter_expressions import expressions

from lexhound.retrieval.errors import FilterSyntaxError
from lexhound.retrieval.filters import (
    And,
    Comparison,
    Exists,
    Expression,
    Membership,
    Not,
    Or,
    parse_filter,
)


def written(tree: Expression) -> str:
    """An expression as text, with every subexpression in parentheses."""

    def field(name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def value(item: Any) -> str:
        if not isinstance(item, str):
            return repr(item)
        return '"' + item.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    if isinstance(tree, Comparison):
        return f"{field(tree.field)} {tree.operator} {value(tree.value)}"
    if isinstance(tree, Membership):
        word = "not in" if tree.negated else "in"
        return f"{field(tree.field)} {word} ({', '.join(value(item) for item in tree.values)})"
    if isinstance(tree, Exists):
        return f"exists {field(tree.field)}"
    if isinstance(tree, Not):
        return f"not ({written(tree.operand)})"
    word = " and " if isinstance(tree, And) else " or "
    return word.join(f"({written(operand)})" for operand in tree.operands)


def simplified(tree: Expression) -> Expression:
    """Two `not` in a row are none."""
    if isinstance(tree, Not):
        inner = simplified(tree.operand)
        return inner.operand if isinstance(inner, Not) else Not(inner)
    if isinstance(tree, (And, Or)):
        return type(tree)(tuple(simplified(operand) for operand in tree.operands))
    return tree


@given(expressions)
def test_what_is_written_is_parsed_back(expression: Expression) -> None:
    assert parse_filter(written(expression)) == simplified(expression)


@settings(max_examples=examples(300))
@given(st.text(alphabet="ab1.\"'`()=<>!, \\\n-andotrisx\ud800", max_size=25))
def test_any_text_is_parsed_or_pointed_at(text: str) -> None:
    error = None
    try:
        parse_filter(text)
    except FilterSyntaxError as caught:
        error = caught
    if error is not None:
        assert 0 <= error.position <= len(text)
        assert len(str(error).splitlines()) in (3, 4)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "expected a field name, 'not', 'exists' or '(', but the expression ends"),
        ("year", 4, "expected a comparison (= != < <= > >=), 'not' or 'in', but the expression ends"),
        ("year >=", 7, "expected text in quotes, a number, true or false, but the expression ends"),
        ("year >= and lang", 8, "but found 'and'"),
        ("lang = en", 7, "but found 'en'"),
        ("a < `\n`", 4, r"but found '`\n`'"),
        ("year = 1990 lang = 2", 12, "expected 'and', 'or' or the end, but found 'lang'"),
        ("a in ()", 6, "expected text in quotes, a number, true or false, but found ')'"),
        ("a in (1", 7, "expected ',' or ')', but the expression ends"),
        ("(a = 1", 6, "expected ')', but the expression ends"),
        ("a = 1)", 5, "expected the end, but found ')'"),
        ("a = 'x", 4, "this quote is never closed"),
        ("`a = 1", 0, "this backquote is never closed"),
        ("a = 1 && b = 2", 6, "unexpected '&'"),
        ("day = 2020-01-31", 6, "not a number"),
        ("a = 1e999", 4, "the number is too large"),
        ("a = 12345678901234567890123", 4, "an integer of more than 64 bits"),
        ("a in (1, -99999999999999999999)", 9, "an integer of more than 64 bits"),
        ("a != " + "9" * 5000, 5, "the number is too large"),
        (r'a = "x\d"', 6, r"there is no escape \d"),
        ('a = "\ud800"', 5, "half of a surrogate pair"),
        ("(" * 65 + "a = 1" + ")" * 65, 64, "nested more than 64 deep"),
        ("a = 1 or " * 8000 + "a = 1", 65_536, "longer than 65,536 characters"),
    ],
)
def test_syntax_errors_point_at_the_character(text: str, position: int, reason: str) -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        parse_filter(text)
    assert caught.value.position == position
    assert reason in caught.value.reason
    assert caught.value.text == text


def test_the_picture_of_a_syntax_error() -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        parse_filter("lang = en or x = 1")
    assert str(caught.value).splitlines() == [
        "filter, character 8: expected text in quotes, a number, true or false, but found 'en'",
        "  lang = en or x = 1",
        "         ^",
        'Put text in quotes: "en".',
    ]


def test_the_caret_stands_under_wide_and_after_cut_text() -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        parse_filter('語 = "日本" x')
    assert str(caught.value).splitlines()[1:] == ['  語 = "日本" x', "              ^"]
    long = " and ".join(f"field{number} = {number}" for number in range(40))
    with pytest.raises(FilterSyntaxError) as caught:
        parse_filter(f"{long} oops")
    shown, caret = str(caught.value).splitlines()[1:]
    assert shown[caret.index("^") :] == "oops"
    assert len(shown) < 80


def test_errors_survive_pickling() -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        parse_filter("a = b")
    again = copy.copy(caught.value)
    assert (str(again), again.position) == (str(caught.value), 4)
