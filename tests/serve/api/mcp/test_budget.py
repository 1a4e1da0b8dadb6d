"""Answers of tools within a number of characters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.retrieval import Collection, Document
from lexhound.serve.api.mcp.answers import CollectionsAnswer, document_uri
from lexhound.serve.api.mcp.budget import as_json, collections_answer, shares
from lexhound.serve.api.mcp.tools import describe, get, request_of, search

FILLER = 'Nothing of note was seen here, and the log says "so".\n' * 200


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    opened = Collection.create(tmp_path_factory.mktemp("budget") / "c", encoder="bm25")
    texts = (
        "a wing",
        f"{FILLER}The wing stalls at a high angle of attack.\n{FILLER}",
        f"wing {FILLER}",
        '\n"\\' * 3000,
    )
    documents = [Document(f"d{n}", text, f"Report {n}", {"year": 1950 + n}) for n, text in enumerate(texts)]
    opened.add([*documents, *(Document(f"w{n}", f"wing {n} {FILLER}", "T" * 300) for n in range(50))])
    return opened


@given(st.lists(st.integers(0, 100), max_size=8), st.integers(-10, 400))
def test_shares_are_fair(lengths: list[int], total: int) -> None:
    shared = shares(lengths, total)
    assert sum(shared) <= max(0, total)
    assert all(share <= length for share, length in zip(shared, lengths, strict=True))
    cut = [share for share, length in zip(shared, lengths, strict=True) if share < length]
    assert not cut or max(shared) - min(cut) <= 1, "who is cut has as much as any other, but for a rest of one"
    if sum(lengths) <= total:
        assert shared == lengths, "nothing is cut without need"


@pytest.mark.parametrize("characters", [500, 1000, 4000, 20_000])
@pytest.mark.parametrize("k", [1, 3, 50])
def test_hits_fit(collection: Collection, characters: int, k: int) -> None:
    answer = search("c", collection, request_of("wing stalls attack", k, "auto", None, ()), characters, ())
    assert len(as_json(answer)) <= characters
    assert answer.hits
    assert [hit.rank for hit in answer.hits] == list(range(1, len(answer.hits) + 1))
    left_out = k - len(answer.hits)
    assert (f"{left_out} more hits are left out" in (answer.note or "")) == bool(left_out)
    assert all(len(hit.passage) >= 30 or hit.whole for hit in answer.hits), "a passage says something"


def test_a_long_text_gives_the_passage_that_fits_and_a_short_one_all(collection: Collection) -> None:
    answer = search("c", collection, request_of("wing stalls attack", 3, "auto", None, ["year"]), 2000, ["year"])
    found = {hit.id: hit for hit in answer.hits}
    assert "The wing stalls at a high angle of attack." in found["d1"].passage
    assert not found["d1"].whole
    assert found["d1"].metadata == {"year": 1951}
    if "d0" in found:
        assert (found["d0"].passage, found["d0"].whole) == ("a wing", True)


def test_no_hit_says_so(collection: Collection) -> None:
    answer = search("c", collection, request_of("zeppelin", 3, "auto", None, ()), 500, ())
    assert answer.hits == []
    assert "no document matches" in (answer.note or "")


@pytest.mark.parametrize("identifier", ["d0", "d1", "d3"])
@pytest.mark.parametrize("characters", [500, 3000, 200_000])
def test_a_document_is_read_in_parts(collection: Collection, identifier: str, characters: int) -> None:
    document = collection.get(identifier)
    assert document is not None
    read, offset = "", 0
    while True:
        answer = get("c", collection, identifier, offset, characters)
        assert len(as_json(answer)) <= characters
        assert answer.characters == len(document.text)
        read += answer.text
        if answer.next_offset is None:
            break
        assert answer.next_offset > offset
        offset = answer.next_offset
    assert read == document.text
    assert get("c", collection, identifier, 10**9, characters).text == ""


def test_metadata_that_is_too_long_is_left_out_and_named(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", encoder="bm25") as opened:
        opened.add([Document("a", "wing " * 1000, metadata={"note": "x" * 5000})])
        answer = get("c", opened, "a", 0, 1000)
    assert len(as_json(answer)) <= 1000
    assert answer.metadata == {}
    assert "left out" in (answer.note or "")


def test_fields_beyond_the_budget_are_counted(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", encoder="bm25") as opened:
        fields = {"_program": "x"} | {f"field {number}": f"{'v' * 50} {number}" for number in range(60)}
        opened.add([Document(str(n), "wing", metadata=fields | {"year": 1950 + n, "n": str(n)}) for n in range(9)])
        whole = describe("c", opened)
        shown = collections_answer(CollectionsAnswer(collections=[whole], filters=""), 3000).collections[0]
    assert len(shown.fields) + shown.more_fields == 63
    assert "_program" not in {field.field for field in shown.fields}
    assert len(as_json(shown)) <= 3000


def test_addresses_hold_any_id() -> None:
    assert document_uri("my", "a/../b c?é") == "lexhound://my/a%2F..%2Fb%20c%3F%C3%A9"
