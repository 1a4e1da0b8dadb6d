"""JSON that is read so that nothing in it is altered, against Python's own reader, slow and told to keep every pair."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.core.strict_json import json_fault, parse_json

KEYS = st.sampled_from(["a", "b", ":", '"', "\\", '\\":', "ü", "a:1"])
TEXTS = st.one_of(KEYS, st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.just("9" * 25))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
    st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**64), 10**30, 10**18]),
    TEXTS,
)


class Pairs(list[tuple[str, Any]]):
    """An object as it is written: keys may stand twice."""


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.lists(st.tuples(KEYS, inner), max_size=3).map(Pairs)),
    max_leaves=8,
)


def written(value: Any, escaped: bool, space: str) -> str:
    if isinstance(value, Pairs):
        pairs = (
            f"{json.dumps(key, ensure_ascii=escaped)}{space}:{written(each, escaped, space)}" for key, each in value
        )
        return "{" + f",{space}".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + f"{space},".join(written(each, escaped, space) for each in value) + "]"
    return json.dumps(value, ensure_ascii=escaped)


def repeats(value: Any) -> bool:
    if isinstance(value, Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(repeats(each) for _, each in value)
    return isinstance(value, list) and any(repeats(each) for each in value)


@settings(max_examples=examples(400))
@given(VALUES, st.booleans(), st.sampled_from(["", " ", "\n\t"]))
def test_nothing_is_altered(value: Any, escaped: bool, space: str) -> None:
    text = written(value, escaped, space).encode()
    if repeats(value):
        with pytest.raises(orjson.JSONDecodeError) as caught:
            parse_json(text)
        assert "occurs twice in one object" in json_fault(caught.value)
    else:
        found = parse_json(text)
        assert found == json.loads(text)
        assert json.dumps(found) == json.dumps(json.loads(text))  # 1, 1.0 and true are told apart


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b'{"a": {"b": 1, "\\u0062": 2}}', "the key 'b' occurs twice in one object"),
        (b'["\\ud800"]', "not JSON: half of a surrogate pair, which is not a character, at column 3"),
        (b'["\\udc00\\ud800"]', "not JSON: half of a surrogate pair, which is not a character, at column 3"),
        (b"[1e400]", "not JSON: number is infinity when parsed as double at column 2"),
        (b"[NaN]", "not JSON: unexpected character"),
        (b"9" * 400, "not JSON: number is infinity when parsed as double at column 1"),
        (b"[" * 5000, "not JSON: depth limit exceeded"),
        (b'{"a": "\xff"}', "not JSON: "),
        (b"", "not JSON: "),
    ],
)
def test_what_is_wrong_is_said(text: bytes, fault: str) -> None:
    with pytest.raises(orjson.JSONDecodeError) as caught:
        parse_json(text)
    assert json_fault(caught.value).startswith(fault)
