"""Run as a program: two processes index into one directory at once, again and again. Prints one JSON object.

two_runs.py new|overwrite DIRECTORY ROUNDS
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from lexhound.core.errors import CollectionLockedError
from lexhound.retrieval import Collection
from lexhound.retrieval.collection.building import build_collection
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import CollectionExistsError

DOCUMENTS = 40


def run(place: Path, source: Path, *, overwrite: bool, delay: float) -> int:
    """Index in a child; returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        time.sleep(delay)
        build_collection(place, open_corpus(source), source=str(source), overwrite=overwrite)
        code = 0
    except CollectionLockedError as error:
        if f"pid {os.getppid()}" not in error.message and "pid" in error.message:
            code = 2
    except CollectionExistsError:
        code = 3
    except BaseException as error:  # noqa: BLE001  told by the exit code
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    os._exit(code)


def main(kind: str, folder: Path, rounds: int) -> None:
    source = folder / "docs.jsonl"
    source.write_text("".join(f'{{"id": "{n}", "text": "wing {n}"}}\n' for n in range(DOCUMENTS)))
    place = folder / "place" / "c"
    ends: Counter[str] = Counter()
    randomness = random.Random(rounds)
    build_collection(folder / "warm", open_corpus(source), source="warm")
    for _ in range(rounds):
        shutil.rmtree(place.parent, ignore_errors=True)
        if kind == "overwrite":
            Collection.create(place).close()
        pids = [run(place, source, overwrite=kind == "overwrite", delay=randomness.random() * 0.05) for _ in range(2)]
        codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)
        if codes[0] or codes[1] == 1:
            raise SystemExit(f"two runs ended with {codes}")
        ends[{0: "both", 2: "told of the other", 3: "told of the collection"}[codes[1]]] += 1
        with Collection.open(place) as collection:
            if collection.verify() or collection.count() != DOCUMENTS:
                raise SystemExit("the collection is not whole")
        if [path.name for path in place.parent.iterdir()] != ["c"]:
            raise SystemExit("something was left")
    sys.stdout.write(json.dumps(ends) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
