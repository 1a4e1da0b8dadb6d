"""Running the service: one process, or several that share an address.

With several, the first one writes and the others hand writes on to it over a Unix socket; all of them search. The
parent answers no requests: it starts the others, starts again what dies, and passes SIGTERM on. A process whose parent
is gone ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from lexhound.core.lock import take_writes_at
from lexhound.serve.api.http.logs import set_up_logs
from lexhound.serve.api.http.metrics import SHARED_FOLDER
from lexhound.serve.api.http.protocol import protocol_for
from lexhound.serve.api.registry.sources import check_source
from lexhound.serve.errors import UsageError
from lexhound.serve.settings import Settings

from .app import create_app
from .role import ALONE, Role
from .signals import RefreshSignal

BACKLOG = 2048
# A process that dies again and again is started at most this often.
_RESTART_SECONDS = 1.0
_YOUNG_SECONDS, _MOST_EARLY = 5.0, 6
_SWITCH_SECONDS = 0.001

_log = logging.getLogger("lexhound.serve")


def serve(settings: Settings, announce: Callable[[str], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    Args:
        announce: told the address, once the service listens.

    Raises:
        UsageError: the address cannot be listened on, there is nothing to serve, or the key file cannot be read.
        UnknownAddressError, MissingEngineError: the collection's address names no engine that can be used.
    """
    set_up_logs(settings.log_level, settings.log_format)
    check_source(settings)
    with listen(settings) as listening:
        address = _address(listening)
        _log.info("listening", extra={"fields": {"address": address, "pid": os.getpid()}})
        if announce is not None:
            announce(address)
        if settings.workers == 1:
            return run_process(settings, ALONE, [listening])
        return _supervise(settings, listening)


def _address(listening: socket.socket) -> str:
    """Return where a socket listens, as a person writes it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run_process(settings: Settings, role: Role, sockets: Sequence[socket.socket]) -> int:
    """Answer requests in this process until it is told to stop."""
    server = make_server(settings, role)
    take_writes_at(_address(sockets[0]))
    # Threads that compute in Python give way to the one that answers after this time: a search must not wait for the
    # 5 ms that Python lets them have otherwise.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # A fault of the disk, or a file that is cut short while it is read, ends the process: its log then says where.
    faulthandler.enable()

    def stop(*_: object) -> None:
        server.should_exit = True

    # Before uvicorn takes the signals over, and when it gives them back: it then raises again what it has had.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=list(sockets)))
    return 0 if server.started else 1


def make_server(settings: Settings, role: Role = ALONE) -> uvicorn.Server:
    """Return the server of one process, not started."""
    config = uvicorn.Config(
        create_app(settings, role),
        http=protocol_for(settings),
        timeout_keep_alive=settings.idle_seconds,  # type: ignore[arg-type]  # any number of seconds
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=int(settings.shutdown_seconds),
        lifespan="on",
    )
    return uvicorn.Server(config)


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on the address of the settings.

    Raises:
        UsageError: nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}",
            hint="give another address with --host and --port",
        ) from error
    listening.set_inheritable(True)
    return listening


# Several processes


def _supervise(settings: Settings, listening: socket.socket) -> int:
    with tempfile.TemporaryDirectory(prefix="lexhound-") as folder:
        workers = _Workers(settings, listening, Path(folder))
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: workers.stop())
        return workers.run()


class _Workers:
    def __init__(self, settings: Settings, listening: socket.socket, folder: Path) -> None:
        self._settings = settings
        self._listening = listening
        self._folder = folder
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        RefreshSignal.create(folder / "refresh")
        (folder / "metrics").mkdir()
        (folder / "ready").mkdir()

    def run(self) -> int:
        """Keep all processes running until `stop`, then wait for them."""
        started: dict[int, float] = {}
        code = 0
        early = 0  # processes that died young, one after the other
        while not self._stopping.is_set():
            for worker in range(self._settings.workers):
                process = self._running.get(worker)
                if process is not None and process.poll() is None:
                    continue
                if process is not None:
                    lived = time.monotonic() - started[worker]
                    _log.error("a process died", extra={"fields": {"worker": worker, "code": process.returncode}})
                    del self._running[worker]
                    early = early + 1 if lived < _YOUNG_SECONDS else 0
                    if early >= _MOST_EARLY:
                        _log.error("processes die as soon as they start: giving up")
                        self._stopping.set()
                        code = 1
                        break
                if time.monotonic() - started.get(worker, -_RESTART_SECONDS) >= _RESTART_SECONDS:
                    replaces = worker in started and bool(self._running)
                    started[worker] = time.monotonic()
                    self._running[worker] = self._start(worker, replaces=replaces)
            self._stopping.wait(0.2)
        # Those that hand writes on finish first: the writing process is there for as long as they are.
        for worker in sorted(self._running, reverse=True):
            if worker:
                self._end(worker, wait=False)
        for worker in sorted(self._running, reverse=True):
            self._end(worker, wait=True)
        return code

    def stop(self) -> None:
        """Stop; called by signals."""
        self._stopping.set()

    def _end(self, worker: int, *, wait: bool) -> None:
        process = self._running[worker]
        if process.poll() is None:
            process.terminate()
            if wait:
                process.wait()

    def _start(self, worker: int, *, replaces: bool) -> subprocess.Popen[bytes]:
        task = {
            "settings": self._settings.revealed(),
            "folder": str(self._folder),
            "descriptor": self._listening.fileno(),
            "place": worker,
            "replaces": replaces,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "lexhound.serve.api.worker"],
            stdin=subprocess.PIPE,
            pass_fds=[self._listening.fileno()],
            env={**os.environ, SHARED_FOLDER: str(self._folder / "metrics")},
            start_new_session=True,  # Ctrl-C reaches the parent, which tells them in order
        )
        if process.stdin is not None:
            process.stdin.write(orjson.dumps(task) + b"\n")
            process.stdin.flush()  # and left open: its end tells the process that its parent is gone
        return process


def run_worker(task: dict[str, Any]) -> int:
    """Run one of several processes; `task` is what the parent wrote."""
    settings = Settings.model_validate(task["settings"])
    set_up_logs(settings.log_level, settings.log_format)
    folder = Path(task["folder"])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    listening = socket.socket(fileno=task["descriptor"])
    worker = int(task["place"])
    role = Role(
        None if worker == 0 else folder / "writer.sock",
        folder / "refresh",
        task["replaces"],
        folder / "ready",
        worker,
        settings.workers,
    )
    if worker == 0:
        with _unix_socket(folder / "writer.sock") as inner:
            return run_process(settings, role, [listening, inner])
    return run_process(settings, role, [listening])


@contextlib.contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    with contextlib.suppress(FileNotFoundError):  # of a predecessor that died
        path.unlink()
    with socket.socket(socket.AF_UNIX) as inner:
        inner.bind(str(path))
        inner.listen(BACKLOG)
        yield inner


def _end_with_parent() -> None:
    """Stop in good order when the parent's end of standard input closes, however the parent ended."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
