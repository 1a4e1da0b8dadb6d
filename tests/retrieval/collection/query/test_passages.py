"""Documents in passages: the search groups, and answers as scoring every passage and grouping by hand does."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from plain_collection import PlainCollection
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.errors import SettingsError
from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.collection.clauses.tree import AllOf, FilterClause, TextClause
from lexhound.retrieval.collection.fields.splitter import Splitter
from lexhound.retrieval.collection.query import ranking
from lexhound.retrieval.collection.query.grouping import DENSE, SPARSE
from lexhound.retrieval.collection.store.manifest import read_manifest
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.documents.passages import PassageSettings, encoded_text
from lexhound.retrieval.errors import BadRowError, CorruptCollectionError

SIZES = PassageSettings(16, 4)
WORDS = ["wing", "heat", "flow", "shock", "plate", "layer", "drag", "lift", "fuel", "boundary"]
QUERIES = ["heat flow", "wing", "shock heat heat", "zeppelin", ""]


def text_of(generator: random.Random, sentences: int) -> str:
    parts = (generator.choices(WORDS, k=generator.randint(2, 9)) for _ in range(sentences))
    return " ".join(f"{' '.join(words).capitalize()}." for words in parts)


def documents_of(seed: int, count: int = 16) -> list[Document]:
    generator = random.Random(seed)
    made = []
    for number in range(count):
        text = text_of(generator, generator.choice([0, 1, 2, 6, 25]))
        made.append(Document(f"d{number}", text, title=generator.choice(["", "On heat"]), metadata={"n": number % 4}))
    return made


class Twin:
    """The documents of a collection, each passage scored by plain BM25 as if it were a document."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}

    def add(self, document: Document) -> None:
        self.documents.pop(document.id, None)
        self.documents[document.id] = document

    def search(self, query: str, k: int, kept: set[str] | None = None) -> list[tuple[str, int, float]]:
        """Return (id, passage, score) of the best `k` documents."""
        plain = PlainCollection()
        for document in self.documents.values():
            (split,) = Splitter(SIZES, None, None).split([document])
            for number, piece in enumerate(split.pieces):
                plain.add(Document(f"{document.id}#{number}", piece.text, piece.title))
        passages: dict[str, list[tuple[int, float]]] = {}
        for name, score in plain.search(query, 10_000, plain.average_length()):
            identifier, _, number = name.partition("#")
            if kept is None or identifier in kept:
                passages.setdefault(identifier, []).append((int(number), score))
        places = {identifier: place for place, identifier in enumerate(self.documents)}
        found = [
            (identifier, scored[0][0], of_two([score for _, score in scored], self.rows(identifier)))
            for identifier, scored in passages.items()
        ]
        return sorted(found, key=lambda each: (-round(each[2], 9), places[each[0]]))[:k]

    def rows(self, identifier: str) -> int:
        (split,) = Splitter(SIZES, None, None).split([self.documents[identifier]])
        return len(split.pieces)


def of_two(scores: list[float], rows: int, typical: float = SPARSE.typical) -> float:
    """Return a document's score: the sum of its two best passages', less what the second usually adds; of one row its
    own.
    """
    if rows == 1:
        return scores[0]
    return (scores[0] + (scores[1] if len(scores) > 1 else 0.0)) / (1.0 + typical)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path / "c", encoder="bm25", passages=str(SIZES)) as made:
        yield made


def check(collection: Collection, twin: Twin) -> None:
    snapshot = collection.snapshot()
    assert collection.count() == len(twin.documents)
    assert snapshot.n_rows == sum(
        len(each.pieces) for each in Splitter(SIZES, None, None).split([*twin.documents.values()])
    )
    for query in QUERIES:
        everything = twin.search(query, 1000)
        for k in (1, 3, 50):
            expected = everything[:k]
            result = collection.search(query, k, explain=True)
            assert [(hit.id, hit.passage.number if hit.passage else 0) for hit in result] == [
                (identifier, number) for identifier, number, _ in expected
            ]
            assert [hit.score for hit in result] == pytest.approx([score for _, _, score in expected], rel=1e-5)
            for hit in result:
                assert sum(each.score for each in hit.contributions or ()) == pytest.approx(hit.score)
                if hit.passage is not None:
                    assert hit.text is not None
                    assert hit.passage.text == hit.text[hit.passage.start : hit.passage.end]
            (ranked,) = collection.search_many([query], k)
            assert ranked == [(hit.id, hit.score) for hit in result]


