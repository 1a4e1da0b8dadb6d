"""Filters as frameworks write them, against what Python makes of the same condition."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.retrieval import Collection
from lexhound.retrieval.errors import QueryError
from lexhound.retrieval.filters.expression import Comparison
from lexhound.retrieval.filters.parser import parse_filter
from lexhound.serve.integrations.filters import among, equal, from_mapping, literal, ordered

ROWS = (
    {"year": 1990, "lang": "en", "and": "x"},
    {"year": 1960.5, "lang": 'd"e\\\n'},
    {"lang": "fr", "open": True, "a `b`": 1},
    {},
)


@pytest.fixture(scope="module")
def passing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None], list[int]]:
    opened = Collection.create(tmp_path_factory.mktemp("filters") / "c", encoder="bm25")
    opened.add([{"id": str(number), "text": "x", "metadata": row} for number, row in enumerate(ROWS)])

    def ask(filter: str | None) -> list[int]:
        return [int(each) for each in opened.ids(filter or "exists id", allow_unknown_fields=True)]

    return ask


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({"lang": "en"}, [0]),
        ({"lang": 'd"e\\\n'}, [1]),
        ({"year": {"$gte": 1960, "$lt": 1990}}, [1]),
        ({"year": {"$gt": 1960.5}, "lang": "en"}, [0]),
        ({"year": {"$ne": 1990}}, [1, 2, 3]),
        ({"year": {"$lte": np.float64(1960.5)}}, [1]),
        ({"year": None}, [2, 3]),
        ({"year": {"$ne": None}}, [0, 1]),
        ({"lang": {"$in": ["en", "fr"]}}, [0, 2]),
        ({"lang": {"$in": ["en", None]}}, [0, 3]),
        ({"lang": {"$in": []}}, []),
        ({"lang": {"$nin": ["en", "fr"]}}, [1, 3]),
        ({"lang": {"$nin": []}}, [0, 1, 2, 3]),
        ({"open": True}, [2]),
        ({"and": "x"}, [0]),
        ({"a `b`": 1}, [2]),
        ({"year": {"$exists": False}}, [2, 3]),
        ({"$or": [{"lang": "en"}, {"open": True}]}, [0, 2]),
        ({"$and": [{"lang": "en"}, {"year": {"$eq": 1990}}]}, [0]),
        ({"$not": {"lang": "en"}}, [1, 2, 3]),
        ({"unknown": 1}, []),
        ({}, [0, 1, 2, 3]),
        ("lang = 'en'", [0]),
        ("", [0, 1, 2, 3]),
        (None, [0, 1, 2, 3]),
    ],
)
def test_mappings(passing: Callable[[str | None], list[int]], given: Any, passes: list[int]) -> None:
    assert passing(from_mapping(given)) == passes


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"$nor": []}, "'$nor'"),
        ({"year": {"gt": 3}}, "'gt'"),
        ({"year": [1]}, "list"),
        ({"year": float("nan")}, "nan"),
        ({"year": {"$in": "abc"}}, "'abc'"),
        ({"$or": {"a": 1}}, "$or"),
        ({"$and": []}, "no conditions"),
        ({"": 1}, "names the field"),
        (3, "int"),
    ],
)
def test_what_means_nothing_is_refused(given: Any, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        from_mapping(given)
    assert says in str(caught.value)


@given(
    st.text(), st.text(min_size=1) | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
)
def test_any_name_and_value_is_read_as_it_was_meant(value: str, name: Any) -> None:
    field, compared = (name, value) if isinstance(name, str) else ("f", name)
    read = parse_filter(equal(field, compared))
    assert isinstance(read, Comparison)
    assert read.field == field
    if not isinstance(compared, int) or abs(compared) < 2**63:
        assert read.value == compared


def test_dates_are_text() -> None:
    assert literal(date(2024, 5, 1)) == '"2024-05-01"'
    assert parse_filter(ordered("d", ">=", date(2024, 5, 1))) == Comparison("d", ">=", "2024-05-01")
    assert parse_filter(among("d", (date(2024, 5, 1),))).values == ("2024-05-01",)  # type: ignore[union-attr]
