"""Bodies taken apart as they stream: the same documents however the pieces are cut."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.retrieval import Document
from lexhound.retrieval.corpus import open_corpus
from lexhound.serve.api.bulk.body import Elements, Lines, Rejected, parse_document
from lexhound.serve.api.http.exceptions import RequestError

LIMIT = 1000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.sampled_from(['"', "\\", '\\"', "[{", "}],"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def split(splitter: Any, parts: list[bytes]) -> list[bytes | None]:
    found = [each for part in parts for each in splitter.feed(part)]
    return [*found, *splitter.end()]


@given(
    values=st.lists(VALUES, max_size=6),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
    indent=st.sampled_from([None, 1]),
    plain=st.booleans(),
    space=st.sampled_from([b"", b" \r\n\t"]),
)
def test_elements_of_an_array(
    values: list[Any], cuts: list[int], indent: int | None, plain: bool, space: bytes
) -> None:
    body = space + json.dumps(values, indent=indent, ensure_ascii=plain).encode("utf-8", "surrogatepass") + space
    found = split(Elements(10**6), pieces(body, cuts))
    assert [json.loads(each) for each in found if each is not None] == values
    assert len(found) == len(values)


@given(values=st.lists(VALUES, max_size=6), cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_lines(values: list[Any], cuts: list[int]) -> None:
    body = b"\n\r\n".join(json.dumps(value).encode() for value in values) + b"\n"
    found = split(Lines(10**6), pieces(body, cuts))
    assert [json.loads(each) for each in found if each is not None] == values


@given(
    sizes=st.lists(st.sampled_from([1, 10, LIMIT - 10, LIMIT + 1, 3 * LIMIT]), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 10_000), max_size=40),
)
@pytest.mark.parametrize("kind", [Lines, Elements])
def test_one_too_long_is_passed_over_and_the_others_are_not(
    kind: type[Lines] | type[Elements], sizes: list[int], cuts: list[int]
) -> None:
    texts = [json.dumps(str(number) + "x" * size) for number, size in enumerate(sizes)]
    body = ("\n".join(texts) if kind is Lines else f"[{','.join(texts)}]").encode()
    found = split(kind(LIMIT), pieces(body, cuts))
    assert len(found) == len(texts)
    for text, each in zip(texts, found, strict=True):
        assert each == (text.encode() if len(text) <= LIMIT else None)


@pytest.mark.parametrize("text", ['["a","b"', '["a",', '["a","b",]', '["a" ', '[{"a": "b"', '["a', "[", '["\\"'])
def test_an_array_that_breaks_off_gives_what_came_before(text: str) -> None:
    splitter = Elements(LIMIT)
    found = []
    with pytest.raises(RequestError) as caught:  # noqa: PT012  either step may raise
        found += list(splitter.feed(text.encode()))
        found += list(splitter.end())
    assert caught.value.status == 400
    assert all(each is not None and json.loads(each) in ("a", "b") for each in found)


@pytest.mark.parametrize(
    "text", ["", " ", "{}", '"a"', "1", "[]]", "[] []", "[],", "a[]", ",", "}", "[1}", "[,1]", "null"]
)
def test_what_is_no_array_is_refused(text: str) -> None:
    splitter = Elements(LIMIT)
    with pytest.raises(RequestError):
        split(splitter, [text.encode()])


def test_a_very_long_array_needs_no_more_memory_than_one_document() -> None:
    splitter = Elements(LIMIT)
    count = sum(1 for _ in splitter.feed(b"["))
    for _ in range(5000):
        count += sum(1 for _ in splitter.feed(b'{"id": "a", "text": "' + b"x" * 50 + b'"},'))
        assert len(splitter._splitter._rest) <= LIMIT
    count += sum(1 for _ in splitter.feed(b"1]"))
    assert count == 5001
    assert list(splitter.end()) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (None, "bytes"),
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b'{"text": "x"}', "no id"),
        (b'{"id": "a"}', "no text"),
        (b'{"id": [3], "text": "x"}', "must be a string"),
        (b'{"id": true, "text": "x"}', "must be a string"),
        (b'{"id": null, "text": "x"}', "no id"),
        (b'{"id": "a", "text": null}', "no text"),
        (b'{"id": "a", "text": 3}', "text must be a string"),
        (b'{"id": "", "text": "x"}', "empty"),
        (b'{"id": "a", "text": "x", "metadata": []}', "metadata must be an object"),
        (b'{"id": "a", "text": "x", "metadata": null}', "metadata must be an object"),
        (b'{"id": "a", "text": "x", "title": 1}', "title must be a string"),
        (b'{"id": "a\\n", "text": "x"}', "control character"),
        (b"\xff", "not JSON"),
    ],
)
def test_documents_that_are_none_say_why(line: bytes | None, says: str) -> None:
    found = parse_document(line, LIMIT)
    assert isinstance(found, Rejected)
    assert says in found.message
    assert found.hint is not None
    assert "--" not in found.hint, "a hint for the command line"


@pytest.mark.parametrize(
    "row",
    [
        {"_id": "a", "text": "x", "year": 1958, "deep": {"b": [1, None]}},
        {"docid": "a", "contents": "x", "metadata": {"year": 1958, "lang": "en"}, "year": 1960},
        {"id": None, "_id": "a", "text": None, "body": "x", "title": None},
        {"id": "a", "_id": "b", "text": "x", "body": "y"},
        {"id": -7, "text": ""},
        {"id": "a", "text": "x", "metadata": {}},
    ],
)
def test_a_row_is_what_it_is_in_a_file(row: dict[str, object], tmp_path: Path) -> None:
    line = json.dumps(row).encode()
    file = tmp_path / "rows.jsonl"
    file.write_bytes(line)
    assert [parse_document(line, LIMIT)] == list(open_corpus(file))


def test_a_row_that_cannot_be_stored_is_told_by_any_name_of_its_id() -> None:
    for name in ("id", "_id", "docid"):
        found = parse_document(json.dumps({name: "a"}).encode(), LIMIT)
        assert isinstance(found, Rejected)
        assert found.id == "a"


def test_a_document() -> None:
    found = parse_document(b'{"id": "a", "text": "x", "title": "t", "metadata": {"n": [1, null]}}', LIMIT)
    assert found == Document("a", "x", "t", {"n": [1, None]})
