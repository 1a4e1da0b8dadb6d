"""SQLite's write-ahead log: it stays short whoever reads, and nobody reads past it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from lexhound.core.errors import ReadOnlyError
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.store.schema import DATABASE, LOG, LOG_INDEX, LOG_KEPT_BYTES, log_bytes
from lexhound.retrieval.collection.store.wal import CUT_AT_BYTES

# A user who may read everything and write nothing; where the tests do not run as root, the owner who may not either.
READER = """
import json, os, sys, tempfile
from lexhound.retrieval import Collection, Document
from lexhound.core.errors import StorageError
from lexhound.retrieval.errors import RetrievalError
with tempfile.TemporaryDirectory() as folder, Collection.create(folder + "/c") as own:
    # All is loaded that the other user may be unable to load.
    own.add([Document("d", "wing"), Document("e", "wing")])
    own.delete(["d"])
    assert own.search("wing").hits and own.refresh() is False
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
collection = None
for line in sys.stdin:
    try:
        if line.strip() == "open":
            if collection is not None:
                collection.close()
                collection = None
            collection = Collection.open(sys.argv[1])
        else:
            collection.refresh()
        hits = collection.search("wing", 1000).hits
        texts = {hit.id: collection.get(hit.id).text for hit in hits}
        print(json.dumps(texts), flush=True)
    except (RetrievalError, StorageError) as error:
        print(json.dumps([type(error).__name__, error.message, error.hint]), flush=True)
"""


class OtherUser:
    """A process of a user without permission to write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what: str) -> object:
        """`open` it anew, or `look` at what is new; the texts by id, or what was wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mode = self._directory.stat().st_mode
        self._directory.chmod(0o555)
        try:
            self._process.stdin.write(f"{what}\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        finally:
            self._directory.chmod(mode)

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def shown() -> Iterator[Path]:
    """A folder that other users may enter, which those of pytest they may not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def texts(collection: Collection) -> dict[str, str]:
    return {hit.id: hit.document.text for hit in collection.search("wing", 1000).hits}


def test_a_reader_who_may_not_write_sees_every_change(shown: Path) -> None:
    place = shown / "c"
    other = OtherUser(place)
    with Collection.create(place) as owner:
        owner.add(Document(f"d{n}", f"wing {n}") for n in range(10))
        assert other.ask("open") == texts(owner)
        owner.delete(["d1", "d2"])
        owner.add([Document("d3", "another wing"), Document("new", "wing")])
        assert other.ask("look") == texts(owner)
        # The same as a killed process leaves it, with everything in the log.
        assert log_bytes(place)
        shutil.copytree(place, shown / "killed")
        killed = OtherUser(shown / "killed")
        assert killed.ask("open") == texts(owner)
        killed.end()
    before = other.ask("look")
    with Collection.open(place, writable=True) as owner:
        assert before == texts(owner)
        owner.delete(["d9"])
        owner.compact()
        after = texts(owner)
        assert other.ask("look") == after != before
    # Nobody else has it open now.
    assert other.ask("look") == after
    assert other.ask("open") == after
    with Collection.open(place, writable=True) as owner:
        owner.add([Document("last", "wing")])
        assert other.ask("look") == texts(owner)
    assert other.ask("open") == after | {"last": "wing"}
    other.end()


def test_without_the_log_a_reader_who_may_not_write_is_refused(shown: Path) -> None:
    place = shown / "c"
    other = OtherUser(place)
    with Collection.create(place) as owner:
        owner.add([Document("d", "wing")])
        shutil.copytree(place, shown / "killed")
    for name in (LOG, LOG_INDEX):
        (place / name).unlink()
    kind, message, hint = other.ask("open")
    assert kind == "ReadOnlyError"
    assert LOG in message
    assert "permission" in hint
    Collection.open(place).close()  # by one who may write
    assert other.ask("open") == {"d": "wing"}
    other.end()
    (shown / "killed" / LOG_INDEX).unlink()
    killed = OtherUser(shown / "killed")
    assert killed.ask("open")[0] == "ReadOnlyError"
    Collection.open(shown / "killed").close()
    assert killed.ask("open") == {"d": "wing"}
    killed.end()


