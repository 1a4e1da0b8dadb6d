"""The list of bad rows that a run passed over."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from .output import tell

if TYPE_CHECKING:
    from lexhound.retrieval.corpus import BadRow, Corpus

SHOWN = 3


class RejectList:
    """A JSON Lines file of bad rows: file, line, reason, hint and the row itself; made when there is one to list.

    `count` and `lines` are how many rows were skipped, and how many lines of the input are lost with them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.lines = 0
        self._file: BinaryIO | None = None

    def add(self, row: BadRow) -> None:
        """List a row; the first few are also told on standard error."""
        import orjson

        if self._file is None:
            self._file = self.path.open("wb")
        entry = {
            "file": row.file,
            row.unit: row.line,
            **({"lines": row.lines} if row.lines > 1 else {}),
            "reason": row.reason,
            "hint": row.hint,
            "raw": row.raw.decode("utf-8", "backslashreplace"),
        }
        self._file.write(orjson.dumps(entry) + b"\n")
        self.count += 1
        self.lines += row.lines
        if self.count <= SHOWN:
            more = f" ({row.lines:,} lines)" if row.lines > 1 else ""
            tell(f"skipped: {row.where}: {row.reason}{more}")

    def tell(self, *corpora: Corpus) -> None:
        """Say on standard error how many rows were skipped, where they are listed, and what is odd about corpora."""
        if self.count:
            noun = "row" if self.count == 1 else "rows"
            lines = f" ({self.lines:,} lines)" if self.lines > self.count else ""
            tell(f"{self.count:,} bad {noun}{lines} skipped, listed in {self.path}")
        for corpus in corpora:
            for notice in corpus.notices():
                tell(notice)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
