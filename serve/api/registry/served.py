"""An open collection, as the service holds it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from lexhound.core.progress import Step
from lexhound.retrieval.engines.protocol import Backend

from .sources import Follower
from .write_queue import WriteQueue


@dataclass(slots=True, eq=False)
class ServedCollection:
    """One open collection: a reader that requests share, and the queue of its writer.

    Attributes:
        follower: keeps the reader up to date, and notices when the collection is gone.
        users: requests that are using it; it is closed when the last has finished.
        loads: those of them that write to it.
        compacting: how far a compaction is, None where there is none.
        deleting: it is about to be deleted, and takes no further writes.
        seen: the refresh signal that the reader has caught up with.
    """

    name: str
    reader: Backend
    writes: WriteQueue
    follower: Follower
    users: int = 0
    loads: int = 0
    deleting: bool = False
    retired: bool = False
    compacting: Step | None = None
    seen: int = 0
    quiet: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        """Finish the writes that wait and give everything back."""
        try:
            self.writes.close()
        finally:
            self.reader.close()
