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
        ready: the folder in which each process says that it is ready; None where there is one process only.
        place, processes: which it is, from 0, and of how many.
        replaces: it takes the place of a process that died while others answer, so it takes no request before it is
            ready.
    """

    writer: Path | None = None
    signal: Path | None = None
    replaces: bool = False
    ready: Path | None = None
    place: int = 0
    processes: int = 1

    def say_ready(self) -> None:
        """Tell the processes beside this one that it answers."""
        if self.ready is not None:
            (self.ready / str(self.place)).touch()

    def all_ready(self) -> bool:
        """Return whether every process has been ready; one that takes another's place later answers nothing before it
        is.
        """
        return self.ready is None or all((self.ready / str(number)).exists() for number in range(self.processes))


ALONE = Role()