def test_a_read_only_file_system(tmp_path: Path) -> None:
    """Where we may mount one: read whole, or refused where the log cannot be read."""
    mount = tmp_path / "medium"
    mount.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(mount)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        with Collection.create(mount / "live") as collection:
            collection.add([Document("d", "wing"), Document("e", "wing")])
            collection.delete(["e"])
            shutil.copytree(mount / "live", mount / "killed")
        shutil.copytree(mount / "killed", mount / "lost")
        (mount / "lost" / LOG_INDEX).unlink()
        shutil.copytree(mount / "live", mount / "old")
        for name in (LOG, LOG_INDEX):
            (mount / "old" / name).unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        for name in ("live", "killed", "old"):
            with Collection.open(mount / name) as collection:
                assert texts(collection) == {"d": "wing"}, name
        with pytest.raises(ReadOnlyError, match="holds changes"):
            Collection.open(mount / "lost")
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.slow
def test_the_log_stays_short_while_others_read(tmp_path: Path) -> None:
    """An idle reader, one that keeps searching, and a writer: LEXHOUND_SOAK_WRITES=10000 for the long run."""
    writes = int(os.environ.get("LEXHOUND_SOAK_WRITES", "150"))
    text = " ".join(f"word{n}" for n in range(12_000))  # 0.1 MB, and as much again in the log for its vector
    longest = searches = 0
    done = Event()
    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document("d", "wing")])
        with Collection.open(tmp_path / "c") as idle, Collection.open(tmp_path / "c") as busy:
            snapshot = idle.snapshot()
            assert idle.search("wing").hits

            def keep_searching() -> None:
                nonlocal searches
                while not done.is_set():
                    assert busy.search("wing").hits
                    busy.refresh()
                    searches += 1

            thread = Thread(target=keep_searching)
            thread.start()
            try:
                for number in range(writes):
                    collection.add([Document(f"w{number % 50}", f"{number} {text}")])
                    longest = max(longest, log_bytes(tmp_path / "c"))
            finally:
                done.set()
                thread.join()
            assert searches
            assert snapshot.n_documents == idle.count() == 1
            if "LEXHOUND_SOAK_WRITES" in os.environ:
                told = f"{writes:,} writes, {searches:,} searches: at most {longest / 2**20:.1f} MiB of log\n"
                sys.stderr.write(told)
            assert longest <= CUT_AT_BYTES + 2**20
            collection.compact()
            assert log_bytes(tmp_path / "c") <= LOG_KEPT_BYTES
            assert idle.search("wing").hits


def test_after_a_long_read_the_log_is_cut(tmp_path: Path) -> None:
    text = " ".join(f"word{n}" for n in range(12_000))
    with Collection.create(tmp_path / "c") as collection, Collection.open(tmp_path / "c") as reader:
        collection.add([Document("d", "wing")])
        held = reader.snapshot(hold=True)
        collection.add(Document(f"w{number}", f"{number} {text}") for number in range(10))
        before = log_bytes(tmp_path / "c")
        collection.compact()
        assert log_bytes(tmp_path / "c") >= before > 2**20
        del held
        collection.compact()
        assert log_bytes(tmp_path / "c") <= LOG_KEPT_BYTES
        assert collection.info().log_bytes == log_bytes(tmp_path / "c")
        assert (tmp_path / "c" / DATABASE).stat().st_size > 2**20


@pytest.mark.parametrize("tenant", [None, "a"])
def test_a_held_state_ends_with_its_last_use(tmp_path: Path, tenant: str | None) -> None:
    field = None if tenant is None else "org"
    with Collection.create(tmp_path / "c", tenant_field=field) as collection:
        collection.add([Document("d", "wing", "", {"org": "a"})])
        asked = collection if tenant is None else collection.for_tenant(tenant)
        assert asked.search("wing").hits
        held = asked._reader.snapshot(hold=True)
        assert held.statistics.n_documents == 1
        assert held.held is not None
        gone = weakref.ref(held if tenant is None else held.whole)  # type: ignore[attr-defined]
        del held
        assert gone() is None
