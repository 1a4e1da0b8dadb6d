"""Backups: whole whatever is written meanwhile, and nothing that is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lexhound.core.errors import CollectionLockedError
from lexhound.core.progress import Pace
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection import backup
from lexhound.retrieval.collection.backup import backup_collection, restore_collection
from lexhound.retrieval.errors import CollectionExistsError, CorruptCollectionError, NotACollectionError, QueryError

# How many backups are made while another process writes.
BACKUPS = int(os.environ.get("LEXHOUND_BACKUPS_MADE", "4"))

# Adds, deletes, builds segments and merges them until its input ends. Every document d<n> comes with an even number of
# others: after each commit the collection holds as many of one kind as of the other.
WRITER = """
import sys, threading
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.write import writer
writer.FLUSH_BYTES = 4096
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
with Collection.open(sys.argv[1], writable=True) as collection:
    number = 0
    while not ended.is_set():
        collection.put([Document(f"{kind}{number + each}", f"wing {kind} {number} " + "filling " * 50)
                        for kind in ("a", "b") for each in range(5)])
        number += 5
        if number % 15 == 0:
            collection.delete([f"{kind}{number - 15}" for kind in ("a", "b")])
        if number % 50 == 0:
            collection.compact()
            print(number, flush=True)
"""


def fill(path: Path) -> Collection:
    collection = Collection.create(path)
    collection.add(Document(f"d{n}", f"wing {n}", metadata={"year": 1950 + n}) for n in range(30))
    collection.compact()
    collection.add([Document("late", "wing")])
    collection.delete(["d3"])
    return collection


def documents(path: Path) -> list[Document]:
    with Collection.open(path) as collection:
        assert collection.verify() == []
        return [hit.document for hit in collection.search("wing", 100_000).hits]


@pytest.mark.parametrize("link", [False, True])
def test_backup_and_restore(tmp_path: Path, link: bool) -> None:
    place, copy = tmp_path / "c", tmp_path / "backups" / "c"
    with fill(place):  # a writer that has it open
        report = backup_collection(place, copy, link=link)
        assert (report.documents, report.segments) == (30, 1)
        assert bool(report.linked) == link
        before = documents(place)
    assert documents(copy) == before
    with Collection.open(place, writable=True) as collection:
        collection.delete(["d1"])
        collection.compact()
        with pytest.raises(CollectionLockedError):
            restore_collection(copy, place, overwrite=True)
    with pytest.raises(CollectionExistsError):
        restore_collection(copy, place)
    assert restore_collection(copy, place, overwrite=True).linked == 0
    assert documents(place) == documents(copy) == before
    # Both can be written to, each for itself.
    for path in (place, copy):
        with Collection.open(path, writable=True) as collection:
            collection.add([Document("own", path.parent.name)])
            collection.compact()
        assert documents(path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"c", "backups"}
    assert [path.name for path in copy.parent.iterdir()] == ["c"]


def test_backups_while_another_process_writes_are_all_whole(tmp_path: Path) -> None:
    Collection.create(tmp_path / "c").close()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "c")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writing:
        assert writing.stdout is not None
        sizes = []
        for number in range(BACKUPS):
            writing.stdout.readline()
            copy = tmp_path / f"copy{number}"
            report = backup_collection(tmp_path / "c", copy, link=number % 2 == 1)
            found = [document.id for document in documents(copy)]
            assert len(found) == report.documents
            assert sorted(name[1:] for name in found if name[0] == "a") == sorted(
                name[1:] for name in found if name[0] == "b"
            )
            sizes.append(len(found))
        assert writing.poll() is None
        writing.communicate()
        assert writing.returncode == 0
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_segments_that_are_merged_away_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the copy of the database and that of the segments which it names, these are gone: it is begun anew."""
    really = backup._copy_segments
    calls = 0
    with fill(tmp_path / "c") as collection:

        def meanwhile(
            source: Path, target: Path, names: list[str], linked: dict[str, int], pace: Pace, *, link: bool
        ) -> list[str]:
            nonlocal calls
            calls += 1
            if calls <= 3:  # before the segments named at first, those in the copy, and again
                collection.add([Document(f"more{calls}", "wing")])
                collection.compact()
            return really(source, target, names, linked, pace, link=link)

        monkeypatch.setattr(backup, "_copy_segments", meanwhile)
        report = backup_collection(tmp_path / "c", tmp_path / "copy")
        assert calls >= 4
        assert report.segments == len(list((tmp_path / "copy" / "segments").iterdir())) == 1
        assert documents(tmp_path / "copy") == documents(tmp_path / "c")


def test_an_unfinished_run_goes_on_in_the_copy(tmp_path: Path) -> None:
    from lexhound.retrieval.collection.building import build_collection
    from lexhound.retrieval.corpus import open_corpus
    from lexhound.retrieval.errors import BadRowError

    source = tmp_path / "docs.jsonl"
    source.write_text('{"id": "1", "text": "wing"}\nbroken\n')
    with pytest.raises(BadRowError):
        build_collection(tmp_path / "c", open_corpus(source), source="s")
    backup_collection(tmp_path / "c", tmp_path / "copy")
    source.write_text('{"id": "1", "text": "wing"}\n{"id": "2", "text": "wing"}\n')
    report = build_collection(tmp_path / "copy", open_corpus(source), source="s")
    assert (report.added, report.resumed) == (2, 1)


def test_what_is_damaged_or_elsewhere_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "c"
    fill(place).close()
    with pytest.raises(NotACollectionError):
        backup_collection(tmp_path / "nothing", tmp_path / "copy")
    (tmp_path / "thesis").mkdir()
    with pytest.raises(NotACollectionError, match="not overwritten"):
        backup_collection(place, tmp_path / "thesis", overwrite=True)
    for inside in (place / "backup", place, tmp_path):
        with pytest.raises(QueryError):
            backup_collection(place, inside, overwrite=True)
    file = next((place / "segments").rglob("impacts.bin"))
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptCollectionError, match="damaged") as caught:
        backup_collection(place, tmp_path / "copy")
    assert str(caught.value.where).startswith(str(place))
    file.unlink()
    with pytest.raises(CorruptCollectionError):
        backup_collection(place, tmp_path / "copy")
    assert {path.name for path in tmp_path.iterdir()} == {"c", "thesis"}
