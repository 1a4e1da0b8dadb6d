"""Evaluate systems on data sets: rank, time, score; keep every finished part.

The conventions (docs/evaluation.md gives the reason for each): a document whose id equals the query's is
dropped and the cut-off is still filled; a judged query without results counts 0; gains are linear; runs
are scored in trec_eval's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from lexhound.eval.datasets.dataset import Dataset
from lexhound.eval.datasets.documents import judged_documents, scan_corpus, with_scan
from lexhound.retrieval.collection.write.progress import Progress as IngestProgress

from .cost import Cost, Preparation, available_cores, machine, measure_latency, percentile_ms, spread
from .errors import ComparisonError, DatasetError, RunFormatError
from .measures import DEFAULT_MEASURES, Scores, measure_names, score_run, versions
from .results import RECALL_DEPTHS, Evaluation, PartResult
from .runs import Ranking, Run, canonical_ranking, read_run, recall_by_depth, write_run
from .serialise import to_json
from .system import System
from .workspace import FORMAT, Workspace, code_digest, fingerprint, our_version

# Queries of one call of `System.rank`, so that progress can be told in between: more while a call is quick.
SMALLEST_BATCH, BATCH = 32, 256
_QUICK = 0.4  # seconds


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How systems are evaluated.

    Attributes:
        measures: ir-measures names, the main one first.
        depth: documents retrieved for a query. Measures with a deeper cut-off see no more.
        drop_identical: drop the document whose id equals the query's (it *is* the query in ArguAna and
            Quora) and retrieve one more, so that the cut-off is still filled.
        latency_queries, latency_depth: single queries timed, and documents asked of each.
        check_corpus: look for the judged documents in the corpus and report those it lacks.
        reuse: take finished parts from the working folder where nothing that matters has changed.
    """

    measures: tuple[str, ...] = DEFAULT_MEASURES
    depth: int = 1000
    drop_identical: bool = True
    latency_queries: int = 200
    latency_depth: int = 10
    check_corpus: bool = True
    reuse: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """How far an evaluation is. `stage` is `check`, `prepare`, `search`, `time`, `measure` or `reuse`.

    `indexing` says more of a stage `prepare` in which a corpus is indexed.
    """

    dataset: str
    system: str
    stage: str
    done: int
    total: int | None
    indexing: IngestProgress | None = None


Progress = Callable[[Step], None]


