"""`python -m lexhound.serve.api.worker`: one of several processes that serve; started by the parent, not by people."""

from __future__ import annotations

import os
import sys

import orjson

from .server import run_worker


def _read_task() -> bytes:
    """Return the first line of standard input, and not a byte more: the rest tells whether the parent is there."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


if __name__ == "__main__":
    sys.exit(run_worker(orjson.loads(_read_task())))
