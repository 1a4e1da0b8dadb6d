"""Documents and queries without a dense vector, whose text has no token: found by no dense search, on any way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_engine import PlainEngine
from whole_texts import WholeTexts

from lexhound.encoders.base import EncoderIdentity
from lexhound.index import FlatIndex
from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.collection.fields.absent_vectors import search_many_present, search_present
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.query.fusion import FieldScores, fuse
from lexhound.retrieval.collection.request import METHODS
from lexhound.retrieval.collection.store import dense_index
from lexhound.retrieval.engines.collection import EngineCollection
from lexhound.retrieval.engines.own_directory import own_documents
from lexhound.retrieval.exports import export_collection, import_export

WIDTH = 12
WORDS = [f"word{number}" for number in range(40)]
BLANKS = ("", "   ", "\n\t", "unknown")


class WordVectors(DenseField):
    """Real vectors without a model: a text's is the mean of those of its words; many products are below 0."""

    TABLE = np.random.default_rng(3).standard_normal((len(WORDS), WIDTH)).astype(np.float32)

    def encode(self, texts, progress=None):  # type: ignore[no-untyped-def]
        sums = [sum((self.TABLE[WORDS.index(w)] for w in t.split() if w in WORDS), np.zeros(WIDTH)) for t in texts]
        return np.array(sums, np.float32).reshape(len(texts), WIDTH)

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


def corpus(count: int, first: int = 0) -> list[Document]:
    """Every third document is blank."""
    random = np.random.default_rng(first)
    texts = [" ".join(random.choice(WORDS, 3)) if n % 3 else BLANKS[n % len(BLANKS)] for n in range(count)]
    return [Document(f"{'d' if text.split() and text != 'unknown' else 'blank'}{first + n}", text)
            for n, text in enumerate(texts)]  # fmt: skip


vectors = st.lists(st.sampled_from([(0, 0), (1, 0), (-1, 0), (0, 1), (-2, 1), (1, 1)]), max_size=12)


@given(vectors, vectors, st.integers(1, 14), st.sets(st.integers(0, 11)), st.booleans())
def test_as_if_rows_of_zeros_were_not_there(
    rows: list[tuple[int, int]], queries: list[tuple[int, int]], k: int, left: set[int], masked: bool
) -> None:
    matrix, asked = (np.array(each, np.float32).reshape(-1, 2) for each in (rows, queries))
    index = FlatIndex.from_vectors(matrix)
    allowed = np.array([n in left for n in range(len(rows))], np.bool_) if masked else None
    many = search_many_present(index, asked, k, allowed, None, None)
    for query, found in zip(asked, many, strict=True):
        scored = [
            (-float(row @ query), number)
            for number, row in enumerate(matrix)
            if row.any() and query.any() and (not masked or number in left)
        ]
        assert [(-score, row) for row, score in zip(found.rows, found.scores, strict=True)] == sorted(scored)[:k]
        one, _ = search_present(index, query, k, allowed, None)
        assert one.rows.tolist() == found.rows.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("index", ["flat", "spann"])
def test_blanks_are_found_by_no_dense_search(tmp_path: Path, index: str) -> None:
    documents = corpus(300)
    saying = {document.id for document in documents if document.id.startswith("d")}
    with Collection.create(tmp_path / "c", dense="words", dense_index=index) as made:
        made.add(documents[:220])
        made.maintain(1)
        made.add(documents[220:])
        for _ in ("as it was written", "compacted"):
            for recall in (None, 1.0):
                found = made.search("word1 word2", 1000, mode="dense", recall=recall).hits
                assert {hit.id for hit in found} == saying
                assert min(hit.score for hit in found) < 0
                pairs = made.search_many(["word1 word2", *BLANKS], 1000, mode="dense", recall=recall)
                assert pairs == [[(hit.id, hit.score) for hit in found], [], [], [], []]
            for method in METHODS:
                own = {"mode": "hybrid", "fusion": Fusion(method)}
                assert {hit.id for hit in made.search("word1 word2", 1000, **own).hits} <= saying
                # Words of a query that the dense side does not know are for the sparse side alone.
                words = [hit.id for hit in made.search("unknown", 1000, mode="sparse").hits]
                assert [hit.id for hit in made.search("unknown", 1000, **own).hits] == words
            for blank in BLANKS[:3]:
                for mode in ("sparse", "dense", "hybrid"):
                    assert made.search(blank, mode=mode).hits == ()
                    assert made.search_many([blank], mode=mode) == [[]]
            made.compact()
        made.warm()
        assert made.verify() == []


@pytest.mark.parametrize("form", ["parquet", "opensearch", "qdrant"])
def test_an_export_and_its_import_keep_them_apart(tmp_path: Path, form: str) -> None:
    with Collection.create(tmp_path / "c", dense="words") as made:
        made.add(corpus(30))
        before = made.search_many(["word1 word2", ""], 100, mode="dense")
        export_collection(made, tmp_path / "out", form)
    import_export(tmp_path / "out", tmp_path / "again")
    with Collection.open(tmp_path / "again", writable=True) as again:
        again._encoders.dense = WordVectors(EncoderIdentity("words", "words", "0"), WIDTH)
        assert again.search_many(["word1 word2", ""], 100, mode="dense") == before
        assert len(before[0]) == 20


def test_another_engine_is_asked_in_the_same_way(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", dense="words") as made:
        made.add(corpus(60))
        engine = PlainEngine("plain:", made.manifest)
        side = WordVectors(EncoderIdentity("words", "words", "0"), WIDTH)
        with EngineCollection(engine, made.sparse_field, side, writable=True) as other:
            for chunk in own_documents(made, made.snapshot()):
                other.add_encoded(chunk)
            queries = ["word1 word2", "word3 unknown", "unknown", *BLANKS]
            for mode in ("sparse", "dense", "hybrid"):
                for query in queries:
                    own, theirs = (each.search(query, 100, mode=mode).hits for each in (made, other))
                    assert [hit.id for hit in theirs] == [hit.id for hit in own]
                    np.testing.assert_allclose([hit.score for hit in theirs], [hit.score for hit in own], atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_document_without_a_vector_counts_as_the_least_of_the_candidates(method: str) -> None:
    def side(name: str, scores: list[float], matched: list[bool]) -> FieldScores:
        return FieldScores(name, np.array(scores), np.array(matched), 1.0)

    sparse = side("sparse", [1.0, 1.0, 1.0], [True] * 3)
    # All are unlike the query: 0 in place of a score would be above them.
    _, shares = fuse(Fusion(method), [sparse, side("dense", [-0.4, 0.0, -0.2], [True, False, True])])
    assert shares[1].ranks.tolist() == [2, 0, 1]
    assert shares[1].shares[2] > shares[1].shares[0] >= shares[1].shares[1]
    _, shares = fuse(Fusion(method), [sparse, side("dense", [0.0] * 3, [False] * 3)])
    assert shares[1].shares.tolist() == [0.0] * 3
