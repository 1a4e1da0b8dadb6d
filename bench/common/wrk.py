"""Running wrk, a load tool in C, and reading what it prints."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("searches.lua")
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class Load:
    """What a number of connections measured; latencies in milliseconds.

    Attributes:
        failures: answers that were no 2xx, and connections that broke or timed out.
    """

    connections: int
    seconds: float
    requests: int
    per_second: float
    p50: float
    p90: float
    p99: float
    failures: int


def available() -> bool:
    """Whether wrk is installed (Debian: `apt-get install wrk`)."""
    return shutil.which("wrk") is not None


def run_wrk(url: str, path: str, bodies: Path, *, connections: int, seconds: int) -> Load:
    """Ask for as many searches as `connections` connections get answered, one after the other on each."""
    done = subprocess.run(
        [
            "wrk", "--latency", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
            "--timeout", "30s", "--script", str(_SCRIPT), url, "--", str(bodies), path,
        ],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    text = done.stdout
    requests, length, unit = _found(r"(\d+) requests in ([\d.]+)(ms|s|m)\b", text)
    took = float(length) * _UNITS[unit] / 1000
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failures = int(refused.group(1)) if refused else 0
    failures += sum(map(int, broken.groups())) if broken else 0
    return Load(
        connections,
        took,
        int(requests),
        int(requests) / took,
        _latency("50%", text),
        _latency("90%", text),
        _latency("99%", text),
        failures,
    )


def _latency(share: str, text: str) -> float:
    value, unit = _found(rf"{share}\s+([\d.]+)(us|ms|s|m)\b", text)
    return float(value) * _UNITS[unit]


def _found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk printed no {pattern}: {text}")
    return match.groups()
