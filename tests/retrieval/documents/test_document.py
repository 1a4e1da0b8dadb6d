"""Documents: the rules they keep, and how each broken rule is named."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import pickle
import sqlite3
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.retrieval import errors
from lexhound.retrieval.documents.document import MAX_METADATA_DEPTH, Document, validate_id
from lexhound.retrieval.documents.metadata import flatten
from lexhound.retrieval.errors import InvalidDocumentError


def test_a_document_is_a_frozen_value() -> None:
    document = Document("a", "text", "title", {"year": 1990})
    assert document == Document(id="a", text="text", title="title", metadata={"year": 1990})
    assert Document("a", "text").title == ""
    assert Document("a", "text").metadata == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        document.id = "b"  # type: ignore[misc]


def test_encoded_text_joins_title_and_text() -> None:
    assert Document("a", "some text", "A title").encoded_text == "A title some text"
    assert Document("a", "some text").encoded_text == "some text"
    assert Document("a", "", "A title").encoded_text == "A title "
    assert Document("a", "").encoded_text == ""


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "the id is empty"),
        ("a\0b", r"the id 'a\\x00b' contains a NUL byte"),
        ("a\nb", r"contains the control character U\+000A"),
        ("a\x7f", r"contains the control character U\+007F"),
        ("a\x85", r"contains the control character U\+0085"),
        ("\ud800", "half of a surrogate pair"),
        ("x" * 513, r"the id 'x{40}'… has 513 bytes; at most 512 are allowed"),
        ("é" * 257, "has 514 bytes"),
        ("x" * 10_000, "has 10,000 bytes"),
        (None, "must be a string, not null"),
        (5, r"must be a string, not an integer \(5\)"),
        (True, r"must be a string, not a boolean \(True\)"),
        (1.5, "not a floating-point number"),
        (["a"], r"not a list \(\['a'\]\)"),
        (b"a", "not a value of type bytes"),
    ],
)
def test_ids_that_are_none(value: Any, reason: str) -> None:
    with pytest.raises(InvalidDocumentError, match=reason) as caught:
        Document(value, "text")
    assert caught.value.hint
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", ["a", " ", "a b/c.txt", "x" * 512, "é" * 256, "\U0001f600", "\u200b", "-"])
def test_ids_that_are(value: str) -> None:
    assert validate_id(value) == value


@given(st.text(max_size=5) | st.text("\ud800\0\n\x85é", max_size=3))
def test_ids_by_the_rules(value: str) -> None:
    encodable = not any(0xD800 <= ord(character) <= 0xDFFF for character in value)
    control = any(ord(character) < 32 or 127 <= ord(character) < 160 for character in value)
    if value and encodable and not control:
        assert validate_id(value) == value
    else:
        with pytest.raises(InvalidDocumentError):
            validate_id(value)


@pytest.mark.parametrize("name", ["text", "title"])
def test_texts(name: str) -> None:
    def make(value: Any) -> Document:
        return Document(**{"id": "a", "text": "", **{name: value}})

    for bad, reason in [(None, "not null"), (5, "not an integer"), ("\udc00", "half of a surrogate pair")]:
        with pytest.raises(InvalidDocumentError, match=reason) as caught:
            make(bad)
        assert f"the {name} " in str(caught.value)
    with pytest.raises(InvalidDocumentError, match="has 67,108,865 bytes; at most 67,108,864"):
        make("x" * (64 * 2**20 + 1))


def test_nul_in_a_text_is_kept_and_survives_json_and_sqlite() -> None:
    document = Document("a", "be\0fore", "\0", {"field": "\0"})
    assert orjson.loads(orjson.dumps(document.text)) == "be\0fore"
    connection = sqlite3.connect(":memory:")
    assert connection.execute("SELECT ?", [document.text]).fetchone() == ("be\0fore",)
    connection.close()


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def in_itself() -> Any:
    value: list[Any] = []
    value += [value, value]
    return {"a": value}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (["a"], "metadata must be an object, not a list"),
        ({"a": float("nan")}, "the metadata field 'a' holds nan"),
        ({"a": {"b": [1, float("-inf")]}}, "the metadata field 'a.b' holds -inf"),
        ({"a": 2**63}, "the metadata field 'a' holds an integer of more than 64 bits"),
        ({"a": "\ud800"}, "the metadata field 'a' contains half of a surrogate pair"),
        ({"\ud800": 1}, r"a metadata field is named '\\ud800'"),
        ({5: 1}, "a metadata field is named 5"),
        ({"a": {None: 1}}, "a metadata field is named None"),
        ({"a": datetime.date(2026, 1, 31)}, "holds a value of type date"),
        ({"a": {1, 2}}, "holds a value of type set"),
        ({"a": b"x"}, "holds a value of type bytes"),
        (nested(MAX_METADATA_DEPTH + 1), "nested more than 32 levels deep"),
        (in_itself(), "nested more than 32 levels deep|more than 10,000 values"),
        ({"a": list(range(10_000))}, "more than 10,000 values"),
        ({"a": "x" * 2**20}, "takes more than 1,048,576 bytes"),
        ({"x" * 2**20: 1}, "takes more than 1,048,576 bytes"),
    ],
)
def test_metadata_that_is_none(metadata: Any, reason: str) -> None:
    with pytest.raises(InvalidDocumentError, match=reason):
        Document("a", "text", metadata=metadata)


def test_metadata_up_to_the_limits() -> None:
    for metadata in (
        nested(MAX_METADATA_DEPTH),
        {"a": list(range(9_999))},
        {"a": "x" * (2**20 - 1)},
        {"a": 2**63 - 1, "b": -(2**63)},
        {"": None, "a b": [], "c": {}, "d": (1, "x", True)},
    ):
        document = Document("a", "text", metadata=metadata)
        assert flatten(document.metadata) is not None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # What UTF-8 can encode, `st.text` without surrogates, is what JSON can.
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_valid_metadata_goes_through_json(metadata: dict[str, Any]) -> None:
    document = Document("a", "text", metadata=metadata)
    assert orjson.loads(orjson.dumps(document.metadata)) == metadata


def test_flattening() -> None:
    metadata = {
        "year": 1990,
        "open": True,
        "nothing": None,
        "tags": ["b", "a", "b", ["c", None]],
        "author": {"name": "Lin", "at": {"city": "Bonn"}},
        "authors": [{"name": "Lin"}, {"name": "Ada", "age": 3}],
        "same": [1, 1.0, True, "1"],
        "empty": [],
        "void": {},
        "": {"": 0.5},
    }
    assert flatten(metadata) == [
        ("year", 1990),
        ("open", 1),
        ("tags", "b"),
        ("tags", "a"),
        ("tags", "c"),
        ("author.name", "Lin"),
        ("author.at.city", "Bonn"),
        ("authors.name", "Lin"),
        ("authors.name", "Ada"),
        ("authors.age", 3),
        ("same", 1),
        ("same", "1"),
        (".", 0.5),
    ]
    assert type(dict(flatten(metadata))["open"]) is int


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_flat_pairs_fit_the_primary_key_of_the_metadata_table(metadata: dict[str, Any]) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE metadata(field TEXT NOT NULL, value NOT NULL, seq INTEGER NOT NULL, "
        "PRIMARY KEY(field, value, seq)) WITHOUT ROWID"
    )
    pairs = flatten(metadata)
    connection.executemany("INSERT INTO metadata VALUES (?, ?, 1)", pairs)
    stored = connection.execute("SELECT field, value FROM metadata").fetchall()
    connection.close()
    assert sorted(map(repr, stored)) == sorted(map(repr, pairs))


def every_error() -> list[type[errors.RetrievalError]]:
    found = [errors.RetrievalError]
    for kind in found:
        found.extend(child for child in kind.__subclasses__() if not child.__name__.startswith("_"))
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_of_its_module(kind: type[errors.RetrievalError]) -> None:
    if kind.__module__ != errors.__name__:
        pytest.fail(f"{kind.__name__} is defined in {kind.__module__}, not in the room's errors.py")
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.__doc__


def test_errors_say_what_where_and_what_to_do() -> None:
    error = errors.CorpusError("not JSON", where="corpus.jsonl, line 12", hint="write one object a line")
    assert str(error) == "corpus.jsonl, line 12: not JSON. Write one object a line."
    assert (error.message, error.where) == ("not JSON", "corpus.jsonl, line 12")
    assert str(errors.QueryError("k is negative")) == "k is negative"
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert (str(again), type(again)) == (str(error), type(error))
