"""API keys: scopes, collections, revoking; and where the service listens without any."""

from __future__ import annotations

import json
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from command import run
from service import Service, running

from lexhound.serve.keys import SCOPES, configured_key, create_key, digest_of, find_key, read_keys, revoke_key

OWN = "a-key-of-the-settings-0123456789"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, str], Path]]:
    folder = tmp_path_factory.mktemp("security")
    data, file = folder / "data", folder / "keys.json"
    data.mkdir()
    made = {
        "all": create_key(file, "all", SCOPES, None)[0],
        "read": create_key(file, "read", ("read",), None)[0],
        "write": create_key(file, "write", ("write",), None)[0],
        "one": create_key(file, "one", SCOPES, ["one"])[0],
    }
    with running(data, "--keys-file", file, LEXHOUND_API_KEY=OWN) as service:
        with service.client(made["all"]) as client:
            for name in ("one", "two"):
                client.create_collection(name)
                client.put(name, [{"id": "a", "text": "heat"}], refresh=True)
        yield service, made, file


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


READS = [
    ("GET", "/v1/collections/{}"),
    ("GET", "/v1/collections/{}/search?q=heat"),
    ("GET", "/v1/collections/{}/facets"),
]
WRITES = [("POST", "/v1/collections/{}/documents"), ("POST", "/v1/collections/{}/compact")]


@pytest.mark.parametrize(
    ("key", "reads", "writes"),
    [
        ("all", {"one": 200, "two": 200}, {"one": True, "two": True}),
        ("read", {"one": 200, "two": 200}, {"one": False, "two": False}),
        ("write", {"one": 403, "two": 403}, {"one": True, "two": True}),
        ("one", {"one": 200, "two": 403}, {"one": True, "two": False}),
    ],
)
def test_rights(
    keys: tuple[Service, dict[str, str], Path], key: str, reads: dict[str, int], writes: dict[str, bool]
) -> None:
    service, made, _ = keys
    for name in ("one", "two"):
        for method, path in READS:
            assert service.request(method, path.format(name), headers=bearer(made[key])).status_code == reads[name]
        for method, path in WRITES:
            answer = service.request(method, path.format(name), json=[], headers=bearer(made[key]))
            assert (answer.status_code in (200, 202)) == writes[name]
            assert writes[name] or answer.json()["error"]["code"] == "forbidden"


def test_a_key_for_one_collection_sees_and_makes_no_other(keys: tuple[Service, dict[str, str], Path]) -> None:
    service, made, _ = keys
    listed = service.request("GET", "/v1/collections", headers=bearer(made["one"])).json()["collections"]
    assert [each["name"] for each in listed] == ["one"]
    answer = service.request("POST", "/v1/collections", json={"name": "three"}, headers=bearer(made["one"]))
    assert answer.status_code == 403
    # Whether a collection exists is told no more than what is in it.
    there = service.request("GET", "/v1/collections/two", headers=bearer(made["one"])).json()["error"]
    absent = service.request("GET", "/v1/collections/nine", headers=bearer(made["one"])).json()["error"]
    assert there["message"] == absent["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        bearer("wrong"),
        bearer("lxh_0123456789ab_" + "A" * 43),
        {"authorization": "Basic YTpi"},
        {"x-api-key": "wrong"},
        {"x-api-key": "\xe4" * 20},
    ],
)
def test_without_a_key_nothing_but_health(keys: tuple[Service, dict[str, str], Path], headers: dict[str, str]) -> None:
    service, _, _ = keys
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    for path in ("/v1/collections", "/v1/collections/one", "/v1/collections/one/search?q=heat", "/metrics"):
        answer = service.request("GET", path, headers=sent)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "unauthorised"
    for path in ("/healthz", "/readyz", "/", "/docs", "/openapi.json"):
        assert service.request("GET", path, headers=sent).status_code == 200


def test_a_wrong_key_is_told_before_what_is_wrong_with_the_body(keys: tuple[Service, dict[str, str], Path]) -> None:
    service, made, _ = keys
    place = "/v1/collections/one/search"
    assert service.request("POST", place, content=b"{").status_code == 401
    assert service.request("POST", place, content=b"{", headers=bearer(made["write"])).status_code == 403


def test_almost_the_key_is_none(keys: tuple[Service, dict[str, str], Path]) -> None:
    service, made, file = keys
    for key in (made["all"][:-1], made["all"] + "A", made["all"].swapcase(), made["all"][:17] + made["read"][17:]):
        assert service.request("GET", "/v1/collections", headers=bearer(key)).status_code == 401
        assert find_key(key, read_keys(file)) is None
    assert service.request("GET", "/v1/collections", headers={"x-api-key": made["all"]}).status_code == 200


def test_the_key_of_the_settings_has_all_rights(keys: tuple[Service, dict[str, str], Path]) -> None:
    service, _, _ = keys
    assert service.request("GET", "/v1/collections", headers=bearer(OWN)).status_code == 200
    assert configured_key(f"sha256:{digest_of(OWN)}") == configured_key(OWN)
    assert find_key(OWN, [configured_key(OWN)]) is not None
    assert find_key(OWN[:-1], [configured_key(OWN)]) is None


