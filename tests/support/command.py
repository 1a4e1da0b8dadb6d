"""Running the real command, as a user would: in this process, in one of its own, or in one with a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "lexhound")


@dataclass(frozen=True)
class Outcome:
    """What a finished command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it has to be."""
        return json.loads(self.out)


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what changes how a command prints."""
    dropped = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LEXHOUND_DEBUG", "TERM"}
    return {name: value for name, value in os.environ.items() if name not in dropped} | changes


def run(
    *arguments: str | Path | bytes, stdin: bytes = b"", cwd: Path | None = None, env: dict[str, str] | None = None
) -> Outcome:
    """Run `lexhound` with arguments in this process, without a terminal: imports and models are loaded once.

    Args:
        stdin: what standard input holds.
        cwd: the folder to run it in.
        env: the whole environment; that of `environment` unless given.
    """
    import numba  # noqa: F401  first: `lexhound search` loads it in a way that is for a process of its own

    from lexhound.index.jit import avoid_kernels
    from lexhound.serve.cli.run import run as run_command

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    streams = sys.stdin, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    before = dict(os.environ)
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    _set_environment(env or environment())
    try:
        with (
            kept_loggers(),
            contextlib.chdir(cwd or "."),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run_command([os.fsdecode(argument) for argument in arguments])
    finally:
        avoid_kernels(0)  # which `lexhound search` asks for in a process of its own
        _set_environment(before)
        sys.stdin = streams[0]
    assert streams[1:] == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)), "handlers are put back"
    return Outcome(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]


@contextlib.contextmanager
def kept_loggers() -> Iterator[tuple[logging.Logger, logging.Logger]]:
    """Put the loggers of the service and of uvicorn back as they were when the block ends."""
    loggers = logging.getLogger("lexhound"), logging.getLogger("uvicorn")
    before = [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers]
    raising = logging.raiseExceptions
    try:
        yield loggers
    finally:
        logging.raiseExceptions = raising
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.propagate = propagate
            logger.setLevel(level)


def _set_environment(wanted: dict[str, str]) -> None:
    """Make the environment of this process exactly `wanted`; what does not change is not touched."""
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in wanted.items() if os.environ.get(name) != value})


def run_process(
    *arguments: str | Path | bytes,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    **options: Any,
) -> Outcome:
    """Run `lexhound` with arguments in a process of its own, without a terminal."""
    done = subprocess.run(
        [*COMMAND, *map(os.fsencode, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=env or environment(),
        timeout=120,
        check=False,
        **options,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_on_terminal(*arguments: str | Path, columns: int = 100, env: dict[str, str] | None = None) -> Outcome:
    """Run `lexhound` with a terminal as standard output and standard error; both come back as `out`."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env=env or environment(TERM="xterm-256color", COLUMNS=str(columns)),
    )
    os.close(follower)
    pieces = []
    while select.select([leader], [], [], 120)[0]:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(leader)
    return Outcome(process.wait(120), b"".join(pieces).decode().replace("\r\n", "\n"), "")


def lines(*documents: dict[str, Any]) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def ids_of(hits: Sequence[dict[str, Any]]) -> list[str]:
    """The ids of hits as `--json` prints them."""
    return [hit["id"] for hit in hits]
