"""Suggestions over REST, by the client and on the command line."""

from __future__ import annotations

from pathlib import Path

from command import run
from service import running

from lexhound.retrieval import Collection


def test_every_door_gives_the_same(collection: Path) -> None:
    with running(collection) as service, service.client() as client:
        found = client.suggest("my", "slipstraem hea", 2)
        assert (found.did_you_mean, found.completions) == ("slipstream hea", ("slipstraem heat", "slipstraem heating"))
        assert client.suggest("my", "hea", filter="year > 1980").completions == ("heating",)
        for query, status in (("", 422), ("q=a&k=0", 422), ("q=a&filter=x", 400), ("q=a&limit=2", 422)):
            assert service.request("GET", f"/v1/collections/my/suggest?{query}").status_code == status
    outcome = run("suggest", collection, "slipstraem hea", "-k", "2")
    assert outcome.out == "did you mean: slipstream hea\nslipstraem heat\nslipstraem heating\n"
    assert run("suggest", collection, "hea", "--filter", "year > 1980", "--json").json == {
        "did_you_mean": None,
        "completions": ["heating"],
    }
    assert run("suggest", collection, "hea", "-k", "0").code == 2


def test_a_search_that_finds_nothing_says_what_was_meant(collection: Path) -> None:
    outcome = run("search", collection, "slipstraem")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.strip().endswith("has none of the query's words; did you mean: slipstream")
    assert run("search", collection, "kerosene").err.strip().endswith("none of the query's words")


def test_tenants_are_told_of_their_own_words(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "my.index", encoder="bm25", tenant_field="org") as made:
        made.add([{"id": "1", "text": f"word{org}", "org": org} for org in ("acme", "other")])
    assert run("suggest", tmp_path / "my.index", "wor", "--tenant", "acme").out == "wordacme\n"
    assert run("suggest", tmp_path / "my.index", "wor").code == 2
    with running(tmp_path / "my.index") as service, service.client(tenant="other") as client:
        assert client.suggest("my", "wor").completions == ("wordother",)
        assert service.request("GET", "/v1/collections/my/suggest?q=wor").status_code == 400
