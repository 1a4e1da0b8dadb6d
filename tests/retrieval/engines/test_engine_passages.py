"""Documents in passages in other engines: as in our own index, which is the referee, with the same stored vectors."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backend_corpus import encoders, move_rows
from installed_engines import needs_lucene, needs_milvus
from plain_engine import PlainEngine

from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.collection.result import Hit
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.engines.collection import EngineCollection
from lexhound.retrieval.engines.engine import EngineDocument
from lexhound.retrieval.engines.milvus import MilvusEngine
from lexhound.retrieval.engines.moving import move_collection
from lexhound.retrieval.engines.opening import create_collection, create_like, open_collection
from lexhound.retrieval.engines.own_directory import make_own
from lexhound.retrieval.engines.protocol import EngineInfo
from lexhound.retrieval.errors import BadRowError, EngineError, NewerFormatError, UnsupportedError

pytestmark = pytest.mark.engine

WORDS = ["wing", "heat", "flow", "shock", "plate", "layer", "drag", "lift", "fuel", "boundary"]
QUERIES = ["heat flow", "wing", "shock wave heat", ""]
SIZES = "24/6"
MODES = ["sparse", "dense", "hybrid"]


def documents_of(seed: int, count: int) -> list[Document]:
    """Texts of none to twenty sentences, some of them twice, so that there are equal scores."""
    generator = random.Random(seed)
    made: list[Document] = []
    for number in range(count):
        sentences = [" ".join(generator.choices(WORDS, k=generator.randint(3, 9))) for _ in range(20)]
        text = ". ".join(sentences[: generator.choice([0, 1, 2, 8, 20])])
        if number % 7 == 6:
            text = made[number - 3].text
        made.append(Document(f"d{number}", text, generator.choice(["", "on heat"]), {"n": number % 4}))
    return made


def sparse_encoders() -> dict[str, Any]:
    return {name: value for name, value in encoders().items() if not name.startswith("dense")}


def made_own(folder: Path, **settings: Any) -> Collection:
    collection = Collection.create(folder, passages=SIZES, **settings)
    collection.add(documents_of(1, 24))
    collection.add(documents_of(2, 8))  # in place of the first ones
    collection.delete(["d12", "d20"])
    collection.compact()  # one scale for all
    return collection


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("passages")


@pytest.fixture(scope="module")
def own(folder: Path) -> Iterator[Collection]:
    with made_own(folder / "own.index", **encoders()) as collection:
        yield collection


@pytest.fixture(scope="module")
def sparse_own(folder: Path) -> Iterator[Collection]:
    with made_own(folder / "sparse.index", **sparse_encoders()) as collection:
        yield collection


@pytest.fixture(scope="module")
def moved(own: Collection, sparse_own: Collection, folder: Path) -> Iterator[Callable[[str], EngineCollection]]:
    """The referee's documents and vectors in another engine; in Lucene those without dense vectors."""
    made: dict[str, EngineCollection] = {}

    def move(kind: str) -> EngineCollection:
        if kind not in made:
            source = sparse_own if kind == "lucene" else own
            if kind.startswith("plain"):
                engine = PlainEngine("plain:test", own.manifest, max_hits=int(kind.partition("-")[2] or 10_000))
                made[kind] = EngineCollection(engine, writable=True)
            else:
                place = f"{folder}/moved.lucene" if kind == "lucene" else f"{folder}/moved.db/moved"
                made[kind] = create_like(f"{kind}:{place}", source.manifest)
            move_rows(source, made[kind])
            made[kind].finish()
        return made[kind]

    yield move
    for collection in made.values():
        collection.close()


ENGINES = [
    pytest.param("plain"),
    pytest.param("plain-20"),
    pytest.param("milvus-lite", marks=needs_milvus),
    pytest.param("lucene", marks=needs_lucene),
]


def place_of(hit: Hit) -> tuple[object, ...]:
    return hit.id, hit.passage, hit.text, hit.title, hit.metadata