def evaluate(
    datasets: Sequence[Dataset],
    systems: Sequence[System],
    options: EvaluationOptions | None = None,
    *,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate every system on every data set.

    With a workspace each finished part is stored at once: after an interruption the same call goes on
    where it stopped. Without one, everything is done afresh and the runs are held in memory.

    Raises:
        ComparisonError: two systems or two data sets have the same name.
        DatasetError: a data set cannot be searched.
        MeasureError, MissingExtraError: before anything is searched.
    """
    options = options or EvaluationOptions()
    _require_unique([system.name for system in systems], "systems")
    _require_unique([dataset.name for dataset in datasets], "data sets")
    if options.depth < 1:
        raise DatasetError("the depth must be at least 1", "1000 is the usual one.")
    measures = measure_names(options.measures)
    tell = progress or (lambda step: None)
    checked = [_check(dataset, options, workspace, tell) for dataset in datasets]
    parts = [
        _evaluate_part(dataset, system, options, measures, workspace, tell) for dataset in checked for system in systems
    ]
    return Evaluation(
        tuple(checked),
        tuple(system.name for system in systems),
        measures,
        tuple(parts),
        {"lexhound": our_version(), **versions(), **machine()},
        {**to_json(options), "measures": list(measures)},
    )


def _require_unique(names: Sequence[str], what: str) -> None:
    if not names:
        raise ComparisonError(f"there are no {what} to evaluate", "Name at least one.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ComparisonError(f"two {what} are called {twice[0]!r}", "Give them different names.")


def _check(dataset: Dataset, options: EvaluationOptions, workspace: Workspace | None, tell: Progress) -> Dataset:
    """Look for the judged documents in the corpus, or find in the workspace what was seen there."""
    if dataset.corpus is None or not options.check_corpus:
        return dataset
    name = ""
    if workspace is not None:
        name = f"checks/{fingerprint({'format': FORMAT, **workspace.dataset_key(dataset)})}.json"
        known = workspace.read(name) if options.reuse else None
        if isinstance(known, dict):
            return with_scan(dataset, known["missing"], known["broken"])
    tell(Step(dataset.name, "", "check", 0, None))
    scan = scan_corpus(dataset.corpus, judged_documents(dataset))
    if workspace is not None:
        workspace.write(name, {"missing": scan.missing, "broken": scan.broken})
    return with_scan(dataset, scan.missing, scan.broken)


def _evaluate_part(
    dataset: Dataset,
    system: System,
    options: EvaluationOptions,
    measures: tuple[str, ...],
    workspace: Workspace | None,
    tell: Progress,
) -> PartResult:
    settings = to_json(dict(system.settings))
    if workspace is None:
        run, cost = _search(dataset, system, options, tell)
        tell(Step(dataset.name, system.name, "measure", 0, None))
        scores = tuple(score_run(run, dataset.qrels, measures))
        recall = _recall(run, dataset)
        return PartResult(dataset.name, dataset.group, system.name, settings, scores, recall, cost, False, None, run)
    key = {
        "format": FORMAT,
        "dataset": workspace.dataset_key(dataset),
        "settings": settings,
        "depth": options.depth,
        "drop_identical": options.drop_identical,
        "version": our_version(),
        "code": code_digest(),
    }
    folder = f"rankings/{fingerprint(key)}"
    run_path = workspace.path(f"{folder}/run.trec.zst")
    known = workspace.read(f"{folder}/part.json") if options.reuse and run_path.is_file() else None
    held: Run | None = None
    if isinstance(known, dict):
        cost = Cost(**known["cost"])
        tell(Step(dataset.name, system.name, "reuse", 0, None))
    else:
        held, cost = _search(dataset, system, options, tell)
        write_run(run_path, held)
        # The cost is written last: a part without it does not exist.
        workspace.write(f"{folder}/part.json", {"cost": cost, "key": key, "system": system.name})
    scores_name = f"scores/{fingerprint({'ranking': folder, 'measures': measures, **versions()})}.json"
    stored = workspace.read(scores_name) if options.reuse and held is None else None
    if isinstance(stored, dict):
        scores = tuple(Scores(**entry) for entry in stored["scores"])
        recall = tuple((depth, value) for depth, value in stored["recall"])
    else:
        tell(Step(dataset.name, system.name, "measure", 0, None))
        run = held if held is not None else read_run(run_path, name=system.name)
        scores = tuple(score_run(run, dataset.qrels, measures))
        recall = _recall(run, dataset)
        workspace.write(scores_name, {"scores": scores, "recall": recall})
    return PartResult(
        dataset.name,
        dataset.group,
        system.name,
        settings,
        scores,
        recall,
        cost,
        isinstance(known, dict),
        run_path,
    )


def _recall(run: Run, dataset: Dataset) -> tuple[tuple[int, float], ...]:
    return tuple(zip(RECALL_DEPTHS, recall_by_depth(run, dataset.qrels, RECALL_DEPTHS), strict=True))


def _search(dataset: Dataset, system: System, options: EvaluationOptions, tell: Progress) -> tuple[Run, Cost]:
    """Rank all queries, then time some of them one by one."""

    def preparing(step: IngestProgress) -> None:
        tell(Step(dataset.name, system.name, "prepare", step.documents, None, step))

    tell(Step(dataset.name, system.name, "prepare", 0, None))
    preparation = system.prepare(dataset, preparing)
    query_ids, texts = list(dataset.queries), list(dataset.queries.values())
    k = options.depth + (1 if options.drop_identical else 0)
    rankings: dict[str, Ranking] = {}
    system.rank(texts[:1], k)  # kernels are compiled and files are mapped before the clock runs
    spent, size = 0.0, SMALLEST_BATCH
    while len(rankings) < len(texts):
        start = len(rankings)
        tell(Step(dataset.name, system.name, "search", start, len(texts)))
        started = perf_counter()
        answers = system.rank(texts[start : start + size], k)
        seconds = perf_counter() - started
        spent += seconds
        for query_id, answer in zip(query_ids[start : start + size], answers, strict=True):
            rankings[query_id] = _finish(answer, query_id, options, system.name)
        if seconds < _QUICK:
            size = min(2 * size, BATCH)

    timed = spread(texts, options.latency_queries)

    def timing(done: int) -> None:
        tell(Step(dataset.name, system.name, "time", done, len(timed)))

    latencies = measure_latency(lambda query: system.rank([query], options.latency_depth), timed, progress=timing)
    rate = len(texts) / spent if spent > 0 else 0.0
    return Run(system.name, rankings), _cost(system, preparation, texts, latencies, rate, options)


def _finish(answer: Ranking, query_id: str, options: EvaluationOptions, system: str) -> Ranking:
    entries = [entry for entry in answer if not (options.drop_identical and entry[0] == query_id)]
    try:
        return canonical_ranking(entries[: options.depth])
    except ValueError as error:
        raise RunFormatError(f"{system}: query {query_id!r}: {error}", "This is a fault of the system.") from error


def _cost(
    system: System,
    preparation: Preparation,
    texts: Sequence[str],
    seconds: Sequence[float],
    rate: float,
    options: EvaluationOptions,
) -> Cost:
    sparsity = system.sparsity(texts)
    return Cost(
        documents=preparation.documents,
        document_dimensions=preparation.document_dimensions,
        query_dimensions=None if sparsity is None else sparsity.dimensions,
        flops=None if sparsity is None else sparsity.flops,
        queries_per_second=rate,
        p50_ms=percentile_ms(seconds, 50),
        p99_ms=percentile_ms(seconds, 99),
        latency_queries=len(seconds),
        latency_depth=options.latency_depth,
        depth=options.depth,
        threads=min(system.threads, available_cores()),
        index_bytes=preparation.index_bytes,
        encoding_seconds=preparation.encoding_seconds,
        split=preparation.split,
        cut=preparation.cut,
    )
