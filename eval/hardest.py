"""The queries that all systems fail at: what they retrieved, and what they should have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from lexhound.eval.datasets.dataset import Dataset, DocumentText

from .comparison import Lookup, RankedDocument, ranked
from .results import Evaluation


@dataclass(frozen=True, slots=True)
class WantedDocument:
    """A relevant document, and at which rank each system has it (None: not among those retrieved)."""

    id: str
    relevance: int
    ranks: Mapping[str, int | None]
    text: DocumentText | None = None


@dataclass(frozen=True, slots=True)
class HardQuery:
    """A query with low values for all systems.

    Attributes:
        values: system to value of the main measure.
        retrieved: system to the top of its ranking.
        wanted: the most relevant documents.
        relevant: how many relevant documents there are in all.
    """

    dataset: str
    query_id: str
    text: str | None
    values: Mapping[str, float]
    retrieved: Mapping[str, tuple[RankedDocument, ...]]
    wanted: tuple[WantedDocument, ...]
    relevant: int


def hardest_queries(
    evaluation: Evaluation,
    dataset: Dataset,
    *,
    count: int = 10,
    shown: int = 5,
    lookup: Lookup | None = None,
) -> list[HardQuery]:
    """Return the queries with the lowest mean of the main measure over the systems, the lowest first.

    Queries without a relevant document are passed over: nothing can be found for them. At equal means
    the one with fewer relevant documents comes later (missing one of many says more about the system),
    then the order of the judgments decides.
    """
    measure = evaluation.measures[0]
    parts = [evaluation.part(dataset.name, system) for system in evaluation.systems]
    scores = [part.of(measure).per_query for part in parts]
    relevant = {query_id: sum(value >= 1 for value in judged.values()) for query_id, judged in dataset.qrels.items()}
    candidates = [query_id for query_id, number in relevant.items() if number and query_id in dataset.queries]
    candidates.sort(key=lambda query_id: (sum(row[query_id] for row in scores), -relevant[query_id]))
    chosen = candidates[:count]
    runs = {part.system: part.run(only=set(chosen)).rankings for part in parts}
    hard = []
    for query_id in chosen:
        judged = dataset.qrels[query_id]
        ranks = {
            system: {document: rank for rank, (document, _) in enumerate(rankings.get(query_id, ()), 1)}
            for system, rankings in runs.items()
        }
        best = sorted((entry for entry in judged.items() if entry[1] >= 1), key=lambda entry: -entry[1])
        hard.append(
            HardQuery(
                dataset.name,
                query_id,
                dataset.queries[query_id],
                {part.system: row[query_id] for part, row in zip(parts, scores, strict=True)},
                {system: ranked(rankings.get(query_id, ()), judged, shown) for system, rankings in runs.items()},
                tuple(
                    WantedDocument(document, value, {system: ranks[system].get(document) for system in runs})
                    for document, value in best[:shown]
                ),
                relevant[query_id],
            )
        )
    return hard if lookup is None else _with_texts(hard, lookup)


def _with_texts(
    queries: list[HardQuery], lookup: Callable[[Collection[str]], Mapping[str, DocumentText]]
) -> list[HardQuery]:
    ids = [document.id for query in queries for ranking in query.retrieved.values() for document in ranking]
    ids += [document.id for query in queries for document in query.wanted]
    texts = lookup(list(dict.fromkeys(ids)))
    return [
        replace(
            query,
            retrieved={
                system: tuple(replace(document, text=texts.get(document.id)) for document in ranking)
                for system, ranking in query.retrieved.items()
            },
            wanted=tuple(replace(document, text=texts.get(document.id)) for document in query.wanted),
        )
        for query in queries
    ]
