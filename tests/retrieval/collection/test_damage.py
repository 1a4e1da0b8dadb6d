"""What a collection does when its files are damaged, the disk is full, or its writer is killed."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lexhound.core.errors import StorageFullError
from lexhound.index import array_files as files
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.collection.write import ingest, writer
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import CorruptCollectionError

NURSERY = Path(__file__).with_name("crash_nursery.py")


def nursery(*arguments: object) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(NURSERY), *map(str, arguments)], capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_acknowledged_writes_survive_sixty_kills(tmp_path: Path) -> None:
    outcome = nursery("writes", tmp_path / "c", 60, 7)
    assert outcome["kills"] == 60
    # The kills must have met work, or this test has shown nothing.
    assert outcome["acknowledged"] > 200
    assert outcome["mid_change"] > 20


def test_dense_vectors_survive_forty_kills(tmp_path: Path) -> None:
    outcome = nursery("dense", tmp_path / "c", 40, 5)
    assert outcome["acknowledged"] > 40
    assert outcome["mid_change"] > 10
    assert outcome["clustered"] > 10


def test_a_bulk_run_killed_again_and_again_ends_as_if_never_killed(tmp_path: Path, samples: Path) -> None:
    corpus = samples / "cranfield" / "corpus.jsonl"
    outcome = nursery("run", tmp_path / "killed", 5, 11, corpus)
    assert outcome["kills"] >= 5
    assert outcome["documents"] == 1400
    assert outcome["most_resumed"] > 100
    queries = [json.loads(line)["text"] for line in (corpus.parent / "queries.jsonl").read_text().splitlines()]
    with Collection.create(tmp_path / "whole") as whole, Collection.open(tmp_path / "killed") as killed:
        whole.ingest(open_corpus(corpus), source="corpus")
        assert killed.search_many(queries, 50) == whole.search_many(queries, 50)


@pytest.fixture(scope="module")
def cranfield(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    path = tmp_path_factory.mktemp("damage") / "c"
    with Collection.create(path) as collection:
        collection.ingest(open_corpus(samples / "cranfield"), source="cranfield")
    return path


def test_every_damaged_byte_of_a_segment_is_found_and_its_file_named(cranfield: Path, tmp_path: Path) -> None:
    rng = random.Random(3)
    targets = sorted(path for path in (cranfield / "segments").rglob("*") if path.is_file())
    assert len(targets) >= 10
    for target in targets:
        copy = tmp_path / "copy"
        shutil.copytree(cranfield, copy)
        damaged = copy / target.relative_to(cranfield)
        content = bytearray(damaged.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        damaged.write_bytes(content)
        try:
            with Collection.open(copy) as collection:
                found = " ".join(problem.where for problem in collection.verify())
                # Whatever is damaged, a search must neither crash nor leave the bounds of its arrays.
                collection.search("heat transfer in hypersonic flow", 20, explain=True)
        except CorruptCollectionError as error:
            found = str(error)
        assert str(damaged) in found
        shutil.rmtree(copy)


def test_a_missing_or_short_file_is_named(cranfield: Path, tmp_path: Path) -> None:
    for harm in ("unlink", "truncate"):
        copy = tmp_path / harm
        shutil.copytree(cranfield, copy)
        target = next(path for path in (copy / "segments").rglob("impacts.bin"))
        if harm == "unlink":
            target.unlink()
        else:
            os.truncate(target, target.stat().st_size - 1)
        with Collection.open(copy) as collection, pytest.raises(CorruptCollectionError, match=r"impacts\.bin"):
            collection.search("heat")


def test_a_missing_segment_is_an_error_that_names_it(cranfield: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(cranfield, copy)
    segment = next((copy / "segments").iterdir())
    shutil.rmtree(segment)
    with Collection.open(copy) as collection, pytest.raises(CorruptCollectionError, match=segment.name):
        collection.search("heat")


def test_documents_and_index_that_disagree_are_found(cranfield: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(cranfield, copy)
    connection = sqlite3.connect(copy / DATABASE)
    connection.execute("DELETE FROM rows WHERE seq = 100")
    connection.commit()
    connection.close()
    with Collection.open(copy) as collection:
        assert "1 indexed rows have none" in collection.verify()[0].message


class FullDisk:
    """Lets a number of bytes through `create_file`, then says that the disk is full."""

    def __init__(self, allowance: int) -> None:
        self.left = allowance
        self._real = files.create_file

    def create_file(self, path: Path):
        real = self._real(path)
        outer = self

        class Limited:
            def write(self, data: bytes) -> int:
                if outer.left < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                outer.left -= len(data)
                return real.write(data)

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

            def __enter__(self) -> Limited:
                return self

            def __exit__(self, *_: object) -> None:
                real.close()

        return Limited()


@pytest.mark.parametrize("allowance", [0, 100, 5_000, 40_000])
def test_a_disk_that_fills_while_a_segment_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowance: int
) -> None:
    documents = [Document(f"d{n}", f"wing {n} heat {n % 7}") for n in range(3000)]
    with Collection.create(tmp_path / "c") as collection:
        collection.add(documents[:1500])
        with monkeypatch.context() as patch:
            patch.setattr(files, "create_file", FullDisk(allowance).create_file)
            patch.setattr(writer, "FLUSH_BYTES", 1)
            with pytest.raises(StorageFullError, match="disk is full"):
                collection.add(documents[1500:])
        assert collection.count() == 3000  # acknowledged before the segment was tried
        with monkeypatch.context() as patch:
            patch.setattr(files, "create_file", FullDisk(allowance).create_file)
            with pytest.raises(StorageFullError):
                collection.compact()
        assert collection.verify() == []
        assert list((tmp_path / "c" / "segments").iterdir()) == []
        collection.compact()
        assert [hit.id for hit in collection.search("wing", 3000).hits] == [document.id for document in documents]
        assert collection.verify() == []


def test_a_database_that_cannot_grow(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.add(Document(f"d{n}", f"wing {n}") for n in range(100))
        connection = collection._writer.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")
        with pytest.raises(StorageFullError, match="disk is full"):
            collection.add(Document(f"e{n}", f"wing {n} " * 100) for n in range(5000))
        count = collection.count()
        assert count >= 100
        connection.execute("PRAGMA max_page_count = 1000000")
        assert collection.verify() == []
        # The vocabulary that the failed transaction had grown is gone with it, and grows again rightly.
        collection.add([Document("new", "wing zeppelin")])
        assert [hit.id for hit in collection.search("zeppelin").hits] == ["new"]
        assert len(collection.search("wing", 10_000).hits) == count + 1


def test_a_run_on_a_small_file_system(tmp_path: Path, samples: Path) -> None:
    """The real thing, where we may mount it: a run on a disk of 3 MB fails, keeps what it had, and goes on later."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if mounted.returncode:
        # Without the right to mount, the injected failures above are what we can do; they always run.
        pytest.skip("needs the right to mount a tmpfs")
    try:
        corpus = samples / "cranfield" / "corpus.jsonl"
        with Collection.create(mount / "c") as collection:
            collection._writer.sparse_field.batch_documents = 64
            with pytest.raises(StorageFullError):
                collection.ingest(open_corpus(corpus), source="s")
        with Collection.open(mount / "c") as collection:
            info = collection.info()
            assert info.documents == 0
            assert info.unfinished is not None
            assert info.unfinished.documents > 0
            assert collection.verify() == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(mount)], check=True)
        with Collection.open(mount / "c", writable=True) as collection:
            report = collection.ingest(open_corpus(corpus), source="s")
            assert report.resumed >= info.unfinished.documents
            assert collection.count() == 1400
            assert collection.verify() == []
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