def check(found: EngineCollection, own: Collection, kind: str, modes: list[str], k: int) -> None:
    for query in QUERIES:
        for mode in modes:
            for group in ("document", "none"):
                for filter in (None,) if kind == "lucene" else (None, "n >= 2"):
                    fusion = Fusion(depth=4) if mode == "hybrid" else None
                    options: dict[str, Any] = {"mode": mode, "group": group, "filter": filter, "fusion": fusion}
                    expected = own.search(query, k, explain=True, **options)
                    hits = found.search(query, k, explain=True, **options)
                    assert [place_of(hit) for hit in hits] == [place_of(hit) for hit in expected]
                    scores = [hit.score for hit in expected]
                    assert [hit.score for hit in hits] == pytest.approx(scores, rel=1e-5, abs=1e-4)
                    for hit, other in zip(hits, expected, strict=True):
                        given = {each.term: each.score for each in other.contributions or ()}
                        assert {each.term: each.score for each in hit.contributions or ()} == pytest.approx(
                            given, rel=1e-4, abs=1e-4
                        )
                    (pairs,) = found.search_many([query], k, **options)
                    assert [name for name, _ in pairs] == [hit.id for hit in hits]
                    page = found.search(query, k, offset=2, **options)
                    assert [hit.id for hit in page][: k - 2] == [hit.id for hit in hits][2:]


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("k", [3, 18])
def test_documents_scores_passages_and_explanations_are_our_own(
    own: Collection, sparse_own: Collection, moved: Callable[[str], EngineCollection], kind: str, k: int
) -> None:
    found, referee = moved(kind), sparse_own if kind == "lucene" else own
    info, expected = found.info(), referee.info()
    assert (info.documents, info.rows, info.split, info.cut, info.passages) == (
        expected.documents, expected.rows, expected.split, expected.cut, SIZES,
    )  # fmt: skip
    assert expected.split > 5
    assert found.statistics().n_documents == expected.rows > expected.documents == found.count()
    terms = referee.encode_queries(["heat of the wing"])[0].terms
    counted = referee.statistics().document_frequencies(terms).tolist()
    assert found.statistics().document_frequencies(terms).tolist() == counted
    for document in documents_of(1, 24):
        assert found.get(document.id) == referee.get(document.id)
    check(found, referee, kind, MODES[:1] if kind == "lucene" else MODES, k)


def test_rows_are_asked_for_until_the_first_documents_are_certain(moved: Callable[[str], EngineCollection]) -> None:
    """No more than that: of a list that ends, documents that were seen are left out."""
    engine = moved("plain").engine
    assert isinstance(engine, PlainEngine)
    rows, documents = engine.count_rows(), engine.count()
    engine.asked.clear()
    moved("plain").search("heat flow", 1, mode="sparse")
    plain = [limit for limit, scope in engine.asked if scope.documents is None]
    assert plain == sorted(plain)
    assert plain[-1] < rows
    short = moved("plain-20").engine
    assert isinstance(short, PlainEngine)
    short.asked.clear()
    found = moved("plain-20").search("heat flow", 18, mode="sparse").hits
    assert len(found) == 18 < documents
    assert max(limit for limit, _ in short.asked) == 20
    assert any(scope.without for _, scope in short.asked)
    assert len(short.asked) < documents


def test_rows_of_a_version_that_does_not_hold_are_passed_over(own: Collection) -> None:
    """What a crash, or somebody who is replacing a document just now, leaves: rows without a head of theirs."""
    engine = PlainEngine("plain:stale", own.manifest)
    collection = EngineCollection(engine, writable=True)
    move_rows(own, collection)
    heaviest = next(each for each in engine.kept.values() if len(each.sparse) > 4)
    terms = [(vector[0], vector[1] * np.float32(9)) for vector in heaviest.sparse]
    document = Document("gone", heaviest.document.text)
    engine.left = [
        EngineDocument(9_000_000, 1, document, terms, heaviest.dense, heaviest.spans),
        EngineDocument(9_500_000, 1, Document(heaviest.document.id, ""), terms, heaviest.dense, heaviest.spans),
    ]
    check(collection, own, "plain", MODES, 5)


# Written by the engine's own collection


