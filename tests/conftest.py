"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples import TRIED
from hypothesis import HealthCheck, settings
from marks import MARKS, Guard, excluded, loaded_of, marks_of, marks_of_file
from repository import ROOT, SAMPLES

# Vectors are compared with those of other code and of other runs: what is asked of 16-bit numbers, their tests name.
os.environ.setdefault("LEXHOUND_PRECISION", "float32")
# What is not about encoders is tested with the one that takes no time.
os.environ.setdefault("LEXHOUND_ENCODER", "bm25")
# Frameworks that we have integrations for tell their makers of their use, unless they are asked not to.
os.environ.update(HAYSTACK_TELEMETRY_ENABLED="False", LANGSMITH_TRACING="false", LANGCHAIN_TRACING_V2="false")

# A shell makes what it starts in the background ignore Ctrl-C, and processes hand that on. Those that tests start are
# to take it as in a terminal: a handler, unlike being ignored, is not handed on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests make thousands of small files and flush them to the disk: in memory where there is room and programs may start.
_MEMORY = Path("/dev/shm")  # noqa: S108  pytest makes its own folder there
_ROOM = 4 * 2**30
if (
    "TMPDIR" not in os.environ
    and _MEMORY.is_dir()
    and os.access(_MEMORY, os.W_OK)
    and shutil.disk_usage(_MEMORY).free >= _ROOM
    and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
):
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None


GUARD = Guard()


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a file alone that has no test to be selected: importing some of them takes seconds."""
    if collection_path.suffix != ".py" or not (left_out := excluded(config.option.markexpr)):
        return None
    return True if marks_of_file(collection_path) & left_out else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function):
            for mark in sorted(marks_of(item) | marks_of_file(item.path)):
                item.add_marker(mark)
    if hasattr(config, "workerinput"):  # one of several processes: none is to begin with a minute's test at the end
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse that files without marks load what their tests must not: it takes seconds, and hides what tests load."""
    if loaded := loaded_of(excluded(session.config.option.markexpr)):
        raise pytest.UsageError(f"importing the selected test files loads {', '.join(loaded)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    GUARD.watch({mark.name for mark in item.iter_markers()})
    try:
        return (yield)
    finally:
        GUARD.watch(None)


# Derandomised: the same examples on every run, so that a red suite is red for everyone.
# `make check` tries fewer.
settings.register_profile(
    "lexhound",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=TRIED,
)
settings.load_profile("lexhound")


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def samples() -> Path:
    """The sample collections that come with the repository."""
    return SAMPLES


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Test collections beside the checkout; where they are absent the test says so and is skipped.

    In CI, where they are present, a skip would hide a broken path: it fails instead.
    """
    data = ROOT.parent / "shared" / "data"
    if not (data / "beir").is_dir():
        if os.environ.get("LEXHOUND_REQUIRE_SHARED_DATA"):
            pytest.fail(f"the shared test collections are required here but {data} is missing")
        pytest.skip("needs the shared test collections (BEIR folders), which are not beside this checkout")
    return data
