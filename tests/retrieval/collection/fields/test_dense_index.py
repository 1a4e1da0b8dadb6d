"""Segments with a clustered index of dense vectors: held against the same collection with flat ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
from whole_texts import WholeTexts

from lexhound.encoders.base import EncoderIdentity
from lexhound.index.spann import ClusteredIndex, build_clustered
from lexhound.index.spann import index as spann_index
from lexhound.retrieval import Collection, Document, Fusion, SearchResult
from lexhound.retrieval.collection.building import build_collection
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.store import dense_index
from lexhound.retrieval.collection.store.manifest import read_manifest
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import BadRowError, CollectionExistsError, CorruptCollectionError, DenseIndexError

WIDTH, COUNT = 24, 900
WORDS = [f"word{number}" for number in range(120)]
QUERIES = [f"{WORDS[n]} {WORDS[n * 7 % 120]} {WORDS[n * n % 120]}" for n in range(0, 120, 5)]


class WordVectors(DenseField):
    """Makes real vectors without a model: a text's is the mean of those of its words, of unit length."""

    TABLE = np.random.default_rng(7).standard_normal((len(WORDS), WIDTH)).astype(np.float32)

    def encode(self, texts, progress=None):  # type: ignore[no-untyped-def]
        sums = [sum((self.TABLE[WORDS.index(w)] for w in t.split() if w in WORDS), np.zeros(WIDTH)) for t in texts]
        vectors = np.array(sums, np.float32).reshape(len(texts), WIDTH)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)

    queries = encode

    def cuts_query(self, text: str) -> bool:
        return False

    def document_reader(self) -> WholeTexts:
        return WholeTexts()


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = EncoderIdentity("words", "words", "0")
    monkeypatch.setattr(DenseField, "named", lambda *_: WordVectors(identity, WIDTH))
    monkeypatch.setattr(dense_index, "CLUSTERED_FROM", 300)


def documents(first: int, count: int) -> list[Document]:
    random = np.random.default_rng(first)
    return [
        Document(f"d{n}", " ".join(random.choice(WORDS[: 40 + n % 80], 6)), metadata={"n": n})
        for n in range(first, first + count)
    ]


def make(path: Path, index: str) -> Collection:
    """Two segments and some documents that wait for one; some are deleted."""
    made = Collection.create(path, dense="words", dense_index=index)
    for first, count in ((0, 700), (700, 150)):
        made.add(documents(first, count))
        made.maintain(1)
    made.add(documents(850, 50))
    made.delete([f"d{n}" for n in range(0, COUNT, 9)])
    return made


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collection, Collection]]:
    """The same documents with clustered and with flat segments."""
    folder = tmp_path_factory.mktemp("twins")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenseField, "named", lambda *_: WordVectors(EncoderIdentity("words", "words", "0"), WIDTH))
        patch.setattr(dense_index, "CLUSTERED_FROM", 300)
        with make(folder / "auto", "auto") as auto, make(folder / "flat", "flat") as flat:
            yield auto, flat


def kinds(collection: Collection) -> list[str]:
    return [dense_index.kind_of(part.segment.dense) for part in collection.snapshot().segments if part.segment.dense]


def pairs(result: SearchResult) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in result.hits]


def test_large_segments_are_clustered(twins: tuple[Collection, Collection]) -> None:
    auto, flat = twins
    assert kinds(auto) == ["spann", "flat", "flat"]
    assert kinds(flat) == ["flat", "flat", "flat"]
    (info, plain) = (auto.info().dense, flat.info().dense)
    assert info is not None
    assert plain is not None
    # Of the 900, 5 of those that wait for a segment are deleted.
    assert (info.index, info.clustered, info.vectors) == ("auto", 700, 895)
    assert info.resident_bytes > 0
    assert (plain.index, plain.clustered, plain.vectors) == ("flat", 0, 895)
    assert auto.verify() == flat.verify() == []


