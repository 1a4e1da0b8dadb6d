"""What a process is among those that serve one data folder: the one that writes, or one that hands writes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Role:
    """A process's place.

    Attributes:
        writer: the Unix socket of the process that writes; None in that process itself.
        signal: the file through which a write is made searchable in all processes at once; None where there is one
            process only.
        replaces: it takes the place of a process that died while others answer, so it takes no request before it is
            ready.
    """

    writer: Path | None = None
    signal: Path | None = None
    replaces: bool = False


ALONE = Role()
