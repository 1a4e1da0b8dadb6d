"""Every example of docs/filters.md is run, and does what stands beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from repository import ROOT

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.errors import FilterSyntaxError, QueryError, UnknownFieldError
from lexhound.retrieval.filters import parse_filter
from tests.support.plain_selection import matches

PAGE = (ROOT / "docs" / "filters.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return [line for block in re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]


def examples(kind: str, sign: str) -> list[tuple[str, str]]:
    pairs = [line.rsplit(sign, 1) for line in blocks(kind)]
    return [(expression.strip(), told.strip()) for expression, told in pairs]


DOCUMENTS = [json.loads(line) for line in blocks("jsonl")]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection.create(tmp_path_factory.mktemp("filters") / "my.index") as made:
        for row in DOCUMENTS:
            metadata = {name: value for name, value in row.items() if name not in ("id", "title", "text")}
            made.add([Document(row["id"], row["text"], row.get("title", ""), metadata)])
        yield made


def test_the_page_has_examples() -> None:
    assert len(DOCUMENTS) == 5
    assert len(examples("filter", "→")) > 40
    assert len(examples("filter-error", "✗")) > 10
    shown = " ".join(expression for expression, _ in examples("filter", "→"))
    for sign in ("=", "==", "!=", "<", "<=", ">", ">=", " in ", " not in ", "exists ", " and ", " or ", "not ", "true"):
        assert sign in shown, sign


@pytest.mark.parametrize(("expression", "ids"), examples("filter", "→"))
def test_examples_pass_what_stands_beside_them(collection: Collection, expression: str, ids: str) -> None:
    assert collection.ids(expression) == ids.split()
    assert [row["id"] for row in DOCUMENTS if matches(parse_filter(expression), row)] == ids.split()


@pytest.mark.parametrize(("expression", "message"), examples("filter-error", "✗"))
def test_errors_say_what_stands_beside_them(collection: Collection, expression: str, message: str) -> None:
    with pytest.raises(QueryError) as refused:
        collection.ids(expression)
    assert message.lower() in str(refused.value).lower()
    assert isinstance(refused.value, FilterSyntaxError | UnknownFieldError)
    if isinstance(refused.value, UnknownFieldError):
        collection.ids(expression, allow_unknown_fields=True)
