"""Damage is told where it is met: documents by name, files before anything is made of them, and never as an answer."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from repository import TINY_DENSE

from lexhound.encoders.dense.settings import DenseSettings
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.query import snapshot
from lexhound.retrieval.collection.store.manifest import MANIFEST
from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.collection.store.stored_documents import (
    content_hash,
    damaged_rows,
    document_of,
    hash_of,
    is_whole,
    stored_hash,
)
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.documents.encoded_document import EncodedDocument
from lexhound.retrieval.errors import BadRowError, CorruptCollectionError
from lexhound.retrieval.exports import export_collection


def document(number: int) -> Document:
    metadata = {"year": 1900 + number, "tags": ["a", "b"], "zero": -0.0} if number % 2 else {}
    return Document(f"d{number}", f"wing {number} heat {number % 7}", f"title {number}", metadata)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("integrity") / "c"
    with Collection.create(path) as collection:
        collection.add(document(number) for number in range(60))
        collection.maintain(1)
        collection.add(document(number) for number in range(60, 80))
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "c"))


def alter(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path / DATABASE)
    assert connection.execute(statement).rowcount > 0
    connection.commit()
    connection.close()


def flip(file: Path, place: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)


DAMAGE = {
    "another text": "UPDATE contents SET text = 'wing 9 hear 2' WHERE seq = {seq}",
    "another title": "UPDATE contents SET title = 'tItle 9' WHERE seq = {seq}",
    "another value": """UPDATE contents SET metadata = replace(metadata, '19', '18') WHERE seq = {seq}""",
    "no JSON": "UPDATE contents SET metadata = '{{\"year\": ' WHERE seq = {seq}",
    "a list": "UPDATE contents SET metadata = '[1]' WHERE seq = {seq}",
    "no metadata": "UPDATE contents SET metadata = NULL WHERE seq = {seq}",
    "no UTF-8": "UPDATE contents SET text = CAST(x'77ff67' AS TEXT) WHERE seq = {seq}",
    "no UTF-8 in metadata": "UPDATE contents SET metadata = CAST(x'7bff7d' AS TEXT) WHERE seq = {seq}",
    "bytes": "UPDATE contents SET text = CAST(text AS BLOB) WHERE seq = {seq}",
    "no contents": "DELETE FROM contents WHERE seq = {seq}",
    "another hash": "UPDATE rows SET hash = x'00112233445566778899aabbccddeeff' WHERE seq = {seq}",
    "a short hash": "UPDATE rows SET hash = substr(hash, 1, 15) WHERE seq = {seq}",
    "a number for a hash": "UPDATE rows SET hash = 5 WHERE seq = {seq}",
}


@pytest.mark.parametrize("number", [9, 71], ids=["in a segment", "waiting"])
@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_document_is_named_by_whatever_reads_it(
    path: Path, tmp_path: Path, statement: str, number: int
) -> None:
    alter(path, statement.format(seq=number + 1))
    named = rf"'d{number}'"
    with Collection.open(path, writable=True) as collection:
        for latest in (False, True):
            with pytest.raises(CorruptCollectionError, match=named):
                collection.get(f"d{number}", latest=latest)
        with pytest.raises(CorruptCollectionError, match=named):
            collection.search("wing", 80)
        assert collection.get("d8") == document(8)
        assert collection.search("wing 8", 1).hits[0].id == "d8"
        assert any(f"'d{number}'" in problem.message for problem in collection.verify())
        with pytest.raises(CorruptCollectionError, match=named):
            export_collection(collection, tmp_path / "out", "parquet")
        assert not (tmp_path / "out").exists()
        with pytest.raises(CorruptCollectionError, match=named):
            collection.compact()
        # The same document again is no longer "unchanged": it mends the collection.
        assert collection.put([document(8), document(number)]) == ["unchanged", "replaced"]
        assert collection.verify() == []
        assert collection.get(f"d{number}") == document(number)
        collection.compact()


def test_a_damaged_document_can_be_deleted(path: Path) -> None:
    alter(path, DAMAGE["no UTF-8"].format(seq=10))
    with Collection.open(path, writable=True) as collection:
        assert collection.delete(["d9"]) == ["d9"]
        assert collection.verify() == []
        collection.compact()
        assert collection.count() == 79


def test_a_search_over_many_documents_names_the_one_that_cannot_be_read(path: Path) -> None:
    alter(path, DAMAGE["no UTF-8"].format(seq=40))
    with Collection.open(path) as collection, pytest.raises(CorruptCollectionError, match="'d39'"):
        collection.search("wing", 80)


def test_rows_that_point_nowhere_are_an_error(path: Path) -> None:
    alter(path, "DELETE FROM rows WHERE seq = 10")
    with Collection.open(path) as collection:
        with pytest.raises(CorruptCollectionError, match="row 10"):
            collection.search("wing", 80)
        with pytest.raises(CorruptCollectionError, match="row 10"):
            collection.ids("year > 0 or not year > 0")
        assert "1 indexed rows have none" in collection.verify()[0].message
    alter(path, "DELETE FROM rows WHERE seq = 70")
    with Collection.open(path) as collection, pytest.raises(CorruptCollectionError, match="row 70"):
        collection.search("wing")


def test_another_id_in_the_database_is_an_error(path: Path) -> None:
    alter(path, "UPDATE rows SET id = 'e9' WHERE seq = 10")
    with Collection.open(path) as collection:
        with pytest.raises(CorruptCollectionError, match="'e9'"):
            collection.get("e9")
        with pytest.raises(CorruptCollectionError):
            collection.search("wing", 80)
        assert collection.verify()


def test_an_index_of_ids_that_has_lost_an_entry_is_not_a_missing_document(path: Path) -> None:
    connection = sqlite3.connect(path / DATABASE)
    connection.execute("PRAGMA writable_schema = ON")
    change = "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = 'rows_by_id'"
    connection.execute(change, ("(id)", "(id) WHERE seq <> 10"))
    connection.commit()
    connection.close()
    connection = sqlite3.connect(path / DATABASE)
    connection.execute("REINDEX rows_by_id")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(change, (" WHERE seq <> 10", ""))
    connection.commit()
    connection.close()
    with Collection.open(path) as collection:
        assert collection.get("d8") == document(8)
        with pytest.raises(CorruptCollectionError, match="index of ids"):
            collection.get("d9")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE metadata SET value = 1901.5 WHERE value = 1901",
        "UPDATE metadata SET value = '1901' WHERE value = 1901",
        "UPDATE metadata SET field = 'yeas' WHERE value = 1901",
        "UPDATE metadata SET value = -2 WHERE value = 0 AND seq = 10",
        "DELETE FROM metadata WHERE field = 'tags' AND seq = 10",
        "INSERT INTO metadata VALUES ('year', 7, 9)",
        "UPDATE properties SET value = value + 1 WHERE name = 'mean_length'",
        "UPDATE properties SET value = 0 WHERE name = 'last_segment'",
        "UPDATE segments SET documents = 61",
        "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'rows'",
        "UPDATE batches SET documents = 3",
        "INSERT INTO tombstones VALUES (10)",
        "UPDATE rows SET run = 1",
    ],
)
def test_what_stands_in_the_database_is_compared(path: Path, statement: str) -> None:
    alter(path, statement)
    try:
        with Collection.open(path) as collection:
            told = collection.verify() != []
    except CorruptCollectionError:
        told = True
    assert told or statement.endswith("run = 1")  # which hides nothing, as no run is unfinished


def test_an_older_version_writes_without_the_checksum_of_tables(path: Path) -> None:
    alter(path, "UPDATE properties SET value = value + 1 WHERE name = 'generation'")
    alter(path, "UPDATE properties SET value = value * 2 WHERE name = 'mean_length'")
    with Collection.open(path, writable=True) as collection:
        assert collection.verify() == []
        collection.add([Document("new", "wing")])
    alter(path, "UPDATE properties SET value = value * 2 WHERE name = 'mean_length'")
    with pytest.raises(CorruptCollectionError, match="checksum"), Collection.open(path) as collection:
        collection.search("wing")


def test_a_document_that_is_said_to_be_of_a_later_run_is_not_just_missing(path: Path, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"id": "staged", "text": "wing"}\n{"id": 3\n')
    with Collection.open(path, writable=True) as collection, pytest.raises(BadRowError):
        collection.ingest(open_corpus(tmp_path / "more.jsonl"), source="more")
    alter(path, "UPDATE rows SET run = (SELECT run FROM runs) WHERE id = 'd10'")
    with Collection.open(path) as collection:
        for latest in (False, True):
            with pytest.raises(CorruptCollectionError, match="'d10' is damaged"):
                collection.get("d10", latest=latest)
            assert collection.get("staged", latest=latest) is None
        assert collection.verify() != []


def test_the_manifest_has_a_checksum(path: Path) -> None:
    manifest = path / MANIFEST
    text = manifest.read_text()
    assert '"language": "english"' in text
    manifest.write_text(text.replace("0.9", "0.8"))
    with pytest.raises(CorruptCollectionError, match="checksum"):
        Collection.open(path)


# Hashes


def test_hashes_of_earlier_versions_serve_as_far_as_they_can(path: Path) -> None:
    for number in range(80):
        alter(path, f"UPDATE rows SET hash = {content_hash(document(number))} WHERE seq = {number + 1}")
    with Collection.open(path, writable=True) as collection:
        assert collection.verify() == []
        assert collection.put([document(3), document(75)]) == ["unchanged", "unchanged"]
        assert collection.get("d3") == document(3)
    alter(path, DAMAGE["another text"].format(seq=10))
    with Collection.open(path) as collection:
        assert [problem.message.split(" is ")[0] for problem in collection.verify()] == ["document 'd9'"]
        with pytest.raises(CorruptCollectionError, match="'d9'"):
            collection.get("d9")


def test_a_hash_tells_of_contents_id_and_vector() -> None:
    plain = document(9)
    brought = EncodedDocument(plain, (np.array([3, 5], np.int32), np.array([0.5, 2.0], np.float32)))
    for made in (plain, brought):
        stored = stored_hash(made)
        assert hash_of(stored) == content_hash(made)
        assert is_whole(plain, stored, exact=True)  # a vector is not read back, and is not needed
        row = (10, plain.id, plain.title, plain.text, '{"tags":["a","b"],"year":1909,"zero":-0.0}', stored)
        assert document_of(row, exact=False) == plain
        for place in range(8 * len(stored)):
            other = bytearray(stored)
            other[place // 8] ^= 1 << place % 8
            assert not is_whole(plain, bytes(other), exact=False)
        assert not is_whole(Document("d8", plain.text, plain.title, plain.metadata), stored, exact=False)
    assert content_hash(plain) != content_hash(brought)
    # A number of an earlier version may be that of a vector too, where documents bring them.
    assert is_whole(plain, content_hash(brought), exact=False)
    assert not is_whole(plain, content_hash(brought), exact=True)


def test_damaged_rows_of_none(path: Path) -> None:
    connection = sqlite3.connect(path / DATABASE)
    assert damaged_rows(connection, [], exact=True) == {}
    assert damaged_rows(connection, list(range(1, 81)), exact=True) == {}
    connection.close()


# Segments


@pytest.fixture(scope="module")
def made_dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("integrity") / "c"
    settings = DenseSettings(device="cpu", precision="float32")
    with Collection.create(path, dense=str(TINY_DENSE), dense_settings=settings, dense_index="spann") as collection:
        collection.add(document(number) for number in range(40))
        collection.maintain(1)
        collection.fit_static_queries()
    return path


SEGMENT = ["rows/seqs.bin", "rows/ids.bin", "lexical/impacts.bin", "lexical/rows.bin", "dense/vectors.bin"]


@pytest.mark.parametrize("name", SEGMENT)
def test_a_damaged_file_is_told_before_anything_is_answered_or_made_of_it(
    made_dense: Path, tmp_path: Path, name: str
) -> None:
    path = Path(shutil.copytree(made_dense, tmp_path / "c"))
    (segment,) = (path / "segments").iterdir()
    flip(segment / name, 0)
    with Collection.open(path, writable=True) as collection:
        for mode in ("sparse", "dense", "hybrid"):
            with pytest.raises(CorruptCollectionError, match=name):
                collection.search("wing", mode=mode)
        with pytest.raises(CorruptCollectionError, match=name):
            collection.search_many(["wing"], mode="sparse")
        with pytest.raises(CorruptCollectionError, match=name):
            collection.fit_static_queries()
        collection.delete(["d1"])
        with pytest.raises(CorruptCollectionError, match=name):
            collection.compact()
        assert segment.exists()
        assert [str(segment / name)] == [problem.where for problem in collection.damage]
        assert not collection.health().ready
        assert collection.info().damage == collection.damage
        assert collection.get("d3") == document(3)  # documents are whole


@pytest.mark.parametrize(
    "name", ["rows/seqs.bin", "lexical/entry_ends.bin", "lexical/impacts.bin", "dense/vectors.bin"]
)
def test_a_file_that_is_cut_short_while_it_is_open_ends_no_process(made_dense: Path, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copytree(made_dense, tmp_path / "c"))
    with Collection.open(path) as collection:
        assert len(collection.search("wing", 40, mode="hybrid").hits) == 40
        (segment,) = (path / "segments").iterdir()
        os.truncate(segment / name, 0)
        for ask in (
            lambda: collection.search("wing", mode="sparse"),
            lambda: collection.search_many(["wing"], mode="dense"),
            lambda: collection.count("year > 1900"),
            lambda: collection.ids("year > 1900"),
            lambda: collection.get("d3"),
        ):
            with pytest.raises(CorruptCollectionError, match=f"{name}: has been truncated"):
                ask()
        assert not collection.health().ready
        assert collection.info().documents == 40
        assert [problem.where for problem in collection.info().damage] == [str(segment / name)]


def checked(collection: Collection) -> None:
    collection.check_in_background()
    end = time.monotonic() + 60
    while not collection.checked:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_large_segments_are_read_in_the_background(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "READ_AT_OPEN", 0)
    (segment,) = (path / "segments").iterdir()
    flip(segment / "lexical" / "impacts.bin")
    with Collection.open(path) as collection:
        assert len(collection.search("wing", 80).hits) == 80
        assert collection.damage == ()
        checked(collection)
        with pytest.raises(CorruptCollectionError, match=r"impacts\.bin"):
            collection.search("wing", 80)
        assert "impacts.bin" in collection.health().message
    with Collection.open(path, check=True) as collection:
        checked(collection)
        assert len(collection.damage) == 1


def test_segments_that_come_later_are_read_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "READ_AT_OPEN", 0)
    with Collection.open(path, check=True) as reader, Collection.open(path, writable=True) as writer:
        checked(reader)
        assert reader.damage == ()
        before = {segment.name for segment in (path / "segments").iterdir()}
        writer.maintain(1)
        (segment,) = (s for s in (path / "segments").iterdir() if s.name not in before)
        flip(segment / "lexical" / "rows.bin")
        reader.refresh()
        end = time.monotonic() + 60
        while not reader.damage and time.monotonic() < end:
            time.sleep(0.01)
        assert [problem.where for problem in reader.damage] == [str(segment / "lexical" / "rows.bin")]


def test_the_database_is_read_in_the_background(path: Path) -> None:
    alter(path, "UPDATE metadata SET value = 1950 WHERE value = 1909")
    with Collection.open(path) as collection:
        assert collection.count("year = 1909") == 0  # nobody knows yet
        checked(collection)
        for ask in (
            lambda: collection.count("year = 1909"),
            lambda: collection.facets(),
            lambda: collection.search("wing", filter="year = 1909"),
        ):
            with pytest.raises(CorruptCollectionError, match="metadata"):
                ask()
        assert collection.get("d9") == document(9)


def test_searches_go_on_beside_a_damaged_document(path: Path) -> None:
    alter(path, DAMAGE["another text"].format(seq=10))
    with Collection.open(path) as collection:
        checked(collection)
        assert "'d9'" in collection.damage[0].message
        assert collection.health().ready
        assert "'d9'" in collection.health().message
        assert collection.search("wing 8", 1).hits[0].id == "d8"


def test_a_collection_that_is_closed_ends_its_thread(path: Path) -> None:
    for _ in range(20):
        Collection.open(path, check=True).close()
