"""The command line: a thin skin over the library. `main` is what the command `lexhound` calls."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code (0 done, 1 failed, 2 usage, 130 interrupted).

    Args:
        arguments: those after the command's name; the process's own unless given.
    """
    try:
        from .run import run

        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # while modules were loading, or a second one while the first was being told
        return 130
