"""Is the difference between runs real? Means, tests, intervals, and the queries that changed most."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from lexhound.core.progress import OnStep, Pace, Stage
from lexhound.eval.datasets.dataset import DocumentText, Qrels

from .errors import ComparisonError
from .measures import Scores, measure_names, score_run
from .runs import Ranking, Run
from .serialise import to_json
from .significance import Interval, bootstrap_interval, holm, paired_t_test, randomisation_test, wins_ties_losses

# Finds the words of documents, for showing them; may return fewer than asked for.
Lookup = Callable[[Collection[str]], Mapping[str, DocumentText]]


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """How runs are compared.

    Attributes:
        measures: ir-measures names, the main one first: the changed queries go by it.
        every_pair: compare each run with each other one, not only with the first (the baseline). Holm's
            correction is over all comparisons of a measure.
        permutations: draws of the randomisation test; at least 10,000.
        resamples: draws of the bootstrap.
        confidence: of the interval.
        seed: of both; the same seed gives the same figures.
        changed: how many of the most changed queries are shown for each comparison.
        shown: how many documents of each ranking are shown for them.
        missing: what to do when runs answer different judged queries: `error` stops (it is usually a
            mistake), `zero` counts an unanswered query 0 as trec_eval -c does, `common` looks only at
            the queries that all runs answer.
    """

    measures: tuple[str, ...] = ("nDCG@10", "R@100", "AP")
    every_pair: bool = False
    permutations: int = 10_000
    resamples: int = 10_000
    confidence: float = 0.95
    seed: int = 20
    changed: int = 10
    shown: int = 5
    missing: Literal["error", "zero", "common"] = "error"


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The means of a run, and how many of the compared queries it does not answer."""

    name: str
    means: Mapping[str, float]
    unanswered: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of one run against another.

    Attributes:
        difference: mean of `system` minus mean of `baseline`.
        interval: bootstrap interval of the difference.
        t_test, randomisation: two-sided p-values; the `_holm` ones are corrected for the number of
            comparisons made with this measure.
        wins, ties, losses: queries in which `system` is better, equal and worse.
    """

    measure: str
    baseline: str
    system: str
    difference: float
    interval: Interval
    t_test: float
    t_test_holm: float
    randomisation: float
    randomisation_holm: float
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document in a ranking, with its judgment (None where nobody judged it) and, if found, its words."""

    rank: int
    id: str
    score: float
    relevance: int | None
    text: DocumentText | None = None


