"""Collections that are made, replaced or removed while somebody looks, writes, or is killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lexhound.core import atomic_files as durable
from lexhound.core.atomic_files import exchange, put_directory, replace_file
from lexhound.core.errors import CollectionGoneError, CollectionLockedError
from lexhound.core.lock import Claim
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.building import build_collection
from lexhound.retrieval.collection.store.schema import LOG
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import CollectionExistsError

HERE = Path(__file__).parent
# Of removals, each so manieth; renames are all tried. LEXHOUND_KILL_STRIDE=1 tries every removal too.
STRIDE = os.environ.get("LEXHOUND_KILL_STRIDE", "25")
# How many pairs of runs meet.
ROUNDS = os.environ.get("LEXHOUND_PAIRS", "4")


def program(name: str, *arguments: object) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(HERE / name), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


@pytest.mark.parametrize(("kind", "way"), [("index", "exchange"), ("index", "renames"), ("restore", "renames")])
def test_killed_at_every_rename_there_is_the_old_or_the_new_collection(tmp_path: Path, kind: str, way: str) -> None:
    counts = program("kill_points.py", kind, way, tmp_path, STRIDE)
    assert counts["kills"] == counts["old"] + counts["new"] >= 6
    assert min(counts["old"], counts["new"]) > 0


@pytest.mark.parametrize("kind", ["new", "overwrite"])
def test_two_runs_into_one_directory_do_not_disturb_each_other(tmp_path: Path, kind: str) -> None:
    assert sum(program("two_runs.py", kind, tmp_path, ROUNDS).values()) == int(ROUNDS)


def test_a_run_is_told_of_the_one_that_is_under_way(tmp_path: Path) -> None:
    with Claim(tmp_path / "c"):
        with pytest.raises(CollectionLockedError, match=rf"another run is building here \(pid {os.getpid()}, since 2"):
            Collection.create(tmp_path / "c")
        with pytest.raises(CollectionLockedError):
            Claim(tmp_path / "x" / ".." / "c")
        Collection.create(tmp_path / "other").close()
    Collection.create(tmp_path / "c").close()
    assert {path.name for path in tmp_path.iterdir()} == {"c", "other"}


def _remove(place: Path) -> None:
    shutil.rmtree(place)


def _remove_log(place: Path) -> None:
    (place / LOG).unlink()


def _remove_lock(place: Path) -> None:
    (place / "write.lock").unlink()


def _swap(place: Path) -> None:
    shutil.copytree(place, place.with_name("copy"))
    place.rename(place.with_name("old"))
    place.with_name("copy").rename(place)


def _exchange(place: Path) -> None:
    shutil.copytree(place, place.with_name("old"))
    assert exchange(place, place.with_name("old"))


@pytest.mark.parametrize("change", [_remove, _remove_log, _remove_lock, _swap, _exchange])
def test_a_write_to_what_is_no_longer_there_is_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    place = tmp_path / "c"
    collection = Collection.create(place)
    collection.add([Document("d", "wing")])
    change(place)
    for write in (
        lambda: collection.add([Document("lost", "wing")]),
        lambda: collection.put([Document("lost", "wing")]),
        lambda: collection.delete(["d"]),
        collection.compact,
    ):
        with pytest.raises(CollectionGoneError):
            write()
    collection.close()
    if place.exists():
        with Collection.open(place, writable=True) as again:
            assert again.get("lost") is None
            again.add([Document("kept", "wing")])
            assert again.get("kept") is not None


def test_a_write_is_refused_where_the_collection_goes_before_it_ends(tmp_path: Path) -> None:
    place = tmp_path / "c"

    def documents() -> object:
        yield Document("a", "wing")
        _swap(place)
        yield Document("b", "wing")

    with Collection.create(place) as collection:
        collection.add([Document("d", "wing")])
        with pytest.raises(CollectionGoneError, match="replaced"):
            collection.add(documents())  # type: ignore[arg-type]
    with Collection.open(place) as other:
        assert other.count() == 1


def test_a_reader_never_mixes_two_collections(tmp_path: Path) -> None:
    place = tmp_path / "c"
    source = tmp_path / "docs.jsonl"
    source.write_text('{"id": "new", "text": "wing of another"}\n')
    with Collection.create(place) as collection:
        collection.add([Document("d", "wing")])
    with Collection.open(place) as reader:
        assert reader.search("wing").hits[0].id == "d"
        build_collection(place, open_corpus(source), source="x", overwrite=True)
        with pytest.raises(CollectionGoneError):
            reader.check_place()
        assert reader.search("wing").hits[0].id == "d"
        assert not reader.refresh()
    with Collection.open(place) as reader:
        assert reader.search("wing").hits[0].id == "new"


def test_new_names_are_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    place = tmp_path / "a" / "b" / "c"
    Collection.create(place).close()
    for directory in (tmp_path, tmp_path / "a", tmp_path / "a" / "b", place):
        assert directory.stat().st_ino in synced, directory
    synced.clear()
    (tmp_path / "new").mkdir()
    new = (tmp_path / "new").stat().st_ino
    put_directory(tmp_path / "new", place)
    assert place.stat().st_ino == new
    assert {new, place.parent.stat().st_ino} <= set(synced)
    synced.clear()
    with replace_file(tmp_path / "f") as file:
        file.write(b"x")
    assert synced == [(tmp_path / "f").stat().st_ino, tmp_path.stat().st_ino]


def test_what_came_first_stays(tmp_path: Path) -> None:
    (tmp_path / "aside").mkdir()
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "thesis").touch()
    with pytest.raises(FileExistsError):
        durable.publish_directory(tmp_path / "aside", tmp_path / "place")
    (tmp_path / "place2").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CollectionExistsError):
        Collection.create(tmp_path / "place2")
    assert (tmp_path / "place" / "thesis").exists()


def test_what_is_removed_has_no_figures(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document("d", "wing")])
    with Collection.open(tmp_path / "c") as reader:
        assert reader.info().documents == 1
        shutil.rmtree(tmp_path / "c")
        with pytest.raises(CollectionGoneError):
            reader.info()
