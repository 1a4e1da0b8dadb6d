"""Lucene as an engine: equal to brute force and to our own index, clear where it refuses and where Java is at fault.

What needs Java and pyserini's Anserini archive skips without them; the messages about them are tested anywhere.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from backend_corpus import DOCUMENTS, FILTERS, QUERIES, encoders, move_rows
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from installed_engines import needs_lucene

from lexhound.core.errors import ReadOnlyError
from lexhound.encoders.base import EncoderIdentity
from lexhound.index import Query, quantise_weights
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.collection.store.stored_documents import content_hash
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.engines.address import read_address
from lexhound.retrieval.engines.collection import EngineCollection
from lexhound.retrieval.engines.engine import EngineDocument
from lexhound.retrieval.engines.lucene import java, open_lucene
from lexhound.retrieval.engines.lucene.engine import LuceneEngine
from lexhound.retrieval.engines.opening import create_collection, create_like, open_collection
from lexhound.retrieval.engines.protocol import Backend
from lexhound.retrieval.engines.ranking import as_vector
from lexhound.retrieval.errors import (
    CollectionExistsError,
    CorruptCollectionError,
    EngineError,
    MissingEngineError,
    NotACollectionError,
    UnsupportedError,
)

pytestmark = pytest.mark.engine

TERMS = 12
IDENTITY = EncoderIdentity("splade", "made up", "0" * 32, TERMS)


def made_up_rows() -> list[EngineDocument]:
    """Many ties, empty rows, and one term (0) that all others hold."""
    random = np.random.default_rng(3)
    rows = []
    for number in range(400):
        terms = np.flatnonzero(random.random(TERMS) < 0.4).astype(np.int32)
        if number % 50 == 7:
            terms = terms[:0]
        elif not len(terms) or terms[0]:
            terms = np.concatenate([np.zeros(1, np.int32), terms])
        weights = random.choice(np.array([0.25, 0.5, 0.7, 1.0], np.float32), len(terms))
        document = Document(f"r {number % 10} {number}", "x")
        rows.append(EngineDocument(1000 + number, content_hash(document), document, [(terms, weights)]))
    return rows


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LuceneEngine]:
    engine = open_lucene(read_address(f"lucene:{tmp_path_factory.mktemp('lucene')}/x"), Manifest.new("test", IDENTITY))
    rows = made_up_rows()
    engine.upsert(rows[:150])
    engine.upsert(rows[150:])
    engine.finish()
    yield engine
    engine.close()


weights = st.one_of(st.sampled_from([0.25, 0.5, 1.0]), st.floats(2**-10, 1024, width=32))
queries = st.dictionaries(st.integers(0, TERMS + 3), weights, min_size=1, max_size=TERMS)


def brute_force(rows: list[EngineDocument], query: Query, limit: int) -> list[tuple[str, float]]:
    """Sums of query weight × impact, score descending, then insertion order; rows without a common term are no hits."""
    scale = 2.0**-7  # the least power of two whose 255 steps hold the greatest weight, which is 1
    asked = dict(zip(query.terms.tolist(), query.weights.tolist(), strict=True))
    found = []
    for row in rows:
        terms, values = row.sparse[0]
        impacts = quantise_weights(values, scale).tolist()
        score = sum(asked.get(term, 0) * impact for term, impact in zip(terms.tolist(), impacts, strict=True))
        if score:
            found.append((-score, row.internal_id, row.document.id))
    return [(identifier, -score * query.scale * scale) for score, _, identifier in sorted(found)[:limit]]


@needs_lucene
@given(queries, st.sampled_from([1, 3, 10, 100, 1000]))
@settings(max_examples=examples(40), deadline=None)
def test_hits_are_those_of_brute_force(made_up: LuceneEngine, asked: dict[int, float], limit: int) -> None:
    terms = np.array(sorted(asked), np.int32)
    query = Query.from_weights(terms, np.array([asked[term] for term in terms.tolist()], np.float32))
    found = made_up.search_sparse([as_vector(query)], limit)[0]
    assert list(zip(found.ids, found.scores.tolist(), strict=True)) == brute_force(made_up_rows(), query, limit)


@needs_lucene
def test_a_term_of_every_document_counts_and_several_threads_may_ask(made_up: LuceneEngine) -> None:
    query = Query.from_weights(np.zeros(1, np.int32), np.ones(1, np.float32))
    expected = brute_force(made_up_rows(), query, 50)
    assert made_up.document_frequencies(np.array([0, TERMS + 5], np.int32)).tolist() == [392, 0]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: made_up.search_sparse([as_vector(query)], 50)[0], range(8)))
    assert all(list(zip(each.ids, each.scores.tolist(), strict=True)) == expected for each in answers)


@needs_lucene
def test_what_was_stored_comes_back(made_up: LuceneEngine) -> None:
    rows = made_up_rows()
    assert [row.internal_id for batch in made_up.stored(64) for row in batch] == [row.internal_id for row in rows]
    for batch in made_up.stored(1000):
        for row, expected in zip(batch, rows, strict=True):
            assert row.document == expected.document
            assert row.digest == expected.digest
            assert np.array_equal(row.sparse[0][0], expected.sparse[0][0])
            assert np.array_equal(row.sparse[0][1], expected.sparse[0][1])
    assert made_up.count() == 400
    assert made_up.size().postings == sum(len(row.sparse[0][0]) for row in rows)
    assert made_up.health().ready


def sparse_encoders() -> dict[str, object]:
    return {name: value for name, value in encoders().items() if not name.startswith("dense")}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection.create(tmp_path_factory.mktemp("own") / "c", **sparse_encoders()) as collection:  # type: ignore[arg-type]
        collection.add(DOCUMENTS)
        yield collection


@pytest.fixture(scope="module")
def moved(own: Collection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineCollection]:
    with create_like(f"lucene:{tmp_path_factory.mktemp('moved')}/l", own.manifest) as collection:
        move_rows(own, collection)
        collection.finish()
        yield collection


@needs_lucene
def test_a_moved_collection_answers_as_our_own(own: Collection, moved: EngineCollection) -> None:
    assert isinstance(moved, Backend)
    assert moved.modes == ("sparse",)
    assert moved.search_many(QUERIES, 10) == own.search_many(QUERIES, 10)
    for query in QUERIES:
        expected, found = own.search(query, 10, explain=True), moved.search(query, 10, explain=True)
        assert [hit.document for hit in found.hits] == [hit.document for hit in expected.hits]
        assert [hit.score for hit in found.hits] == [hit.score for hit in expected.hits]
        assert found.terms == expected.terms
        for hit, wanted in zip(found.hits, expected.hits, strict=True):
            assert {each.term for each in hit.contributions or ()} == {each.term for each in wanted.contributions or ()}
            assert sum(each.score for each in hit.contributions or ()) == pytest.approx(hit.score, rel=1e-5)
    whole = [hit.id for hit in own.search("the heat flow", 20).hits]
    pages = [hit.id for at in range(0, 20, 3) for hit in moved.search("the heat flow", 3, offset=at).hits]
    assert pages[: len(whole)] == whole
    assert moved.search({"heat": 2.0, "no such term": 1.0}, 3).unknown == ("no such term",)


@needs_lucene
def test_what_it_cannot_do_is_refused(own: Collection, moved: EngineCollection, tmp_path: Path) -> None:
    for attempt in (
        lambda: moved.search("heat", filter=FILTERS[0]),
        lambda: moved.count(FILTERS[0]),
        lambda: moved.search("heat", recall=0.9),
        lambda: moved.add([Document("new", "heat")]),
        lambda: moved.add([Document(DOCUMENTS[0].id, "changed")]),
        lambda: moved.delete([DOCUMENTS[0].id]),
        lambda: create_collection(f"lucene:{tmp_path}/x", **encoders()),
    ):
        with pytest.raises(UnsupportedError) as caught:
            attempt()
        assert caught.value.where
    assert not (tmp_path / "x").exists()
    assert moved.add(DOCUMENTS).unchanged == len(DOCUMENTS)
    assert moved.count() == len(DOCUMENTS)
    assert len(moved.info().refused) == 9


@needs_lucene
def test_bm25_is_our_own_to_the_bit_and_is_there_when_opened_again(tmp_path: Path, samples: Path) -> None:
    address = f"lucene:{tmp_path}/l"
    with pytest.raises(NotACollectionError):
        open_collection(address)
    lines = (samples / "cranfield" / "queries.jsonl").read_text("utf-8").splitlines()[:25]
    questions = [json.loads(line)["text"] for line in lines]
    corpus = samples / "cranfield" / "corpus.jsonl"
    with Collection.create(tmp_path / "c") as referee, create_collection(address) as collection:
        referee.ingest(open_corpus(corpus), source="c")
        report = collection.ingest(open_corpus(corpus), source="c")
        assert (report.added, collection.count()) == (1400, 1400)
        expected = referee.search_many(questions, 100)
        assert collection.search_many(questions, 100) == expected
        assert collection.get("17") == referee.get("17")
        hit = collection.search(questions[0], 1, explain=True).hits[0]
        assert sum(each.score for each in hit.contributions or ()) == pytest.approx(hit.score, rel=1e-6)
    with pytest.raises(CollectionExistsError):
        create_collection(address)
    with open_collection(address) as collection:
        assert collection.search_many(questions, 100) == expected
        with pytest.raises(ReadOnlyError):
            collection.add([Document("1", "x")])
    with pytest.raises(NotACollectionError):
        Collection.open(tmp_path / "l")
    with (tmp_path / "l" / "lucene.sqlite").open("r+b") as file:
        file.write(b"nonsense" * 20)
    with pytest.raises(CorruptCollectionError):
        open_collection(address)


@needs_lucene
def test_an_unfinished_index_is_told_and_gone_on_with(tmp_path: Path) -> None:
    address = f"lucene:{tmp_path}/l"
    with create_collection(address) as collection:
        assert collection.search("wing").hits == ()
    rows = '{"id": "x", "text": "heat"}\n{"id": "y", "text": "flow"}\n'
    (tmp_path / "corpus.jsonl").write_text(rows + "nonsense\n")
    other = f"lucene:{tmp_path}/m"
    with create_collection(other) as collection, pytest.raises(Exception, match="not"):
        collection.ingest(open_corpus(tmp_path / "corpus.jsonl"), source="s")
    with open_collection(other) as collection:
        assert not collection.health().ready
        with pytest.raises(EngineError, match="not built"):
            collection.search("heat")
    (tmp_path / "corpus.jsonl").write_text(rows)
    with create_collection(other) as collection:
        report = collection.ingest(open_corpus(tmp_path / "corpus.jsonl"), source="s")
        assert (report.added, report.unchanged) == (0, 2)
        assert [hit.id for hit in collection.search("heat flow").hits] == ["x", "y"]


_WAITING = """
import sys, time
from lexhound.retrieval.engines.opening import open_collection

