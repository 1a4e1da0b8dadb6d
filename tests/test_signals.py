"""Processes that tests start take Ctrl-C, however the suite itself was started."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

TOLD = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"


def test_processes_that_tests_start_take_ctrl_c() -> None:
    assert subprocess.check_output([sys.executable, "-c", TOLD], text=True) == "True\n"


def test_so_they_do_where_the_suite_was_started_in_the_background() -> None:
    within = f"{Path(__file__).name}::{test_processes_that_tests_start_take_ctrl_c.__name__}"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", within],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