def test_a_run_that_meets_a_bad_row_keeps_what_it_had_and_shows_nothing(tmp_path: Path) -> None:
    source = tmp_path / "corpus.jsonl"
    good = [json.dumps({"id": f"d{n}", "text": f"wing {n}"}) for n in range(50)]
    source.write_text("\n".join([*good[:30], "{broken", *good[30:]]))
    with Collection.create(tmp_path / "c") as collection:
        collection._writer.sparse_field.batch_documents = 8
        with pytest.raises(ingest.BadRowError, match=r"line 31.*30 documents before this row are kept") as caught:
            collection.ingest(open_corpus(source), source="s")
        assert "corpus.jsonl" in str(caught.value)
        assert collection.count() == 0
        source.write_text("\n".join(good))
        report = collection.ingest(open_corpus(source), source="s")
        assert (report.resumed, report.added, collection.count()) == (30, 50, 50)
        # The same corpus again, one document changed, one new.
        good[3] = json.dumps({"id": "d3", "text": "changed"})
        source.write_text("\n".join([*good, json.dumps({"id": "new", "text": "wing"})]))
        report = collection.ingest(open_corpus(source), source="s")
        assert (report.added, report.replaced, report.unchanged) == (1, 1, 49)
        assert [hit.id for hit in collection.search("changed").hits] == ["d3"]
        assert collection.verify() == []


def test_duplicate_ids_within_a_run(tmp_path: Path) -> None:
    source = tmp_path / "corpus.jsonl"
    rows = [json.dumps({"id": f"d{n % 20}", "text": f"wing {n}"}) for n in range(25)]
    source.write_text("\n".join(rows))
    for size in (4, 4096):
        with Collection.create(tmp_path / f"c{size}") as collection:
            collection._writer.sparse_field.batch_documents = size
            with pytest.raises(ingest.BadRowError, match=r"line 21.*second time"):
                collection.ingest(open_corpus(source), source="s")
            bad = []
            report = collection.ingest(open_corpus(source), source="s", on_bad_row=bad.append)
            assert [row.line for row in bad] == [21, 22, 23, 24, 25]
            assert (report.rejected, report.added, report.resumed) == (5, 20, 20)
            assert collection.get("d0") == Document("d0", "wing 0")


def test_another_run_must_wait_for_the_unfinished_one(tmp_path: Path) -> None:
    source = tmp_path / "corpus.jsonl"
    source.write_text('{"id": "a", "text": "wing"}\n{"id": "b"}\n')
    with Collection.create(tmp_path / "c") as collection:
        with pytest.raises(ingest.BadRowError):
            collection.ingest(open_corpus(source), source='{"corpus": "first.jsonl"}')
        with pytest.raises(ingest.UnfinishedRunError, match=r"first\.jsonl"):
            collection.ingest(open_corpus(source), source="other")
        collection.add([Document("direct", "wing")])  # single writes go on beside it
        assert collection.count() == 1
        assert collection.discard_unfinished() == 1
        source.write_text('{"id": "c", "text": "wing"}\n')
        collection.ingest(open_corpus(source), source="other")
        assert collection.count() == 2
        assert collection.verify() == []


def test_an_empty_corpus_is_an_error_and_leaves_no_run_behind(tmp_path: Path) -> None:
    source = tmp_path / "corpus.jsonl"
    source.write_text("\n\n")
    with Collection.create(tmp_path / "c") as collection:
        with pytest.raises(ingest.CorpusError, match="empty"):
            collection.ingest(open_corpus(source), source="s")
        source.write_text("{bad\n")
        with pytest.raises(ingest.CorpusError, match="all 1 rows were bad"):
            collection.ingest(open_corpus(source), source="s", on_bad_row=lambda row: None)
        assert collection.info().unfinished is None
