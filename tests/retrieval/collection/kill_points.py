"""Run as a program: replaces a collection and is killed at every rename and removal, then looks what is there.

One process imports everything and forks a child for each attempt. The child exits, as if killed, just before its n-th
change of a name (`os.rename`, `replace`, `unlink`, `rmdir`, `mkdir`, and the exchange of two names); the parent opens
the collection, which must be the old or the new one, and lets a second attempt finish. Prints one JSON object.

    kill_points.py index|import|restore|create exchange|renames DIRECTORY STRIDE

With `renames` two names cannot be exchanged. Of removals, all but each STRIDE-th is passed over.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from lexhound.core import atomic_files as durable
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.backup import restore_collection
from lexhound.retrieval.collection.building import build_collection
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import NotACollectionError
from lexhound.retrieval.exports import export_collection
from lexhound.retrieval.exports.importing import import_export

KILLED = 9
RENAMES = ("rename", "replace", "mkdir")
REMOVALS = ("unlink", "remove", "rmdir")


class Hooks:
    """Counts changes of names in this process and ends it at one of them."""

    def __init__(self, last: int, stride: int) -> None:
        self._left = last
        self._stride = stride
        self._removals = 0
        for name in RENAMES + REMOVALS:
            setattr(os, name, self._counted(getattr(os, name), removal=name in REMOVALS))
        durable.exchange = self._counted(durable.exchange, removal=False)

    def _counted(self, function: Callable[..., object], *, removal: bool) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            self._removals += removal
            if not removal or self._removals % self._stride == 0:
                if not self._left:
                    os._exit(KILLED)
                self._left -= 1
            return function(*arguments, **named)

        return counted


def attempt(action: Callable[[], object], last: int, stride: int) -> bool:
    """Run an action in a child that ends at its `last` change of a name; returns whether it was done before."""
    child = os.fork()
    if not child:
        try:
            Hooks(last, stride)
            action()
        except BaseException as error:  # noqa: BLE001  told by the exit code
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, KILLED):
        raise SystemExit(f"an attempt ended with {code}")
    return code == 0


def found(place: Path) -> list[str]:
    """The texts of the collection, checked to the last byte; nothing where there is none."""
    try:
        with Collection.open(place) as collection:
            problems = collection.verify()
            if problems:
                raise SystemExit(f"damaged: {problems}")
            return sorted(hit.document.text for hit in collection.search("wing", 10).hits)
    except NotACollectionError:
        return []


def main(kind: str, way: str, folder: Path, stride: int) -> None:
    if way == "renames":
        durable.exchange = lambda one, other: False
    source = folder / "new.jsonl"
    source.write_text("".join(f'{{"id": "n{n}", "text": "new wing {n}"}}\n' for n in range(2)))
    new = [f"new wing {n}" for n in range(2)]
    with Collection.create(folder / "made") as collection:
        collection.add(Document(f"n{n}", text) for n, text in enumerate(new))
        collection.compact()
        export_collection(collection, folder / "export", "parquet")
    old = [] if kind == "create" else ["old wing"]
    place = folder / "place" / "c"
    actions = {
        "create": lambda: build_collection(place, open_corpus(source), source="new"),
        "index": lambda: build_collection(place, open_corpus(source), source="new", overwrite=True),
        "import": lambda: import_export(folder / "export", place, overwrite=True),
        "restore": lambda: restore_collection(folder / "made", place, overwrite=True),
    }
    counts = {"kills": 0, "old": 0, "new": 0}
    while True:
        shutil.rmtree(place.parent, ignore_errors=True)
        place.parent.mkdir()
        if old:
            with Collection.create(place) as collection:
                collection.add([Document("o", old[0])])
                collection.compact()
        done = attempt(actions[kind], counts["kills"], stride)
        texts = found(place)
        if done:
            left = [path.name for path in place.parent.iterdir()]
            if texts != new or left != ["c"]:
                raise SystemExit(f"done, but there is {texts}, {left}")
            break
        if texts not in (old, new):
            raise SystemExit(f"killed at {counts['kills']}: {texts}")
        counts["kills"] += 1
        counts["new" if texts == new else "old"] += 1
        if kind == "create" and texts == new:
            continue
        if not attempt(actions[kind], 10**9, 1) or found(place) != new:
            raise SystemExit(f"after a kill at {counts['kills'] - 1} a second attempt made {found(place)}")
        left = sorted(path.name for path in place.parent.iterdir())
        if left != ["c"]:
            raise SystemExit(f"after a kill at {counts['kills'] - 1} a second attempt left {left}")
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