@dataclass(frozen=True, slots=True)
class ChangedQuery:
    """A query for which two runs differ much: both values of the main measure and the tops of both rankings."""

    query_id: str
    text: str | None
    baseline: str
    system: str
    measure: str
    baseline_value: float
    system_value: float
    baseline_ranking: tuple[RankedDocument, ...]
    system_ranking: tuple[RankedDocument, ...]

    @property
    def difference(self) -> float:
        """Positive where the system is better than the baseline."""
        return self.system_value - self.baseline_value


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Everything that comparing runs found. `notices` are sentences that a reader must not miss."""

    measures: tuple[str, ...]
    queries: int
    runs: tuple[RunFigures, ...]
    differences: tuple[Difference, ...]
    changed: tuple[ChangedQuery, ...]
    per_query: Mapping[str, tuple[Scores, ...]]
    notices: tuple[str, ...]
    options: ComparisonOptions

    def to_json(self) -> dict[str, Any]:
        """Return all figures, those of single queries included."""
        return {
            "measures": self.measures,
            "queries": self.queries,
            "runs": self.runs,
            "differences": self.differences,
            "changed": [{**to_json(entry), "difference": entry.difference} for entry in self.changed],
            "per_query": {
                name: {scores.measure: scores.per_query for scores in entries}
                for name, entries in self.per_query.items()
            },
            "notices": self.notices,
            "options": self.options,
        }


def compare(
    runs: Sequence[Run],
    qrels: Qrels,
    options: ComparisonOptions | None = None,
    *,
    queries: Mapping[str, str] | None = None,
    lookup: Lookup | None = None,
    progress: OnStep | None = None,
) -> Comparison:
    """Compare two or more runs over the same judgments. The first run is the baseline.

    `progress` is told of the stages.

    Raises:
        ComparisonError: fewer than two runs, equal names, or runs that answer different queries (see
            `ComparisonOptions.missing`; runs without a common judged query can never be compared).
        MeasureError, MissingExtraError: see `measures.parse_measures`.
    """
    options = options or ComparisonOptions()
    _validate(runs, options)
    measures = measure_names(options.measures)
    judged, notices = _shared_queries(runs, qrels, options)
    stage = Stage(progress, "measuring", len(runs), "runs")
    per_query = {}
    for run in runs:
        per_query[run.name] = tuple(score_run(run, judged, measures))
        stage.add()
    figures = tuple(
        RunFigures(
            run.name,
            {scores.measure: scores.mean for scores in per_query[run.name]},
            sum(1 for query_id in judged if not run.rankings.get(query_id)),
        )
        for run in runs
    )
    names = [run.name for run in runs]
    pairs = list(combinations(names, 2)) if options.every_pair else [(names[0], name) for name in names[1:]]
    draws = len(measures) * len(pairs) * (options.permutations + options.resamples)
    pace = Stage(progress, "testing", draws, "draws").add
    differences = tuple(
        difference
        for number in range(len(measures))
        for difference in _differences(number, pairs, per_query, list(judged), options, pace)
    )
    by_name = {run.name: run for run in runs}
    changed = [
        entry
        for pair in pairs
        for entry in _changed(by_name[pair[0]], by_name[pair[1]], per_query, judged, queries or {}, options)
    ]
    return Comparison(
        measures,
        len(judged),
        figures,
        differences,
        tuple(with_texts(changed, lookup)),
        per_query,
        tuple(notices),
        options,
    )


def _validate(runs: Sequence[Run], options: ComparisonOptions) -> None:
    if len(runs) < 2:
        raise ComparisonError("a comparison needs at least two runs", "Name two or more run files.")
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ComparisonError(f"two runs are called {twice[0]!r}", "Give them different names or tags.")
    if options.permutations < 10_000:
        raise ComparisonError(
            f"{options.permutations:,} permutations are too few for a p-value of two digits", "Use 10,000 or more."
        )


def _shared_queries(runs: Sequence[Run], qrels: Qrels, options: ComparisonOptions) -> tuple[Qrels, list[str]]:
    """Return the judgments that the runs are compared over, and what a reader must know about them."""
    answered = [{query_id for query_id in qrels if run.rankings.get(query_id)} for run in runs]
    for run, ids in zip(runs, answered, strict=True):
        if not ids:
            raise ComparisonError(
                f"{run.name}: none of its {len(run.rankings):,} queries is among the {len(qrels):,} judged ones",
                "Check that the run and the judgments belong to the same data set.",
            )
    common = set.intersection(*answered)
    if not common:
        raise ComparisonError(
            "the runs have no judged query in common", "Check that they are runs over the same data set."
        )
    notices = []
    if any(ids != common for ids in answered):
        counts = ", ".join(f"{run.name} {len(ids):,}" for run, ids in zip(runs, answered, strict=True))
        union = set.union(*answered)
        example = next(query_id for query_id in qrels if query_id in union and query_id not in common)
        message = f"the runs answer different judged queries ({counts}; {len(common):,} in common; e.g. {example!r})"
        if options.missing == "error":
            raise ComparisonError(
                message,
                "If that is as it should be, say --missing zero (an unanswered query counts 0) or "
                "--missing common (only the common queries are compared).",
            )
        notices.append(
            message + ("; unanswered ones count 0" if options.missing == "zero" else "; only these are compared")
        )
    if options.missing == "common":
        return {query_id: judged for query_id, judged in qrels.items() if query_id in common}, notices
    nobody = len(qrels) - len(set.union(*answered))
    if nobody:
        notices.append(f"{nobody:,} of {len(qrels):,} judged queries are answered by no run and count 0 for all")
    return qrels, notices


def _differences(
    column: int,
    pairs: Sequence[tuple[str, str]],
    per_query: Mapping[str, tuple[Scores, ...]],
    query_ids: Sequence[str],
    options: ComparisonOptions,
    pace: Pace,
) -> list[Difference]:
    """Return all comparisons of one measure, corrected together."""
    rows = []
    for baseline, system in pairs:
        first, second = per_query[baseline][column], per_query[system][column]
        values = np.array([second.per_query[key] - first.per_query[key] for key in query_ids])
        rows.append((baseline, system, first.measure, values))
    t_tests = [paired_t_test(values) for *_, values in rows]
    randomised = [
        randomisation_test(values, permutations=options.permutations, seed=options.seed, pace=pace)
        for *_, values in rows
    ]
    differences = []
    for (baseline, system, measure, values), t, t_holm, r, r_holm in zip(
        rows, t_tests, holm(t_tests), randomised, holm(randomised), strict=True
    ):
        interval = bootstrap_interval(
            values, resamples=options.resamples, confidence=options.confidence, seed=options.seed, pace=pace
        )
        wins, ties, losses = wins_ties_losses(values)
        differences.append(
            Difference(
                measure, baseline, system, float(values.mean()), interval, t, t_holm, r, r_holm, wins, ties, losses
            )
        )
    return differences


def _changed(
    baseline: Run,
    system: Run,
    per_query: Mapping[str, tuple[Scores, ...]],
    qrels: Qrels,
    queries: Mapping[str, str],
    options: ComparisonOptions,
) -> list[ChangedQuery]:
    """Return the queries with the largest differences of the main measure, the largest first."""
    first, second = per_query[baseline.name][0], per_query[system.name][0]
    changes = []
    for query_id, judged in qrels.items():
        before, after = first.per_query[query_id], second.per_query[query_id]
        if before != after:
            changes.append((abs(after - before), query_id, before, after, judged))
    changes.sort(key=lambda entry: -entry[0])  # stable: equal changes stay in the order of the judgments
    return [
        ChangedQuery(
            query_id,
            queries.get(query_id),
            baseline.name,
            system.name,
            first.measure,
            before,
            after,
            ranked(baseline.rankings.get(query_id, ()), judged, options.shown),
            ranked(system.rankings.get(query_id, ()), judged, options.shown),
        )
        for _, query_id, before, after, judged in changes[: options.changed]
    ]


def ranked(ranking: Ranking, judged: Mapping[str, int], count: int) -> tuple[RankedDocument, ...]:
    """Return the top of a ranking with its judgments."""
    return tuple(
        RankedDocument(rank, document, score, judged.get(document))
        for rank, (document, score) in enumerate(ranking[:count], 1)
    )


def with_texts(changed: Sequence[ChangedQuery], lookup: Lookup | None) -> list[ChangedQuery]:
    """Return the same queries with the words of their documents, all looked up at once."""
    if lookup is None:
        return list(changed)
    shown = [document for entry in changed for document in (*entry.baseline_ranking, *entry.system_ranking)]
    texts = lookup(list(dict.fromkeys(document.id for document in shown)))

    def worded(ranking: tuple[RankedDocument, ...]) -> tuple[RankedDocument, ...]:
        return tuple(replace(document, text=texts.get(document.id)) for document in ranking)

    return [
        replace(
            entry,
            baseline_ranking=worded(entry.baseline_ranking),
            system_ranking=worded(entry.system_ranking),
        )
        for entry in changed
    ]
