"""What an evaluation returns: figures for every pair of a data set and a system, and their means."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lexhound.eval.datasets.dataset import Dataset

from .cost import Cost, mean_cost, passages_notice
from .measures import Scores
from .runs import Run, read_run

# Where the curve of recall by depth is read off.
RECALL_DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True, eq=False)
class PartResult:
    """One system on one data set.

    Attributes:
        dataset, group, system: names.
        settings: the system's, enough to repeat it.
        scores: one entry for each measure, with the value of every judged query.
        recall: (depth, mean recall) pairs.
        cost: never absent: a quality figure without its cost says half.
        reused: whether the ranking was found in the working folder.
        run_path: where the run is kept; None when it is kept in memory only.
    """

    dataset: str
    group: str | None
    system: str
    settings: Mapping[str, Any]
    scores: tuple[Scores, ...]
    recall: tuple[tuple[int, float], ...]
    cost: Cost
    reused: bool
    run_path: Path | None
    held: Run | None = field(default=None, repr=False)

    def mean(self, measure: str) -> float:
        """Return the mean of a measure."""
        return self.of(measure).mean

    def of(self, measure: str) -> Scores:
        """Return the scores of a measure; KeyError for one that was not asked for."""
        for scores in self.scores:
            if scores.measure == measure:
                return scores
        raise KeyError(measure)

    def run(self, only: Collection[str] | None = None) -> Run:
        """Return the ranked lists, of some queries or of all."""
        if self.held is None:
            if self.run_path is None:
                raise LookupError(f"the run of {self.system} on {self.dataset} was not kept")
            return read_run(self.run_path, name=self.system, only=only)
        if only is None:
            return self.held
        return replace(self.held, rankings={key: value for key, value in self.held.rankings.items() if key in only})

    def to_json(self) -> dict[str, Any]:
        """Return all figures but those of single queries (they have a file of their own)."""
        return {
            "dataset": self.dataset,
            "group": self.group,
            "system": self.system,
            "settings": self.settings,
            "measures": {scores.measure: scores.mean for scores in self.scores},
            "queries": len(self.scores[0].per_query),
            "recall_by_depth": [{"depth": depth, "recall": value} for depth, value in self.recall],
            "cost": self.cost,
            "run": None if self.run_path is None else str(self.run_path),
            "reused": self.reused,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All parts of an evaluation.

    Attributes:
        datasets, systems: in the order given; parts hold every pair of them.
        measures: as ir-measures writes them, the main one first.
        environment: versions and machine, for the record.
        options: what was asked for, as JSON holds it.
    """

    datasets: tuple[Dataset, ...]
    systems: tuple[str, ...]
    measures: tuple[str, ...]
    parts: tuple[PartResult, ...]
    environment: Mapping[str, Any]
    options: Mapping[str, Any]

    def part(self, dataset: str, system: str) -> PartResult:
        """Return the part of a data set and a system; KeyError when there is none."""
        for part in self.parts:
            if part.dataset == dataset and part.system == system:
                return part
        raise KeyError((dataset, system))

    def sets(self) -> dict[str, list[str]]:
        """Return the sets that a mean is taken over, each with the names of its parts (CQADupStack has twelve)."""
        grouped: dict[str, list[str]] = {}
        for dataset in self.datasets:
            grouped.setdefault(dataset.group or dataset.name, []).append(dataset.name)
        return grouped

    def set_mean(self, name: str, system: str, measure: str) -> float:
        """Return the figure of a set: the mean of its parts, each counting the same (as CQADupStack is published)."""
        parts = self.sets()[name]
        return sum(self.part(part, system).mean(measure) for part in parts) / len(parts)

    def mean(self, system: str, measure: str) -> float:
        """Return the mean over sets, each counting the same however many queries it has."""
        sets = self.sets()
        return sum(self.set_mean(name, system, measure) for name in sets) / len(sets)

    def mean_cost(self, system: str, name: str | None = None) -> Cost:
        """Return the mean cost of a system over all data sets, or over the parts of the set `name`."""
        return mean_cost(
            [part.cost for part in self.parts if part.system == system and (name is None or part.group == name)]
        )

    def notices(self) -> list[str]:
        """Return what a reader of the figures should know: of the data sets, and of texts that were split or cut."""
        notices = [f"{dataset.label}: {notice}" for dataset in self.datasets for notice in dataset.report.notices()]
        for dataset in self.datasets:
            for system in self.systems:
                notice = passages_notice(self.part(dataset.name, system).cost)
                if notice is not None:
                    notices.append(f"{dataset.label}, {system}: {notice}")
        return notices

    def to_json(self) -> dict[str, Any]:
        """Return every figure that a screen or a report shows."""
        sets = self.sets()
        return {
            "measures": self.measures,
            "datasets": self.datasets,
            "results": self.parts,
            "sets": {
                name: {
                    system: {measure: self.set_mean(name, system, measure) for measure in self.measures}
                    for system in self.systems
                }
                for name in sets
            },
            "means": {
                system: {measure: self.mean(system, measure) for measure in self.measures} for system in self.systems
            },
            "mean_costs": {system: self.mean_cost(system) for system in self.systems},
            "options": self.options,
            "environment": self.environment,
        }

    def per_query(self) -> list[dict[str, Any]]:
        """Return a row for every judged query and system: data set, query id, text, system, and each measure."""
        rows = []
        for dataset in self.datasets:
            for system in self.systems:
                part = self.part(dataset.name, system)
                for query_id in dataset.qrels:
                    row: dict[str, Any] = {
                        "dataset": dataset.name,
                        "query_id": query_id,
                        "query": dataset.queries.get(query_id),
                        "system": system,
                    }
                    row.update({scores.measure: scores.per_query[query_id] for scores in part.scores})
                    rows.append(row)
        return rows
