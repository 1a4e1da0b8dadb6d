"""Damage, full disks and other formats: every one is found, and the message names the file."""

from __future__ import annotations

import errno
import json
import shutil
import zlib
from pathlib import Path
from typing import BinaryIO

import index_corpora
import numpy as np
import pytest

from lexhound.index import (
    CorruptFileError,
    IndexStorageError,
    InvertedIndex,
    MergePart,
    Query,
    UnsupportedFormatError,
    build_inverted,
    merge_inverted,
)
from lexhound.index import array_files as files
from lexhound.index.inverted import format as layout

QUERY = Query.from_weights(np.array([0, 2], np.int32), np.array([1, 0.5], np.float32))


def build(directory: Path) -> InvertedIndex:
    dense = np.tile(np.array([[0.25, 0, 1], [0, 0.5, 1], [1, 0, 0]], np.float32), (5, 1))
    csr = index_corpora.to_csr(dense)
    return build_inverted(
        directory,
        csr,
        scale=1 / 255,
        frequencies=np.arange(1, csr.nnz + 1).astype(np.uint8),
        lengths=np.arange(15, dtype=np.uint32),
        window_bits=2,
    )


@pytest.fixture
def directory(tmp_path):
    build(tmp_path / "index")
    return tmp_path / "index"


def test_the_files_are_the_documented_ones(directory):
    names = {f"{name}.bin" for name in layout.ARRAYS if name not in layout.BLOCKS} | {"arrays.json"}
    assert {file.name for file in directory.iterdir()} == names
    assert list(InvertedIndex.verify(directory)) == []
    listed = json.loads((directory / "arrays.json").read_text())["arrays"]
    assert {name for name, entry in listed.items() if entry["structure"]} == layout.STRUCTURE - set(layout.BLOCKS)


def test_building_twice_gives_the_same_bytes(directory, tmp_path):
    build(tmp_path / "again")
    for file in directory.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_verify_finds_every_flipped_byte_and_names_the_file(directory):
    for file in sorted(directory.iterdir()):
        healthy = file.read_bytes()
        for at in range(len(healthy)):
            for flip in (0x01, 0x80, 0xFF):
                damaged = bytearray(healthy)
                damaged[at] ^= flip
                file.write_bytes(damaged)
                problems = list(InvertedIndex.verify(directory))
                assert [problem.path for problem in problems] == [file], (file.name, at)
                assert str(file) in str(problems[0])
        file.write_bytes(healthy)
    assert list(InvertedIndex.verify(directory)) == []


def test_opening_finds_damage_that_kernels_would_trip_over(directory):
    for name in (*(f"{name}.bin" for name in sorted(layout.STRUCTURE - set(layout.BLOCKS))), "arrays.json"):
        file = directory / name
        healthy = file.read_bytes()
        for at in range(len(healthy)):
            damaged = bytearray(healthy)
            damaged[at] ^= 0x10
            file.write_bytes(damaged)
            with pytest.raises(IndexStorageError) as caught:
                InvertedIndex.open(directory)
            assert str(file) in str(caught.value)
            assert caught.value.hint
        file.write_bytes(healthy)
    assert InvertedIndex.open(directory).n_rows == 15


def test_files_that_are_cut_short_too_long_or_gone_are_found_by_both(directory):
    for file in sorted(directory.iterdir()):
        healthy = file.read_bytes()
        for damaged in (healthy[:-1], healthy + b"\0", b"", None):
            if damaged is None:
                file.unlink()
            else:
                file.write_bytes(damaged)
            with pytest.raises(CorruptFileError) as caught:
                InvertedIndex.open(directory)
            assert str(file) in str(caught.value)
            assert [problem.path for problem in InvertedIndex.verify(directory)] == [file]
        file.write_bytes(healthy)


def test_several_problems_are_all_listed(directory):
    (directory / "rows.bin").unlink()
    (directory / "impacts.bin").write_bytes(b"")
    (directory / "terms.bin").write_bytes(bytes((directory / "terms.bin").stat().st_size))
    found = {problem.path.name: problem.problem for problem in InvertedIndex.verify(directory)}
    assert set(found) == {"rows.bin", "impacts.bin", "terms.bin"}
    assert "missing" in found["rows.bin"]
    assert "0 bytes" in found["impacts.bin"]
    assert "checksum" in found["terms.bin"]


def rewrite_header(directory: Path, **changes: object) -> None:
    header = json.loads((directory / "arrays.json").read_text()) | changes
    header["checksum"] = ""
    text = json.dumps(header, indent=1, sort_keys=True) + "\n"
    header["checksum"] = f"crc32:{zlib.crc32(text.encode()):08x}"
    (directory / "arrays.json").write_text(json.dumps(header, indent=1, sort_keys=True) + "\n")


def test_a_newer_format_is_named_as_such(directory):
    rewrite_header(directory, format=layout.FORMAT)
    assert InvertedIndex.open(directory).n_rows == 15
    rewrite_header(directory, format=layout.FORMAT + 1)
    told = rf"format {layout.FORMAT + 1}, .* up to {layout.FORMAT}.*newer Lexhound"
    with pytest.raises(UnsupportedFormatError, match=told):
        InvertedIndex.open(directory)
    assert ["newer" in problem.problem for problem in InvertedIndex.verify(directory)] == [True]