with open_collection(sys.argv[1]) as collection:
    print(collection.search("heat").hits[0].id, flush=True)
    time.sleep(60)
"""


@needs_lucene
def test_java_leaves_ctrl_c_and_standard_output_alone(tmp_path: Path) -> None:
    address = f"lucene:{tmp_path}/l"
    with create_collection(address) as collection:
        collection.add([Document("x", "heat")])
        assert len(collection.search("heat").hits) == 1
    process = subprocess.Popen(
        [sys.executable, "-c", _WAITING, address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "x\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == ""
    assert "KeyboardInterrupt" in err


# What is wrong with Java, told apart without any


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up pyserini whose Anserini was compiled for Java 21, and a made-up pyjnius."""
    jars = tmp_path / "site" / "pyserini" / "resources" / "jars"
    jars.mkdir(parents=True)
    (tmp_path / "site" / "jnius").mkdir()
    for name in ("pyserini", "jnius"):
        (tmp_path / "site" / name / "__init__.py").touch()
    with zipfile.ZipFile(jars / "anserini-9.9.9-fatjar.jar", "w") as jar:
        jar.writestr("io/anserini/index/IndexCollection.class", bytes([0xCA, 0xFE, 0xBA, 0xBE, 0, 0, 0, 65]))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    for name in ("pyserini", "jnius"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return jars


def make_java(folder: Path, says: str, code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "java"
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_java_and_anserini_are_found(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_java(tmp_path / "bin", 'openjdk version "21.0.5" 2024-10-15')
    found = java.find_java()
    assert found == java.Java(str(path), 21, packages / "anserini-9.9.9-fatjar.jar", "9.9.9")
    home = make_java(tmp_path / "jdk" / "bin", 'openjdk version "25" 2025-09-16')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert (java.find_java().command, java.find_java().version) == (str(home), 25)


def test_what_is_wrong_with_java_is_one_clear_message(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> str:
        with pytest.raises(MissingEngineError) as caught:
            java.find_java()
        assert caught.value.hint
        return caught.value.message

    assert "there is none: JAVA_HOME is not set and no java is on the PATH" in told()
    make_java(tmp_path / "bin", 'openjdk version "17.0.15" 2025-04-15')
    message = told()
    assert "anserini-9.9.9-fatjar.jar needs Java 21 or later" in message
    assert "is Java 17" in message
    make_java(tmp_path / "bin", 'java version "1.8.0_202"')
    assert "is Java 8" in told()
    make_java(tmp_path / "bin", "no machine here", 1)
    assert told() == "Java does not start: no machine here"
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    assert told() == f"JAVA_HOME is {tmp_path / 'nowhere'}, and there is no bin/java in it"
    packages.joinpath("anserini-9.9.9-fatjar.jar").write_bytes(b"cut short")
    assert "damaged" in told()
    packages.joinpath("anserini-9.9.9-fatjar.jar").unlink()
    assert "has no Anserini archive" in told()
    (tmp_path / "site" / "jnius").rename(tmp_path / "site" / "other")
    assert "needs pyjnius, which is not installed" in told()
    (tmp_path / "site" / "pyserini").rename(tmp_path / "site" / "another")
    assert "needs pyserini, which is not installed" in told()
