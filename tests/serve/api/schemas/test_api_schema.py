"""The whole OpenAPI document against the running service, by schemathesis: every check, single requests and sequences.

The number of cases is small enough for every run of the suite; LEXHOUND_SCHEMA_CASES raises it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from service import Service, running

pytestmark = pytest.mark.process

CASES = int(os.environ.get("LEXHOUND_SCHEMA_CASES", "12"))
CONFIG = Path(__file__).with_name("schemathesis.toml")


def explore(service: Service, *flags: str, key: str | None = None) -> str:
    """Run schemathesis; returns what it printed, and fails with it where a check failed."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG),
            "run", f"{service.url}/openapi.json", "--max-examples", str(CASES), "--seed", "1", "--no-color",
            "--generation-deterministic", *(("-H", f"Authorization: Bearer {key}") if key else ()), *flags,
        ],
        cwd=CONFIG.parent,  # where it looks for the hooks
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )  # fmt: skip
    report = done.stdout + done.stderr
    assert done.returncode == 0, report[-20_000:]
    return report


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, "a-key-of-thirty-characters-and-more"], ids=["open", "with a key"])
def test_service_does_what_its_document_says(tmp_path: Path, key: str | None) -> None:
    data = tmp_path / "data"
    data.mkdir()
    flags = ["--max-body-bytes", "200000", *(["--api-key", key] if key else [])]
    with running(data, *flags) as service:
        with service.client(key) as client:
            client.create_collection("my")
            client.put(
                "my",
                [
                    {"id": f"d{n}", "text": f"heat transfer in flow {n}", "metadata": {"year": 1950 + n}}
                    for n in range(50)
                ],
                refresh=True,
            )
        report = explore(service, key=key)
        assert re.search(r"\bpassed\b", report)
        requests = [line for line in service.lines() if line["event"] == "request"]
        assert len(requests) > 10 * CASES
        assert not [line for line in requests if line["status"] >= 500 and line["path"] != "/readyz"]
        assert service.request("GET", "/readyz").status_code == 200


def test_document_is_complete(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with running(data) as service:
        document = service.request("GET", "/openapi.json").json()
        assert service.request("GET", "/docs").status_code == 200
    operations = [(path, verb, each) for path, verbs in document["paths"].items() for verb, each in verbs.items()]
    assert len(operations) == 27
    for path, verb, operation in operations:
        where = f"{verb} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert operation["operationId"], where
        if path.startswith("/v1"):
            assert {"401", "403", "422", "429", "500", "503"} <= set(operation["responses"]), where
            if "requestBody" in operation:
                assert {"400", "413", "415"} <= set(operation["responses"]), where
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert response["content"]["application/json"]["example"]["error"]["code"], f"{where} {status}"
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in json.dumps(document)
    for name in ("TextSearch", "VectorSearch", "CollectionRequest"):
        assert schemas[name]["examples"], name