@pytest.fixture
def milvus(folder: Path, request: pytest.FixtureRequest) -> Iterator[EngineCollection]:
    name = "".join(char for char in request.node.name if char.isalnum())
    made = create_collection(f"milvus-lite:{folder}/written.db/{name}", passages=SIZES, **sparse_encoders())
    assert isinstance(made, EngineCollection)
    yield made
    made.close()


@needs_milvus
def test_documents_are_split_replaced_and_deleted_with_all_their_passages(
    milvus: EngineCollection, sparse_own: Collection, folder: Path
) -> None:
    with Collection.create(folder / "twin.index", passages=SIZES, **sparse_encoders()) as twin:
        for collection in (twin, milvus):
            assert collection.add(documents_of(1, 12)).added == 12
            assert collection.add(documents_of(2, 6)).total == 6
            assert collection.delete(["d8", "zz"]) == ["d8"]
            assert collection.put([Document("d9", "wing"), Document("new", "heat. " * 60)]) == ["replaced", "added"]
            assert collection.put([Document("d9", "wing")]) == ["unchanged"]
        info, expected = milvus.info(), twin.info()
        assert (info.documents, info.rows, info.split) == (expected.documents, expected.rows, expected.split)
        assert milvus.count("n >= 2") == twin.count("n >= 2")
        assert sorted(milvus.ids("n = 1")) == sorted(twin.ids("n = 1"))
        terms = twin.encode_queries(["heat of the wing"])[0].terms
        counted = twin.statistics().document_frequencies(terms).tolist()
        assert milvus.statistics().document_frequencies(terms).tolist() == counted
        for query in QUERIES:  # weights of the two differ by rounding
            passages = {(hit.id, hit.passage): hit.score for hit in twin.search(query, 500, group="none")}
            found = {(hit.id, hit.passage): hit.score for hit in milvus.search(query, 500, group="none")}
            assert found == pytest.approx(passages, rel=0.05)
    file = folder / "corpus.jsonl"
    file.write_text('{"id": "x", "text": "%s"}\n{"id": "y", "text": "wing"}\n' % ("Heat flows. " * 40))
    report = milvus.ingest(open_corpus(file), source="corpus")
    assert (report.added, report.split, report.cut) == (2, 1, 0)
    assert report.passages == milvus.info().rows - expected.rows - 1 > 3


@needs_milvus
def test_a_text_that_is_longer_than_a_value_of_milvus_is_kept_in_its_passages(milvus: EngineCollection) -> None:
    text = "\n\n  " + " ".join(f"heat {number} flow." for number in range(6_000)) + " \n"
    milvus.add([Document("long", text, "On heat", {"n": 1}), Document("other", "wing")])
    assert milvus.get("long") == Document("long", text, "On heat", {"n": 1})
    hit = milvus.search("heat", 5).hits[0]
    assert hit.passage is not None
    assert text[hit.passage.start : hit.passage.end] == hit.passage.text
    assert milvus.info().rows > 1000
    with pytest.raises(UnsupportedError, match="title of document 'bad'"):
        milvus.add([Document("bad", text, "x" * 66_000)])
    assert milvus.put([Document("long", "short")]) == ["replaced"]
    assert (milvus.info().rows, milvus.get("long")) == (2, Document("long", "short"))