@pytest.mark.parametrize("filter", [None, "n >= 0", "n = 41", "n > 9000", "n < 400", "n >= 650"])
@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_with_recall_1_answers_are_those_of_flat_segments(
    twins: tuple[Collection, Collection], mode: str, filter: str | None
) -> None:
    auto, flat = twins
    fusion = None if mode == "dense" else Fusion(depth=40)
    for query in QUERIES[:6]:
        exact = flat.search(query, 15, mode=mode, filter=filter, fusion=fusion, explain=True)
        found = auto.search(query, 15, mode=mode, filter=filter, fusion=fusion, explain=True, recall=1)
        assert found.hits == exact.hits
    many = auto.search_many(QUERIES, 15, mode=mode, filter=filter, fusion=fusion, recall=1)
    assert many == flat.search_many(QUERIES, 15, mode=mode, filter=filter, fusion=fusion)


@pytest.mark.parametrize(("filter", "passing"), [(None, 800), ("n < 400", 355), ("n = 41", 1), ("n > 9000", 0)])
def test_the_default_finds_most_with_exact_scores(
    twins: tuple[Collection, Collection], filter: str | None, passing: int
) -> None:
    auto, flat = twins
    found = scored = wanted = 0
    for query in QUERIES:
        near = auto.search(query, 10, mode="dense", filter=filter)
        exact = flat.search(query, 10, mode="dense", filter=filter)
        assert len(near.hits) == len(exact.hits) == min(10, passing)
        scores = dict(pairs(flat.search(query, COUNT, mode="dense", filter=filter)))
        assert all(scores[hit.id] == hit.score for hit in near.hits)
        found += len({hit.id for hit in near.hits} & {hit.id for hit in exact.hits})
        wanted += len(exact.hits)
        scored += near.stats.rows_scored
        assert auto.search_many([query], 10, mode="dense", filter=filter, threads=2) == [pairs(near)]
    assert found >= 0.9 * wanted
    if filter is None:
        assert scored < 0.8 * 800 * len(QUERIES)


def test_a_hybrid_search_scores_exactly_what_either_side_found(twins: tuple[Collection, Collection]) -> None:
    auto, flat = twins
    for query in QUERIES[:8]:
        scores = dict(pairs(flat.search(query, COUNT, mode="dense")))
        for hit in auto.search(query, 10, mode="hybrid", fusion=Fusion(depth=12), explain=True, recall=0.8).hits:
            dense = (hit.shares or ())[1]
            assert dense.score == scores[hit.id]
            assert sum(share.share for share in hit.shares or ()) == pytest.approx(hit.score)


def test_compaction_makes_one_clustered_segment_of_all(tmp_path: Path) -> None:
    with make(tmp_path / "auto", "auto") as auto, make(tmp_path / "flat", "flat") as flat:
        auto.compact()
        flat.compact()
        assert kinds(auto) == ["spann"]
        assert kinds(flat) == ["flat"]
        assert auto.count() == 800
        assert auto.verify() == []
        assert not list(tmp_path.glob("auto/segments/*/*.merged"))
        for query in QUERIES[:6]:
            exact = pairs(flat.search(query, 20, mode="dense"))
            assert pairs(auto.search(query, 20, mode="dense", recall=1)) == exact
        auto.delete([f"d{n}" for n in range(200, 900)])
        auto.compact()
        assert kinds(auto) == ["flat"]
        assert auto.count() == 177
        assert pairs(auto.search(QUERIES[0], 999, mode="dense"))
        assert auto.verify() == []


def test_compaction_brings_a_segment_into_the_kind_of_index_that_is_wanted_now(tmp_path: Path) -> None:
    with make(tmp_path / "c", "auto") as made:
        made.compact()
        before = made.info().segments
        assert made.compact().dropped == 0
        assert made.info().segments == before  # nothing to do
        dense_index.CLUSTERED_FROM = 10_000
        made.compact()
        assert kinds(made) == ["flat"]


