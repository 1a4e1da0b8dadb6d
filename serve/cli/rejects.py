"""The list of bad rows that a run passed over."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from .output import tell

if TYPE_CHECKING:
    from ...retrieval.corpus import BadRow

SHOWN = 3


class RejectList:
    """A JSON Lines file of bad rows: file, line, reason, hint and the row itself; made when there is one to list."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None

    def add(self, row: BadRow) -> None:
        """List a row; the first few are also told on standard error."""
        import orjson

        if self._file is None:
            self._file = self.path.open("wb")
        entry = {
            "file": row.file,
            row.unit: row.line,
            "reason": row.reason,
            "hint": row.hint,
            "raw": row.raw.decode("utf-8", "backslashreplace"),
        }
        self._file.write(orjson.dumps(entry) + b"\n")
        self.count += 1
        if self.count <= SHOWN:
            tell(f"skipped: {row.where}: {row.reason}")

    def tell(self) -> None:
        """Say on standard error how many rows were skipped and where they are listed."""
        if self.count:
            noun = "row" if self.count == 1 else "rows"
            tell(f"{self.count:,} bad {noun} skipped, listed in {self.path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