@needs_milvus
def test_a_crash_between_the_rows_of_a_document_leaves_the_old_one(
    milvus: EngineCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    milvus.add([Document("a", "heat. " * 60), Document("b", "wing of heat")])
    engine = milvus.engine
    assert isinstance(engine, MilvusEngine)
    rows, before = engine.count_rows(), [(hit.id, hit.passage, hit.score) for hit in milvus.search("heat", 5)]
    write = engine._client.write

    def crash(method: str, *arguments: Any, **options: Any) -> Any:
        if method == "upsert" and arguments[0] == engine._name and arguments[1][0]["passage"] == 0:
            raise EngineError("the power went off")
        return write(method, *arguments, **options)

    monkeypatch.setattr(engine._client, "write", crash)
    for changed in (Document("a", "shock wave. " * 90), Document("c", "heat and shock. " * 40)):
        with pytest.raises(EngineError, match="power"):
            milvus.add([changed])
    monkeypatch.undo()
    assert engine.count_rows() > rows
    assert (milvus.count(), milvus.get("a"), milvus.get("c")) == (2, Document("a", "heat. " * 60), None)
    assert [(hit.id, hit.passage, hit.score) for hit in milvus.search("heat", 5)] == before
    assert {hit.id for hit in milvus.search("heat", 500, group="none")} == {"a", "b"}
    assert milvus.add([Document("a", "shock."), Document("c", "heat.")]).total == 2
    assert (milvus.count(), engine.count_rows()) == (3, 3)


@needs_milvus
def test_a_document_that_is_replaced_while_it_is_read_is_read_again(
    milvus: EngineCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    milvus.add([Document("a", "heat. " * 60)])
    engine, after = milvus.engine, Document("a", "wing. " * 50)
    assert isinstance(engine, MilvusEngine)
    rows, seen = engine._rows, []

    def replacing(*arguments: Any) -> Any:
        if not seen:
            seen.append(1)
            assert milvus.put([after]) == ["replaced"]
        return rows(*arguments)

    monkeypatch.setattr(engine, "_rows", replacing)
    assert milvus.get("a") == after
    monkeypatch.setattr(engine, "_rows", lambda *arguments: iter(list(rows(*arguments))[1:]))
    with pytest.raises(EngineError, match="rows of the document 'a' are missing"):
        milvus.get("a")


@needs_lucene
def test_bm25_in_passages_is_our_own_to_the_bit(folder: Path) -> None:
    documents = documents_of(3, 30)
    with (
        Collection.create(folder / "words.index", encoder="bm25", passages="16/4") as referee,
        create_collection(f"lucene:{folder}/words.lucene", encoder="bm25", passages="16/4") as collection,
    ):
        referee.add(documents)
        referee.compact()
        collection.add(documents)
        assert isinstance(collection, EngineCollection)
        check(collection, referee, "lucene", MODES[:1], 10)
        assert collection.search_many(QUERIES, 10) == referee.search_many(QUERIES, 10)
        assert (collection.info().rows, collection.info().split) == (referee.info().rows, referee.info().split)
        with pytest.raises(UnsupportedError):
            collection.add([Document("d0", "changed")])
    manifest = folder / "words.lucene" / "lucene.json"
    text = manifest.read_text()
    assert '"format": 8' in text  # which earlier versions refuse
    manifest.write_text(text.replace('"format": 8', '"format": 9'))
    with pytest.raises(NewerFormatError):
        open_collection(f"lucene:{folder}/words.lucene")
    manifest.write_text(text)


# Moving


def same(found: Collection, own: Collection, modes: list[str]) -> None:
    assert (found.info().documents, found.info().rows, found.info().split) == (
        own.info().documents, own.info().rows, own.info().split,
    )  # fmt: skip
    assert found.verify() == []
    for query in QUERIES:
        for mode in modes:
            expected = own.search(query, 30, mode=mode, explain=True).hits
            hits = found.search(query, 30, mode=mode, explain=True).hits
            assert [place_of(hit) for hit in hits] == [place_of(hit) for hit in expected]
            scores = [hit.score for hit in expected]
            assert [hit.score for hit in hits] == pytest.approx(scores, rel=1e-6, abs=1e-7)


@needs_milvus
def test_a_collection_moves_to_milvus_and_back(own: Collection, folder: Path) -> None:
    address = f"milvus-lite:{folder}/there.db/there"
    there = move_collection(own.path, address)
    assert (there.documents, there.rows, there.dense) == (own.info().documents, own.info().rows, True)
    back = move_collection(address, folder / "back.index")
    assert (back.documents, back.rows, back.postings) == (there.documents, there.rows, there.postings)
    with Collection.open(folder / "back.index") as found:
        assert found.manifest.passages == own.manifest.passages
        same(found, own, MODES)
    with pytest.raises(UnsupportedError, match="has dense vectors") as caught:
        move_collection(address, f"lucene:{folder}/dense.lucene")
    assert "without_dense" in str(caught.value)
    assert not (folder / "dense.lucene").exists()
    alone = move_collection(address, folder / "alone.index", without_dense=True)
    assert (alone.rows, alone.dense) == (there.rows, False)
    with Collection.open(folder / "alone.index") as found:
        same(found, own, MODES[:1])
        assert found.modes == ("sparse",)


@needs_milvus
@needs_lucene
def test_a_collection_moves_from_engine_to_engine_and_home(sparse_own: Collection, folder: Path) -> None:
    stops = [f"lucene:{folder}/stop.lucene", f"milvus-lite:{folder}/stop.db/stop"]
    source: Path | str = sparse_own.path
    for stop in [*stops, str(folder / "home.index")]:
        report = move_collection(source, stop)
        assert (report.documents, report.rows) == (sparse_own.info().documents, sparse_own.info().rows)
        source = stop
    with Collection.open(folder / "home.index") as found:
        same(found, sparse_own, MODES[:1])


@needs_lucene
def test_bm25_moves_to_lucene_and_back_by_counting_its_texts(folder: Path) -> None:
    with Collection.create(folder / "counted.index", encoder="bm25", passages="16/4") as own:
        titles = "a title of many words " * 4
        own.add([*documents_of(4, 20), Document("title", "heat. " * 30, titles), Document("short", "wing", titles)])
        own.compact()
        move_collection(own.path, f"lucene:{folder}/counted.lucene")
        with open_collection(f"lucene:{folder}/counted.lucene") as there:
            for query in (*QUERIES, "many words"):
                assert there.search_many([query], 10) == own.search_many([query], 10)
        report = move_collection(f"lucene:{folder}/counted.lucene", folder / "counted-back.index")
        assert report.relative_error is not None
        with Collection.open(folder / "counted-back.index") as back:
            same(back, own, ["lexical"])
            assert back.info().cut == own.info().cut == 2


@needs_lucene
def test_an_index_that_is_not_built_is_not_moved(folder: Path) -> None:
    address = f"lucene:{folder}/begun.lucene"
    corpus = folder / "begun.jsonl"
    corpus.write_text('{"id": "x", "text": "heat"}\nnonsense\n')
    with create_collection(address, encoder="bm25") as collection, pytest.raises(BadRowError):
        collection.ingest(open_corpus(corpus), source="begun")
    with pytest.raises(EngineError, match="not built yet"):
        move_collection(address, folder / "begun.index")
    assert not (folder / "begun.index").exists()


@needs_lucene
def test_a_lucene_collection_of_an_earlier_version_opens(folder: Path) -> None:
    """It has no tables of passages."""
    place = folder / "earlier.lucene"
    with create_collection(f"lucene:{place}", encoder="bm25") as collection:
        collection.add(documents_of(1, 12))
        expected = collection.search_many(QUERIES, 5)
    with sqlite3.connect(place / "lucene.sqlite") as connection:
        connection.executescript("DROP TABLE pieces; DROP TABLE passages;")
    connection.close()
    with open_collection(f"lucene:{place}") as collection:
        assert collection.search_many(QUERIES, 5) == expected
        assert collection.search("heat", explain=True).hits
        info = collection.info()
        assert isinstance(info, EngineInfo)
        assert (info.documents, info.rows, info.split, info.passages) == (12, 12, 0, None)
    assert move_collection(f"lucene:{place}", folder / "earlier.index").documents == 12


def test_a_move_that_fails_leaves_nothing(
    sparse_own: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = PlainEngine("plain:broken", sparse_own.manifest)
    move_rows(sparse_own, EngineCollection(engine, writable=True))

    def broken(batch: int) -> Iterator[list[EngineDocument]]:
        yield list(engine.kept.values())[:3]
        raise EngineError("it is gone")

    with pytest.raises(EngineError, match="gone"):
        make_own(folder / "broken.index", sparse_own.manifest, broken(3))
    assert not [path for path in folder.iterdir() if "broken" in path.name and path.is_dir()]


def test_two_paths_are_no_move(own: Collection, folder: Path) -> None:
    with pytest.raises(UnsupportedError, match="two paths"):
        move_collection(own.path, folder / "copy.index")
    assert not (folder / "copy.index").exists()
