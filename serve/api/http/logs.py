"""Logs on standard error: one JSON object a line, or plain text."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from lexhound.core.compilation import on_compiling


class JsonLines(logging.Formatter):
    """Time, level, event, and whatever `extra={"fields": {...}}` adds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode("utf-8", "replace")


class PlainLines(logging.Formatter):
    """For people: `12:31:05 info request method=GET path=/ status=200`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and a traceback where there is one."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = "".join(f" {name}={_plain(value)}" for name, value in getattr(record, "fields", {}).items())
        line = f"{time} {record.levelname.lower()} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _plain(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else ascii(text)


def _log_compiling(what: str, seconds: int) -> None:
    fields = {"kernels": what, "usual_seconds": seconds}
    logging.getLogger(__name__).info("compiling, once on this machine", extra={"fields": fields})


def set_up_logs(level: str, form: str) -> None:
    """Send the service's logs, and uvicorn's from warnings on, to standard error; compiling is logged too."""
    on_compiling(_log_compiling)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else PlainLines())
    logging.raiseExceptions = False  # a full disk or a closed pipe behind the log must not fail requests
    for name, least in (("lexhound", level.upper()), ("uvicorn", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(least)
