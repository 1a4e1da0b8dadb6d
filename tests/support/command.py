"""Running the real command in a process of its own, as a user would."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Sequence
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
    *arguments: str | Path | bytes,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    **options: Any,
) -> Outcome:
    """Run `lexhound` with arguments, without a terminal."""
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


def run_here(*arguments: str | Path, cwd: Path | None = None) -> Outcome:
    """Run `lexhound` in this process: for commands that load torch, which takes seconds in a process of its own."""
    from lexhound.serve.cli.run import run as run_command

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    before = os.environ.get("LEXHOUND_ENCODER")
    os.environ["LEXHOUND_ENCODER"] = "bm25"
    try:
        with contextlib.chdir(cwd or "."), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_command([os.fspath(argument) for argument in arguments])
    finally:
        del os.environ["LEXHOUND_ENCODER"]
        if before is not None:
            os.environ["LEXHOUND_ENCODER"] = before
    return Outcome(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]
