"""Running the real service, on a free port of this machine: in this process, or in one of its own."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import httpx
import pytest
import uvicorn
from command import COMMAND, environment, kept_loggers
from typer.main import get_command

from lexhound.retrieval.engines.address import read_address
from lexhound.serve.api.http.logs import JsonLines
from lexhound.serve.api.registry.sources import check_source
from lexhound.serve.api.server import listen, make_server
from lexhound.serve.cli.app import command_line
from lexhound.serve.client.client import Client
from lexhound.serve.settings import Settings, check_exposure, load_settings

WORDS = ("heat", "transfer", "flow", "wing", "boundary", "layer", "shock", "tube", "pressure", "plate")
PATIENCE = 150.0


class Service:
    """A service that runs, in this process or in one of its own; `url` is where, `log` the file of its log."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log

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
            self.check_alive()
            time.sleep(0.02)
        raise AssertionError(f"the service never logged {name}: {self.log.read_text()}")

    def check_alive(self) -> None:
        """Fail where it has ended."""

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


class ServiceProcess(Service):
    """A service in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        super().__init__("", log)
        self.process = process
        self.url = str(self.event("listening")["address"])

    def check_alive(self) -> None:
        """Fail where the process has ended."""
        assert self.process.poll() is None, self.log.read_text()

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
) -> ServiceProcess:
    """Start a process that serves a folder, or an address, and wait until it is ready, or else has tried to be."""
    log = log or _log_beside(data)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*COMMAND, "serve", os.fspath(data), "--port", "0", *map(os.fspath, flags)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment(**variables),
        )
    try:
        service = ServiceProcess(process, log)
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
def running_process(data: Path | str, *flags: str | Path, **variables: str) -> Iterator[ServiceProcess]:
    """A process that serves for the length of a block; it must end in good order, and without an unexpected error."""
    service = start(data, *flags, **variables)
    try:
        yield service
    finally:
        code = service.terminate()
    assert code == 0, service.log.read_text()
    _check_log(service)


@contextmanager
def running(data: Path | str, *flags: str | Path, **variables: str) -> Iterator[Service]:
    """A service in this process, for the length of a block: the real server, on a real socket, in a thread.

    It must end in good order, and without an unexpected error.
    """
    settings = _settings(data, flags, variables)
    log = _log_beside(data)
    with log.open("w", encoding="utf-8") as file, listen(settings) as listening, _logging_to(file, settings.log_level):
        check_source(settings)
        server = make_server(settings)
        thread = threading.Thread(target=_serve, args=(server, listening), name="service")
        thread.start()
        host, port = listening.getsockname()[:2]
        service = Service(f"http://{host}:{port}", log)
        try:
            with service.client() as client:
                client.wait_until_ready(PATIENCE)
            yield service
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            gc.unfreeze()  # a service keeps what it has loaded out of the garbage collector's way
    assert not thread.is_alive(), log.read_text()
    assert service.lines()[-1]["event"] == "stopped"
    _check_log(service)


def _settings(data: Path | str, flags: Sequence[str | Path], variables: Mapping[str, str]) -> Settings:
    """The settings of `lexhound serve` with these flags and variables."""
    command = get_command(command_line()).commands["serve"]  # type: ignore[attr-defined]
    arguments = [os.fspath(data), "--port", "0", *map(os.fspath, flags)]
    given = command.make_context("serve", arguments).params
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        settings = load_settings({name: given[name] for name in Settings.model_fields}, given["config"])
    check_exposure(settings)
    return settings


def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listening]))


@contextmanager
def _logging_to(file: TextIO, level: str) -> Iterator[None]:
    """Write what the service logs into a file, one JSON object a line."""
    handler = logging.StreamHandler(file)
    handler.setFormatter(JsonLines())
    with kept_loggers() as loggers:
        for logger, least in zip(loggers, (level.upper(), "WARNING"), strict=True):
            logger.addHandler(handler)
            logger.propagate = False
            logger.setLevel(least)
        yield


def _log_beside(data: Path | str) -> Path:
    place = read_address(data).path or Path()
    return place.parent / f"{place.name}.{time.monotonic_ns()}.log"


def _check_log(service: Service) -> None:
    errors = [line for line in service.lines() if line["level"] == "error"]
    assert not errors, errors


def document(number: int, **metadata: Any) -> dict[str, Any]:
    """A document of a few words; many have equal scores, so that order matters."""
    words = [WORDS[(number // step) % len(WORDS)] for step in (1, 2, 3, 7)]
    return {
        "id": f"d{number}",
        "title": f"Report {number % 5}",
        "text": " ".join(words),
        "metadata": {"year": 1950 + number % 40, "lang": "en" if number % 3 else "de", **metadata},
    }
