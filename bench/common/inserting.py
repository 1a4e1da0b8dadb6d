"""A client that inserts documents at a steady rate while others search, and remembers what was acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from lexhound.serve.client.client import Client

_A_SECOND = 10  # requests


class Inserting:
    """Inserts `rate` documents a second from its start to `stop`."""

    def __init__(self, url: str, collection: str, texts: Sequence[str], rate: int) -> None:
        self.acknowledged: list[str] = []
        self.slowest = 0.0
        self.failures = 0
        self._rate = rate
        self._url, self._collection, self._texts = url, collection, texts
        self._end = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run)
        if rate:
            self._thread.start()

    def _run(self) -> None:
        with Client(self._url, retries=0) as client:
            number = 0
            while not self._end.wait(max(0.0, self._started + number / _A_SECOND - time.monotonic())):
                size = max(1, self._rate // _A_SECOND)
                ids = [f"inserted-{number}-{each}" for each in range(size)]
                rows = [
                    {"id": each, "text": self._texts[(number * size + place) % len(self._texts)]}
                    for place, each in enumerate(ids)
                ]
                number += 1
                started = time.monotonic()
                try:
                    result = client.put(self._collection, rows)
                except Exception:  # noqa: BLE001  counted, and the run goes on
                    self.failures += 1
                    continue
                self.slowest = max(self.slowest, time.monotonic() - started)
                if result.added == size:
                    self.acknowledged += ids
                else:
                    self.failures += 1

    def stop(self) -> float:
        """Stop, and the documents a second that were acknowledged."""
        self._end.set()
        if self._rate:
            self._thread.join()
        return len(self.acknowledged) / (time.monotonic() - self._started)

    def lost(self) -> list[str]:
        """Documents that were acknowledged and are not there."""
        with Client(self._url) as client:
            return [each for each in self.acknowledged if client.get(self._collection, each) is None]
