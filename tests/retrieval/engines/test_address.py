"""Addresses: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.retrieval.engines.address import Address, read_address
from lexhound.retrieval.engines.opening import open_collection
from lexhound.retrieval.errors import NotACollectionError, UnknownAddressError


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("my.index", Address("path", Path("my.index"))),
        ("/data/my index", Address("path", Path("/data/my index"))),
        ("./a:b", Address("path", Path("a:b"))),
        ("c:data", Address("path", Path("c:data"))),
        ("milvus://db.example:19531/my", Address("milvus", host="db.example", port=19531, name="my")),
        ("MILVUS://db.example/my", Address("milvus", host="db.example", port=19530, name="my")),
        ("milvus://[::1]:19530/my", Address("milvus", host="[::1]", port=19530, name="my")),
        ("milvus-lite:data/x.db/my_1", Address("milvus-lite", Path("data/x.db"), name="my_1")),
        ("milvus-lite:/x.db/my", Address("milvus-lite", Path("/x.db"), name="my")),
        ("lucene:my.lucene", Address("lucene", Path("my.lucene"))),
    ],
)
def test_an_address_is_read(text: str, meant: Address) -> None:
    address = read_address(text)
    assert address == meant
    if not address.is_native:
        assert read_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("redis://host/name", "redis: is not an engine"),
        ("opensearch:name", "opensearch: is not an engine"),
        ("milvus:host/name", "milvus: is followed by"),
        ("milvus://host", "not a name of a collection"),
        ("milvus://host/", "not a name of a collection"),
        ("milvus://host/9lives", "not a name of a collection"),
        ("milvus://host/a/b", "not a name of a collection"),
        ("milvus://host/a?x=1", "not a name of a collection"),
        ("milvus://host:0/my", "no port 0"),
        ("milvus://host:99999/my", "no port 99999"),
        ("milvus://ho st/my", "milvus: is followed by"),
        ("milvus:///my", "milvus: is followed by"),
        ("milvus-lite:data/my", "ends in .db"),
        ("milvus-lite:x.db", "ends in .db"),
        ("milvus-lite:x.db/", "not a name of a collection"),
        ("lucene:", "no path"),
        ("lucene://host/x", "no path"),
    ],
)
def test_an_address_that_means_nothing_is_refused_with_the_forms(text: str, why: str) -> None:
    with pytest.raises(UnknownAddressError) as caught:
        read_address(text)
    assert why in str(caught.value)
    assert all(form in str(caught.value) for form in ("milvus://", "milvus-lite:", "lucene:"))


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UnknownAddressError) as caught:
        read_address("milvus://root:hush@host/my")
    assert "hush" not in str(caught.value)
    assert "LEXHOUND_MILVUS_TOKEN" in str(caught.value)


def test_a_path_that_is_there_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd:name").mkdir()
    assert read_address("odd:name").is_native
    with pytest.raises(NotACollectionError):
        open_collection("odd:name")


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused_as_one(text: str) -> None:
    try:
        address = read_address("milvus://" + text)
    except UnknownAddressError:
        return
    assert read_address(str(address)) == address
