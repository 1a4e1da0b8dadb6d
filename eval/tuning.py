"""Which fusion suits a collection: chosen on judged queries, and judged by cross-validation.

Candidates and both fields' scores are gathered once a query; every setting is then a re-ranking of them. The setting
that is best on the mean over all queries is what tuning would choose. What it is worth is not that mean, which has been
looked at, but the cross-validated one: the queries are dealt into folds, and those of each fold are measured with the
setting that is best on the others (Bruch, Gai & Ingber, TOIS 2023, tune a convex combination in the same way).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import OnStep, Stage
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.query.fusion import FieldScores, best, fuse
from lexhound.retrieval.collection.request import METHODS, Fusion

from .datasets import Dataset
from .errors import TuningError
from .measures import cutoff_of, measure_names, score_run
from .runs import Run
from .significance import randomisation_test, wins_ties_losses

_WHOLE = 1000

"""What is being done ("scoring" queries, "measuring" settings), how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class TuningOptions:
    """How a fusion is chosen.

    Attributes:
        measure: ir-measures name of what is to be large.
        methods: of fusion.METHODS, those that are tried.
        weights: the dense weights that are tried.
        rank_constants: of `rrf`.
        depth: candidates from each field.
        folds: of the cross-validation; 2 or more.
        seed: of the deal into folds and of the test.
        drop_identical: leave out a document whose id equals the query's, as BEIR does.
    """

    measure: str = "nDCG@10"
    methods: tuple[str, ...] = METHODS
    weights: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 20))
    rank_constants: tuple[float, ...] = (10.0, 30.0, 60.0, 100.0)
    depth: int = Fusion().depth
    folds: int = 5
    seed: int = 20
    drop_identical: bool = True

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise TuningError(
                f"there are {self.folds} folds", "It takes 2 or more to choose on some and judge on others."
            )
        if not self.methods or not self.weights:
            raise TuningError("there is nothing to choose from", "Give a method and a weight at least.")

    def settings(self) -> list[Fusion]:
        """Return every fusion that is tried."""
        fusions = []
        for method in self.methods:
            for weight in self.weights:
                plain = Fusion(method=method, dense_weight=weight, depth=self.depth)
                constants = self.rank_constants if method == "rrf" else (plain.rank_constant,)
                fusions += [replace(plain, rank_constant=constant) for constant in constants]
        return fusions


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best setting of a method, the mean of the queries that chose it, and its cross-validated mean."""

    fusion: Fusion
    mean: float
    cross_validated: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """What tuning found.

    Attributes:
        measure, queries, folds: as measured; `queries` are the judged ones.
        sparse, dense: the means of the two fields alone.
        present: the collection's fusion so far, and its mean.
        methods: for each method its best setting.
        best: the best of all settings.
        p: two-sided p-value of the randomisation test of the cross-validated figures against the present fusion's.
        better, same, worse: queries, likewise.
        chosen: `best.fusion` if its cross-validated mean is above the present one's, otherwise the present one.
    """

    measure: str
    queries: int
    folds: int
    sparse: float
    dense: float
    present: Fusion
    present_mean: float
    methods: tuple[Tuned, ...]
    best: Tuned
    p: float
    better: int
    same: int
    worse: int
    chosen: Fusion

    @property
    def gained(self) -> bool:
        """Whether there is something better than the present fusion."""
        return self.chosen != self.present


def tune_fusion(
    collection: Collection, dataset: Dataset, options: TuningOptions | None = None, progress: OnStep | None = None
) -> Tuning:
    """Choose a fusion for a collection on the judged queries of a data set.

    Raises:
        TuningError: there are fewer judged queries than folds, or none of their documents is in the collection.
        QueryError: the collection has no dense vectors. MeasureError: the measure is unknown.
    """
    options = options or TuningOptions()
    (measure,) = measure_names([options.measure])
    names = [name for name in dataset.queries if any(value > 0 for value in dataset.qrels[name].values())]
    if len(names) < options.folds:
        raise TuningError(
            f"{dataset.label} has {len(names)} queries with a relevant document, fewer than the {options.folds} folds",
            "Judge more queries, or take fewer folds.",
        )
    depth = cutoff_of(measure) or _WHOLE
    pools = _Pools(names, options.drop_identical, depth)
    candidates = collection.fusion_candidates([dataset.queries[name] for name in names], options.depth)
    stage = Stage(progress, "scoring", len(names), "queries")
    for ids, fields in candidates:
        pools.add(ids, fields)
        stage.add()
    qrels = {name: dict(dataset.qrels[name]) for name in names}
    if not any(document in qrels[name] for name, ids in zip(names, pools.ids, strict=True) for document in ids):
        raise TuningError(
            f"no judged document of {dataset.label} was found in the collection",
            "Tune with the judgments of the corpus that the collection holds.",
        )
    present = replace(collection.fusion, depth=options.depth)
    settings = options.settings()
    alone = [Fusion(dense_weight=weight, depth=options.depth) for weight in (0.0, 1.0)]
    tried = [*settings, present, *alone]
    values = np.empty((len(tried), len(names)), np.float64)
    stage = Stage(progress, "measuring", len(tried), "settings")
    for number, fusion in enumerate(tried):
        (scores,) = score_run(Run("fused", pools.rankings(fusion)), qrels, [measure])
        values[number] = [scores.per_query[name] for name in names]
        stage.add()
    means = values.mean(axis=1)
    folds = np.random.default_rng(options.seed).permutation(len(names)) % options.folds
    rows = np.arange(len(settings))
    methods = tuple(
        _tuned(settings, values, rows[[fusion.method == method for fusion in settings]], folds)[0]
        for method in dict.fromkeys(options.methods)
    )
    fitted, held = _tuned(settings, values, rows, folds)
    now = values[len(settings)]
    better, same, worse = wins_ties_losses(held - now)
    return Tuning(
        measure=measure,
        queries=len(names),
        folds=options.folds,
        sparse=float(means[-2]),
        dense=float(means[-1]),
        present=present,
        present_mean=float(now.mean()),
        methods=methods,
        best=fitted,
        p=randomisation_test(held - now, seed=options.seed),
        better=better,
        same=same,
        worse=worse,
        chosen=fitted.fusion if fitted.cross_validated > float(now.mean()) else present,
    )


class _Pools:
    """The candidates of all queries, to be ranked again and again."""

    def __init__(self, names: Sequence[str], drop_identical: bool, depth: int) -> None:
        self._names = names
        self._drop = drop_identical
        self._depth = depth
        self.ids: list[list[str]] = []
        self._fields: list[list[FieldScores]] = []

    def add(self, ids: list[str], fields: list[FieldScores]) -> None:
        self.ids.append(ids)
        self._fields.append(fields)

    def rankings(self, fusion: Fusion) -> dict[str, list[tuple[str, float]]]:
        rankings_of = {}
        for name, ids, fields in zip(self._names, self.ids, self._fields, strict=True):
            scores, _ = fuse(fusion, fields)
            rows = best(scores, self._depth + 1).tolist()
            ranking = [(ids[row], float(scores[row])) for row in rows if not self._drop or ids[row] != name]
            rankings_of[name] = ranking[: self._depth]
        return rankings_of


def _tuned(
    settings: Sequence[Fusion], values: NDArray[np.float64], rows: NDArray[np.int64], folds: NDArray[np.int64]
) -> tuple[Tuned, NDArray[np.float64]]:
    """Return the best of some settings, and each query's figure with the setting that is best on the other folds."""
    held = np.empty(values.shape[1], np.float64)
    for fold in np.unique(folds):
        inside = folds == fold
        held[inside] = values[_best(settings, values[:, ~inside], rows)][inside]
    chosen = _best(settings, values, rows)
    return Tuned(settings[chosen], float(values[chosen].mean()), float(held.mean())), held


def _best(settings: Sequence[Fusion], values: NDArray[np.float64], rows: NDArray[np.int64]) -> int:
    """Return the setting of the largest mean; of equal ones the nearest to equal shares, then the first."""
    means = values[rows].mean(axis=1)
    top = rows[means >= means.max() - 1e-12]
    return int(min(top.tolist(), key=lambda row: (abs(settings[row].dense_weight - 0.5), row)))
