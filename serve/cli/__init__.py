"""The command line: a thin skin over the library. `main` is what the command `lexhound` calls."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

# Objects between two collections of the youngest generation. Imports make half a million that all stay: with Python's
# 700, looking for garbage among them takes a tenth of a second of every command.
_GC_THRESHOLD = 100_000


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code (0 done, 1 failed, 2 usage, 130 interrupted).

    Args:
        arguments: those after the command's name. Unless given, they are the process's own, and the process ends here.
    """
    code = 130
    try:
        if arguments is None:
            gc.set_threshold(_GC_THRESHOLD)
        from .run import run

        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # while modules were loading, or a second one while the first was being told
        pass
    if arguments is None:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # Everything is closed and flushed. Taking the interpreter and the compiled kernels apart piece by piece would
        # only make the user wait for the prompt.
        os._exit(code)
    return code
