"""A collection against its slow twin, through adds, replacements, deletes, merges and reopening."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from examples import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from plain_collection import PlainCollection, same_ranking

from lexhound.core.errors import CollectionLockedError, ReadOnlyError
from lexhound.retrieval import Collection, Document, LexicalSettings
from lexhound.retrieval.collection.query.documents import read_documents
from lexhound.retrieval.collection.write import writer
from lexhound.retrieval.errors import (
    CollectionExistsError,
    CorruptCollectionError,
    NewerFormatError,
    NotACollectionError,
    QueryError,
    StaleSnapshotError,
)

WORDS = ["wing", "wings", "heat", "transfer", "the", "flow", "shock", "naïve", "机翼", "Überschall", ""]

texts = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
identifiers = st.integers(0, 14).map(lambda number: f"d{number}")
documents = st.builds(Document, id=identifiers, text=texts, title=st.sampled_from(["", "wing", "heat flow"]))


class Life(RuleBasedStateMachine):
    """Random lives of a collection; after every step it must equal the twin."""

    @initialize(small=st.booleans())
    def create(self, small: bool) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.saved = writer.FLUSH_BYTES, writer.SMALLEST_SEGMENT
        # With limits this low nearly every change makes a segment; with the real ones all stays in batches.
        writer.FLUSH_BYTES, writer.SMALLEST_SEGMENT = (200, 2) if small else self.saved
        self.collection = Collection.create(self.folder / "c")
        self.reader = Collection.open(self.folder / "c")
        self.twin = PlainCollection()

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            self.collection.close()
            self.reader.close()
            writer.FLUSH_BYTES, writer.SMALLEST_SEGMENT = self.saved
            shutil.rmtree(self.folder)

    @rule(new=st.lists(documents, max_size=6))
    def add(self, new: list[Document]) -> None:
        last = {document.id: document for document in new}
        kept = [document for position, document in enumerate(new) if last[document.id] is document]
        before = dict(self.twin.documents)
        report = self.collection.add(new)
        for document in kept:
            self.twin.add(document)
        assert report.total == len(kept)
        assert report.unchanged == sum(before.get(document.id) == document for document in kept)
        assert report.added == sum(document.id not in before for document in kept)

    @rule(gone=st.lists(identifiers, max_size=5))
    def delete(self, gone: list[str]) -> None:
        expected = [identifier for identifier in dict.fromkeys(gone) if identifier in self.twin.documents]
        assert self.collection.delete(gone) == expected
        for identifier in gone:
            self.twin.delete(identifier)

    @rule()
    def compact(self) -> None:
        report = self.collection.compact()
        assert report.documents == len(self.twin.documents)
        info = self.collection.info()
        assert info.deleted == 0
        assert len(info.segments) == (1 if self.twin.documents else 0)
        if self.twin.documents:
            assert info.average_length == pytest.approx(self.twin.average_length())

    @rule()
    def reopen(self) -> None:
        self.collection.close()
        self.collection = Collection.open(self.folder / "c", writable=True)

    @rule(query=texts, k=st.sampled_from([1, 3, 50]))
    def search(self, query: str, k: int) -> None:
        average = self.collection.info().average_length or self.twin.average_length()
        expected = self.twin.search(query, k, average)
        self.reader.refresh()
        for collection in (self.collection, self.reader):
            result = collection.search(query, k, explain=True)
            found = [(hit.id, hit.score) for hit in result.hits]
            assert same_ranking(found, expected), (found, expected)
            assert [hit.rank for hit in result.hits] == list(range(1, len(found) + 1))
            for hit in result.hits:
                assert hit.document == self.twin.documents[hit.id]
                assert hit.contributions is not None
                assert sum(part.score for part in hit.contributions) == pytest.approx(hit.score, rel=1e-12)
            assert collection.search_many([query, query], k, threads=2) == [found, found]

    @rule(query=texts, size=st.integers(1, 4))
    def page(self, query: str, size: int) -> None:
        whole = self.collection.search(query, 50).hits
        pages = [hit for start in range(0, 20, size) for hit in self.collection.search(query, size, offset=start).hits]
        assert [(h.id, h.score, h.rank) for h in pages] == [(h.id, h.score, h.rank) for h in whole[: len(pages)]]
        assert len(pages) == len(whole)

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "collection"):
            return
        assert self.collection.count() == len(self.twin.documents)
        for identifier, document in self.twin.documents.items():
            assert self.collection.get(identifier) == document
        assert self.collection.get("d99") is None
        assert self.collection.verify() == []


Life.TestCase.settings = settings(max_examples=examples(40), stateful_step_count=12)
TestLife = Life.TestCase


def fill(path: Path, number: int = 30) -> Collection:
    collection = Collection.create(path)
    collection.add(Document(f"d{n}", f"wing number {n} heat", metadata={"year": 1950 + n}) for n in range(number))
    return collection


def test_a_reader_keeps_its_ranking_while_a_writer_adds_and_merges(tmp_path: Path) -> None:
    with fill(tmp_path / "c") as collection:
        collection.compact()
        with Collection.open(tmp_path / "c") as reader:
            before = reader.search("wing", 100, explain=True)
            collection.add(Document(f"new{n}", "wing wing wing") for n in range(20))
            collection.compact()
            assert reader.search("wing", 100, explain=True).hits == before.hits
            assert reader.count() == reader.info().documents == 30
            assert reader.refresh()
            assert not reader.refresh()
            assert len(reader.search("wing", 100).hits) == reader.count() == 50


def test_a_reader_moves_on_when_what_it_is_to_return_has_gone(tmp_path: Path) -> None:
    with fill(tmp_path / "c") as collection:
        collection.compact()
        with Collection.open(tmp_path / "c") as reader, Collection.open(tmp_path / "c") as other:
            ids = {hit.id for hit in reader.search("wing", 100).hits}
            assert other.count() == 30
            collection.delete([f"d{n}" for n in range(20)])
            collection.add([Document("new", "wing wing wing"), Document("d25", "replaced wing")])
            collection.compact()
            now = {f"d{n}" for n in range(20, 30)} | {"new"}
            # Of the old state only where all of it is still there.
            assert [hit.id for hit in reader.search("number 29", 1).hits] == ["d29"]
            assert reader.count() == 30
            found = {hit.id: hit.document.text for hit in reader.search("wing", 100).hits}
            assert len(ids) == 30
            assert set(found) == now
            assert found["d25"] == "replaced wing"
            assert reader.count() == 11
            assert not reader.refresh()
            # A single document is as it is now, if it was there.
            assert other.get("d3") is None
            assert other.get("d25") == Document("d25", "replaced wing")
            assert other.get("d26") == Document("d26", "wing number 26 heat", metadata={"year": 1976})
            assert other.get("new") is None
            assert other.get("new", latest=True) == Document("new", "wing wing wing")
            assert set(other.ids("year >= 1950")) == now - {"new", "d25"}


def test_a_held_snapshot_keeps_every_document(tmp_path: Path) -> None:
    with fill(tmp_path / "c") as collection, Collection.open(tmp_path / "c") as reader:
        held = reader.snapshot(hold=True)
        collection.delete([f"d{n}" for n in range(29)])
        collection.compact()
        documents = read_documents(held, held.live_internal_ids.tolist())
        assert [document.id for document in documents.values()] == [f"d{n}" for n in range(30)]
        stale = reader.snapshot()
        collection.delete(["d29"])
        with pytest.raises(StaleSnapshotError):
            read_documents(stale, stale.live_internal_ids.tolist())


def test_filters_are_applied_inside_the_search(tmp_path: Path) -> None:
    with fill(tmp_path / "c") as collection:
        for compacted in (False, True):
            if compacted:
                collection.compact()
            hits = collection.search("wing", 5, filter="year >= 1975").hits
            assert [hit.id for hit in hits] == ["d25", "d26", "d27", "d28", "d29"]
            assert collection.search("wing", 5, filter="year > 3000").hits == ()
            assert [h.id for h in collection.search("wing", 5, filter="not year < 1979").hits] == ["d29"]
            assert collection.search_many(["wing"], 2, filter="year in (1951, 1952)")[0][1][0] == "d2"
        collection.delete(["d25", "d26"])
        assert [h.id for h in collection.search("wing", 2, filter="year >= 1975").hits] == ["d27", "d28"]


def test_ties_keep_insertion_order_across_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FLUSH_BYTES", 1)
    with Collection.create(tmp_path / "c") as collection:
        for number in range(40):
            collection.add([Document(f"d{39 - number:02}", "the same words")])
        assert len(collection.info().segments) > 1
        expected = [f"d{39 - number:02}" for number in range(40)]
        assert [hit.id for hit in collection.search("same", 40).hits] == expected
        collection.compact()
        assert [hit.id for hit in collection.search("same", 40).hits] == expected


def test_settings_are_kept_and_used(tmp_path: Path) -> None:
    settings = LexicalSettings(k1=1.5, b=0.75, language="german", stop_words=False)
    texts = ["Häuser und Gärten", "das Haus", "ein Garten im Haus des Hauses"]
    with Collection.create(tmp_path / "c", lexical=settings) as collection:
        collection.add(Document(str(n), text) for n, text in enumerate(texts))
        twin = PlainCollection(settings)
        for n, text in enumerate(texts):
            twin.add(Document(str(n), text))
        found = [(hit.id, hit.score) for hit in collection.search("Haus", 5).hits]
        assert same_ranking(found, twin.search("Haus", 5, twin.average_length()))
    with Collection.open(tmp_path / "c") as collection:
        assert collection.manifest.encoder.settings["language"] == "german"
        assert [(hit.id, hit.score) for hit in collection.search("Haus", 5).hits] == found


def test_searching_without_anything_to_find(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        assert collection.search("wing").hits == ()
        assert collection.search_many(["", "wing"]) == [[], []]
        collection.add([Document("empty", ""), Document("a", "wing")])
        assert [hit.id for hit in collection.search("wing").hits] == ["a"]
        assert collection.search("").hits == ()
        assert collection.search("unheard of").hits == ()
        assert collection.count() == 2
        collection.delete(["a", "empty"])
        assert collection.search("wing").hits == ()
        collection.compact()
        assert collection.count() == 0
        assert collection.verify() == []


@pytest.mark.parametrize(("k", "offset"), [(0, 0), (-1, 0), (100_001, 0), (1, -1), (1, 100_000)])
def test_bounds_of_a_request(tmp_path: Path, k: int, offset: int) -> None:
    with fill(tmp_path / "c", 2) as collection, pytest.raises(QueryError):
        collection.search("wing", k, offset=offset)


def test_a_query_that_is_too_long(tmp_path: Path) -> None:
    with fill(tmp_path / "c", 2) as collection:
        with pytest.raises(QueryError, match="100,000 characters"):
            collection.search("wing " * 20_000)
        assert len(collection.search("wing " * 9_000).hits) == 2


def test_one_writer_at_a_time_and_any_number_of_readers(tmp_path: Path) -> None:
    with fill(tmp_path / "c", 2), pytest.raises(CollectionLockedError, match="pid"):
        Collection.open(tmp_path / "c", writable=True)
    with Collection.open(tmp_path / "c", writable=True), Collection.open(tmp_path / "c") as reader:
        with pytest.raises(ReadOnlyError):
            reader.add([Document("a", "b")])
        with pytest.raises(ReadOnlyError):
            reader.compact()


def test_paths_that_are_no_collection(tmp_path: Path) -> None:
    with pytest.raises(NotACollectionError, match="no such collection"):
        Collection.open(tmp_path / "missing")
    with pytest.raises(NotACollectionError, match=r"it has no lexhound\.json"):
        Collection.open(tmp_path)
    fill(tmp_path / "c", 2).close()
    with pytest.raises(CollectionExistsError):
        Collection.create(tmp_path / "c")
    manifest = tmp_path / "c" / "lexhound.json"
    good = manifest.read_text()
    manifest.write_text(good.replace('"format": 1', '"format": 99'))
    with pytest.raises(NewerFormatError, match="format 99"):
        Collection.open(tmp_path / "c")
    manifest.write_text(good[:40])
    with pytest.raises(CorruptCollectionError, match="damaged"):
        Collection.open(tmp_path / "c")
    manifest.write_text(good)
    (tmp_path / "c" / "documents.sqlite").write_bytes(b"not a database, " * 1000)
    with pytest.raises(CorruptCollectionError, match="SQLite"):
        Collection.open(tmp_path / "c")


def test_small_segments_are_merged_as_they_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lexhound.retrieval.collection.write.compaction import MERGE_AT
    from lexhound.retrieval.corpus import open_corpus

    monkeypatch.setattr(writer, "SMALLEST_SEGMENT", 1)
    from lexhound.retrieval.collection.write import ingest

    monkeypatch.setattr(ingest, "SMALLEST_SEGMENT", 1)
    with Collection.create(tmp_path / "c") as collection:
        for number in range(30):
            source = tmp_path / f"{number}.jsonl"
            source.write_text(f'{{"id": "{number}", "text": "wing {number}"}}\n')
            collection.ingest(open_corpus(source), source=str(source))
            assert len(collection.info().segments) < 2 * MERGE_AT
        assert [hit.id for hit in collection.search("wing", 30).hits] == [str(number) for number in range(30)]
        assert collection.verify() == []


def test_a_reader_moves_on_while_another_process_writes(tmp_path: Path) -> None:
    fill(tmp_path / "c").close()
    changes = """
import sys
from lexhound.retrieval import Collection, Document
with Collection.open(sys.argv[1], writable=True) as collection:
    collection.delete([f"d{n}" for n in range(29)])
    collection.add([Document("new", "wing")])
    collection.compact()
"""
    with Collection.open(tmp_path / "c") as reader:
        before = reader.search("wing", 100).hits
        subprocess.run([sys.executable, "-c", changes, str(tmp_path / "c")], check=True)
        assert len(before) == 30
        assert {hit.id for hit in reader.search("wing", 100).hits} == {"d29", "new"}
        assert not reader.refresh()


def test_many_ids_are_copied_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lexhound.retrieval.collection import verification
    from lexhound.retrieval.collection.store import segment

    monkeypatch.setattr(segment, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(verification, "ROWS_AT_ONCE", 5)
    with fill(tmp_path / "c", 40) as collection:
        collection.delete(["d3", "d4"])
        collection.compact()
        assert [hit.id for hit in collection.search("wing", 40).hits] == [f"d{n}" for n in range(40) if n not in (3, 4)]
        assert collection.verify() == []
