"""Measures, written and computed as ir-measures does: `nDCG@10`, `R@100`, `RR@10`, `AP`, `Judged@10`, …

Gains are linear (the relevance itself, as in trec_eval), not 2^relevance - 1; a document without a
judgment counts as not relevant; a judged query that a run lacks counts 0.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lexhound.core.errors import MissingExtraError
from lexhound.core.suggestions import nearest
from lexhound.eval.datasets.dataset import Qrels

from .errors import MeasureError
from .runs import Run, trec_order

DEFAULT_MEASURES = ("nDCG@10", "R@100", "R@1000", "RR@10", "AP", "P@10", "Judged@10")

# What people write who come from other tools.
_HABITS = {"recall": "R", "precision": "P", "map": "AP", "mrr": "RR", "ndcg": "nDCG", "hit": "Success"}

_GDEVAL_GRADES = 4


@dataclass(frozen=True, slots=True)
class Scores:
    """One measure of one run.

    Attributes:
        measure: its name as ir-measures writes it.
        mean: over all judged queries (measures that count things, such as NumRet, are summed).
        per_query: query id to value, for every judged query, in the order of the judgments.
    """

    measure: str
    mean: float
    per_query: Mapping[str, float]


def parse_measures(names: Iterable[str]) -> list[Any]:
    """Return ir-measures' measures for their names; repeated ones are taken once.

    Raises:
        MeasureError: a name is unknown (the nearest are suggested), malformed, or nothing that is
            installed computes it.
        MissingExtraError: ir-measures is not installed.
    """
    measures = [_parse(name) for name in names]
    if not measures:
        raise MeasureError("no measure is given", f"For example: {', '.join(DEFAULT_MEASURES)}.")
    return list(dict.fromkeys(measures))


def measure_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names as ir-measures writes them (`NDCG@10` becomes `nDCG@10`). Raises as `parse_measures`."""
    return tuple(str(measure) for measure in parse_measures(names))


def cutoff_of(name: str) -> int | None:
    """Return how deep a measure looks: 10 for `nDCG@10`, None where it looks at whole rankings. Raises as
    `parse_measures`.
    """
    (measure,) = parse_measures([name])
    cutoff = measure.params.get("cutoff")
    return None if cutoff is None else int(cutoff)


def score_run(run: Run, qrels: Qrels, measures: Sequence[str]) -> list[Scores]:
    """Score a run against judgments, in the order of `measures`.

    The run is first put into trec_eval's order, and its scores are then replaced by descending ranks: so
    every provider of ir-measures sees trec_eval's order, whatever it does with ties itself. Queries and
    documents go by numbers: ids may hold anything, and some providers cut them at hyphens and blanks.

    Raises:
        MeasureError, MissingExtraError: see `parse_measures`; or a provider fails on this run.
    """
    parsed = parse_measures(measures)
    _require_grades(parsed, qrels)
    library = _library()
    numbers = {str(number): query_id for number, query_id in enumerate(qrels, 1)}
    judged: Qrels = {}
    ordered: dict[str, dict[str, float]] = {}
    for number, query_id in numbers.items():
        ranking = trec_order(run.rankings.get(query_id, ()))
        numbered = _numbered({*qrels[query_id], *(document for document, _ in ranking)})
        judged[number] = {numbered[document]: relevance for document, relevance in qrels[query_id].items()}
        if ranking:
            ordered[number] = {
                numbered[document]: float(len(ranking) - position) for position, (document, _) in enumerate(ranking)
            }
    values: dict[Any, dict[str, float]] = {measure: dict.fromkeys(qrels, 0.0) for measure in parsed}
    try:
        for metric in library.iter_calc(parsed, judged, ordered):
            values[metric.measure][numbers[metric.query_id]] = float(metric.value)
    except Exception as error:
        raise MeasureError(
            f"{run.name}: the measures cannot be computed: {error}",
            "Try them one at a time to find the one that fails.",
        ) from error
    scores = []
    for measure in parsed:
        aggregator = measure.aggregator()
        for value in values[measure].values():
            aggregator.add(value)
        scores.append(Scores(str(measure), float(aggregator.result()), values[measure]))
    return scores


def _numbered(documents: Collection[str]) -> dict[str, str]:
    """Return numbers of one length in place of ids, in the order of the ids."""
    width = len(str(len(documents)))
    return {document: f"{number:0{width}d}" for number, document in enumerate(sorted(documents), 1)}


def _require_grades(measures: Iterable[Any], qrels: Qrels) -> None:
    """Raise `MeasureError` where a judgment is beyond what gdeval, which computes some of the measures, can take."""
    highest = max((relevance for judged in qrels.values() for relevance in judged.values()), default=0)
    limited = [str(measure) for measure in measures if measure.NAME == "ERR" or "dcg='exp-log2'" in str(measure)]
    if limited and highest > _GDEVAL_GRADES:
        raise MeasureError(
            f"{limited[0]} takes judgments up to {_GDEVAL_GRADES}, and there is one of {highest}",
            "Leave this measure out, or map the judgments to a scale from 0 to 4.",
        )


def _parse(name: str) -> Any:
    library = _library()
    try:
        measure = library.parse_measure(name)
    except NameError:
        raise _unknown(name, library) from None
    except Exception as error:
        raise MeasureError(
            f"{name!r} is not written like a measure", "Write nDCG@10, R@100, AP or P(rel=2)@10."
        ) from error
    try:
        computable = any(
            provider.is_available() and provider.supports(measure) for provider in library.DefaultPipeline.providers
        )
    except Exception as error:
        raise MeasureError(f"{name!r}: a parameter has a wrong value: {error}", "See ir-measur.es.") from error
    if not computable:
        raise MeasureError(
            f"{name!r}: nothing that is installed computes this measure with these parameters",
            "ir-measures' documentation (https://ir-measur.es) says which package provides it.",
        )
    return measure


def _unknown(name: str, library: Any) -> MeasureError:
    stem, at, cutoff = name.partition("@")
    known = library.measures.registry
    habit = _HABITS.get(stem.strip().lower())
    near = [habit] if habit else nearest(stem.strip(), known)
    suggestion = " or ".join(f"{candidate}{at}{cutoff}" for candidate in near)
    return MeasureError(
        f"there is no measure {name!r}",
        (f"Did you mean {suggestion}? " if suggestion else "") + f"For example: {', '.join(DEFAULT_MEASURES)}.",
    )


def _library() -> Any:
    for package in ("ir_measures", "pytrec_eval"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"measures need the package {package!r}, which is not installed",
                "pip install 'lexhound[eval]'",
            )
    import ir_measures

    return ir_measures


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute the measures, for the record of an evaluation."""
    from importlib.metadata import version

    _library()
    return {name: version(name) for name in ("ir-measures", "pytrec-eval-terrier")}
