"""What late interaction gains over the ranking that it reranks, by its weight, with significance tests.

    lexhound index my_folder/corpus.jsonl --into my.index --late
    python bench/run_late.py --collection my.index --dataset my_folder [--collection ... --dataset ...] --split dev

The best 100 hits of a hybrid search are reranked (`docs/late.md`). Tests are paired randomisation tests, of each data
set and of the mean over them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.eval.datasets import open_dataset
from lexhound.eval.measures import score_run
from lexhound.eval.runs import Run
from lexhound.eval.significance import randomisation_test
from lexhound.retrieval import Collection
from lexhound.retrieval.collection.reranking.options import Rerank

DEPTH = 100
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0)

Figures = dict[float, NDArray[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--collection", type=Path, action="append", required=True, help="made with --late")
    parser.add_argument("--dataset", type=Path, action="append", required=True, help="a BEIR folder of the documents")
    parser.add_argument("--split", action="append", required=True)
    parser.add_argument("--mode", default="hybrid")
    arguments = parser.parse_args()
    if not len(arguments.collection) == len(arguments.dataset) == len(arguments.split):
        parser.error("give --collection, --dataset and --split equally often")
    found = {
        folder.name: figures(path, folder, split, arguments.mode)
        for path, folder, split in zip(arguments.collection, arguments.dataset, arguments.split, strict=True)
    }
    print(f"| weight of MaxSim | {' | '.join(found)} | mean, difference, p |\n|---|{'---|' * (len(found) + 1)}")
    for weight in (0.0, *WEIGHTS):
        cells = []
        shares = []
        for own in found.values():
            difference = own[weight] - own[0.0]
            shares.append(difference / len(difference) / len(found))
            chance = f" ({randomisation_test(difference):.4f})" if weight else ""
            cells.append(f"{own[weight].mean():.4f}{chance}")
        every = np.concatenate(shares)
        mean = np.mean([own[weight].mean() for own in found.values()])
        told = f", {every.sum():+.4f}, {randomisation_test(every):.4f}" if weight else ""
        print(f"| {weight:.1f} | {' | '.join(cells)} | {mean:.4f}{told} |")


def figures(path: Path, folder: Path, split: str, mode: str) -> Figures:
    """nDCG@10 of each query, by weight; of the ranking that is reranked under 0."""
    dataset = open_dataset(str(folder), split=split)[0]
    names = [name for name in dataset.queries if any(value > 0 for value in dataset.qrels[name].values())]
    qrels = {name: dict(dataset.qrels[name]) for name in names}
    measured: Figures = {}
    with Collection.open(path) as collection:
        for weight in (0.0, *WEIGHTS):
            rerank = Rerank("late", DEPTH, weight) if weight else "none"
            rankings = {}
            for name in names:
                hits = collection.search(dataset.queries[name], DEPTH, mode=mode, rerank=rerank).hits
                # A hit's place counts: scores before and after reranking are of two kinds.
                rankings[name] = [(hit.id, float(-place)) for place, hit in enumerate(hits) if hit.id != name]
            (gain,) = score_run(Run("late", rankings), qrels, ["nDCG@10"])
            measured[weight] = np.array([gain.per_query[name] for name in names])
    return measured


if __name__ == "__main__":
    main()
