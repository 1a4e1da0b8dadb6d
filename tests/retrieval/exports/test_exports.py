"""Exports hold exactly what a collection does, whatever its documents have been through, in every format."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import exports
import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm

from lexhound.core.errors import StorageFullError
from lexhound.encoders import base as encoders_base
from lexhound.encoders.errors import IdentityError
from lexhound.index.inverted.forward import forward_windows, postings_of
from lexhound.index.inverted.index import InvertedIndex
from lexhound.retrieval import Collection, Document, LexicalSettings
from lexhound.retrieval.collection import writing
from lexhound.retrieval.collection.store.manifest import Manifest, write_manifest
from lexhound.retrieval.collection.write import ingest, writer
from lexhound.retrieval.documents.encoded_document import EncodedDocument
from lexhound.retrieval.errors import CollectionExistsError, CorruptCollectionError, ExportError, NotACollectionError
from lexhound.retrieval.exports import FORMATS, export_collection, import_export, read_header

WORDS = ["wing", "heat", "flow", "the", "é", "東京都", "a.b", "don't", ""]
texts = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
documents = st.builds(
    Document,
    id=st.integers(0, 7).map(lambda number: f"d {number}"),
    text=texts,
    title=st.sampled_from(["", "wing", "Ünïcode"]),
    metadata=st.sampled_from([{}, {"n": 1, "tags": ["x", None, 2.5]}]),
)
steps = st.lists(st.one_of(st.lists(documents, max_size=5), st.integers(0, 7).map(lambda n: f"d {n}")), max_size=6)


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FLUSH_BYTES", 250)
    for module in (writer, ingest, writing):  # each, as one that is first imported here would keep the 2
        monkeypatch.setattr(module, "SMALLEST_SEGMENT", 2)


@st.composite
def sparse_rows(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    rows, columns = draw(st.integers(0, 9)), draw(st.integers(1, 6))
    values = st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0])
    entries = draw(st.lists(values, min_size=rows * columns, max_size=rows * columns))
    return np.array(entries, np.float32).reshape(rows, columns)


@given(sparse_rows(), st.integers(0, 4))
@settings(max_examples=examples(40), deadline=None)
def test_an_index_reads_back_by_rows_and_by_terms(rows: np.ndarray[Any, Any], window_bits: int) -> None:
    frequencies = np.arange(1, np.count_nonzero(rows) + 1).astype(np.uint8)
    lengths = np.zeros(len(rows), np.uint32)
    index = InvertedIndex.from_csr(
        csr_array(rows), 1 / 255, frequencies=frequencies, lengths=lengths, window_bits=window_bits
    )
    expected = np.rint(rows * 255).astype(int)
    counts = np.zeros(rows.shape, int)
    counts[rows > 0] = frequencies
    found, read = np.zeros_like(expected), np.zeros_like(counts)
    covered = 0
    for window in forward_windows(index):
        assert window.first == covered
        covered += len(window)
        assert window.frequencies is not None
        for place in range(len(window)):
            own = slice(*window.indptr[place : place + 2])
            assert window.terms[own].tolist() == sorted(window.terms[own].tolist())
            found[window.first + place, window.terms[own]] = window.impacts[own]
            read[window.first + place, window.terms[own]] = window.frequencies[own]
    assert covered == len(rows)
    assert np.array_equal(found, expected)
    assert np.array_equal(read, counts)
    for slot, term in enumerate(index.postings.terms.tolist()):
        own_rows, impacts, own_counts = postings_of(index, slot)
        assert own_rows.tolist() == np.flatnonzero(expected[:, term]).tolist()
        assert impacts.tolist() == expected[own_rows, term].tolist()
        assert own_counts is not None
        assert own_counts.tolist() == counts[own_rows, term].tolist()


@given(steps)
@settings(max_examples=examples(8), deadline=None)
def test_every_format_holds_what_the_collection_holds(life: list[list[Document] | str]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        twin: dict[str, Document] = {}
        with Collection.create(folder / "c") as collection:
            for step in life:
                if isinstance(step, str):
                    collection.delete([step])
                    twin.pop(step, None)
                else:
                    collection.add(step)
                    last: dict[str, Document] = {}  # of each id, and in order of the last
                    for document in step:
                        last.pop(document.id, None)
                        last[document.id] = document
                    for document in last.values():
                        if twin.get(document.id) != document:
                            twin.pop(document.id, None)
                            twin[document.id] = document
            if len({part.segment.index.mean_length for part in collection.snapshot().segments}) > 1:
                collection.compact()  # an export has weights for one average length
            vectors = exports.stored_vectors(collection, list(twin))
            for name in FORMATS:
                report = export_collection(collection, folder / name, name)
                assert report.header == read_header(folder / name)
                assert report.header.documents == len(twin)
                if name != "ciff":
                    assert report.header.postings == sum(map(len, vectors.values()))
            _check(collection, folder, twin, vectors)
    finally:
        shutil.rmtree(folder)


def _check(collection: Collection, folder: Path, twin: dict[str, Document], vectors: exports.Vectors) -> None:
    contents = {d.id: {"text": d.text, "title": d.title, "metadata": dict(d.metadata)} for d in twin.values()}
    for read in (
        exports.read_anserini(folder / "anserini"),
        exports.read_opensearch(folder / "opensearch", "rank_features"),
        exports.read_opensearch(folder / "opensearch", "sparse_vector"),
        exports.read_qdrant(folder / "qdrant"),
        exports.read_parquet(folder / "parquet"),
    ):
        assert read == (vectors, contents)
        assert list(read[0]) == list(twin)  # in order of insertion
    _, counts, lengths = exports.read_ciff(folder / "ciff" / "index.ciff")
    assert list(counts) == list(twin)
    assert {i: set(v) for i, v in counts.items()} == {i: set(v) for i, v in vectors.items()}
    assert lengths == {identifier: sum(own.values()) for identifier, own in counts.items()}
    for document in twin.values():
        assert sum(counts[document.id].values()) == _words(document)


def test_weights_for_several_average_lengths_are_exported_for_one(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document(str(i), "wing " * (i + 1)) for i in range(4)])
        collection.maintain(1)
        collection.add([Document(f"long{i}", "wing heat " * 20) for i in range(2)])
        collection.maintain(10_000)
        averages = {part.segment.index.mean_length for part in collection.snapshot().segments}
        assert len(averages) == 2
        report = export_collection(collection, tmp_path / "out", "anserini")
        assert report.header.average_length in averages
        ids = [str(i) for i in range(4)] + ["long0", "long1"]
    assert "computed again for the export" in (tmp_path / "out" / "README.md").read_text("utf-8")
    import_export(tmp_path / "out", tmp_path / "back")
    with Collection.open(tmp_path / "back") as back:
        assert exports.stored_vectors(back, ids) == exports.read_anserini(tmp_path / "out")[0]


def test_one_scale_for_all_in_an_export_of_several(tmp_path: Path) -> None:
    terms = np.array([2000, 2001], np.int32)

    def document(name: str, *weights: float) -> Document:
        return EncodedDocument(Document(name, ""), (terms[: len(weights)], np.array(weights, np.float32)))

    with Collection.create(tmp_path / "c", encoder="lexhound-mini", load_model=False) as collection:
        collection.add([document("huge", 1000), *(document(f"u{i}", 1 + i / 8, 3.5) for i in range(8))])
        collection.maintain(1)
        assert len(collection.info().segments) == 2
        header = export_collection(collection, tmp_path / "out", "qdrant").header
        assert (header.scale, header.clipped) == (2**-6, 1)
        name = collection.sparse_field.term_text(2000)
        right = {hit.id: hit.score for hit in collection.search({name: 1.0}).hits}
    assert "1 weights were too large" in (tmp_path / "out" / "README.md").read_text("utf-8")
    import_export(tmp_path / "out", tmp_path / "back")
    with Collection.open(tmp_path / "back") as back:
        found = {hit.id: hit.score for hit in back.search({name: 1.0}).hits}
    assert found == right | {"huge": 255 / 64}


def _words(document: Document) -> int:
    """How many terms a text of WORDS counts: three characters of Japanese are two bigrams, `a.b` is two words."""
    sizes = {"東京都": 2, "a.b": 2}
    return sum(sizes.get(word, 1) for word in document.encoded_text.split())


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    from lexhound.encoders.dense.settings import DenseSettings
    from lexhound.encoders.sparse.settings import LearnedSettings

    folder = tmp_path_factory.mktemp("learned")
    sparse = build_tiny_masked_lm(folder / "sparse")
    dense = build_tiny_embedding_model(folder / "dense")
    with Collection.create(
        folder / "c",
        encoder=str(sparse),
        learned=LearnedSettings(device="cpu", precision="float32"),
        dense=str(dense),
        dense_settings=DenseSettings(device="cpu", precision="float32"),
    ) as collection:
        collection.add([Document(f"d{n}", f"heat transfer {'wing ' * n}. plate, no {n}", f"t {n}") for n in range(9)])
        collection.delete(["d3"])
        yield collection


ROUND_TRIPS = tuple(name for name in FORMATS if name != "ciff")


@given(steps)
@settings(max_examples=examples(4), deadline=None)
def test_what_was_exported_comes_back(life: list[list[Document] | str]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        with Collection.create(folder / "c") as collection:
            for step in life:
                if isinstance(step, str):
                    collection.delete([step])
                else:
                    collection.add(step)
            documents = _documents(collection)
            vectors = exports.stored_vectors(collection, list(documents))
            answers = collection.search_many(["wing heat", "the 東京", "flow"], 10)
            for name in ROUND_TRIPS:
                export_collection(collection, folder / name, name)
        for name in ROUND_TRIPS:
            report = import_export(folder / name, folder / f"{name}.back")
            assert (report.documents, report.postings, report.lost) == (
                len(documents),
                sum(map(len, vectors.values())),
                (),
            )
            with Collection.open(folder / f"{name}.back", writable=True) as back:
                assert back.verify() == []
                assert _documents(back) == documents
                assert exports.stored_vectors(back, list(documents)) == vectors
                assert back.search_many(["wing heat", "the 東京", "flow"], 10) == answers
                back.add([Document("more", "wing")])
                assert back.count() == len(documents) + 1
    finally:
        shutil.rmtree(folder)


def _documents(collection: Collection) -> dict[str, Document]:
    from lexhound.retrieval.exports.rows import live_rows

    chunks = live_rows(collection.snapshot(), collection.sparse_field)
    return {document.id: document for chunk in chunks for document in chunk.documents}


@pytest.mark.parametrize("name", FORMATS)
def test_a_learned_collection_comes_back(name: str, learned: Collection, tmp_path: Path) -> None:
    documents = _documents(learned)
    export_collection(learned, tmp_path / "out", name)
    report = import_export(tmp_path / "out", tmp_path / "back")
    dense = name not in ("anserini", "ciff")
    assert report.lost == {"anserini": ("dense vectors",), "ciff": ("texts, titles and metadata", "dense vectors")}.get(
        name, ()
    )
    with Collection.open(tmp_path / "back") as back:
        assert back.manifest.dense == (learned.manifest.dense if dense else None)
        assert back.manifest.format == 5  # a model may cut its texts
        assert back.verify() == []
        assert back.modes == (("sparse", "dense", "hybrid") if dense else ("sparse",))
        assert exports.stored_vectors(back, list(documents)) == exports.stored_vectors(learned, list(documents))
        assert back.snapshot().segments[0].segment.index.scale == learned.snapshot().segments[0].segment.index.scale
        queries = ["heat transfer", "wing plate 4", "no"]
        for mode in back.modes:
            assert back.search_many(queries, 5, mode=mode) == learned.search_many(queries, 5, mode=mode)
        if name == "ciff":
            assert set(_documents(back)) == set(documents)
        else:
            assert _documents(back) == documents


def _pairs(page: Any) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in page.hits]


def test_an_import_can_read_the_texts_anew(tmp_path: Path) -> None:
    """A collection whose stems another PyStemmer made: its words are found again, and weighed as if indexed today."""
    rows = [Document("a", "international heat"), Document("b", "internal flow flow"), Document("c", "도서관에서")]
    with Collection.create(tmp_path / "today") as today:
        today.add(rows)
        wanted = {query: _pairs(today.search(query)) for query in ("international", "flow", "도서관")}
        identity = today.manifest.encoder
    other = LexicalSettings(language="none", stop_words=False)  # no stems, and its tokeniser is that of version 1
    with Collection.create(tmp_path / "old", lexical=other) as old:
        old.add(rows)
    parts = {**identity.parts, "stems": "another version's"}
    made = {"kind": "bm25", "tokeniser": 1, **identity.settings, "parts": parts}
    stored = replace(
        identity, parts=parts, libraries={"PyStemmer": "3.0.0"}, fingerprint=encoders_base.fingerprint_of(made)
    )
    write_manifest(tmp_path / "old", Manifest.new("lexhound", stored))
    with Collection.open(tmp_path / "old") as old:
        assert old.get("a") is not None
        with pytest.raises(IdentityError, match=r"PyStemmer 3\.0\.0"):
            old.search("international")
        for name in FORMATS[:3] + FORMATS[4:]:
            export_collection(old, tmp_path / name, name)
            with pytest.raises(IdentityError, match="makes others"):
                import_export(tmp_path / name, tmp_path / "no")
            assert not (tmp_path / "no").exists()
            import_export(tmp_path / name, tmp_path / f"{name}.new", reanalyse=True)
            with Collection.open(tmp_path / f"{name}.new") as new:
                assert {query: _pairs(new.search(query)) for query in wanted} == wanted
                assert new.manifest.encoder == identity
                assert new.verify() == []


def test_only_texts_can_be_read_anew(learned: Collection, tmp_path: Path) -> None:
    export_collection(learned, tmp_path / "out", "parquet")
    with pytest.raises(ExportError, match="only those of bm25 are made of texts"):
        import_export(tmp_path / "out", tmp_path / "in", reanalyse=True)
    assert not (tmp_path / "in").exists()


def test_imports_refuse_what_is_in_the_way_and_what_lacks_texts(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document("1", "wing")])
        export_collection(collection, tmp_path / "ciff", "ciff")
        export_collection(collection, tmp_path / "out", "parquet")
    with pytest.raises(ExportError, match="holds no texts"):
        import_export(tmp_path / "ciff", tmp_path / "back")
    with pytest.raises(CollectionExistsError):
        import_export(tmp_path / "out", tmp_path / "c")
    (tmp_path / "mine").mkdir()
    with pytest.raises(NotACollectionError):
        import_export(tmp_path / "out", tmp_path / "mine", overwrite=True)
    with pytest.raises(ExportError, match="not an export"):
        import_export(tmp_path / "c", tmp_path / "back")
    with Collection.create(tmp_path / "old") as old:
        old.add([Document("2", "heat")])
    import_export(tmp_path / "out", tmp_path / "old", overwrite=True)
    with Collection.open(tmp_path / "old") as old:
        assert list(_documents(old)) == ["1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "ciff", "mine", "old", "out"]


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_exports_are_told_and_leave_nothing(name: str, learned: Collection, tmp_path: Path) -> None:
    header = export_collection(learned, tmp_path / "out", name).header
    path = tmp_path / "out" / header.files[-1]
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    told = 0
    damages = [whole[: len(whole) // 2], whole[:-40], b"", b"null", whole.replace(b'"d2"', b'"d1"')]
    for _ in range(7):
        data = bytearray(whole)
        data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
        damages.append(bytes(data))
    for damage in damages:
        path.write_bytes(damage)
        try:
            import_export(tmp_path / "out", tmp_path / "back")
            shutil.rmtree(tmp_path / "back")  # a letter of a text may change unnoticed
        except ExportError as error:
            told += bool(error.where and error.hint)
        assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert told >= 4
    path.unlink()
    with pytest.raises(ExportError, match="missing"):
        import_export(tmp_path / "out", tmp_path / "back")


def test_a_learned_collection_with_dense_vectors(learned: Collection, tmp_path: Path) -> None:
    ids = [f"d{n}" for n in range(9) if n != 3]
    vectors = exports.stored_vectors(learned, ids)
    assert any("." in token for vector in vectors.values() for token in vector)
    for name in FORMATS:
        export_collection(learned, tmp_path / name, name)
    assert exports.read_anserini(tmp_path / "anserini")[0] == vectors
    assert exports.read_opensearch(tmp_path / "opensearch", "rank_features")[0] == vectors
    assert exports.read_qdrant(tmp_path / "qdrant")[0] == vectors
    assert exports.read_parquet(tmp_path / "parquet")[0] == vectors
    header, read, lengths = exports.read_ciff(tmp_path / "ciff" / "index.ciff")
    assert read == vectors
    assert lengths == {identifier: sum(vector.values()) for identifier, vector in vectors.items()}
    assert header[3] == header[5] == 8
    expected = np.array([_dense(learned, identifier) for identifier in ids])
    points = json.loads((tmp_path / "qdrant" / "points-00000.json").read_text())["points"]
    assert np.array_equal(np.array([point["vector"]["dense"] for point in points], np.float32), expected)
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "parquet" / "documents.parquet")
    assert np.array_equal(np.array(table["dense"].to_pylist(), np.float32), expected)
    request = json.loads((tmp_path / "qdrant" / "collection.json").read_text())
    assert request == {
        "sparse_vectors": {"sparse": {}},
        "vectors": {"dense": {"size": expected.shape[1], "distance": "Dot"}},
    }
    mapping = json.loads((tmp_path / "opensearch" / "rank_features.mapping.json").read_text())
    properties = mapping["mappings"]["properties"]
    assert properties["sparse_embedding"] == {"type": "rank_features"}
    assert properties["dense_embedding"]["dimension"] == expected.shape[1]
    query = json.loads((tmp_path / "opensearch" / "rank_features.query.json").read_text())
    tokens = query["query"]["neural_sparse"]["sparse_embedding"]["query_tokens"]
    stored = {token.replace(".", "<dot>"): impact for token, impact in vectors["d0"].items()}
    assert max(stored.values()) > 64  # so that the impacts themselves would be refused
    assert all(0 < weight <= 64 and 4 * weight == stored[token] for token, weight in tokens.items())
    assert len(tokens) == 3
    # Ranked as by the impacts: OpenSearch adds up, in float32, products of the weights and of what Lucene keeps of a
    # feature, the upper 17 bits of a float32.
    for identifier, vector in vectors.items():
        kept = {token.replace(".", "<dot>"): _as_lucene_keeps(impact) for token, impact in vector.items()}
        score = sum(np.float32(weight) * kept.get(token, np.float32(0)) for token, weight in tokens.items())
        exact = sum(stored[token] * vector.get(token.replace("<dot>", "."), 0) for token in tokens)
        assert 4 * float(score) == exact, identifier


def _as_lucene_keeps(value: float) -> np.float32:
    bits = np.float32(value).view(np.uint32) >> 15 << 15
    return np.uint32(bits).view(np.float32)


def _dense(collection: Collection, identifier: str) -> np.ndarray[Any, Any]:
    for part in collection.snapshot().segments:
        for row in range(part.segment.n_rows):
            if part.segment.ids[row] == identifier:
                assert part.segment.dense is not None
                return part.segment.dense.vectors_of(np.array([row]))[0]
    raise AssertionError(identifier)


def test_parts_have_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lexhound.retrieval.exports import opensearch, qdrant

    monkeypatch.setattr(opensearch, "_PART_BYTES", 2000)
    monkeypatch.setattr(qdrant, "_PART_BYTES", 2000)
    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document(str(n), f"wing {n} " * 10) for n in range(40)])
        vectors = exports.stored_vectors(collection, [str(n) for n in range(40)])
        for name, read in (
            ("opensearch", lambda: exports.read_opensearch(tmp_path / "opensearch", "rank_features")),
            ("qdrant", lambda: exports.read_qdrant(tmp_path / "qdrant")),
        ):
            header = export_collection(collection, tmp_path / name, name).header
            assert len(header.files) > 4
            assert all((tmp_path / name / file).stat().st_size <= 2000 for file in header.files)
            assert read()[0] == vectors


def test_an_empty_collection_is_exported(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        for name in FORMATS:
            assert export_collection(collection, tmp_path / name, name).header.documents == 0
    assert exports.read_qdrant(tmp_path / "qdrant") == ({}, {})
    assert exports.read_parquet(tmp_path / "parquet") == ({}, {})
    assert exports.read_ciff(tmp_path / "ciff" / "index.ciff")[1] == {}


def test_nothing_but_an_export_is_replaced(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document("1", "wing")])
        export_collection(collection, tmp_path / "out", "qdrant")
        with pytest.raises(ExportError, match="is here already"):
            export_collection(collection, tmp_path / "out", "qdrant")
        collection.add([Document("2", "wing")])
        export_collection(collection, tmp_path / "out", "parquet", overwrite=True)
        assert exports.read_parquet(tmp_path / "out")[0].keys() == {"1", "2"}
        assert not (tmp_path / "out" / "points-00000.json").exists()
        (tmp_path / "mine").mkdir()
        with pytest.raises(ExportError, match="not an export"):
            export_collection(collection, tmp_path / "mine", "qdrant", overwrite=True)
        with pytest.raises(ExportError, match="not an export"):
            export_collection(collection, tmp_path / "c", "qdrant", overwrite=True)
        assert collection.count() == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "mine", "out"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_leaves_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document("1", "wing")])
        export_collection(collection, tmp_path / "out", name)
        before = (tmp_path / "out" / "export.json").read_bytes()
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageFullError, match="the disk is full"):
            export_collection(collection, tmp_path / "out", name, overwrite=True)
        with pytest.raises(StorageFullError):
            export_collection(collection, tmp_path / "other", name)
    assert (tmp_path / "out" / "export.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "out"]


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    def stop(step: object) -> None:
        if step.stage == "writing":  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document("1", "wing")])
        with pytest.raises(KeyboardInterrupt):
            export_collection(collection, tmp_path / "out", "anserini", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("file", ["impacts.bin", "rows.bin", "frequencies.bin"])
def test_a_damaged_collection_is_not_exported(file: str, tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document(str(n), "wing heat flow") for n in range(30)])
        collection.compact()
    path = next((tmp_path / "c").rglob(file))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with Collection.open(tmp_path / "c") as collection, pytest.raises(CorruptCollectionError) as caught:
        export_collection(collection, tmp_path / "out", "ciff")
    assert caught.value.where == str(path)
    assert "so it is not exported" in caught.value.message
    assert not (tmp_path / "out").exists()


def test_two_terms_that_read_alike_and_tokens_with_white_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lexhound.retrieval.exports.rows import TermNames

    with Collection.create(tmp_path / "c") as collection:
        collection.add([Document("1", "wing heat")])
        monkeypatch.setattr(TermNames, "of", lambda self, terms: dict.fromkeys(terms.tolist(), "same"))
        for name in ("anserini", "opensearch"):
            with pytest.raises(ExportError, match="have the same text"):
                export_collection(collection, tmp_path / "out", name)
        for token in ("a b", "", "x" * 256):
            monkeypatch.setattr(TermNames, "of", lambda self, terms, token=token: dict.fromkeys(terms.tolist(), token))
            with pytest.raises(ExportError, match="token"):
                export_collection(collection, tmp_path / "out", "anserini")


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"lexhound_export": 1}', b"\xff"])
def test_a_damaged_header_is_told(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(damage)
    with pytest.raises(ExportError, match="damaged"):
        read_header(tmp_path)
    (tmp_path / "export.json").write_text('{"lexhound_export": 99}')
    with pytest.raises(ExportError, match="later version"):
        read_header(tmp_path)
