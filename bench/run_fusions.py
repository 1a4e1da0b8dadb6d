"""Lexical, sparse and dense rankings and all their fusions on judged queries, with significance tests.

    python bench/run_fusions.py --lexical bm25.index --both mini.index --dataset my_folder [--dataset another ...]

A collection holds two fields at most, so three come from two collections over the same documents: one of BM25,
and one of a learned encoder with dense vectors. Give `--lexical` and `--both` once for each data set, in the same
order. Fusions are sums of z-scores over the candidates, the best 1,000 of each side, all of them scored by every side:
the default of hybrid searches, with as many sides as are fused. Tests are paired randomisation tests, of each data set
and of the mean over them.
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

MEASURES = ["nDCG@10", "R@100"]
DEPTH = 1000
SIDES = ("lexical", "sparse", "dense")
WEIGHTS = {
    "lexical": (1.0, 0.0, 0.0),
    "sparse": (0.0, 1.0, 0.0),
    "dense": (0.0, 0.0, 1.0),
    "lexical + sparse": (0.5, 0.5, 0.0),
    "lexical + dense": (0.4, 0.0, 0.6),
    "sparse + dense": (0.0, 0.4, 0.6),
    "all three": (0.2, 0.2, 0.6),
}
TESTS = (
    ("sparse + dense", "lexical"), ("sparse + dense", "sparse"), ("sparse + dense", "dense"),
    ("lexical + dense", "lexical"), ("lexical + dense", "dense"), ("sparse + dense", "lexical + dense"),
    ("all three", "lexical + dense"), ("all three", "sparse + dense"),
)  # fmt: skip

Figures = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lexical", type=Path, action="append", required=True, help="a collection of BM25")
    parser.add_argument("--both", type=Path, action="append", required=True, help="one of sparse and dense vectors")
    parser.add_argument("--dataset", type=Path, action="append", required=True, help="a BEIR folder of the documents")
    parser.add_argument("--split", default="test")
    arguments = parser.parse_args()
    if not len(arguments.lexical) == len(arguments.both) == len(arguments.dataset):
        parser.error("give --lexical, --both and --dataset equally often")
    found = {
        dataset.name: _figures(lexical, both, dataset, arguments.split)
        for lexical, both, dataset in zip(arguments.lexical, arguments.both, arguments.dataset, strict=True)
    }
    print(f"| nDCG@10 (R@100) | {' | '.join(found)} | mean |\n|---|{'---|' * (len(found) + 1)}")
    for way in WEIGHTS:
        each = [f"{figures[way][0].mean():.3f} ({figures[way][1].mean():.3f})" for figures in found.values()]
        print(f"| {way} | {' | '.join(each)} | {np.mean([f[way][0].mean() for f in found.values()]):.3f} |")
    print(f"\n| difference of nDCG@10, p | {' | '.join(found)} | mean |\n|---|{'---|' * (len(found) + 1)}")
    for one, other in TESTS:
        differences = [figures[one][0] - figures[other][0] for figures in found.values()]
        # Signs are drawn by query; each data set counts the same in the mean, however many queries it has.
        shares = np.concatenate([own / len(own) / len(differences) for own in differences])
        cells = [f"{own.mean():+.3f}, {randomisation_test(own):.4f}" for own in differences]
        print(f"| {one}, over {other} | {' | '.join(cells)} | {shares.sum():+.3f}, {randomisation_test(shares):.4f} |")


def _figures(lexical: Path, both: Path, folder: Path, split: str) -> Figures:
    """Each way's measures, a value a query."""
    dataset = open_dataset(str(folder), split=split)[0]
    names = [name for name in dataset.queries if any(value > 0 for value in dataset.qrels[name].values())]
    texts = [dataset.queries[name] for name in names]
    with Collection.open(lexical) as terms, Collection.open(both) as vectors:
        everything = max(terms.count(), vectors.count())
        scores = (
            terms.search_many(texts, everything, mode="sparse"),
            vectors.search_many(texts, everything, mode="sparse"),
            vectors.search_many(texts, everything, mode="dense", recall=1),
        )
    rankings: dict[str, dict[str, list[tuple[str, float]]]] = {way: {} for way in WEIGHTS}
    for name, *sides in zip(names, *scores, strict=True):
        for way, weights in WEIGHTS.items():
            rankings[way][name] = [pair for pair in _fused(sides, weights) if pair[0] != name]
    qrels = {name: dict(dataset.qrels[name]) for name in names}
    found: Figures = {}
    for way, ranked in rankings.items():
        gain, recall = score_run(Run(way, ranked), qrels, MEASURES)
        found[way] = tuple(np.array([each.per_query[name] for name in names]) for each in (gain, recall))
    return found


def _fused(sides: list[list[tuple[str, float]]], weights: tuple[float, ...]) -> list[tuple[str, float]]:
    """The candidates of the sides that count, by the weighted sum of their z-scores, best first."""
    counting = [(side, weight) for side, weight in zip(sides, weights, strict=True) if weight]
    if len(counting) == 1:
        return counting[0][0][:DEPTH]
    pool = sorted({name for side, _ in counting for name, _ in side[:DEPTH]})
    total = np.zeros(len(pool))
    for side, weight in counting:
        known = dict(side)
        values = np.array([known.get(name, 0.0) for name in pool])
        if len(pool) and values.std() > 0:
            total += weight * (values - values.mean()) / values.std()
    order = np.argsort(-total, kind="stable")
    return [(pool[place], float(total[place])) for place in order.tolist()]


if __name__ == "__main__":
    main()
