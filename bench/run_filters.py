"""What filters, depth and bound factors do to the time of a search: one index of ours, one thread, everything in turn.

    python bench/run_filters.py --index FOLDER --queries queries.npz

FOLDER is an inverted index (`segments/<name>/sparse` of a collection, or what run_sparse.py leaves as `lexhound` in its
working folder), queries are a file of `lexhound encode`. A filter lets every row pass with the same chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from common.machine import describe_machine
from common.timing import Latency, alternate

from lexhound.index import InvertedIndex, Query


def main() -> None:
    """Measure and print a table in Markdown."""
    options = _options()
    index = InvertedIndex.open(options.index)
    with np.load(options.queries) as file:
        indptr, terms, weights = file["indptr"].tolist(), file["indices"], file["data"]
    pairs = list(pairwise(indptr))[: options.n_queries]
    queries = [Query.from_weights(terms[a:b], weights[a:b]) for a, b in pairs]
    rng = np.random.default_rng(0)
    masks = {share: rng.random(index.n_rows) < share for share in (0.1, 0.01, 0.001, 0.0001)}
    ways: dict[str, Callable[[int], object]] = {}
    for k in (1, 10, 100, 1000):
        ways[f"exact, k = {k}"] = lambda i, k=k: index.search(queries[i], k)
    for share, mask in masks.items():
        name = f"exact, k = 10, a filter keeps {share:.2%}"
        ways[name] = lambda i, mask=mask: index.search(queries[i], 10, allowed=mask)
    for setting in index.recall_calibration.settings:
        name = f"recall {setting.recall}, k = 10 (bound factor {setting.bound_factor}, measured {setting.measured:.3f})"
        ways[name] = lambda i, bound_factor=setting.bound_factor: index.search(
            queries[i], 10, bound_factor=bound_factor
        )
    times = alternate(ways, len(queries), warm_up=range(10), rounds=options.rounds)
    print(describe_machine())
    print(f"{index.n_rows:,} rows, {index.n_postings:,} postings, {index.nbytes / index.n_rows:.0f} bytes a row\n")
    print("| search | p50 µs | p99 µs | mean µs |\n|---|---|---|---|")
    for name, found in times.items():
        latency = Latency.of(found.min(axis=0))
        print(f"| {name} | {latency.p50:,.0f} | {latency.p99:,.0f} | {latency.mean:,.0f} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--n-queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
