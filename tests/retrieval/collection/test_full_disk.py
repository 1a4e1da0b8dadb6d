"""A disk that fills up at any moment: one clear error each time, and nothing that was acknowledged is lost.

The system refuses to let a file grow beyond a limit, as a full disk or a quota would: it is the same calls that fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LIMITS = [*range(0, 72 * 1024, 6 * 1024), *range(72 * 1024, 512 * 1024, 40 * 1024)]

SCRIPT = """
import json, resource, shutil, sys
from pathlib import Path

from lexhound.retrieval import Collection, Document
from lexhound.core.errors import StorageFullError
from lexhound.retrieval.exports import export_collection

folder, limits = Path(sys.argv[1]), json.loads(sys.argv[2])
documents = [Document(str(n), f"heat transfer number{n} " * 30, metadata={"n": n}) for n in range(300)]
kept = folder / "kept.index"
with Collection.create(kept) as collection:
    collection.add(documents[:100])


def added(path):
    with Collection.open(path, writable=True) as collection:
        collection.add(documents[100:])


def compacted(path):
    with Collection.open(path, writable=True) as collection:
        collection.compact()


def exported(path):
    with Collection.open(path) as collection:
        export_collection(collection, folder / "out", "anserini")


ACTIONS = {
    "create": lambda path: Collection.create(folder / "new.index").close(),
    "add": added,
    "compact": compacted,
    "export": exported,
}
found = {}
for name, action in ACTIONS.items():
    for limit in limits:
        copy = folder / "copy.index"
        for place in (copy, folder / "new.index", folder / "out"):
            shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(kept, copy)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            action(copy)
            outcome = "done"
        except StorageFullError:
            outcome = "full"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        found.setdefault(name, []).append(outcome)
        with Collection.open(copy) as collection:
            assert collection.count() in (100, 300), collection.count()
            assert collection.get("99") == documents[99]
            assert not collection.verify()
        if outcome != "done":
            assert not (folder / "new.index").exists()
            assert not (folder / "out").exists()
print(json.dumps(found))
"""


def test_every_full_disk_is_told_as_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), json.dumps(LIMITS)], capture_output=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    for name, outcomes in json.loads(done.stdout).items():
        assert set(outcomes) == {"full", "done"}, (name, outcomes)
        assert outcomes[0] == "full"
        assert outcomes[-1] == "done", (name, outcomes)
