"""How an exception ends a command.

`docs/cli.md` tells users what the exit codes mean: 0 done, 1 failed, 2 the request itself is wrong (usage), 130
interrupted. A usage error is one that can be seen without looking at any data; everything else that goes wrong is a
failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lexhound.core.disk_errors import FULL
from lexhound.core.errors import FAILED, USAGE, LexhoundError

DONE = 0
INTERRUPTED = 130  # 128 + SIGINT, as shells count it


class UsageError(LexhoundError):
    """A request contradicts itself or leaves out something it needs."""

    exit_code = USAGE
    http_status = 400


class NotFoundError(LexhoundError):
    """The documents that were asked for are not in the collection."""

    http_status = 404


@dataclass(frozen=True, slots=True)
class Failure:
    """An expected failure in the form in which it is told.

    Attributes:
        code: a stable name for programs: the exception's name as `not_a_collection`.
        message: what is wrong; where: the file, line or path; hint: what to do.
    """

    code: str
    message: str
    where: str | None
    hint: str | None
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints in place of the result."""
        return {"error": {"code": self.code, "message": self.message, "where": self.where, "hint": self.hint}}


def describe_failure(error: BaseException) -> Failure | None:
    """Return the failure that an exception stands for; None for one that nobody expected."""
    if isinstance(error, LexhoundError):
        where = None if error.where in (None, "") or str(error.where) in error.message else str(error.where)
        return Failure(error.code, error.message, where, error.cli_hint or error.hint, error.exit_code)
    if isinstance(error, OSError):
        where = None if error.filename is None else str(error.filename)
        if error.errno in FULL:
            return Failure("storage_full", "the disk is full", where, "Free some space, and try again.", FAILED)
        return Failure("system", error.strerror or str(error), where, None, FAILED)
    if isinstance(error, MemoryError):
        hint = "Close other programs, or split the input."
        return Failure("out_of_memory", "there is not enough memory", None, hint, FAILED)
    return None
