"""What one whole process costs: the commands as a user runs them, from the shell's point of view."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

# ru_maxrss counts KiB on Linux and bytes on macOS.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """Wall and processor seconds of a process, its largest resident set in bytes, and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


def lexhound() -> str:
    """The command that is installed beside this Python."""
    return str(Path(sys.executable).with_name("lexhound"))


def run_process(command: Sequence[str], *, environment: dict[str, str] | None = None) -> ProcessCost:
    """Run a command to its end; raises RuntimeError where it fails.

    The peak is the kernel's own figure for that one process. It starts from what this process held when it forked, so
    call this while the benchmark itself is still small.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        started = perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {errors.read().strip()}")
        return ProcessCost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _MAXRSS_UNIT, out.read())


@dataclass(frozen=True, slots=True)
class SearchProcess:
    """Wall seconds of whole `lexhound search` processes: with an empty Numba cache, and with the kernels in it."""

    cold: tuple[float, ...]
    warm: tuple[float, ...]
    peak_bytes: int

    @property
    def cold_median(self) -> float:
        return median(self.cold)

    @property
    def warm_median(self) -> float:
        return median(self.warm)


def measure_search_process(directory: Path, questions: Sequence[str], *, cold: int = 3, warm: int = 7) -> SearchProcess:
    """Search once a process, each time for another question, ten hits printed to a file.

    The first `cold` processes find an empty Numba cache each, the next ones the cache that the last of them left. The
    collection's files are in the page cache in both cases.
    """
    cold_seconds: list[float] = []
    warm_seconds: list[float] = []
    peak = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(cold + warm):
            cache = Path(folder) / f"cache-{min(number, cold - 1)}"
            question = questions[number % len(questions)]
            cost = run_process(
                [lexhound(), "search", str(directory), question, "-k", "10"],
                environment={"NUMBA_CACHE_DIR": str(cache)},
            )
            (cold_seconds if number < cold else warm_seconds).append(cost.seconds)
            peak = max(peak, cost.peak_bytes)
    return SearchProcess(tuple(cold_seconds), tuple(warm_seconds), peak)