def test_a_bulk_run_is_clustered_once_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_bytes(b"".join(orjson.dumps({"id": d.id, "text": d.text}) + b"\n" for d in documents(0, 400)))
    built: list[int] = []
    monkeypatch.setattr(
        spann_index,
        "build_clustered",
        lambda folder, vectors, **told: built.append(len(vectors)) or build_clustered(folder, vectors, **told),
    )

    for size in (10**9, 5000):  # one segment of the run, and many
        monkeypatch.setattr("lexhound.retrieval.collection.write.writer.FLUSH_BYTES", size)
        path = tmp_path / f"c{size}"
        build_collection(path, open_corpus(str(corpus)), source="s", dense="words")
        with Collection.open(path) as opened:
            assert kinds(opened) == ["spann"]
            assert opened.verify() == []
        assert built == [400]
        built.clear()


def test_policies_are_kept_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DenseIndexError, match="'hnsw'"):
        Collection.create(tmp_path / "c", dense="words", dense_index="hnsw")
    with Collection.create(tmp_path / "c", dense="words", dense_index="spann") as made:
        made.add(documents(0, 5))
        made.maintain(1)
        assert kinds(made) == ["spann"]
    manifest = read_manifest(tmp_path / "c").dense
    assert manifest is not None
    assert manifest.index == "spann"
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "text": "word1"}\n{"id": "b", "text": 7}\n')
    with pytest.raises(BadRowError):
        build_collection(tmp_path / "run", open_corpus(str(corpus)), source="s", dense="words")
    with pytest.raises(CollectionExistsError, match="other settings"):
        build_collection(tmp_path / "run", open_corpus(str(corpus)), source="s", dense="words", dense_index="flat")
    path = tmp_path / "c" / "lexhound.json"
    values = json.loads(path.read_text().replace("spann", "tree"))
    del values["checksum"]  # as earlier versions wrote it
    path.write_text(json.dumps(values))
    with pytest.raises(CorruptCollectionError, match="'tree'"):
        Collection.open(tmp_path / "c")


def test_without_faiss_segments_stay_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_index, "_has_faiss", lambda: False)
    with pytest.raises(DenseIndexError, match="needs faiss") as caught:
        Collection.create(tmp_path / "spann", dense="words", dense_index="spann")
    assert "lexhound[dense]" in (caught.value.hint or "")
    with Collection.create(tmp_path / "c", dense="words") as made:
        made.add(documents(0, 400))
        made.maintain(1)
        assert kinds(made) == ["flat"]


def test_damage_to_a_clustered_segment_is_found(tmp_path: Path) -> None:
    make(tmp_path / "c", "auto").close()
    (folder,) = (path.parent for path in tmp_path.glob("c/segments/*/dense/current.json"))
    for path in sorted(path for path in folder.rglob("*.bin") if path.stat().st_size):
        whole = path.read_bytes()
        at = 9 if path.name == "postings.bin" else len(whole) // 2  # between postings there is nothing
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        (problem,) = ClusteredIndex.verify(folder)
        assert problem.path == path
        if path.parent == folder:  # tables are checked whenever they are opened
            with Collection.open(tmp_path / "c") as opened:
                assert [problem.where for problem in opened.verify()] == [str(path)]
        else:
            with pytest.raises(CorruptCollectionError, match=path.name), Collection.open(tmp_path / "c") as opened:
                opened.count()
        path.write_bytes(whole)
    for name in ("current.json", "postings.bin", "vectors.bin"):
        shutil.move(folder / name, tmp_path / name)
        with (
            pytest.raises(CorruptCollectionError, match="missing"),
            Collection.open(tmp_path / "c") as opened,
        ):
            opened.count()
        shutil.move(tmp_path / name, folder / name)
    assert isinstance(dense_index.open_dense(folder), ClusteredIndex)