def test_no_key_is_kept_or_logged(keys: tuple[Service, dict[str, str], Path]) -> None:
    service, made, file = keys
    service.request("GET", "/v1/collections", headers={**bearer(made["all"]), "x-request-id": "with-a-key"})
    service.logged("with-a-key")
    kept, logged = file.read_text(), service.log.read_text()
    for key in [*made.values(), OWN]:
        assert key not in kept
        assert key not in logged
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert service.logged("with-a-key")["key"] == made["all"].split("_")[1]


def test_keys_made_and_revoked_count_within_seconds(keys: tuple[Service, dict[str, str], Path]) -> None:
    service, _, file = keys
    text, kept = create_key(file, "late", ("read",), None)
    for wanted, change in ((200, None), (401, kept.id)):
        if change is not None:
            revoke_key(file, change)
        end = time.monotonic() + 20
        while service.request("GET", "/v1/collections", headers=bearer(text)).status_code != wanted:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_keys_of_a_file_that_is_gone_or_damaged_are_not_valid(keys: tuple[Service, dict[str, str], Path]) -> None:
    service, made, file = keys

    def until(status: int) -> None:
        end = time.monotonic() + 20
        while service.request("GET", "/v1/collections", headers=bearer(made["all"])).status_code != status:
            assert time.monotonic() < end
            time.sleep(0.1)

    before = file.read_bytes()
    for damage in (None, b"", before[: len(before) // 2], before.replace(b'"format": 1', b'"format": 1, "format": 1')):
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
        until(401)
        assert service.request("GET", "/v1/collections", headers=bearer(OWN)).status_code == 200
        file.write_bytes(before)
        until(200)
    told = [line["event"] for line in service.lines() if "none of its keys is valid" in line["event"]]
    assert len(told) == 4  # once each, however often it was looked at


def test_metrics_tell_of_collections_that_the_key_opens(keys: tuple[Service, dict[str, str], Path]) -> None:
    service, made, _ = keys
    for name in ("one", "two"):  # opened, and so among the figures
        service.request("GET", f"/v1/collections/{name}", headers=bearer(made["all"]))
    for key, names in (("one", {"one"}), ("all", {"one", "two"})):
        answer = service.request("GET", "/metrics", headers=bearer(made[key]))
        assert answer.status_code == 200
        assert set(re.findall('collection="([^"]*)"', answer.text)) == names
        assert "lexhound_http_request_seconds_bucket" in answer.text


def test_document_tells_of_keys(keys: tuple[Service, dict[str, str], Path]) -> None:
    document: dict[str, Any] = keys[0].request("GET", "/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == (path.startswith("/v1") or path == "/metrics")


# The commands


def test_commands(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = run("keys", "create", "indexer", "--scope", "write", "--collection", "my", "--file", file)
    assert made.code == 0
    text = made.out.strip()
    (kept,) = read_keys(file)
    assert kept.digest == digest_of(text)
    assert (kept.name, kept.scopes, kept.collections) == ("indexer", {"write"}, {"my"})
    listed = run("keys", "list", "--file", file)
    assert listed.out.split("\t")[:4] == [kept.id, "indexer", "write", "my"]
    assert text not in listed.out
    assert run("keys", "list", "--file", file, "--json").json[0]["id"] == kept.id
    again = run("keys", "create", "all", "--file", file, "--json").json
    assert run("keys", "revoke", kept.id, "--file", file).code == 0
    assert [key.id for key in read_keys(file)] == [again["id"]]
    missing = run("keys", "revoke", kept.id, "--file", file)
    assert (missing.code, missing.out) == (1, "")
    assert "no key has the id" in missing.err


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": 3, "keys": []}', '{"format": 1}', '{"format": 1, "keys": [{"id": "x"}]}', None],
)
def test_a_key_file_that_is_none_is_told_at_the_start(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)
    outcome = run("serve", tmp_path, "--port", "0", "--keys-file", file)
    assert outcome.code == 2
    assert str(file) in outcome.err
    assert outcome.err.count("error:") == 1


# Where it listens


def test_no_listening_beyond_this_machine_without_a_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):  # noqa: S104  what is refused
        outcome = run("serve", tmp_path, "--host", host, "--port", "0")
        assert outcome.code == 2
        assert "without a key" in outcome.err
        assert "--insecure" in outcome.err


@pytest.mark.parametrize("flags", [["--insecure"], ["--api-key", OWN]])
def test_listening_everywhere_when_told_so(tmp_path: Path, flags: list[str]) -> None:
    with running(tmp_path, "--host", "0.0.0.0", *flags) as service:  # noqa: S104  on purpose
        assert service.url.startswith("http://0.0.0.0:")
        local = service.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        assert httpx.get(f"{local}/healthz").json() == {"status": "ok"}


def test_by_default_only_this_machine(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        assert service.url.startswith("http://127.0.0.1:")
        assert json.loads(service.request("GET", "/v1/collections").text) == {"collections": []}
