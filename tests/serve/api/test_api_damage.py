"""A service over collections that are damaged, or become so while it runs."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from service import PATIENCE, Service, start

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.store.schema import DATABASE

NAMES = ("files", "values", "texts", "shrinking")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    for name in NAMES:
        with Collection.create(data / f"{name}.index") as collection:
            collection.add(Document(f"d{n}", f"wing {n} heat", metadata={"year": 1900 + n}) for n in range(50))
            collection.maintain(1)
    impacts = data / "files.index" / "segments" / "00000001" / "lexical" / "impacts.bin"
    content = bytearray(impacts.read_bytes())
    content[7] ^= 16
    impacts.write_bytes(content)
    for name, statement in (
        ("values", "UPDATE metadata SET value = 1950 WHERE value = 1909"),
        ("texts", "UPDATE contents SET text = 'wing 10 heal' WHERE seq = 11"),
    ):
        connection = sqlite3.connect(data / f"{name}.index" / DATABASE)
        assert connection.execute(statement).rowcount == 1
        connection.commit()
        connection.close()
    return data


def described(service: Service, name: str, health: str) -> dict[str, Any]:
    """A collection's description when its health is this."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = service.request("GET", f"/v1/collections/{name}").json()
        if found["health"] == health:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{name} never became {health}: {found}")


def test_damage_is_found_told_and_never_answered_from(data: Path) -> None:
    service = start(data)
    try:

        def refused(path: str, message: str = "the collection is damaged") -> None:
            answer = service.request("GET", f"/v1/collections/{path}")
            assert answer.status_code == 503, answer.text
            error = answer.json()["error"]
            assert (error["code"], error["message"]) == ("corrupt_collection", message)
            assert str(data) not in answer.text

        def answered(path: str) -> Any:
            answer = service.request("GET", f"/v1/collections/{path}")
            assert answer.status_code == 200, answer.text
            return answer.json()

        files = described(service, "files", "damaged")
        assert files["damage"] == [
            {
                "where": "segments/00000001/lexical/impacts.bin",
                "message": "does not hold what was written: its checksum does not match",
            }
        ]
        refused("files/search?q=wing")
        assert answered("files/documents/d3")["text"] == "wing 3 heat"

        values = described(service, "values", "damaged")
        assert "metadata" in values["damage"][0]["message"]
        refused("values/search?q=wing&filter=year%3D1950")
        refused("values/facets")

        texts = described(service, "texts", "damaged")
        assert "'d10'" in texts["damage"][0]["message"]
        refused("texts/documents/d10", "the document 'd10' is damaged")
        refused("texts/search?q=10", "the document 'd10' is damaged")
        assert answered("texts/search?q=11")["hits"][0]["id"] == "d11"
        listed = {
            each["name"]: each["health"] for each in service.request("GET", "/v1/collections").json()["collections"]
        }
        assert listed == {"files": "damaged", "values": "damaged", "texts": "damaged", "shrinking": "ok"}
        assert service.request("GET", "/readyz").json() == {"status": "ready", "damaged": 2}

        # What is put in again is whole.
        put = [{"id": "d10", "text": "wing 10 heat", "metadata": {"year": 1910}}]
        answer = service.request("POST", "/v1/collections/texts/documents?refresh=true", json=put)
        assert answer.json()["replaced"] == 1
        assert answered("texts/search?q=10")["hits"][0]["id"] == "d10"
        described(service, "texts", "ok")

        # A file that is cut short while it is mapped.
        assert len(answered("shrinking/search?q=wing&k=50")["hits"]) == 50
        os.truncate(data / "shrinking.index" / "segments" / "00000001" / "lexical" / "rows.bin", 0)
        refused("shrinking/search?q=wing")
        shrinking = described(service, "shrinking", "damaged")
        assert shrinking["damage"][0]["where"] == "segments/00000001/lexical/rows.bin"
        # The log tells it when the service looks at the collection next.
        end = time.monotonic() + PATIENCE
        while not any("shrinking" in event for event in _told(service)) and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        assert service.terminate() == 0
    told = _told(service)
    assert {name for name in NAMES for line in told if name in line} == set(NAMES), told
    assert len(told) == len(NAMES)  # each once


def _told(service: Service) -> list[str]:
    """What the log says of damage."""
    told = [line["event"] for line in service.lines() if line["level"] == "error"]
    return [event for event in told if event.startswith("collection ") and " is damaged: " in event]


def test_a_service_whose_collections_are_all_damaged_is_not_ready(data: Path) -> None:
    service = start(data / "files.index")
    try:
        end = time.monotonic() + PATIENCE
        while (answer := service.request("GET", "/readyz")).status_code == 200 and time.monotonic() < end:
            time.sleep(0.05)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "corrupt_collection"
    finally:
        assert service.terminate() == 0