def test_searches_answer_as_scoring_every_passage_does_through_all_that_can_happen(collection: Collection) -> None:
    twin = Twin()

    def add(documents: list[Document]) -> None:
        collection.add(documents)
        for document in documents:
            twin.add(document)

    add(documents_of(1))
    check(collection, twin)  # waiting
    collection.compact()
    check(collection, twin)  # in a segment
    add([Document(f"d{number}", "Heat. " * number, metadata={"n": 1}) for number in (3, 9, 21, 30)])
    gone = collection.delete(["d1", "d2", "d12"])
    assert gone == ["d1", "d2", "d12"]
    for identifier in gone:
        del twin.documents[identifier]
    collection.compact()
    check(collection, twin)
    assert collection.verify() == []
    report = collection.compact()
    assert (report.documents, report.dropped) == (len(twin.documents), 0)
    with Collection.open(collection.path) as opened:
        check(opened, twin)


def test_filters_facets_and_pages_count_documents(collection: Collection) -> None:
    documents = documents_of(2)
    twin = Twin()
    for document in documents:
        twin.add(document)
    collection.add(documents[:9])
    collection.compact()
    collection.add(documents[9:])
    kept = {document.id for document in documents if document.metadata["n"] == 1}
    assert collection.count("n = 1") == len(kept)
    assert collection.ids("n = 1") == [document.id for document in documents if document.id in kept]
    hits = collection.search("heat flow", 5, filter="n = 1").hits
    assert [hit.id for hit in hits] == [identifier for identifier, _, _ in twin.search("heat flow", 5, kept)]
    assert dict(collection.facets(["n"])[0].values) == dict.fromkeys(range(4), 4)
    assert collection.facets(["id"])[0].documents == len(documents)
    found = len(collection.search("heat flow", 100))
    assert collection.facets(["n"], query="heat flow")[0].documents == found
    pages = [hit.id for offset in range(0, found, 4) for hit in collection.search("heat flow", 4, offset=offset)]
    assert pages == [hit.id for hit in collection.search("heat flow", 100)]
    assert len(set(pages)) == len(pages)


def test_totals_orders_collapsed_hits_and_clauses_count_documents(collection: Collection) -> None:
    documents = documents_of(2)
    collection.add(documents[:9])
    collection.compact()
    collection.add(documents[9:])
    found = collection.search("heat flow", 100, total=True)
    assert found.total is not None
    assert found.total.value == len(found) < len(collection.search("heat flow", 1000, group="none"))
    (facet,) = collection.facets(["n"], query="heat flow", matching=True)
    assert dict(facet.values) == Counter((hit.metadata or {})["n"] for hit in found)
    ordered = collection.search("heat flow", 100, sort=["n:desc"]).hits
    assert sorted(hit.id for hit in ordered) == sorted(hit.id for hit in found)
    scores = {hit.id: hit.score for hit in found}
    assert [hit.score for hit in ordered] == [scores[hit.id] for hit in ordered]
    values = [(hit.metadata or {})["n"] for hit in ordered]
    assert values == sorted(values, reverse=True)
    first = [hit.id for hit in collection.search("heat flow", 3, sort=["n:desc"])]
    assert first == [hit.id for hit in ordered[:3]]
    collapsed = collection.search("heat flow", 10, collapse="n").hits
    best = {(hit.metadata or {})["n"]: hit.id for hit in reversed(found.hits)}
    assert sorted(hit.id for hit in collapsed) == sorted(best.values())
    clause = AllOf(must=(TextClause("heat"),), filter=(FilterClause("n >= 2"),))
    hits = collection.search(clause, 100).hits
    assert len({hit.id for hit in hits}) == len(hits)
    expected = {hit.id for hit in collection.search("heat", 100, filter="n >= 2")}
    assert {hit.id for hit in hits} == expected


def test_without_grouping_hits_are_passages(collection: Collection) -> None:
    collection.add(documents_of(3))
    hits = collection.search("heat", 500, group="none").hits
    assert len(hits) > len(collection.search("heat", 500))
    places = [(hit.id, hit.passage and hit.passage.number) for hit in hits]
    assert len(set(places)) == len(places)
    scores: dict[str, list[float]] = {}
    for hit in hits:
        scores.setdefault(hit.id, []).append(hit.score)
    twin = Twin()
    for document in documents_of(3):
        twin.add(document)
    expected = {identifier: of_two(own, twin.rows(identifier)) for identifier, own in scores.items()}
    assert {hit.id: hit.score for hit in collection.search("heat", 500)} == pytest.approx(expected)


