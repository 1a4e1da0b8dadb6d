"""A server of our own process, for the tests of the search page and of the containers."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from command import COMMAND, environment, run

READY_SECONDS = 120


def build_collection(corpus: Path, into: Path, *, encoder: str | Path = "bm25") -> None:
    """Index a corpus with the real command."""
    into.parent.mkdir(parents=True, exist_ok=True)
    outcome = run("index", corpus, "--into", into, "--encoder", encoder)
    assert outcome.code == 0, outcome.err


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class PageServer:
    """`lexhound serve` over a folder, on one port for as long as the block runs, however often it is restarted."""

    def __init__(self, data: Path | str, command: Sequence[str] = COMMAND, **variables: str) -> None:
        self._port = free_port()
        self._command = [*command, "serve", str(data), "--port", str(self._port)]
        self._environment = {name: value for name, value in environment().items() if not name.startswith("LEXHOUND_")}
        self._environment |= variables
        self._process: subprocess.Popen[bytes] | None = None
        # Not a pipe: nobody reads it while the server runs.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.base = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._log.close()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._log, env=self._environment
        )
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.status("readyz") == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        self.stop()
        self._log.seek(0)
        said = self._log.read()
        self._log.close()
        raise AssertionError(f"the server did not become ready: {said.decode(errors='replace')[-4000:]}")

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None

    def status(self, path: str, headers: Mapping[str, str] | None = None) -> int:
        """The status of a GET."""
        return self._ask("GET", path, headers=headers)[0]

    def head(self, path: str) -> dict[str, str]:
        """The headers of a GET that succeeds, names in lower case."""
        status, headers, _ = self._ask("GET", path)
        assert status == 200
        return headers

    def post(self, path: str, body: object, status: int = 200) -> Any:
        """The JSON that a POST is answered with."""
        answered, _, content = self._ask("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
        assert answered == status, content
        return json.loads(content)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, f"/{path}", body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()
