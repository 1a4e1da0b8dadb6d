"""Elements of a JSON array that comes in pieces, beside `json.loads` of the whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.core.json_arrays import ArrayError, ArraySplitter, Element

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def split(data: bytes, size: int, limit: int = 10**6) -> list[Element]:
    splitter = ArraySplitter(limit)
    found = [each for start in range(0, len(data), size) for each in splitter.feed(data[start : start + size])]
    splitter.end()
    return found


@given(values=st.lists(VALUES, max_size=5), size=st.integers(1, 40), indent=st.sampled_from([None, 0, 2]))
def test_elements_are_those_of_the_whole_wherever_it_is_cut(
    values: list[object], size: int, indent: int | None
) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=False).encode()
    found = split(data, size)
    assert [json.loads(each.json or b"") for each in found] == values
    text = data.decode()
    for each, value in zip(found, values, strict=True):
        assert each.json is not None
        first = each.json.splitlines()[0].decode()
        assert first in text.split("\n")[each.line - 1], (value, each.line)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_an_element_that_is_too_long_costs_itself_alone(size: int) -> None:
    data = b'[\n{"a": 1},\n{"b": "' + b"x" * 60 + b'",\n "c": [1, 2]},\n3]'
    found = split(data, size, limit=20)
    assert found == [Element(b'{"a": 1}', 2), Element(None, 3), Element(b"3", 5)]


@pytest.mark.parametrize(
    ("data", "fault", "count", "line"),
    [
        (b'{"a": 1}', "no array", 0, 1),
        (b"[1,\n2]\nmore", "no array", 2, 3),
        (b"[1] [2]", "no array", 1, 1),
        (b"[1,\n,2]", "comma", 1, 2),
        (b"[1,\n2,]", "comma", 2, 2),
        (b"[1,\n2", "breaks off", 1, 2),
        (b'[1,\n"2', "breaks off", 1, 2),
        (b"", "no array", 0, 1),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_what_is_no_array_is_told_where(data: bytes, fault: str, count: int, line: int, size: int) -> None:
    with pytest.raises(ArrayError) as raised:
        split(data, size)
    assert (raised.value.fault, raised.value.count) == (fault, count)
    assert raised.value.line == line
