"""The files of a clustered index: damage is named, crashes lose nothing that was acknowledged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from spann_collections import clustered

from lexhound.index.errors import CorruptFileError, IndexStorageError, UnsupportedFormatError
from lexhound.index.spann import Effort, SpannIndex, SpannOptions
from lexhound.index.spann import writer as writing
from lexhound.index.spann.storage import DataFile

OPTIONS = SpannOptions(posting_limit=10, vectors_per_centroid=5, calibration_queries=0, graph_from=8)
VECTORS = clustered(120, 5)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An index with a graph, and something in its log."""
    path = tmp_path_factory.mktemp("sound") / "index"
    index = SpannIndex.build(path, VECTORS, options=OPTIONS, writable=True)
    index.insert(np.array([7, 200]), clustered(2, 5, seed=8))
    copy = path.with_name("copy")
    shutil.copytree(path, copy)
    index.close()
    return copy


@pytest.fixture
def path(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "index")
    return tmp_path / "index"


def names() -> list[str]:
    arrays = ["centroids", "dead", "pages", "capacities", "counts", "checksums", "versions"]
    arrays += ["graph_levels", "graph_offsets", "graph_neighbors"]
    states = [f"state-000001/{name}" for name in ["arrays.json", *(f"{array}.bin" for array in arrays)]]
    return ["current.json", "postings.bin", "vectors.bin", "log-000001.bin", *states]


def test_the_list_of_files_is_whole(path):
    assert sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()) == sorted(
        [*names(), "lock"]
    )
    assert list(SpannIndex.verify(path)) == []


@pytest.mark.parametrize("name", names())
def test_a_flipped_byte_is_found(path, name):
    file = path / name
    content = bytearray(file.read_bytes())
    place = 40 if name == "log-000001.bin" else len(content) // 3
    if name == "postings.bin":
        place = 8  # in the first entry: what lies between postings is nobody's
    content[place] ^= 0x10
    file.write_bytes(content)
    problems = list(SpannIndex.verify(path))
    if name == "log-000001.bin":
        # The only record was hit, and it ends the file: that is what a write that was cut off looks like.
        assert problems == []
        return
    assert [problem.path for problem in problems] == [file]
    if name not in ("postings.bin", "vectors.bin"):
        with pytest.raises((CorruptFileError, IndexStorageError), match=file.name):
            SpannIndex.open(path)


@pytest.mark.parametrize("name", names())
def test_a_missing_or_short_file_is_found(path, name):
    file = path / name
    content = file.read_bytes()
    file.unlink()
    assert file in [problem.path for problem in SpannIndex.verify(path)] or name.endswith("arrays.json")
    assert list(SpannIndex.verify(path))
    with pytest.raises(CorruptFileError, match=file.name):
        SpannIndex.open(path)
    if not name.startswith("log"):
        file.write_bytes(content[: len(content) // 2])
        assert list(SpannIndex.verify(path))
        with pytest.raises(CorruptFileError):
            SpannIndex.open(path)


def test_a_damaged_record_before_the_last_is_no_crash(path):
    with SpannIndex.open(path, writable=True) as index:  # works in the log, and begins a new one
        index.insert(np.array([1]), VECTORS[1:2])
        index.insert(np.array([2]), VECTORS[2:3])
        log = next(path.glob("log-*.bin"))
        content = bytearray(log.read_bytes())
        copy = path.with_name("copy")
        shutil.copytree(path, copy)
    content[40] ^= 1
    (copy / log.name).write_bytes(content)
    assert [problem.path.name for problem in SpannIndex.verify(copy)] == [log.name]
    with pytest.raises(CorruptFileError, match=log.name):
        SpannIndex.open(copy)


def test_a_log_may_be_cut_anywhere(path):
    content = (path / "log-000001.bin").read_bytes()
    for cut in (1, 31, 32, 50, len(content) - 1):
        copy = path.with_name(f"cut-{cut}")
        shutil.copytree(path, copy)
        (copy / "log-000001.bin").write_bytes(content[:cut])
        assert list(SpannIndex.verify(copy)) == []
        with SpannIndex.open(copy) as index:
            assert index.n_live == 120
        assert list(SpannIndex.verify(copy)) == []
    with SpannIndex.open(path) as index:
        assert index.n_live == 121
        assert index.n_rows == 201


def test_another_format_or_kind_is_refused(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no index directory"):
        SpannIndex.open(tmp_path / "nowhere")
    assert [str(problem) for problem in SpannIndex.verify(tmp_path / "nowhere")]
    text = (path / "current.json").read_text()
    (path / "current.json").write_text(text.replace('"format": 1', '"format": 3'))
    with pytest.raises(UnsupportedFormatError, match="formats up to 2"):
        SpannIndex.open(path)
    assert "newer" in str(next(iter(SpannIndex.verify(path))))


class Killed(BaseException):
    """The process ends here."""


STEPS = ["write", "extend", "sync", "save_state", "create_log", "switch", "remove_unfinished"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("time", [1, 2, 5])
def test_a_kill_at_any_step_loses_nothing(path, monkeypatch, step, time):
    """Changes until the process is killed in the middle of a step; what was acknowledged must be there afterwards."""
    new = clustered(60, 5, seed=11)
    acknowledged: dict[int, np.ndarray] = {}
    index = SpannIndex.open(path, writable=True)
    left = [time]

    def dying(real):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return real(*arguments, **options)

        return call

    owner = DataFile if step in ("write", "extend", "sync") else writing
    monkeypatch.setattr(owner, step, dying(getattr(owner, step)))
    started: dict[int, np.ndarray] = {}
    try:
        for start in range(0, 60, 12):
            rows = np.arange(start, start + 12) + 100
            started = dict(zip(rows.tolist(), new[start : start + 12], strict=True))
            index.insert(rows, new[start : start + 12])
            acknowledged |= started
            index.checkpoint()
    except Killed:
        pass
    killed = path.with_name("killed")
    shutil.copytree(path, killed)
    monkeypatch.undo()
    index._lock.close()
    with SpannIndex.open(killed, writable=True) as again:
        for row, vector in acknowledged.items():
            # A change that was under way when the process died may be there too.
            if np.array_equal(started.get(row, vector), vector):
                top = again.search(vector, 200, effort=Effort.everything())
                place = top.rows.tolist().index(row)
                assert top.scores[place] > 1 - 1e-5
        assert again.live[:100].all()
    assert list(SpannIndex.verify(killed)) == []


def test_a_full_disk_stops_one_change(path, monkeypatch):
    index = SpannIndex.open(path, writable=True)
    live = index.n_live

    def full(*_):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(DataFile, "write", full)
        with pytest.raises(OSError, match="No space"):
            index.insert(np.array([300]), np.ones((1, 5), np.float32))
    assert index.n_live == live
    with pytest.raises(IndexStorageError, match="close the index and open it again"):
        index.insert(np.array([301]), np.ones((1, 5), np.float32))
    index.close()
    with SpannIndex.open(path, writable=True) as again:
        assert again.n_live in (live, live + 1)
        again.insert(np.array([301]), np.ones((1, 5), np.float32))
        assert again.live[301]


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(DataFile, "write", full)
    (tmp_path / "mine").mkdir()
    for target in ("new", "mine"):
        with pytest.raises(OSError, match="No space"):
            SpannIndex.build(tmp_path / target, VECTORS, options=OPTIONS)
    assert [entry.name for entry in Path(tmp_path).iterdir()] == ["mine"]
    assert list((tmp_path / "mine").iterdir()) == []
