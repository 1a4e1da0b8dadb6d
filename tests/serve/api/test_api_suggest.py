"""Suggestions over REST, by the client and on the command line."""

from __future__ import annotations

from pathlib import Path

from command import run
from service import running


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
