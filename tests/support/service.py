"""Running the real service in a process of its own, on a free port of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from command import COMMAND, environment

from lexhound.retrieval.engines.address import read_address
from lexhound.serve.client.client import Client

PATIENCE = 150.0


class Service:
    """A service that runs; `url` is where."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.url = str(self.event("listening")["address"])

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        return [json.loads(line) for line in self.log.read_bytes().split(b"\n")[:-1]]

    def event(self, name: str) -> dict[str, Any]:
        """The line of something that happens once, when it has."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for line in self.lines():
                if line["event"] == name:
                    return line
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"the service never logged {name}: {self.log.read_text()}")

    def logged(self, request_id: str) -> dict[str, Any]:
        """The line of a request, which is written when its answer has been sent."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for line in self.lines():
                if line["event"] == "request" and line["request_id"] == request_id:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"request {request_id} was never logged")

    def client(self, key: str | None = None, **options: Any) -> Client:
        """A client of it."""
        return Client(self.url, key=key, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One plain request."""
        return httpx.request(method, self.url + path, timeout=PATIENCE, **options)

    def terminate(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)


def start(
    data: Path | str, *flags: str | Path, log: Path | None = None, ready: bool = True, **variables: str
) -> Service:
    """Start the service over a folder, or over an address, and wait until it is ready, or else has tried to be."""
    if log is None:
        place = read_address(data).path or Path()
        log = place.parent / f"{place.name}.{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*COMMAND, "serve", os.fspath(data), "--port", "0", *map(os.fspath, flags)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment(**variables),
        )
    try:
        service = Service(process, log)
        with service.client() as client:
            if ready:
                client.wait_until_ready(PATIENCE)
            else:
                service.event("ready")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return service


@contextmanager
def running(data: Path | str, *flags: str | Path, **variables: str) -> Iterator[Service]:
    """A service for the length of a block; it must have ended in good order, and without an unexpected error."""
    service = start(data, *flags, **variables)
    try:
        yield service
    finally:
        code = service.terminate()
    assert code == 0, service.log.read_text()
    errors = [line for line in service.lines() if line["level"] == "error"]
    assert not errors, errors
