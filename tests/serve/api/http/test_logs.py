"""The service's log is one JSON object a line, whatever happens."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from lexhound.core import compilation
from lexhound.serve.api.http.logs import set_up_logs


@pytest.fixture
def loggers() -> Iterator[None]:
    """Leave the loggers and the listener as they were."""
    before = {name: logging.getLogger(name) for name in ("lexhound", "uvicorn")}
    states = {name: (each.handlers[:], each.propagate, each.level) for name, each in before.items()}
    raises, listeners = logging.raiseExceptions, compilation._listeners[:]
    yield
    for name, logger in before.items():
        logger.handlers[:], logger.propagate = states[name][:2]
        logger.setLevel(states[name][2])
    logging.raiseExceptions = raises
    compilation._listeners[:] = listeners


@pytest.mark.usefixtures("loggers")
def test_compiling_is_logged_as_all_else(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "json")
    compilation.compiling("kernels of a test", 2)
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["kernels"], told["usual_seconds"]) == ("info", "kernels of a test", 2)
