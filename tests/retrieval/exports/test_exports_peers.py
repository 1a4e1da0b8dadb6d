"""Exports as the engines that receive them see them: each is loaded, asked, and compared with the collection.

A test skips where its engine is not installed: qdrant-edge-py, ciff-toolkit; pyserini and Java for Anserini.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lexhound.retrieval import Collection
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.exports import export_collection

QUERIES = 40


@pytest.fixture(scope="module")
def cranfield(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path_factory.mktemp("peers") / "c") as collection:
        collection.ingest(open_corpus(samples / "cranfield"), source="cranfield")
        collection.delete([str(number) for number in range(1, 400, 7)])
        yield collection


@pytest.fixture(scope="module")
def questions(samples: Path) -> list[str]:
    lines = (samples / "cranfield" / "queries.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines[:QUERIES]]


def integer_queries(collection: Collection, questions: list[str]) -> list[dict[int, float]]:
    """Query weights as the small integers that any engine sums exactly."""
    queries = []
    for query in collection.encode_queries(questions):
        weights = np.maximum(1, np.rint(query.weights * (query.scale * 16))).astype(int)
        queries.append(dict(zip(query.terms.tolist(), weights.tolist(), strict=True)))
    return queries


def brute_force(rows: dict[str, dict[int, int]], query: dict[int, float]) -> dict[str, float]:
    """Every document's score by plain sums, those of 0 left out."""
    scores = {i: sum(weight * vector.get(term, 0) for term, weight in query.items()) for i, vector in rows.items()}
    return {identifier: score for identifier, score in scores.items() if score}


def stored(collection: Collection) -> dict[str, dict[int, int]]:
    from lexhound.retrieval.exports.rows import live_rows

    rows = {}
    for chunk in live_rows(collection.snapshot(), collection.sparse_field):
        for place, document in enumerate(chunk.documents):
            terms, impacts = chunk.vector(place)
            rows[document.id] = dict(zip(terms.tolist(), impacts.tolist(), strict=True))
    return rows


def test_qdrant_takes_the_points_and_finds_the_same(
    cranfield: Collection, questions: list[str], tmp_path: Path
) -> None:
    qdrant = pytest.importorskip("qdrant_edge")
    export_collection(cranfield, tmp_path / "out", "qdrant")
    request = json.loads((tmp_path / "out" / "collection.json").read_text())
    assert request == {"sparse_vectors": {"sparse": {"modifier": "idf"}}}
    points = json.loads((tmp_path / "out" / "points-00000.json").read_text())["points"]
    made = []
    for point in points:
        vector = {name: qdrant.SparseVector(**values) for name, values in point["vector"].items()}
        made.append(qdrant.Point(point["id"], vector, point["payload"]))
    for name, modifier in (("plain", None), ("idf", qdrant.Modifier.Idf)):
        (tmp_path / name).mkdir()
        parameters = qdrant.EdgeSparseVectorParams(modifier=modifier)
        shard = qdrant.EdgeShard.create(str(tmp_path / name), qdrant.EdgeConfig(sparse_vectors={"sparse": parameters}))
        shard.update(qdrant.UpdateOperation.upsert_points(made))

        def ask(query: dict[int, float], shard: object = shard) -> dict[str, float]:
            vector = qdrant.SparseVector(list(query), [float(weight) for weight in query.values()])
            found = shard.query(  # type: ignore[attr-defined]
                qdrant.QueryRequest(2000, query=qdrant.Query.Nearest(vector, using="sparse"), with_payload=True)
            )
            return {hit.payload["id"]: hit.score for hit in found}

        if modifier is None:
            rows = stored(cranfield)
            for query in integer_queries(cranfield, questions):
                assert ask(query) == brute_force(rows, query)
            continue
        rows = stored(cranfield)
        for query in integer_queries(cranfield, questions)[:10]:
            weighed = {}
            n = sum(map(bool, rows.values()))  # Qdrant counts the points that have the vector
            for term in query:
                df = sum(term in vector for vector in rows.values())
                weighed[term] = math.log(1 + (n - df + 0.5) / (df + 0.5))
            expected = brute_force(rows, weighed)
            assert ask(dict.fromkeys(query, 1.0)) == pytest.approx(expected, rel=1e-5)


def test_ciff_toolkit_reads_the_file(cranfield: Collection, tmp_path: Path) -> None:
    reading = pytest.importorskip("ciff_toolkit.read")
    export_collection(cranfield, tmp_path / "out", "ciff")
    with reading.CiffReader(tmp_path / "out" / "index.ciff") as reader:
        header = reader.read_header()
        lists = [(found.term, found.df, found.cf, len(found.postings)) for found in reader.read_postings_lists()]
        records = list(reader.read_documents())
    rows = stored(cranfield)
    assert header.num_docs == len(records) == len(rows)
    assert [record.docid for record in records] == list(range(len(rows)))
    assert [record.collection_docid for record in records] == list(rows)
    assert header.num_postings_lists == len(lists)
    assert sum(df for _, df, _, _ in lists) == sum(map(len, rows.values()))
    assert all(df == postings for _, df, _, postings in lists)
    assert header.total_terms_in_collection == sum(cf for _, _, cf, _ in lists) == sum(r.doclength for r in records)


# In a process of its own: a Java machine lives as long as the process that started it.
_ANSERINI = """
import json, sys
from pyserini.pyclass import autoclass, JHashMap, JInt
collection, index, queries = sys.argv[1:]
autoclass("io.anserini.index.IndexCollection").main(["-collection", "JsonVectorCollection", "-input", collection,
    "-index", index, "-generator", "DefaultLuceneDocumentGenerator", "-impact", "-pretokenized", "-threads", "1"])
searcher = autoclass("io.anserini.search.SimpleImpactSearcher")(index)
answers = []
for query in json.load(open(queries)):
    weights = JHashMap()
    for token, weight in query.items():
        weights.put(token, JInt(weight))
    answers.append({hit.docid: hit.score for hit in searcher.search(weights, 2000)})
json.dump(answers, open(queries + ".answers", "w"))
"""


def test_anserini_indexes_the_lines_and_finds_the_same(
    cranfield: Collection, questions: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("pyserini")
    if subprocess.run(["java", "-version"], capture_output=True, check=False).returncode:  # pragma: no cover
        pytest.skip("there is no Java")
    export_collection(cranfield, tmp_path / "out", "anserini")
    queries = integer_queries(cranfield, questions)
    texts = [{cranfield.sparse_field.term_text(t): w for t, w in query.items()} for query in queries]
    (tmp_path / "queries.json").write_text(json.dumps(texts))
    arguments = [tmp_path / "out" / "documents", tmp_path / "lucene", tmp_path / "queries.json"]
    done = subprocess.run(
        [sys.executable, "-c", _ANSERINI, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads((tmp_path / "queries.json.answers").read_text())
    rows = stored(cranfield)
    for query, answer in zip(queries, answers, strict=True):
        assert answer == brute_force(rows, query)
