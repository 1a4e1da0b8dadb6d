"""Files and directories take their names whole, and are on the disk by then."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lexhound.core import atomic_files
from lexhound.core.atomic_files import (
    exchange,
    move_file,
    publish_directory,
    put_directory,
    replace_directory,
    replace_file,
    sync_tree,
    write_file,
)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes that were brought to the disk, in order."""
    inodes: list[int] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        inodes.append(os.fstat(descriptor).st_ino)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return inodes


def inode(path: Path) -> int:
    return path.stat().st_ino


def test_a_file_is_synced_before_its_name(tmp_path: Path, synced: list[int]) -> None:
    write_file(tmp_path / "f", b"x")
    assert synced == [inode(tmp_path / "f"), inode(tmp_path)]
    assert (tmp_path / "f").read_bytes() == b"x"
    synced.clear()
    (tmp_path / "aside").write_bytes(b"y")
    move_file(tmp_path / "aside", tmp_path / "f")
    assert synced == [inode(tmp_path / "f"), inode(tmp_path)]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_file_keeps_what_it_was_where_writing_fails(tmp_path: Path) -> None:
    write_file(tmp_path / "f", b"old")
    with pytest.raises(TypeError), replace_file(tmp_path / "f") as file:
        file.write(b"new" + None)  # type: ignore[operator]
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_permissions_are_those_of_any_new_file_or_as_asked(tmp_path: Path) -> None:
    write_file(tmp_path / "f", b"")
    write_file(tmp_path / "secret", b"", 0o600)
    (tmp_path / "plain").touch()
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_a_directory_takes_the_place_whole_and_synced(
    tmp_path: Path, synced: list[int], monkeypatch: pytest.MonkeyPatch, there: bool, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(atomic_files, "exchange", lambda one, other: False)
    place = tmp_path / "place"
    if there:
        place.mkdir()
        (place / "old").touch()
    with replace_directory(place) as aside:
        (aside / "in").mkdir()
        (aside / "in" / "f").write_bytes(b"x")
        (aside / "link").symlink_to("nowhere")
        expected = {inode(path) for path in (aside, aside / "in", aside / "in" / "f")}
        assert not (place / "in").exists()
    assert expected | {inode(tmp_path)} <= set(synced)
    assert sorted(path.name for path in place.iterdir()) == ["in", "link"]
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_a_directory_keeps_what_it_was_where_the_block_fails(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").touch()
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "rest").touch()
    with pytest.raises(FileNotFoundError), replace_directory(place, tmp_path / "left") as aside:
        (aside / "rest").read_bytes()  # what an earlier attempt left is gone
    assert [path.name for path in place.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_what_came_first_stays(tmp_path: Path) -> None:
    (tmp_path / "aside").mkdir()
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "thesis").touch()
    with pytest.raises(FileExistsError):
        publish_directory(tmp_path / "aside", tmp_path / "place")
    assert (tmp_path / "place" / "thesis").exists()


def test_a_link_to_a_directory_stays_one(tmp_path: Path) -> None:
    for name in ("real", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    (tmp_path / "link").symlink_to("real")
    put_directory(tmp_path / "new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]


def test_an_error_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_file(tmp_path / "f", b"x")
    assert caught.value.filename == str(tmp_path / "f")
    assert not list(tmp_path.iterdir())
    (tmp_path / "g").touch()
    with pytest.raises(OSError, match="No space") as caught:
        sync_tree(tmp_path)
    assert caught.value.filename == str(tmp_path / "g")


def test_two_names_change_at_once_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    if exchange(tmp_path / "a", tmp_path / "b"):
        assert (tmp_path / "a").read_text() == "b"
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "none")
