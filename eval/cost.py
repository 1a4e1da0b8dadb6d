"""What an answer costs: sparsity of the vectors, FLOPS, speed and size; it stands beside every quality."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Preparation:
    """What it took to get a system ready for a data set.

    Attributes:
        documents: in the index.
        document_dimensions: mean number of non-zero weights of a document; None for a system without.
        index_bytes: of the index on disk, documents' texts not counted; None where unknown.
        encoding_seconds: wall time to turn the corpus into an index, reading and encoding included; None
            where somebody else did it (an existing collection).
        split: documents that have several passages; cut: documents of which a model reads no more than the beginning.
            None where that is not counted.
    """

    documents: int
    document_dimensions: float | None = None
    index_bytes: int | None = None
    encoding_seconds: float | None = None
    split: int | None = None
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class QuerySparsity:
    """How sparse a set of queries is, and what it meets in the index.

    Attributes:
        dimensions: mean number of terms of a query that have a weight.
        flops: see `flops`.
    """

    dimensions: float
    flops: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one system on one data set.

    Attributes:
        documents, document_dimensions, index_bytes, encoding_seconds, split, cut: see `Preparation`.
        query_dimensions: mean number of terms of a query that have a weight; None for a system without.
        flops: expected number of overlapping products of a query and a document (see `flops`).
        queries_per_second: throughput of all queries as one batch at full depth, on `threads` threads.
        p50_ms, p99_ms: latency of single queries, one after another on one thread, `latency_depth` documents
            each, after a warm-up; encoding of the query included.
        latency_queries: how many queries the two rest on.
        depth: documents asked for in the batch.
        threads: of the batch.
    """

    documents: int
    document_dimensions: float | None
    query_dimensions: float | None
    flops: float | None
    queries_per_second: float
    p50_ms: float
    p99_ms: float
    latency_queries: int
    latency_depth: int
    depth: int
    threads: int
    index_bytes: int | None
    encoding_seconds: float | None
    split: int | None = None
    cut: int | None = None


def passages_notice(cost: Cost) -> str | None:
    """Return how many texts a system has split or cut, as a sentence; None where it has none, or does not count."""
    parts = []
    if cost.split:
        parts.append(f"{cost.split:,} of {cost.documents:,} documents split into passages")
    if cost.cut:
        parts.append(f"{cost.cut:,} longer than the model reads: what is beyond is not searched")
    return "; ".join(parts) or None


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """Return the mean of each figure over several data sets; a figure that some lack is the mean of those that have it.
    Counts of texts that are split or cut are added up.

    Settings (depths, threads, number of queries) are those of the first. Raises ValueError where there is none.
    """
    if not costs:
        raise ValueError("there are no costs to take the mean of")

    def mean(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    def total(values: Iterable[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    size = mean(cost.index_bytes for cost in costs)
    return replace(
        costs[0],
        documents=round(mean(cost.documents for cost in costs) or 0),
        document_dimensions=mean(cost.document_dimensions for cost in costs),
        query_dimensions=mean(cost.query_dimensions for cost in costs),
        flops=mean(cost.flops for cost in costs),
        queries_per_second=mean(cost.queries_per_second for cost in costs) or 0.0,
        p50_ms=mean(cost.p50_ms for cost in costs) or 0.0,
        p99_ms=mean(cost.p99_ms for cost in costs) or 0.0,
        index_bytes=None if size is None else round(size),
        encoding_seconds=mean(cost.encoding_seconds for cost in costs),
        split=total(cost.split for cost in costs),
        cut=total(cost.cut for cost in costs),
    )


def flops(
    query_terms: Sequence[npt.NDArray[np.int32]],
    document_frequencies: Callable[[npt.NDArray[np.int32]], npt.NDArray[np.int64]],
    n_documents: int,
) -> float:
    """Return the expected overlapping products of a query-document pair: sum_j p_q(j) p_d(j).

    p_q(j) and p_d(j) are the shares of queries and of documents in which term j has a weight (the FLOPS
    of Paria et al. 2020, as used for SPLADE). The sum over j of both equals the mean over queries of the
    postings that a query meets, divided by the number of documents.

    Args:
        query_terms: the unique term ids of each query.
        document_frequencies: number of documents with a weight for each of the given (unique) terms.
        n_documents: in the collection.
    """
    if not query_terms or n_documents == 0:
        return 0.0
    terms, occurrences = np.unique(np.concatenate(query_terms), return_counts=True)
    if len(terms) == 0:
        return 0.0
    frequencies = document_frequencies(terms.astype(np.int32))
    return float(occurrences @ frequencies.astype(np.float64)) / len(query_terms) / n_documents


def measure_latency(
    answer: Callable[[str], object],
    queries: Sequence[str],
    *,
    warm_up: int = 5,
    progress: Callable[[int], None] | None = None,
) -> list[float]:
    """Return the seconds that each query takes, one after another. The first `warm_up` are asked once before.

    Args:
        progress: told now and then, outside of what is timed, how many have been asked.
    """
    for query in queries[:warm_up]:
        answer(query)
    seconds = []
    for number, query in enumerate(queries):
        if progress is not None and number % 10 == 0:
            progress(number)
        started = perf_counter()
        answer(query)
        seconds.append(perf_counter() - started)
    return seconds


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """Return a percentile in milliseconds: the smallest observed value with `percent` of all at or below it."""
    if not seconds:
        return 0.0
    return float(np.percentile(np.asarray(seconds), percent, method="inverted_cdf")) * 1000.0


def spread(items: Sequence[str], count: int) -> list[str]:
    """Return at most `count` of the items, evenly spread over them, in their order."""
    if len(items) <= count:
        return list(items)
    positions = np.linspace(0, len(items) - 1, count).round().astype(int)
    return [items[index] for index in positions]


def machine() -> dict[str, str | int]:
    """Return what the speeds were measured on, for the record."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": available_cores(),
    }


def available_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
