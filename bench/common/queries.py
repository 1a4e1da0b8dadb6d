"""Single queries and batches: each of our ways to answer in turn with the referee, and alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lexhound.index import Query
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.query.ranking import rank, rank_many
from lexhound.retrieval.collection.query.row_filter import rows_passing

from .referee import Referee
from .timing import Latency, alternate, fastest, throughput


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions as texts, as our query vectors and as the referee's token ids (empty without a referee).

    The first `asked` of them are measured. The others are for the warm-up, so that in the first round words are as new
    as they are in service; where there are none, the first ones are.
    """

    texts: Sequence[str]
    queries: Sequence[Query]
    tokens: Sequence[list[int]]
    asked: int

    @property
    def warm_up(self) -> range:
        return range(self.asked, len(self.texts)) or range(self.asked)


def measure_queries(
    collection: Collection, referee: Referee | None, questions: Questions, *, k: int, rounds: int
) -> dict[str, Any]:
    """Latencies by way, in microseconds, and questions a second of batches. `collection` has answered nothing yet."""
    collection.warm()
    ours = _ours(collection, questions, k)
    theirs = {} if referee is None else {way: _theirs(referee, way, questions, k) for way in referee.ways}
    n = questions.asked
    results: dict[str, Any] = {"latency": {}, "referee": None}
    best: dict[str, Callable[[int], object]] = {}
    if referee is not None:
        times = alternate(theirs, n, warm_up=questions.warm_up, rounds=1)
        found = {name: Latency.of(own[0]) for name, own in times.items()}
        name = fastest(found, referee.ways)
        best = {name: theirs[name]}
        results["referee"] = {
            "version": referee.version,
            "fastest": name,
            "index_bytes": referee.index_bytes,
            "build_seconds": referee.build_seconds,
            "ways": {name: asdict(latency) for name, latency in found.items()},
        }
    for name, way in ours.items():
        times = alternate({name: way} | best, n, warm_up=questions.warm_up, rounds=rounds)
        if not results["latency"]:  # text to ids comes first: nothing has been asked for yet
            results["first_round"] = asdict(Latency.of(times[name][0]))
        own, *other = (Latency.of(np.median(found, axis=0)) for found in times.values())
        results["latency"][name] = asdict(own) | {"referee": asdict(other[0]) if other else None}
    for name, way in (ours | best).items():
        times = alternate({name: way}, n, warm_up=questions.warm_up, rounds=rounds)
        results.setdefault("alone", {})[name] = asdict(Latency.of(np.median(times[name], axis=0)))
    results["throughput"] = throughput(_batches(collection, referee, questions, k), n, rounds=rounds)
    return results


def _ours(collection: Collection, questions: Questions, k: int) -> dict[str, Callable[[int], object]]:
    snapshot = collection.snapshot()
    allowed = rows_passing(snapshot, None)
    return {
        "text to ids": lambda i: collection.search_many([questions.texts[i]], k, threads=1),
        "text to documents": lambda i: collection.search(questions.texts[i], k),
        "retrieval": lambda i: rank(snapshot, questions.queries[i], k, allowed),
    }


def _theirs(referee: Referee, way: str, questions: Questions, k: int) -> Callable[[int], object]:
    return lambda i: referee.search(way, questions.tokens[i], k)


def _batches(
    collection: Collection, referee: Referee | None, questions: Questions, k: int
) -> dict[str, Callable[[], object]]:
    snapshot = collection.snapshot()
    allowed = rows_passing(snapshot, None)
    texts, queries = questions.texts[: questions.asked], questions.queries[: questions.asked]
    batches: dict[str, Callable[[], object]] = {
        "text to ids": lambda: collection.search_many(texts, k),
        "retrieval": lambda: rank_many(snapshot, queries, k, allowed, None),
    }
    if referee is not None:
        batches |= {way: _all(referee, way, list(questions.tokens[: questions.asked]), k) for way in referee.ways}
    return batches


def _all(referee: Referee, way: str, tokens: list[list[int]], k: int) -> Callable[[], object]:
    return lambda: referee.search_all(way, tokens, k)
