"""What `lexhound eval` and `lexhound compare` do, for any caller: one function and one request for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lexhound.core.progress import OnStep, Stage
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.eval.datasets.dataset import DocumentText, ProblemLog
from lexhound.eval.datasets.documents import scan_corpus
from lexhound.eval.datasets.own import load_pair
from lexhound.eval.datasets.public import FetchOptions, FetchProgress
from lexhound.eval.datasets.qrels import read_qrels
from lexhound.eval.datasets.topics import read_queries
from lexhound.retrieval.collection.default_encoders import NO_DENSE, choose_encoders, makes_dense
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.engines.settings import MilvusSettings

from .comparison import Comparison, ComparisonOptions, Lookup, compare
from .datasets import Dataset, open_dataset
from .errors import DatasetError
from .evaluation import EvaluationOptions, Progress, evaluate
from .files import write_bytes
from .hardest import HardQuery, hardest_queries
from .per_query import write_per_query
from .results import Evaluation
from .runs import Run, read_run, write_run
from .serialise import to_json_bytes
from .systems import CollectionSystem, EncoderSystem, SearchOptions
from .workspace import Workspace


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to evaluate, and what to write.

    Attributes:
        work: the folder of indexes and finished parts.
        datasets: folders, files of judged queries, or names of BEIR sets.
        queries, qrels: instead of `datasets`: a file of queries (TREC topics, tab separated, CSV, JSON
            Lines) and one of judgments.
        topic_field: the part of a classic TREC topic that is the query: title, desc or narr.
        split: of all data sets; each set's usual one unless given.
        encoders: `bm25`, or models; without any encoder and collection it is what `Collection.create` takes by default,
            with its dense vectors in mode hybrid.
        collections: existing collections, by their directories or addresses; milvus: how those of Milvus are reached;
            tenant: whose documents are searched in them, where they have tenants.
        learned: how models run, of encoders and collections: settings that change no vectors.
        dense: a dense model, kept beside every encoder's index; "none" for none beside the default encoder.
        modes: how each encoder and collection is searched, a system each; unless given, encoders by their index alone,
            with `dense` in mode hybrid, and collections in mode auto.
        fusion: of hybrid searches.
        threads: for batches of queries.
        recall: search approximately, for this share of the exact hits.
        run: write the run there: a file for one part, a folder of `<data set>.<system>.trec` for several.
        json, per_query, report: write the figures as JSON, those of single queries (`.csv` or JSON
            Lines), the page.
    """

    work: Path
    datasets: tuple[str, ...] = ()
    queries: Path | None = None
    qrels: Path | None = None
    topic_field: str = "title"
    split: str | None = None
    encoders: tuple[str, ...] = ()
    collections: tuple[str | Path, ...] = ()
    milvus: MilvusSettings | None = None
    tenant: str | None = None
    learned: LearnedSettings | None = None
    dense: str | None = None
    modes: tuple[str, ...] = ()
    fusion: Fusion | None = None
    threads: int | None = None
    recall: float | None = None
    options: EvaluationOptions = field(default_factory=EvaluationOptions)
    comparison: ComparisonOptions = field(default_factory=ComparisonOptions)
    fetch: FetchOptions = field(default_factory=FetchOptions)
    run: Path | None = None
    json: Path | None = None
    per_query: Path | None = None
    report: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationOutcome:
    """An evaluation with what follows from it.

    Attributes:
        comparisons: for two systems or more: data set to comparison with the first system.
        hardest: the queries that all systems fail at; gathered when a report is written.
        written: the files that were written.
    """

    evaluation: Evaluation
    comparisons: dict[str, Comparison]
    hardest: tuple[HardQuery, ...]
    written: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all figures that a screen or a report shows, but those of single queries."""
        comparisons = {}
        for name, comparison in self.comparisons.items():
            comparisons[name] = comparison.to_json()
            del comparisons[name]["per_query"]
        return {
            **self.evaluation.to_json(),
            "comparisons": comparisons,
            "hardest": self.hardest,
        }


def run_evaluation(
    request: EvaluationRequest,
    *,
    progress: Progress | None = None,
    fetching: FetchProgress | None = None,
) -> EvaluationOutcome:
    """Open the data sets, evaluate the systems, compare them, write what was asked for.

    Raises:
        EvaluationError: see its subclasses.
        RetrievalError, EncoderError: a collection or an encoder cannot be used.
    """
    datasets = _open_datasets(request, fetching)
    workspace = Workspace(request.work)
    systems = _make_systems(request, workspace)
    try:
        evaluation = evaluate(datasets, systems, request.options, workspace=workspace, progress=progress)
        comparisons: dict[str, Comparison] = {}
        hardest: list[HardQuery] = []
        for dataset in evaluation.datasets:
            if len(systems) < 2 and request.report is None:
                continue
            lookup = _lookup(dataset, request, systems)
            if len(systems) > 1:
                comparisons[dataset.name] = _compare_part(evaluation, dataset, request.comparison, lookup)
            if request.report is not None:
                hardest += hardest_queries(evaluation, dataset, lookup=lookup)
    finally:
        for system in systems:
            system.close()
    outcome = EvaluationOutcome(evaluation, comparisons, tuple(hardest), ())
    return replace(outcome, written=tuple(_write(outcome, request)))


def _open_datasets(request: EvaluationRequest, fetching: FetchProgress | None) -> list[Dataset]:
    if (request.queries is None) != (request.qrels is None):
        raise DatasetError("queries and judgments go together", "Give both files (--queries and --qrels).")
    datasets = [
        dataset
        for name in request.datasets
        for dataset in open_dataset(name, split=request.split, options=request.fetch, progress=fetching)
    ]
    if request.queries is not None and request.qrels is not None:
        datasets.append(load_pair(request.queries, request.qrels, topic_field=request.topic_field))
    if not datasets:
        raise DatasetError("there is no data set to evaluate on", "Name a folder or a BEIR set, such as scifact.")
    return datasets


def _encoders(request: EvaluationRequest) -> tuple[tuple[str, ...], str | None]:
    """Return the encoders to evaluate, and the dense model beside each of them."""
    if request.encoders or request.collections:
        return request.encoders, None if request.dense == NO_DENSE else request.dense
    chosen = choose_encoders(None, request.dense)
    return (chosen.encoder,), chosen.dense


def _make_systems(request: EvaluationRequest, workspace: Workspace) -> list[EncoderSystem | CollectionSystem]:
    systems: list[EncoderSystem | CollectionSystem] = []
    names_in_use: set[str] = set()
    encoders, dense = _encoders(request)
    if request.tenant is not None and not request.collections:
        raise DatasetError("a tenant is named, and no collection", "Name the collection (--collection).")
    if dense is None and request.collections == () and {"dense", "hybrid"} & set(request.modes):
        raise _no_dense_model(request, encoders)
    modes = tuple(dict.fromkeys(request.modes))
    learned = [encoder for encoder in encoders if encoder != "bm25"]
    if "lexical" in modes and learned:
        raise DatasetError(
            f"mode lexical is for bm25, and {learned[0]} is a learned encoder", "Ask for mode sparse, which is both's."
        )
    for encoder in encoders:
        for mode in modes or ("sparse" if dense is None else "hybrid",):
            if mode == "dense" and any(one.mode == "dense" and isinstance(one, EncoderSystem) for one in systems):
                continue  # whatever the encoder beside it
            fusion = request.fusion if mode in ("auto", "hybrid") and dense is not None else None
            made: EncoderSystem | CollectionSystem = EncoderSystem(
                encoder,
                workspace,
                dense=dense,
                learned=request.learned,
                options=SearchOptions(mode, fusion, request.recall, request.threads),
            )
            made.name = _unused(made.name, f"{encoder} {mode}", names_in_use)
            systems.append(made)
    for path in request.collections:
        for mode in modes or ("auto",):
            fusion = request.fusion if mode == "hybrid" else None
            made = CollectionSystem(
                path,
                tenant=request.tenant,
                learned=request.learned,
                options=SearchOptions(mode, fusion, request.recall, request.threads),
                milvus=request.milvus,
            )
            made.name = _unused(made.name, f"{path} {mode}", names_in_use)
            systems.append(made)
    return systems


def _no_dense_model(request: EvaluationRequest, encoders: Sequence[str]) -> DatasetError:
    """Return the error of a mode that needs dense vectors, where an encoder is named and no dense model.

    An encoder that is named comes alone, as with `lexhound index`.
    """
    mode = next(mode for mode in request.modes if mode in ("dense", "hybrid"))
    own = None if request.dense == NO_DENSE else next(filter(makes_dense, encoders), None)
    hint = "Name it (--dense MODEL), or evaluate collections that have them (--collection)."
    if own is not None:
        hint = f"Say --dense {own} for those that {own} makes in the same pass, or leave --encoder out."
    return DatasetError(f"mode {mode} needs dense vectors, and no dense model is named", hint)


def _unused(name: str, longer: str, names_in_use: set[str]) -> str:
    """Return the short name, or the longer one where the short one is taken already."""
    chosen = longer if name in names_in_use else name
    names_in_use.add(chosen)
    return chosen


def _lookup(
    dataset: Dataset, request: EvaluationRequest, systems: Sequence[EncoderSystem | CollectionSystem]
) -> Lookup:
    """Return where the words of documents come from: the corpus, or else the first collection."""
    if dataset.corpus is not None:
        return corpus_lookup(dataset.corpus)
    system = systems[0]
    system.prepare(dataset)
    return system.texts


def corpus_lookup(corpus: Path, progress: OnStep | None = None) -> Lookup:
    """Find the words of documents by reading their corpus."""

    def lookup(document_ids: Any) -> dict[str, DocumentText]:
        return scan_corpus(corpus, document_ids, texts=True, progress=progress).texts

    return lookup


def _compare_part(evaluation: Evaluation, dataset: Dataset, options: ComparisonOptions, lookup: Lookup) -> Comparison:
    runs = [evaluation.part(dataset.name, system).run() for system in evaluation.systems]
    # All systems were asked all queries: one without an answer found nothing.
    settings = replace(options, measures=evaluation.measures, missing="zero")
    return compare(runs, dataset.qrels, settings, queries=dataset.queries, lookup=lookup)


def _write(outcome: EvaluationOutcome, request: EvaluationRequest) -> list[Path]:
    evaluation = outcome.evaluation
    written = []
    try:
        if request.run is not None:
            for part in evaluation.parts:
                name = f"{part.dataset}.{part.system}.trec".replace("/", "-")
                path = request.run if len(evaluation.parts) == 1 else request.run / name
                write_run(path, part.run())
                written.append(path)
        if request.per_query is not None:
            write_per_query(request.per_query, evaluation)
            written.append(request.per_query)
        if request.json is not None:
            write_bytes(request.json, to_json_bytes(outcome))
            written.append(request.json)
        if request.report is not None:
            from .report.page import render_evaluation

            page = render_evaluation(evaluation, outcome.comparisons, outcome.hardest)
            write_bytes(request.report, page.encode())
            written.append(request.report)
    except OSError as error:
        raise DatasetError(f"the results cannot be written: {error}", "Choose another place for them.") from error
    return written


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """Which runs to compare, and what to write.

    Attributes:
        runs: TREC run files, the baseline first.
        qrels: judgments of any known format.
        queries: for showing the changed queries: a file of queries. Found by itself where the judgments
            stand in a BEIR folder.
        corpus: for showing documents: a corpus file. Found by itself like the queries.
        json, report: write the figures as JSON, the page.
    """

    runs: tuple[Path, ...]
    qrels: Path
    queries: Path | None = None
    corpus: Path | None = None
    options: ComparisonOptions = field(default_factory=ComparisonOptions)
    json: Path | None = None
    report: Path | None = None


def run_comparison(request: ComparisonRequest, *, progress: OnStep | None = None) -> Comparison:
    """Read runs and judgments, compare, write what was asked for. `progress` is told of the stages.

    Raises:
        EvaluationError: see its subclasses.
    """
    broken = ProblemLog()
    judgments = read_qrels(request.qrels, broken)
    if not judgments.qrels:
        raise DatasetError(
            f"{request.qrels}: no judgments could be read ({broken.count:,} broken lines)", "Check the file."
        )
    queries_path, corpus = _beside(request)
    unread = ProblemLog()
    queries = None if queries_path is None else read_queries(queries_path, unread)
    lookup = None if corpus is None else corpus_lookup(corpus, progress)
    stage = Stage(progress, "reading runs", len(request.runs), "runs")
    read = []
    for path in request.runs:
        read.append(read_run(path))
        stage.add()
    runs = name_runs(read)
    comparison = compare(runs, judgments.qrels, request.options, queries=queries, lookup=lookup, progress=progress)
    notices = [
        f"{log.count:,} broken lines of the {what} left out; the first: {log.shown[0]}"
        for log, what in ((broken, "judgments"), (unread, "queries"))
        if log.count
    ]
    if judgments.repeated:
        notices.append(f"{judgments.repeated:,} pairs judged more than once (the last judgment counts)")
    comparison = replace(comparison, notices=(*comparison.notices, *notices))
    try:
        if request.json is not None:
            write_bytes(request.json, to_json_bytes(comparison))
        if request.report is not None:
            from .report.page import render_comparison

            write_bytes(request.report, render_comparison(comparison).encode())
    except OSError as error:
        raise DatasetError(f"the results cannot be written: {error}", "Choose another place for them.") from error
    return comparison


def _beside(request: ComparisonRequest) -> tuple[Path | None, Path | None]:
    """Return queries and corpus: as given, or those of the BEIR folder that the judgments stand in."""
    from lexhound.core.streams import find_compressed

    folder = request.qrels.resolve().parent
    if folder.name != "qrels":
        return request.queries, request.corpus
    return (
        request.queries or find_compressed(folder.parent / "queries.jsonl"),
        request.corpus or find_compressed(folder.parent / "corpus.jsonl"),
    )


def name_runs(runs: Sequence[Run]) -> list[Run]:
    """Return runs under names of their own: their tags, or where tags repeat, the names or the paths of their files."""
    for candidates in (
        [run.name for run in runs],
        [run.name if run.path is None else run.path.name for run in runs],
        [run.name if run.path is None else str(run.path) for run in runs],
    ):
        if len(set(candidates)) == len(candidates):
            return [replace(run, name=name) for run, name in zip(runs, candidates, strict=True)]
    return list(runs)
