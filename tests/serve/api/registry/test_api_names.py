"""Names of collections and the directories they stand for: two of one name, and links to elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import run
from service import running

from lexhound.retrieval import Collection
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CollectionExistsError
from lexhound.serve.api.registry.names import DataFolder
from lexhound.serve.api.role import Role


def build(path: Path) -> Path:
    with Collection.create(path) as collection:
        collection.add([Document("a", "heat")])
    return path


def test_two_directories_of_one_name_are_refused_at_the_start(tmp_path: Path) -> None:
    build(tmp_path / "plain")
    assert DataFolder(tmp_path).names() == ["plain"]
    build(tmp_path / "plain.index")
    outcome = run("serve", tmp_path, "--port", "0")
    assert outcome.code == 2
    assert "two collections named plain: the directories plain and plain.index" in outcome.err
    assert "Rename one of them" in outcome.err


def test_names_and_links_while_the_service_runs(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", build(tmp_path / "elsewhere.index")
    data.mkdir()
    (data / "linked.index").symlink_to(elsewhere)
    build(data / "plain")
    with running(data) as service:
        # What is there in a directory without the suffix has its name.
        assert service.request("POST", "/v1/collections", json={"name": "plain"}).status_code == 409
        with service.client() as client:
            assert [each.name for each in client.collections()] == ["linked", "plain"]
            assert client.count("linked") == 1

        answer = service.request("DELETE", "/v1/collections/linked")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "linked")
        assert sorted(each.name for each in data.iterdir()) == ["linked.index", "plain"]
        assert service.request("GET", "/v1/collections/linked/search?q=heat").json()["hits"]

        # Another process makes two directories of one name: neither is taken for the other.
        for name in ("twice", "twice.index"):
            shutil.copytree(data / "plain", data / name)
        for method, rest in (("GET", ""), ("GET", "/search?q=heat"), ("DELETE", "")):
            answer = service.request(method, f"/v1/collections/twice{rest}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "ambiguous_name")
        listed = service.request("GET", "/v1/collections").json()["collections"]
        assert {each["name"]: each["health"] for each in listed} == {
            "linked": "ok",
            "plain": "ok",
            "twice": "unavailable",
        }
        shutil.rmtree(data / "twice")
        with service.client() as client:
            assert client.count("twice") == 1
            client.delete_collection("twice")
        assert sorted(each.name for each in data.iterdir() if not each.name.startswith(".")) == [
            "linked.index",
            "plain",
        ]


def test_no_collection_is_made_over_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "my.index").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CollectionExistsError):
        Collection.create(tmp_path / "my.index")
    assert (tmp_path / "my.index").is_symlink()


def test_processes_are_ready_together(tmp_path: Path) -> None:
    assert Role().all_ready()
    first, second = (Role(ready=tmp_path, place=place, processes=2) for place in range(2))
    second.say_ready()
    assert not first.all_ready()
    assert not second.all_ready()
    first.say_ready()
    assert first.all_ready()
    assert second.all_ready()