def test_a_search_reads_on_until_enough_documents_are_found(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection.add([Document("long", "Heat flow. " * 400), *(Document(f"d{n}", "heat of the wing") for n in range(5))])
    asked: list[int] = []
    search = ranking._rank

    def counting(snapshot: object, query: object, depth: int, *rest: object) -> object:
        asked.append(depth)
        return search(snapshot, query, depth, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ranking, "_rank", counting)
    hits = collection.search("heat flow", 3).hits
    assert [hit.id for hit in hits] == ["long", "d0", "d1"]
    assert asked == sorted(asked)
    assert 1 < len(asked) < 6
    asked.clear()
    assert len(collection.search("zeppelin", 3)) == 0
    assert len(asked) == 1  # nothing more can be found


def test_a_document_is_replaced_with_all_its_passages_at_once(collection: Collection) -> None:
    collection.add([Document("a", "Heat. " * 100), Document("b", "Wing.")])
    collection.compact()
    before = collection.snapshot()
    collection.add([Document("a", "Shock.")])
    assert len(collection.search("heat")) == 0
    assert before.n_rows > 2 == collection.snapshot().n_rows
    assert collection.compact().dropped == 1
    assert collection.put([Document("a", "Shock.")]) == ["unchanged"]
    assert collection.verify() == []


def test_a_document_of_blank_passages_is_there_and_found_by_nothing(collection: Collection) -> None:
    collection.add([Document("blank", " \n\n" * 5000), Document("none", ""), Document("marks", "... !!! " * 100)])
    assert collection.count() == 3
    assert collection.get("blank") is not None
    assert len(collection.search("heat")) == 0


def test_info_counts_what_is_split(collection: Collection) -> None:
    collection.add([Document("a", "Heat. " * 100), Document("b", "Wing."), Document("c", "Flow. " * 40)])
    info = collection.info()
    assert (info.documents, info.split, info.cut, info.passages) == (3, 2, 0, "16/4")
    assert info.rows == collection.snapshot().n_rows > 10
    collection.delete(["a"])
    assert collection.info().split == 1


def test_bm25_is_not_split_unless_it_is_asked_for(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "plain", encoder="bm25") as plain:
        plain.add([Document("a", "Heat. " * 5000)])
        assert plain.snapshot().n_rows == 1
        assert plain.search("heat").hits[0].passage is None
        info = plain.info()
        assert (info.passages, info.split, info.cut) == (None, None, None)
    assert read_manifest(tmp_path / "plain").format < 5


def test_spans_that_are_damaged_are_found(collection: Collection) -> None:
    collection.add([Document("a", "Heat. " * 100)])
    with sqlite3.connect(collection.path / "documents.sqlite") as connection:
        (spans,) = connection.execute("SELECT spans FROM passages").fetchone()
        connection.execute("UPDATE passages SET spans = ?", (spans[:9] + bytes([spans[9] ^ 1]) + spans[10:],))
    connection.close()
    with pytest.raises(CorruptCollectionError, match="passages of row 1 are damaged"):
        collection.search("heat")
    assert "passages of row 1" in collection.verify()[0].message


# Dense vectors


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    folder = tmp_path_factory.mktemp("both")
    model = str(build_tiny_embedding_model(folder / "model"))
    settings = DenseSettings(device="cpu", precision="float32")
    with Collection.create(folder / "c", encoder="bm25", dense=model, dense_settings=settings, passages="16/4") as made:
        made.add(documents_of(4, 14))
        made.compact()
        made.add(documents_of(5, 20)[14:])
        yield made


def of_passages(both: Collection, query: str, mode: str) -> dict[str, float]:
    """Return the scores of documents on one side, worked out from those of their passages; best first."""
    scores: dict[str, list[float]] = {}
    for hit in both.search(query, 1000, mode=mode, group="none"):
        scores.setdefault(hit.id, []).append(hit.score)
    rows = dict.fromkeys(scores, 1)
    for hit in both.search(query, 1000, mode="dense", group="none"):
        rows[hit.id] = max(rows.get(hit.id, 1), (hit.passage.number if hit.passage else 0) + 1)
    typical = DENSE.typical if mode == "dense" else SPARSE.typical
    if mode == "dense":
        rows = {identifier: len(own) for identifier, own in scores.items()}
    found = {identifier: of_two(own, rows[identifier], typical) for identifier, own in scores.items()}
    place = {document.id: number for number, document in enumerate([*documents_of(4, 14), *documents_of(5, 20)[14:]])}
    return dict(sorted(found.items(), key=lambda each: (-each[1], place[each[0]])))


def test_dense_searches_group_too(both: Collection) -> None:
    for query in QUERIES[:3]:
        expected = of_passages(both, query, "dense")
        for k in (1, 4, 100):
            hits = both.search(query, k, mode="dense").hits
            assert [hit.id for hit in hits] == list(expected)[:k]
            assert [hit.score for hit in hits] == pytest.approx(list(expected.values())[:k])
        ranked = both.search_many([query, "wing"], 4, mode="dense")[0]
        assert [identifier for identifier, _ in ranked] == list(expected)[:4]


@pytest.mark.parametrize("depth", [1, 3, 1000])
def test_hybrid_searches_fuse_documents(both: Collection, depth: int) -> None:
    """Each side brings its best documents; a document's score on a side is that of its best passage."""
    for query in QUERIES[:3]:
        sides = {mode: of_passages(both, query, mode) for mode in ("sparse", "dense")}
        candidates = {*list(sides["sparse"])[:depth], *list(sides["dense"])[:depth]}
        hits = both.search(query, 100, mode="hybrid", fusion=Fusion(depth=depth), explain=True).hits
        assert {hit.id for hit in hits} == candidates
        for hit in hits:
            shares = {share.side: share.score for share in hit.shares or ()}
            for mode in ("sparse", "dense"):
                assert shares[mode] == pytest.approx(sides[mode].get(hit.id, 0.0), abs=1e-6)
            assert sum(each.score for each in hit.contributions or ()) == pytest.approx(hit.score, abs=1e-9)
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)