def test_a_directory_of_something_else_is_named_as_such(directory, tmp_path):
    rewrite_header(directory, kind="clustered")
    with pytest.raises(IndexStorageError, match="'clustered', not 'inverted'"):
        InvertedIndex.open(directory)
    assert len(list(InvertedIndex.verify(directory))) == 1
    with pytest.raises(FileNotFoundError, match="nowhere"):
        InvertedIndex.open(tmp_path / "nowhere")
    assert "no such directory" in str(next(InvertedIndex.verify(tmp_path / "nowhere")))
    (tmp_path / "file").touch()
    with pytest.raises(IndexStorageError, match="is not a directory"):
        InvertedIndex.open(tmp_path / "file")
    with pytest.raises(IndexStorageError, match="is not a directory"):
        build(tmp_path / "file")


def test_headers_whose_checksum_is_right_but_whose_contents_do_not_fit_are_refused(directory):
    attributes = json.loads((directory / "arrays.json").read_text())["attributes"]
    for change in (
        {"n_rows": 12},
        {"n_rows": "many"},
        {"window_bits": 40},
        {"window_bits": -1},
        {"loss": {"count": 1, "surprise": 2}},
    ):
        rewrite_header(directory, attributes=attributes | change)
        with pytest.raises(CorruptFileError, match=r"arrays\.json"):
            InvertedIndex.open(directory)
    rewrite_header(directory, attributes={})
    with pytest.raises(CorruptFileError, match=r"arrays\.json"):
        InvertedIndex.open(directory)


class _FullDisk:
    """A disk with room for so many bytes; files on it behave like real ones until then."""

    def __init__(self, room: int) -> None:
        self.room = room

    def create(self, path: Path) -> BinaryIO:
        file = path.open("xb", buffering=0)
        disk = self

        class File:
            def write(self, data: memoryview) -> int:
                if disk.room == 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                written = file.write(data[: disk.room])
                disk.room -= written
                return written

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def __enter__(self) -> File:
                return self

            def __exit__(self, *error: object) -> None:
                file.close()

        return File()  # type: ignore[return-value]


def test_a_full_disk_leaves_nothing_that_opens_and_names_the_file(directory, tmp_path, monkeypatch):
    needed = sum(file.stat().st_size for file in directory.iterdir())
    source = InvertedIndex.open(directory)
    target = tmp_path / "target"

    def merge() -> InvertedIndex:
        return merge_inverted(target, [MergePart(source, np.arange(15))], 15, scale=1 / 255, window_bits=2)

    for write in (lambda: build(target), merge):
        for room in range(0, needed, 7):
            monkeypatch.setattr(files, "create_file", _FullDisk(room).create)
            with pytest.raises(OSError, match="No space left") as caught:
                write()
            assert caught.value.errno == errno.ENOSPC
            assert Path(caught.value.filename).parent == target
            assert not target.exists()
        monkeypatch.setattr(files, "create_file", _FullDisk(needed).create)
        assert write().search(QUERY, 3).rows.tolist() == source.search(QUERY, 3).rows.tolist()
        shutil.rmtree(target)


def test_a_device_that_is_really_full(tmp_path, monkeypatch):
    def create_on_full_device(path: Path) -> BinaryIO:
        return Path("/dev/full").open("wb", buffering=0)

    monkeypatch.setattr(files, "create_file", create_on_full_device)
    with pytest.raises(OSError, match="No space left") as caught:
        build(tmp_path / "target")
    assert Path(caught.value.filename).parent == tmp_path / "target"
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_was_cut_off_does_not_open(directory, tmp_path, monkeypatch):
    def close_only(writer: files.ArrayDirectoryWriter) -> None:
        """As after a power cut: nobody was there to clean up."""
        for array in writer._arrays.values():
            array.file.close()

    monkeypatch.setattr(files.ArrayDirectoryWriter, "discard", close_only)
    needed = sum(file.stat().st_size for file in directory.iterdir())
    for room in range(0, needed, 101):
        target = tmp_path / f"cut-{room}"
        monkeypatch.setattr(files, "create_file", _FullDisk(room).create)
        with pytest.raises(OSError, match="No space left"):
            build(target)
        with pytest.raises(CorruptFileError, match="never finished"):
            InvertedIndex.open(target)
        assert [problem.path for problem in InvertedIndex.verify(target)] == [target / "arrays.json"]


def test_array_directories_hold_arrays_of_any_width(tmp_path):
    writer = files.ArrayDirectoryWriter(tmp_path / "arrays", kind="test", format=3)
    with writer:
        writer.declare("matrix", np.float32, item_shape=(4,))
        writer.append("matrix", np.arange(8, dtype=np.float32).reshape(2, 4))
        writer.append("matrix", np.ones((1, 4), np.float32))
        with pytest.raises(ValueError, match=r"shape \(3,\)"):
            writer.append("matrix", np.ones((1, 3), np.float32))
        with pytest.raises(ValueError, match="holds float32"):
            writer.append("matrix", np.ones((1, 4)))
        with pytest.raises(ValueError, match="not a name"):
            writer.declare("matrix", np.float32)
        with pytest.raises(ValueError, match="not a name"):
            writer.declare("../matrix", np.float32)
        with pytest.raises(ValueError, match="not stored"):
            writer.declare("objects", np.object_)
        writer.finish({"note": "ü"})
    stored = files.ArrayDirectory(tmp_path / "arrays", kind="test", format=3)
    assert stored.attributes == {"note": "ü"}
    assert stored.array("matrix").tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [1, 1, 1, 1]]
    assert "matrix" in stored
    with pytest.raises(CorruptFileError, match="'vector'"):
        stored.array("vector")
