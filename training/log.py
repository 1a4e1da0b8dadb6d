"""A run's log: one JSON object a line, a step or a validation each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lexhound.core.atomic_files import write_file


class TrainingLog:
    """A log that appends to a file, which begins with the first line written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, record: Mapping[str, float]) -> None:
        """Append a line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({name: _short(value) for name, value in record.items()}) + "\n")

    def truncate(self, step: int) -> None:
        """Drop lines of steps after `step`, which will be taken again, and a line that was cut off."""
        if not self._path.is_file():
            return
        records = [record for record in self.read() if record["step"] <= step and (step or False)]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        write_file(self._path, lines.encode())

    def read(self) -> list[dict[str, float]]:
        """Return all records; a last line that was cut off is left out."""
        if not self._path.is_file():
            return []
        records = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")
