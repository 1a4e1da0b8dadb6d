"""How long documents are best read: cut, in windows, or in passages, and how a document's score comes of its passages'.

    python bench/run_passages.py --dataset long [--split dev] [--encoder default] [--ways cut windows 256/32]

Every way is searched exhaustively, in the encoder's own weights (float32) and its dense vectors: no index, so nothing
is left out. Printed are nDCG@10 and R@100 of sparse and hybrid searches (z-scores over the best 1,000 documents, 0.6
for the dense side), of BM25 over whole texts, the entries of all vectors as bytes (3 an entry, 4 a dense value), and
the processor's seconds that encoding took. `shipped` is the rule of collections: the two best passages' scores by 1.9,
of a document of one passage its score. p is of a paired randomisation test of nDCG@10 against the first way's line of
the same side. Inference-free queries are weighed by document frequencies that count rows
(passages), or whole documents (`df of documents`).
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.encoders.base import QueryVector
from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.encoders.checkpoints.hub import locate
from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.shared_backbone import encode_both
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.eval.datasets import open_dataset
from lexhound.eval.measures import score_run
from lexhound.eval.runs import Run
from lexhound.eval.significance import randomisation_test
from lexhound.retrieval.collection.fields.sparse_field import LearnedField
from lexhound.retrieval.collection.fields.splitter import Splitter
from lexhound.retrieval.collection.query.fusion import FieldScores, fuse
from lexhound.retrieval.collection.query.grouping import SPARSE
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.passages import parse_passages

MEASURES = ["nDCG@10", "R@100"]
DEPTH = 1000


class Statistics:
    """Document frequencies of rows, or of the documents that the rows are of."""

    def __init__(self, vectors: csr_array, owners: NDArray[np.int64] | None = None) -> None:
        if owners is not None:
            vectors = maxima(vectors, owners)
        self.n_documents = vectors.shape[0]
        self._counts = np.bincount(vectors.indices, minlength=vectors.shape[1])

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        return self._counts[terms]


def maxima(vectors: csr_array, owners: NDArray[np.int64]) -> csr_array:
    """Return one vector a document: each term's largest weight in a passage (max pooling, as in SEA)."""
    largest: list[dict[int, float]] = [defaultdict(float) for _ in range(int(owners[-1]) + 1)]
    for row, owner in enumerate(owners.tolist()):
        entries = slice(int(vectors.indptr[row]), int(vectors.indptr[row + 1]))
        for term, weight in zip(vectors.indices[entries].tolist(), vectors.data[entries].tolist(), strict=True):
            largest[owner][term] = max(largest[owner][term], weight)
    terms = [np.fromiter(sorted(row), np.int32, len(row)) for row in largest]
    weights = [
        np.array([row[term] for term in ids.tolist()], np.float32) for row, ids in zip(largest, terms, strict=True)
    ]
    indptr = np.concatenate([[0], np.cumsum([len(ids) for ids in terms])])
    return csr_array((np.concatenate(weights), np.concatenate(terms), indptr), shape=(len(largest), vectors.shape[1]))


