"""Aliases over REST: switched while searches go on, by keys that may."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from command import run
from service import running

from lexhound.retrieval import Collection
from lexhound.retrieval.documents.document import Document
from lexhound.serve.client.errors import ApiError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("old", "new"):
        with Collection.create(data / f"{name}.index", encoder="bm25") as collection:
            collection.add([Document(name, "heat transfer")])
    return data


def test_a_collection_is_indexed_again_without_a_request_that_fails(folder: Path) -> None:
    with running(folder) as service, service.client() as client:
        assert client.aliases() == {}
        assert client.change_aliases({"papers": "old"}) == {"papers": "old"}
        stop, seen = threading.Event(), []

        def ask() -> None:
            with service.client(retries=0) as mine:
                while not stop.is_set():
                    seen.append(mine.search("papers", "heat").hits[0].id)

        thread = threading.Thread(target=ask)
        thread.start()
        client.put("papers", [{"id": "more", "text": "transfer"}], refresh=True)
        client.create_collection("newest", encoder="bm25")
        client.put("newest", [{"id": "newest", "text": "heat"}], refresh=True)
        assert client.change_aliases({"papers": "newest", "second": "new"}, remove=[]) == {
            "papers": "newest",
            "second": "new",
        }
        while "newest" not in seen and thread.is_alive():
            time.sleep(0.005)
        stop.set()
        thread.join()
        assert [each for place, each in enumerate(seen) if place == 0 or seen[place - 1] != each] == ["old", "newest"]

        listed = {each.name: each.alias_of for each in client.collections()}
        assert listed == {"new": None, "newest": None, "old": None, "papers": "newest", "second": "new"}
        assert client.count("old") == 2
        assert client.get("papers", "newest") is not None
        for name, code in (("papers", "alias"), ("newest", "aliased")):
            with pytest.raises(ApiError) as caught:
                client.delete_collection(name)
            assert (caught.value.status, caught.value.code) == (409, code)
        with pytest.raises(ApiError) as caught:
            client.create_collection("papers", encoder="bm25")
        assert (caught.value.status, caught.value.code) == (409, "exists")
        client.delete_collection("old")

        # What another process changes is seen by the next request.
        assert run("alias", folder, "papers=new", "--remove", "second").code == 0
        assert client.search("papers", "heat").hits[0].id == "new"
        for body, status, code in (
            ({"put": {"a": "nowhere"}}, 404, "unknown_collection"),
            ({"put": {"new": "newest"}}, 409, "alias"),
            ({"remove": ["nowhere"]}, 404, "unknown_alias"),
            ({"put": {"../a": "new"}}, 422, "invalid_request"),
            ({"add": {"a": "new"}}, 422, "invalid_request"),
        ):
            answer = service.request("POST", "/v1/aliases", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
            assert str(folder) not in answer.text
        assert client.aliases() == {"papers": "new"}


def test_keys_open_aliases_by_their_names(folder: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"

    def key(*options: str) -> str:
        return run("keys", "create", "k", "--file", keys, "--json", *options).json["key"]

    reader = key("--scope", "read", "--collection", "papers")
    writer, all_keys = key("--collection", "papers", "--collection", "new"), key()
    with running(folder, "--keys-file", keys) as service, service.client(all_keys) as all_rights:
        all_rights.change_aliases({"papers": "old", "other": "old"})
        with service.client(reader) as client:
            assert [(each.name, each.alias_of) for each in client.collections()] == [("papers", "old")]
            assert client.aliases() == {"papers": "old"}
            assert client.search("papers", "heat").hits[0].id == "old"
            for forbidden in (lambda: client.search("old", "heat"), lambda: client.change_aliases({"papers": "old"})):
                with pytest.raises(ApiError) as caught:
                    forbidden()
                assert caught.value.status == 403
        with service.client(writer) as client:
            assert client.change_aliases({"papers": "new"}) == {"papers": "new"}
            for put, remove in (({"papers": "old"}, []), ({"mine": "new"}, []), ({}, ["other"])):
                with pytest.raises(ApiError) as caught:
                    client.change_aliases(put, remove=remove)
                assert caught.value.status == 403


def test_where_there_can_be_none(folder: Path) -> None:
    with running(folder / "new.index") as service:
        answer = service.request("POST", "/v1/aliases", json={"put": {"a": "new"}})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "single_collection")
        assert service.request("GET", "/v1/aliases").json() == {"aliases": {}}
    run("alias", folder, "papers=old")
    outcome = run("serve", folder / "papers")
    assert outcome.code == 2
    assert "is an alias, which the service could not follow" in outcome.err
    (folder / "aliases.json").write_text("nonsense")
    outcome = run("alias", folder, "--json")
    assert outcome.json["error"]["code"] == "alias"
