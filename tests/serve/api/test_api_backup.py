"""Backups of a service that is running, and writes to directories that go under it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from command import run
from service import PATIENCE, document, running

from lexhound.retrieval import Collection
from lexhound.serve.client.errors import ApiError


def test_backups_over_rest_and_writes_to_what_has_gone(tmp_path: Path) -> None:
    data, backups = tmp_path / "data", tmp_path / "backups"
    data.mkdir()
    with running(data, "--backups", backups) as service, service.client(retries=0) as client:
        client.create_collection("my")
        client.put("my", [document(number) for number in range(20)])
        made = client.backup("my", "first")
        assert (made["name"], made["documents"]) == ("first", 20)
        with Collection.open(backups / "my" / "first") as copy:
            assert copy.count() == 20
            assert copy.verify() == []
        with pytest.raises(ApiError) as taken:
            client.backup("my", "first")
        assert taken.value.status == 409
        for wrong in ("../first", ".hidden", ""):
            with pytest.raises(ApiError) as refused:
                client.backup("my", wrong)
            assert refused.value.status == 422
        by_time = client.backup("my")["name"]
        assert {path.name for path in (backups / "my").iterdir()} == {"first", by_time}
        assert 'lexhound_wal_bytes{collection="my"}' in service.request("GET", "/metrics").text
        assert service.request("GET", "/v1/collections/my").json()["log_bytes"] >= 0
        # The service has written, so it has the lock.
        locked = run("restore", backups / "my" / "first", data / "my.index", "--overwrite")
        assert locked.code == 1
        assert "another process is writing" in locked.err
        # What is written to a directory that has gone is not acknowledged, and the service lets go of it.
        (data / "my.index").rename(tmp_path / "moved")
        shutil.copytree(backups / "my" / "first", data / "my.index")
        end = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < end
            answer = service.request("POST", "/v1/collections/my/documents", json=[{**document(0), "id": "kept"}])
            if answer.status_code == 200:
                break
            assert answer.status_code in (404, 503), answer.text
        client.put("my", [{**document(0), "id": "kept too"}], refresh=True)
        assert client.count("my") == 22
    with Collection.open(data / "my.index") as collection:
        assert collection.get("kept") is not None
    with Collection.open(tmp_path / "moved") as collection:
        assert collection.get("kept") is None
        assert collection.count() == 20


def test_without_a_folder_for_backups(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "my.index"):
        pass
    with running(tmp_path / "my.index") as service, service.client() as client:
        with pytest.raises(ApiError) as refused:
            client.backup("my")
        assert (refused.value.status, refused.value.code) == (409, "no_backups")
        # Nobody writes here: a restored collection takes its place, and the service goes on with it.
        outcome = run("backup", tmp_path / "my.index", tmp_path / "copy", "--link")
        assert outcome.code == 0
        assert "verified" in outcome.out
        assert run("add", tmp_path / "copy", "-", "--format", "jsonl", stdin=b'{"id": "a", "text": "wing"}\n').code == 0
        outcome = run("restore", tmp_path / "copy", tmp_path / "my.index", "--overwrite", "--json")
        assert outcome.code == 0, outcome.err
        end = time.monotonic() + PATIENCE
        while client.count("my") != 1:
            assert time.monotonic() < end


def test_a_backup_is_restored_beside_what_is_served(tmp_path: Path) -> None:
    data, backups = tmp_path / "data", tmp_path / "backups"
    data.mkdir()
    with running(data, "--backups", backups) as service, service.client() as client:
        client.create_collection("my", encoder="bm25")
        client.put("my", [document(number) for number in range(20)], refresh=True)
        client.change_aliases({"papers": "my"})
        assert client.backups("my") == []
        client.backup("papers", "first")
        client.put("my", [document(number) for number in range(20, 30)], refresh=True)
        assert client.backups("my") == client.backups("papers") == ["first"]
        made = client.restore("papers", "first", "my-2")
        assert (made["name"], made["documents"]) == ("my-2", 20)
        assert (client.count("my-2"), client.count("my")) == (20, 30)
        client.put("my-2", [document(99)], refresh=True)
        client.change_aliases({"papers": "my-2"})
        assert client.count("papers") == 21
        for arguments, status, code in (
            (("my", "first"), 409, "exists"),
            (("my", "first", "papers"), 409, "exists"),
            (("my", "second", "my-3"), 404, "unknown_backup"),
            (("my", "../first", "my-3"), 422, "invalid_request"),
        ):
            with pytest.raises(ApiError) as refused:
                client.restore(*arguments)
            assert (refused.value.status, refused.value.code) == (status, code)
        client.delete_collection("my")
        assert client.restore("my", "first")["name"] == "my"
        assert client.count("my") == 20
