"""Collections with dense vectors: against a dict of documents, through all that can happen to them."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.errors import CheckpointError, EncoderError
from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.collection.building import build_collection
from lexhound.retrieval.collection.request import METHODS
from lexhound.retrieval.collection.store.dense_index import POLICIES
from lexhound.retrieval.collection.store.manifest import read_manifest
from lexhound.retrieval.collection.write import writer
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import CollectionExistsError, CorruptCollectionError, QueryError

SETTINGS = DenseSettings(device="cpu", precision="float32")
WORDS = ["wing", "heat", "transfer", "the", "flow", "shock", "plate", ""]
QUERIES = ["heat transfer", "wing", "the", "zeppelin", ""]

texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
identifiers = st.integers(0, 9).map(lambda number: f"d{number}")
documents = st.builds(Document, id=identifiers, text=texts, metadata=st.fixed_dictionaries({"n": st.integers(0, 3)}))


@cache
def model() -> str:
    folder = Path(tempfile.mkdtemp(prefix="tiny-dense-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(build_tiny_embedding_model(folder / "model"))


@cache
def encoder() -> DenseEncoder:
    return DenseEncoder(model(), SETTINGS)


@cache
def document_vector(text: str) -> tuple[float, ...]:
    return tuple(encoder().encode_documents([text])[0].tolist())


@cache
def query_vector(text: str) -> tuple[float, ...]:
    return tuple(encoder().encode_query(text).tolist())


@pytest.fixture(scope="module", autouse=True)
def _clean() -> Iterator[None]:
    yield
    shutil.rmtree(Path(model()).parent, ignore_errors=True)
    for cached in (model, encoder, document_vector, query_vector):
        cached.cache_clear()


def cosine(query: str, document: Document) -> float:
    return float(np.dot(query_vector(query), document_vector(document.encoded_text)))


class Life(RuleBasedStateMachine):
    """Random lives; after every step all modes must answer as plain Python over a dict does."""

    @initialize(small=st.booleans(), index=st.sampled_from(POLICIES))
    def create(self, small: bool, index: str) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.saved = writer.FLUSH_BYTES, writer.SMALLEST_SEGMENT
        writer.FLUSH_BYTES, writer.SMALLEST_SEGMENT = (200, 2) if small else self.saved
        self.collection = Collection.create(
            self.folder / "c", dense=model(), dense_settings=SETTINGS, dense_index=index
        )
        self.twin: dict[str, Document] = {}

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            self.collection.close()
            writer.FLUSH_BYTES, writer.SMALLEST_SEGMENT = self.saved
            shutil.rmtree(self.folder)

    @rule(new=st.lists(documents, max_size=5))
    def add(self, new: list[Document]) -> None:
        self.collection.add(new)
        last = {document.id: document for document in new}
        kept = [document for document in new if last[document.id] is document]
        for document in kept:
            if self.twin.get(document.id) != document:
                self.twin.pop(document.id, None)
                self.twin[document.id] = document

    @rule(gone=st.lists(identifiers, max_size=3))
    def delete(self, gone: list[str]) -> None:
        self.collection.delete(gone)
        for identifier in gone:
            self.twin.pop(identifier, None)

    @rule()
    def compact(self) -> None:
        self.collection.compact()

    @rule()
    def reopen(self) -> None:
        self.collection.close()
        self.collection = Collection.open(self.folder / "c", writable=True)

    @rule(query=st.sampled_from(QUERIES), k=st.integers(1, 6), least=st.sampled_from([None, 1, 2]))
    def dense(self, query: str, k: int, least: int | None) -> None:
        allowed = [
            d
            for d in self.twin.values()
            if query and d.encoded_text.strip() and (least is None or d.metadata["n"] >= least)
        ]
        filter = None if least is None else f"n >= {least}"
        hits = self.collection.search(query, k, mode="dense", filter=filter, explain=True, recall=1).hits
        assert len(hits) == min(k, len(allowed))
        scores = sorted((cosine(query, document) for document in allowed), reverse=True)
        for hit, wanted in zip(hits, scores, strict=False):
            assert hit.score == pytest.approx(wanted, abs=1e-5)
            assert hit.score == pytest.approx(cosine(query, self.twin[hit.id]), abs=1e-5)
            assert [share.share for share in hit.shares or ()] == [hit.score]
            assert [each.score for each in hit.contributions or ()] == [hit.score]
        many = self.collection.search_many([query], k, mode="dense", filter=filter, recall=1)
        assert many == [[(hit.id, hit.score) for hit in hits]]

    @rule(
        query=st.sampled_from(QUERIES),
        k=st.integers(1, 6),
        offset=st.integers(0, 3),
        least=st.sampled_from([None, 1, 2]),
        method=st.sampled_from(METHODS),
        weight=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
        depth=st.sampled_from([1, 2, 1000]),
    )
    def hybrid(
        self, query: str, k: int, offset: int, least: int | None, method: str, weight: float, depth: int
    ) -> None:
        filter = None if least is None else f"n >= {least}"
        fusion = Fusion(method, dense_weight=weight, depth=depth)
        found = self.collection.search(
            query, k, offset=offset, mode="hybrid", fusion=fusion, filter=filter, explain=True, recall=1
        ).hits
        exact = {"fusion": fusion, "filter": filter, "recall": 1}
        every = self.collection.search(query, 100, mode="hybrid", **exact).hits
        assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in every[offset : offset + k]]
        assert self.collection.search_many([query], 100, mode="hybrid", **exact) == [
            [(hit.id, hit.score) for hit in every]
        ]
        # The candidates are the best of each side, and each is scored by both.
        by_words = {hit.id: hit.score for hit in self.collection.search(query, 100, mode="sparse", filter=filter).hits}
        near = self.collection.search(query, 100, mode="dense", filter=filter, recall=1).hits
        by_meaning = {hit.id: hit.score for hit in near}
        candidates = {*list(by_words)[:depth], *list(by_meaning)[:depth]}
        assert {hit.id for hit in every} == candidates
        for hit in found:
            sparse, dense = hit.shares or ()
            assert (sparse.side, dense.side) == ("sparse", "dense")
            assert sparse.share + dense.share == hit.score
            assert sparse.score == by_words.get(hit.id, 0.0)
            assert (sparse.rank is None) == (hit.id not in by_words)
            assert dense.score == by_meaning.get(hit.id, 0.0)
            assert (dense.rank is None) == (hit.id not in by_meaning)
            assert sum(each.score for each in hit.contributions or ()) == pytest.approx(hit.score, rel=1e-9, abs=1e-12)

    @invariant()
    def is_whole(self) -> None:
        if not hasattr(self, "collection"):
            return
        assert self.collection.count() == len(self.twin)
        info = self.collection.info()
        assert info.dense is not None
        assert info.dense.vectors == info.documents + info.deleted
        assert self.collection.verify() == []


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=examples(10), stateful_step_count=10, deadline=None)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path / "c", dense=model(), dense_settings=SETTINGS) as made:
        made.add([Document(f"d{n}", f"{WORDS[n % 7]} {WORDS[(n * 3) % 7]}", metadata={"n": n}) for n in range(20)])
        yield made


# Modes


def test_auto_is_hybrid_where_there_are_vectors(collection: Collection, tmp_path: Path) -> None:
    assert collection.modes == ("lexical", "dense", "hybrid")
    auto, hybrid = collection.search("heat flow"), collection.search("heat flow", mode="hybrid")
    assert [(hit.id, hit.score) for hit in auto.hits] == [(hit.id, hit.score) for hit in hybrid.hits]
    weights = collection.search({"heat": 1.0})  # what weights of terms can be searched by
    assert weights.hits
    assert weights.hits[0].shares is None
    with Collection.create(tmp_path / "plain") as plain:
        plain.add([Document("a", "heat")])
        assert plain.modes == ("lexical",)
        assert [hit.id for hit in plain.search("heat").hits] == ["a"]


def test_what_a_collection_cannot_do_is_said_once(collection: Collection, tmp_path: Path) -> None:
    with Collection.create(tmp_path / "plain") as plain:
        for mode in ("dense", "hybrid"):
            with pytest.raises(QueryError, match=f"no dense vectors, which mode {mode} needs") as caught:
                plain.search("heat", mode=mode)
            assert "--dense" in (caught.value.cli_hint or "")
            with pytest.raises(QueryError, match="no dense vectors"):
                plain.search_many(["heat"], mode=mode)
        with pytest.raises(QueryError, match="fusion is for mode hybrid"):
            plain.search("heat", fusion=Fusion())
    with pytest.raises(QueryError, match="the mode is 'vector'"):
        collection.search("heat", mode="vector")
    with pytest.raises(QueryError, match="by term weights cannot be searched in mode hybrid"):
        collection.search({"heat": 1.0}, mode="hybrid")
    with pytest.raises(QueryError, match="fusion is for mode hybrid"):
        collection.search("heat", mode="dense", fusion=Fusion())


def test_an_empty_collection_has_no_hits(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", dense=model(), dense_settings=SETTINGS) as empty:
        for mode in ("sparse", "dense", "hybrid"):
            assert empty.search("heat", mode=mode).hits == ()
            assert empty.search_many(["heat", ""], mode=mode) == [[], []]
        empty.compact()
        assert empty.verify() == []


def test_many_queries_are_answered_as_single_ones(collection: Collection) -> None:
    queries = ["heat flow", "wing", "the shock", ""]
    for mode in ("sparse", "dense", "hybrid"):
        for query, many in zip(queries, collection.search_many(queries, 5, mode=mode), strict=True):
            one = collection.search(query, 5, mode=mode).hits
            assert [score for _, score in many] == pytest.approx([hit.score for hit in one], abs=1e-5)


# Without the model


def test_a_search_by_words_needs_no_model(tmp_path: Path) -> None:
    own = tmp_path / "model"
    shutil.copytree(model(), own)
    with Collection.create(tmp_path / "c", dense=str(own), dense_settings=SETTINGS) as made:
        made.add([Document("a", "heat flow")])
    shutil.rmtree(own)
    with Collection.open(tmp_path / "c", writable=True) as opened:
        assert [hit.id for hit in opened.search("heat", mode="sparse").hits] == ["a"]
        assert opened.verify() == []
        assert opened.info().dense is not None
        for mode in ("dense", "hybrid"):
            with pytest.raises(EncoderError, match="no folder"):
                opened.search("heat", mode=mode)
        with pytest.raises(CheckpointError):
            opened.add([Document("b", "wing")])
        assert opened.count() == 1  # nothing half-written
        opened.compact()


def test_a_model_that_has_changed_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "model"
    shutil.copytree(model(), own)
    with Collection.create(tmp_path / "c", dense=str(own), dense_settings=SETTINGS) as made:
        made.add([Document("a", "heat flow")])
    shutil.rmtree(own)
    build_tiny_embedding_model(own, seed=9)
    with Collection.open(tmp_path / "c") as opened, pytest.raises(EncoderError, match="files have changed"):
        opened.search("heat", mode="dense")


# Files


def test_the_format_is_that_of_what_is_in_it(tmp_path: Path) -> None:
    Collection.create(tmp_path / "plain").close()
    Collection.create(tmp_path / "both", dense=model(), dense_settings=SETTINGS).close()
    assert read_manifest(tmp_path / "plain").format == 1  # what earlier versions read
    Collection.create(tmp_path / "flat", dense=model(), dense_settings=SETTINGS, dense_index="flat").close()
    assert read_manifest(tmp_path / "flat").format == 5  # whose texts a model may cut, which its database tells
    both = read_manifest(tmp_path / "both")
    assert both.format == 5
    assert both.dense is not None
    assert both.dense.width == 32


def test_damage_to_dense_vectors_is_found(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", dense=model(), dense_settings=SETTINGS) as made:
        made.add([Document(f"d{n}", "heat flow") for n in range(4)])
        made.compact()
        made.add([Document("waiting", "wing")])
    (path,) = (tmp_path / "c").glob("segments/*/dense/vectors.bin")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with Collection.open(tmp_path / "c") as opened:
        (problem,) = opened.verify()
        assert problem.where == str(path)
    path.write_bytes(whole[:-4])
    with pytest.raises(CorruptCollectionError, match="bytes where"), Collection.open(tmp_path / "c") as opened:
        opened.count()
    path.write_bytes(whole)
    database = sqlite3.connect(tmp_path / "c" / "documents.sqlite")
    database.execute("UPDATE batches SET dense = CAST(substr(dense, 1, length(dense) - 1) || x'55' AS BLOB)")
    database.commit()
    database.close()
    with pytest.raises(CorruptCollectionError, match="dense vectors of a batch"), Collection.open(tmp_path / "c") as it:
        it.count()


# Bulk runs


def corpus_file(folder: Path) -> Path:
    path = folder / "corpus.jsonl"
    path.write_text("".join(f'{{"id": "{n}", "text": "{WORDS[n % 7]} {WORDS[n % 5]}"}}\n' for n in range(30)))
    return path


def test_a_run_that_was_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexhound.retrieval.collection.write.writer.BATCH_DOCUMENTS", 7)
    corpus = corpus_file(tmp_path)

    def stop(step: object) -> None:
        if getattr(step, "documents", 0) > 14:  # within the third batch: two are kept
            raise KeyboardInterrupt

    options = {"source": "s", "dense": model(), "dense_settings": SETTINGS}
    with pytest.raises(KeyboardInterrupt):
        build_collection(tmp_path / "c", open_corpus(str(corpus)), progress=stop, **options)  # type: ignore[arg-type]
    with pytest.raises(CollectionExistsError, match="another encoder or other settings"):
        build_collection(tmp_path / "c", open_corpus(str(corpus)), source="s")
    report = build_collection(tmp_path / "c", open_corpus(str(corpus)), **options)  # type: ignore[arg-type]
    assert (report.added, report.resumed) == (30, 14)
    with Collection.open(tmp_path / "c") as opened:
        assert opened.verify() == []
        assert len(opened.search("heat", 50, mode="dense").hits) == 30