def test_passages_of_a_hybrid_search_are_fused_where_nothing_is_grouped(both: Collection) -> None:
    hits = both.search("heat flow", 1000, mode="hybrid", group="none").hits
    places = [(hit.id, hit.passage and hit.passage.number) for hit in hits]
    assert len(set(places)) == len(places) > both.count()
    sparse = {
        (hit.id, hit.passage and hit.passage.number): hit.score
        for hit in both.search("heat flow", 1000, mode="sparse", group="none")
    }
    explained = both.search("heat flow", 1000, mode="hybrid", group="none", explain=True).hits
    for hit, place in zip(explained, places, strict=True):
        assert (hit.shares or ())[0].score == pytest.approx(sparse.get(place, 0.0))


def test_the_dense_vectors_are_of_the_passages(both: Collection) -> None:
    snapshot = both.snapshot()
    encoder = both._encoders.require_dense("test").encoder
    for hit in both.search("heat", 3, mode="dense", group="none"):
        vector = encoder.encode_documents([encoded_text(hit.document, hit.passage)])[0]
        query = encoder.encode_query("heat")
        assert float(np.dot(vector.astype(np.float64), query.astype(np.float64))) == pytest.approx(hit.score, abs=1e-5)
    assert snapshot.has_passages


def test_passages_longer_than_the_model_reads_are_refused(tmp_path: Path) -> None:
    model = str(build_tiny_embedding_model(tmp_path / "model"))
    with pytest.raises(SettingsError, match=r"passages of 100,000 tokens are too long: the model reads"):
        Collection.create(tmp_path / "c", encoder="bm25", dense=model, passages="100000")
    assert not (tmp_path / "c").exists()


def test_what_a_model_leaves_out_is_counted_where_nothing_is_split(tmp_path: Path) -> None:
    model = str(build_tiny_embedding_model(tmp_path / "model"))
    with Collection.create(tmp_path / "c", encoder="bm25", dense=model, passages="none") as made:
        made.add([Document("a", "Heat. " * 5000), Document("b", "Wing.")])
        info = made.info()
        assert (info.passages, info.split, info.cut) == (None, 0, 1)
        made.delete(["a"])
        assert made.info().cut == 0


def test_a_dropped_job_leaves_no_passages(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "long", "text": "%s"}\n{"id": 3\n' % ("wing heat flow. " * 40))
    with Collection.create(tmp_path / "c", encoder="bm25", passages="16/4") as collection:
        collection.add([Document("whole", "wing. " * 60)])
        with pytest.raises(BadRowError):
            collection.ingest(open_corpus(corpus), source="corpus")
        assert collection.discard_unfinished() == 1
        assert collection.verify() == []
    with sqlite3.connect(tmp_path / "c" / "documents.sqlite") as connection:
        kept = connection.execute("SELECT seq FROM passages").fetchall()
        assert kept == connection.execute("SELECT seq FROM rows").fetchall()
    connection.close()
