"""The files of a clustered index: damage is named, and a failed build leaves nothing behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from spann_collections import clustered

from lexhound.index import array_files
from lexhound.index.errors import CorruptFileError, IndexStorageError, UnsupportedFormatError
from lexhound.index.spann import ClusteredIndex, SpannOptions, build_clustered

OPTIONS = SpannOptions(posting_limit=10, vectors_per_centroid=5, calibration_queries=0, graph_from=8)
VECTORS = clustered(120, 5)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An index that was built by a graph."""
    path = tmp_path_factory.mktemp("sound") / "index"
    build_clustered(path, VECTORS, OPTIONS)
    return path


@pytest.fixture
def path(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "index")
    return tmp_path / "index"


def names() -> list[str]:
    arrays = ["centroids", "counts", "checksums"]
    states = [f"state-000001/{name}" for name in ["arrays.json", *(f"{array}.bin" for array in arrays)]]
    return ["current.json", "postings.bin", "vectors.bin", *states]


def test_the_list_of_files_is_whole(path):
    files = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    assert files == sorted(names())
    assert list(ClusteredIndex.verify(path)) == []


@pytest.mark.parametrize("name", names())
def test_a_flipped_byte_is_found(path, name):
    file = path / name
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0x10
    file.write_bytes(content)
    assert [problem.path for problem in ClusteredIndex.verify(path)] == [file]
    if name not in ("postings.bin", "vectors.bin"):
        with pytest.raises((CorruptFileError, IndexStorageError), match=file.name):
            ClusteredIndex.open(path)


@pytest.mark.parametrize("name", names())
def test_a_missing_or_short_file_is_found(path, name):
    file = path / name
    content = file.read_bytes()
    file.unlink()
    assert [problem.path for problem in ClusteredIndex.verify(path)] == [file]
    with pytest.raises(CorruptFileError, match=file.name):
        ClusteredIndex.open(path)
    file.write_bytes(content[: len(content) // 2])
    assert [problem.path for problem in ClusteredIndex.verify(path)] == [file]
    with pytest.raises(CorruptFileError, match=file.name):
        ClusteredIndex.open(path)


@pytest.mark.parametrize("name", ["postings.bin", "vectors.bin"])
def test_a_file_that_is_cut_short_while_it_is_open_is_told(path, name):
    index = ClusteredIndex.open(path)
    assert index.cut_short() is None
    os.truncate(path / name, 100)
    assert index.cut_short() == path / name


def test_another_format_or_kind_is_refused(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no index directory"):
        ClusteredIndex.open(tmp_path / "nowhere")
    assert [str(problem) for problem in ClusteredIndex.verify(tmp_path / "nowhere")]
    text = (path / "current.json").read_text()
    (path / "current.json").write_text(text.replace('"format": 3', '"format": 4'))
    with pytest.raises(UnsupportedFormatError, match="formats up to 3"):
        ClusteredIndex.open(path)
    assert "newer" in str(next(iter(ClusteredIndex.verify(path))))


@pytest.mark.parametrize("files", range(8))
def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch, files):
    """The disk is full after some files."""
    left = [files]
    real = array_files.create_file

    def full(path):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, os.strerror(28))
        return real(path)

    for module in ("array_files", "spann.builder", "spann.storage", "spann.tables"):
        monkeypatch.setattr(f"lexhound.index.{module}.create_file", full)
    (tmp_path / "mine").mkdir()
    for target in ("new", "mine"):
        left[0] = files
        if files == 7:  # so many files an index of this kind has
            assert build_clustered(tmp_path / target, VECTORS, OPTIONS).n_rows == 120
            continue
        with pytest.raises(OSError, match="No space"):
            build_clustered(tmp_path / target, VECTORS, OPTIONS)
    if files < 7:
        assert [entry.name for entry in Path(tmp_path).iterdir()] == ["mine"]
        assert list((tmp_path / "mine").iterdir()) == []


def test_an_index_without_rows(tmp_path):
    index = build_clustered(tmp_path / "index", VECTORS[:0])
    assert list(ClusteredIndex.verify(tmp_path / "index")) == []
    assert len(index.search(VECTORS[0], 5)) == 0
    assert index.search_many(VECTORS[:2], 5, allowed=np.empty(0, np.bool_))[1].rows.tolist() == []
