"""Whose document frequencies should weigh a tenant's query: its own, or everybody's?

The documents of a data set are dealt out to tenants, at random or by topic (spherical k-means over random projections
of their words), and each query is asked of every tenant that has a relevant document. nDCG@10 over the tenant's
documents, mean over (query, tenant); BM25, whose query weights follow document frequencies.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lexhound.eval.datasets.dataset import Dataset
from lexhound.eval.datasets.folder import load_folder
from lexhound.index.inverted.quantization import Query
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.query.confined import ConfinedSnapshot
from lexhound.retrieval.collection.query.ranking import named, rank
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.tenants.keys import prefix_of

K = 10


def topics(texts: list[str], tenants: int) -> NDArray[np.int64]:
    """The topic of each text, 0 to tenants - 1."""
    draw = np.random.default_rng(0)
    rows = np.zeros((len(texts), 256), np.float32)
    for row, text in enumerate(texts):
        for word in set(text.lower().split()):
            rows[row] += np.random.default_rng(crc32(word.encode())).standard_normal(256).astype(np.float32)
    rows -= rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9
    centres = rows[draw.choice(len(rows), tenants, replace=False)]
    for _ in range(15):
        nearest = (rows @ centres.T).argmax(axis=1)
        for number in range(tenants):
            if (nearest == number).any():
                centres[number] = rows[nearest == number].mean(axis=0)
        centres /= np.linalg.norm(centres, axis=1, keepdims=True) + 1e-9
    return nearest


def ndcg(found: list[str], relevant: dict[str, int]) -> float:
    """nDCG@10."""
    gains = [relevant.get(identifier, 0) / np.log2(place + 2) for place, identifier in enumerate(found[:K])]
    ideal = sorted(relevant.values(), reverse=True)[:K]
    return float(sum(gains) / sum(gain / np.log2(place + 2) for place, gain in enumerate(ideal)))


def compare(data: Dataset, tenants: int, way: str) -> dict[str, object]:
    """Measure one way of dealing documents out."""
    documents = list(open_corpus(str(data.require_corpus())))
    owners = np.random.default_rng(1).integers(0, tenants, len(documents))
    if way == "topic":
        owners = topics([document.encoded_text for document in documents], tenants)
    queries, qrels = data.queries, data.qrels
    owner_of = {document.id: f"t{owner}" for document, owner in zip(documents, owners.tolist(), strict=True)}
    with TemporaryDirectory() as folder, Collection.create(f"{folder}/c", encoder="bm25", tenant_field="o") as made:
        made.add(Document(each.id, each.text, each.title, {"o": owner_of[each.id]}) for each in documents)
        made._writing().flush()
        whole, field = made.snapshot(), made.sparse_field
        pairs: list[tuple[float, float]] = []
        for identifier, judged in qrels.items():
            by_tenant: dict[str, dict[str, int]] = {}
            for document, grade in judged.items():
                if grade > 0 and document in owner_of and identifier in queries:
                    by_tenant.setdefault(owner_of[document], {})[document] = grade
            for tenant, relevant in by_tenant.items():
                part = ConfinedSnapshot(whole, prefix_of(tenant))
                scores = []
                for statistics in (part.statistics, whole.statistics):
                    query = Query.from_weights(*field.query(queries[identifier], statistics))
                    ranked, _ = rank(part, query, K, [view.live for view in part.segments])
                    scores.append(ndcg([name for name, _ in named(part, ranked)], relevant))
                pairs.append((scores[0], scores[1]))
    own, everybody = np.array(pairs).T
    difference = own - everybody
    draw = np.random.default_rng(2)
    signs = draw.choice([-1.0, 1.0], (2000, len(difference)))
    p = float((np.abs((signs * difference).mean(axis=1)) >= abs(difference.mean())).mean())
    figures = {"tenants": tenants, "dealt by": way, "asked": len(pairs)}
    return figures | {"own": round(float(own.mean()), 4), "everybody": round(float(everybody.mean()), 4), "p": p}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", help="BEIR folders, each as PATH:SPLIT")
    parser.add_argument("--tenants", nargs="+", type=int, default=[10, 100], help="how many tenants, in turn")
    options = parser.parse_args()
    for folder in options.folders:
        path, _, split = folder.rpartition(":")
        for way in ("chance", "topic"):
            for tenants in options.tenants:
                figures = compare(load_folder(Path(path), split), tenants, way)
                print(json.dumps({"data": Path(path).name, "split": split} | figures), flush=True)


if __name__ == "__main__":
    main()
