"""Passages over REST and in the client: the same hits as in process."""

from __future__ import annotations

from pathlib import Path

from service import running

from lexhound.retrieval import Collection

LONG = "Heat flows in the wing. " * 30 + "A zeppelin is lighter than air. " + "Fuel burns in the tank. " * 30


def test_a_collection_of_passages_is_made_searched_and_described(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with running(tmp_path / "data") as service, service.client() as client:
        info = client.create_collection("my", passages="32/8")
        assert info.details["passages"] == "32/8"
        client.put("my", [{"id": "long", "text": LONG}, {"id": "short", "text": "Heat."}], refresh=True)
        told = client.collection("my").details
        assert (told["documents"], told["split"], told["cut"]) == (2, 1, 0)
        path = next((tmp_path / "data").rglob("lexhound.json")).parent
        with Collection.open(path) as collection:
            (expected,) = collection.search("zeppelin").hits
            passages = len(collection.search("heat", 100, group="none"))
        (hit,) = client.search("my", "zeppelin").hits
        assert (hit.id, hit.score, hit.passage) == ("long", expected.score, expected.passage)
        assert len(client.search("my", "heat", k=100).hits) == 2
        assert len(client.search("my", "heat", k=100, group="none").hits) == passages > 2
        assert len(client.search_many("my", ["heat"], k=100, group="none")[0]) == passages
        by_address = service.request("GET", "/v1/collections/my/search?q=heat&group=none&k=100").json()
        assert len(by_address["hits"]) == passages
        empty = client.put("my", [{"id": "e", "text": " \n\n" * 999}, {"id": "t", "title": "Wing", "text": ""}])
        assert (empty.added, empty.wordless) == (2, 1)
        refused = service.request("POST", "/v1/collections", json={"name": "other", "passages": "much"})
        assert refused.status_code == 400
        assert refused.json()["error"]["where"] == "body.passages"
        wrong = service.request("POST", "/v1/collections/my/search", json={"query": "heat", "group": "author"})
        assert wrong.status_code in (400, 422)