def of_documents(scores: NDArray[np.float64], owners: NDArray[np.int64], how: str) -> NDArray[np.float64]:
    """Return float64[queries, documents] of float64[queries, passages]: the best, or it and a share of the second."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    alone = np.diff([*starts, len(owners)]) == 1
    best = np.maximum.reduceat(scores, starts, axis=1)
    if how == "best":
        return best
    without = scores.copy()
    for document, (start, end) in enumerate(zip(starts, [*starts[1:], scores.shape[1]], strict=True)):
        at = without[:, start:end].argmax(axis=1)
        without[np.arange(len(without)), start + at] = 0.0 if end - start == 1 else -np.inf
        del document
    second = np.maximum.reduceat(without, starts, axis=1)
    if how == "shipped":
        return np.where(alone, best, SPARSE.combined(best, second))
    return best + float(how.removeprefix("second ")) * np.where(np.isfinite(second), second, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True, help="a BEIR folder (`long_documents.py` makes one)")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--encoder", default="default")
    parser.add_argument("--ways", nargs="+", default=["cut", "windows", "128/16", "256/32", "512/64"])
    parser.add_argument("--documents", type=int, default=None, help="only the first so many")
    arguments = parser.parse_args()
    (dataset,) = open_dataset(arguments.dataset, split=arguments.split)
    rows = (row for row in open_corpus(dataset.require_corpus()) if isinstance(row, Document))
    documents = list(rows)[: arguments.documents]
    bench = Bench(documents, dict(dataset.queries), dataset.qrels)
    bench.heading()
    bench.lexical()
    learned = LearnedEncoder(locate(arguments.encoder).folder)
    dense = DenseEncoder(locate(arguments.encoder).folder, DenseSettings())
    whole = [[document.encoded_text] for document in documents]
    for way in arguments.ways:
        if way == "cut":
            bench.learned(f"cut at {learned.longest_document()} tokens", learned, dense, whole)
        elif way == "windows":
            windows = LearnedEncoder(locate(arguments.encoder).folder, LearnedSettings(long_texts="windows"))
            bench.learned("windows, max-pooled", windows, None, whole)
        else:
            bench.learned(f"passages {way}", learned, dense, _passages(learned, documents, way), passages=True)


def _passages(learned: LearnedEncoder, documents: list[Document], sizes: str) -> list[list[str]]:
    """Return what is encoded of each document, as a collection with these sizes splits it."""
    splitter = Splitter(parse_passages(sizes), LearnedField(learned), None)
    return [[piece.encoded_text for piece in split.pieces] for split in splitter.split(documents)]


class Bench:
    """One corpus and its queries, ranked in several ways."""

    def __init__(self, documents: list[Document], queries: dict[str, str], qrels: dict[str, dict[str, int]]) -> None:
        self.documents = documents
        self.ids = [document.id for document in documents]
        present = set(self.ids)
        self.qrels = {key: judged for key, judged in qrels.items() if set(judged) & present}
        self.queries = {key: text for key, text in queries.items() if key in self.qrels}
        self.kinds = sorted({key.split("-")[0] for key in self.queries if "-" in key})
        if len(self.kinds) > 6:
            self.kinds = []
        self._first: dict[str, NDArray[np.float64]] = {}  # of each side, nDCG@10 of the queries

    def heading(self) -> None:
        kinds = [f"{kind} ({sum(key.startswith(kind) for key in self.queries)})" for kind in self.kinds]
        print(f"\n{len(self.ids):,} documents, {len(self.queries):,} queries\n")
        print(f"| way | score | rows | MB | CPU s | nDCG@10 | p | R@100 | {' | '.join(kinds)} |")
        print("|---|---|---|---|---|---|---|---|" + "---|" * len(kinds))

    def line(self, way: str, how: str, rows: int, size: float, seconds: float, scores: NDArray[np.float64]) -> None:
        order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        rankings = {
            key: [(self.ids[at], float(scores[number, at])) for at in order[number].tolist() if scores[number, at] != 0]
            for number, key in enumerate(self.queries)
        }
        measured = score_run(Run(way, rankings), self.qrels, MEASURES)
        kinds = [
            np.mean([value for key, value in measured[0].per_query.items() if key.startswith(kind)])
            for kind in self.kinds
        ]
        means = [each.mean for each in measured]
        own = np.array([measured[0].per_query[key] for key in sorted(measured[0].per_query)])
        first = self._first.setdefault(how.split(",")[0], own)
        chance = "" if first is own else f"{randomisation_test(own - first):.4f}"
        cells = [way, how, f"{rows:,}", f"{size / 1e6:.1f}", f"{seconds:.0f}", f"{means[0]:.4f}", chance]
        cells += [f"{value:.4f}" for value in (means[1], *kinds)]
        print(f"| {' | '.join(cells)} |", flush=True)

    def lexical(self) -> None:
        encoder = LexicalEncoder(LexicalSettings(), MemoryVocabulary())
        began = time.process_time()
        counts = encoder.count_documents([document.encoded_text for document in self.documents])
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        repeated = np.repeat(lengths, np.diff(counts.indptr)).astype(np.float32)
        weights = encoder.compute_weights(counts.data.astype(np.float32), repeated, float(lengths.mean()))
        vectors = csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)
        seconds = time.process_time() - began
        statistics = Statistics(vectors)
        queries = []
        for text in self.queries.values():
            terms, numbers = encoder.query_counts(text)
            known = terms < vectors.shape[1]
            terms, numbers = terms[known], numbers[known]
            queries.append(
                encoder.query_weights(terms, numbers, statistics.document_frequencies(terms), statistics.n_documents)
            )
        self.line("bm25, whole texts", "", len(self.ids), 3 * vectors.nnz, seconds, product(queries, vectors))

    def learned(
        self,
        way: str,
        sparse: LearnedEncoder,
        dense: DenseEncoder | None,
        pieces: list[list[str]],
        *,
        passages: bool = False,
    ) -> None:
        texts = [text for own in pieces for text in own]
        owners = np.repeat(np.arange(len(pieces)), [len(own) for own in pieces])
        began = time.process_time()
        if dense is None:
            vectors, near = sparse.encode_documents(texts), None
        else:
            vectors, near = encode_both(sparse, dense, texts)
        seconds = time.process_time() - began
        asked = list(self.queries.values())
        size = 3 * vectors.nnz + (0 if near is None else 4 * near.size)
        queries = sparse.encode_queries(asked, Statistics(vectors))
        scores = product(queries, vectors)
        close = None if near is None else dense.encode_queries(asked).astype(np.float64) @ near.T.astype(np.float64)
        hows = ("best", "second 0.5", "second 1", "shipped") if passages else ("best",)
        for how in hows:
            own = of_documents(scores, owners, how)
            self.line(way, f"sparse, {how}", len(texts), size, seconds, own)
            if close is not None:
                self.line(
                    way, f"hybrid, {how}", len(texts), size, seconds, fused(own, of_documents(close, owners, how))
                )
        if passages:
            by_documents = sparse.encode_queries(asked, Statistics(vectors, owners))
            own = of_documents(product(by_documents, vectors), owners, "best")
            self.line(way, "sparse, best, df of documents", len(texts), size, seconds, own)
            pooled = maxima(vectors, owners)
            queries = sparse.encode_queries(asked, Statistics(pooled))
            self.line(way, "sparse, max-pooled", len(pieces), 3 * pooled.nnz, seconds, product(queries, pooled))


def product(queries: list[QueryVector], vectors: csr_array) -> NDArray[np.float64]:
    """Return float64[queries, rows]."""
    scores = np.zeros((len(queries), vectors.shape[0]))
    columns = vectors.tocsc()
    for number, (terms, weights) in enumerate(queries):
        for term, weight in zip(terms.tolist(), weights.tolist(), strict=True):
            entries = slice(int(columns.indptr[term]), int(columns.indptr[term + 1]))
            scores[number, columns.indices[entries]] += weight * columns.data[entries]
    return scores


def fused(sparse: NDArray[np.float64], near: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fused scores of all documents; the candidates are the best DEPTH of each side."""
    result = np.zeros_like(sparse)
    for number in range(len(sparse)):
        best = {*np.argsort(-sparse[number], kind="stable")[:DEPTH].tolist()}
        best |= {*np.argsort(-near[number], kind="stable")[:DEPTH].tolist()}
        pool = np.array(sorted(best))
        fields = [
            FieldScores("sparse", sparse[number, pool], sparse[number, pool] > 0, 1.0),
            FieldScores("dense", near[number, pool], np.ones(len(pool), np.bool_), 1.0),
        ]
        result[number, pool] = fuse(Fusion(), fields)[0]
    return result


if __name__ == "__main__":
    main()
