"""`lexhound eval`: systems on data sets, quality beside cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexhound.serve.cli.default_encoder import tell_default
from lexhound.serve.cli.dense_options import DenseWeight, FusionDepth, FusionOption, Mode, fusion_of
from lexhound.serve.cli.ingest_output import ingest_state
from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.learned_options import TrustRemoteCode, trusting
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import Json, Recall, as_text
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import State, reporter

if TYPE_CHECKING:
    from lexhound.eval.commands import EvaluationOutcome, EvaluationRequest
    from lexhound.eval.comparison import Comparison
    from lexhound.eval.cost import Cost
    from lexhound.eval.datasets.public import FetchProgress
    from lexhound.eval.evaluation import Progress
    from lexhound.eval.results import Evaluation

# Where the library keeps data sets and finished parts unless told otherwise.
_CACHE = "~/.cache/lexhound"
_STAGES = {
    "check": "checking the corpus",
    "prepare": "indexing",
    "search": "searching",
    "time": "timing",
    "measure": "measuring",
    "reuse": "reusing",
}
_UNITS = {"prepare": "documents", "search": "queries", "time": "queries"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """Arguments and options of `lexhound eval`."""

    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATASET",
            help="BEIR folders, files of judged queries, or names of BEIR sets such as scifact.",
            show_default=False,
        ),
    ] = None
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A system: bm25, or a checkpoint. May be repeated.",
            show_default="lexhound-mini with its dense vectors",
        ),
    ] = None
    collection: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR",
            help="A system: an existing collection, by its directory or address. May be repeated.",
            show_default=False,
        ),
    ] = None
    tenant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose documents are searched, of every --collection: for those that have tenants.",
            show_default=False,
        ),
    ] = None
    trust_remote_code: TrustRemoteCode = False
    dense: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A dense model; its vectors stand beside the index of every --encoder. none for none.",
            show_default=False,
        ),
    ] = None
    mode: Annotated[
        list[Mode] | None,
        typer.Option(
            help="A mode of search, each a system of its own. May be repeated.",
            show_default="hybrid where there are dense vectors, otherwise sparse",
        ),
    ] = None
    fusion: FusionOption = None
    dense_weight: DenseWeight = None
    fusion_depth: FusionDepth = None
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Instead of a data set: queries (TREC topics, TSV, CSV, JSON Lines).",
            show_default=False,
        ),
    ] = None
    qrels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --queries: their judgments.", show_default=False)
    ] = None
    topic_field: Annotated[
        str, typer.Option(metavar="NAME", help="The part of a TREC topic that is the query: title, desc or narr.")
    ] = "title"
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which judgments, such as dev.", show_default="test")
    ] = None
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A measure as ir-measures writes it, such as nDCG@10; the first is the main one. May be repeated.",
            show_default="the usual seven",
        ),
    ] = None
    depth: Annotated[int, typer.Option(help="How many documents are retrieved for each query.")] = 1000
    keep_identical: Annotated[
        bool,
        typer.Option(
            "--keep-identical", help="Keep a document whose id equals the query's in the ranking.", show_default=False
        ),
    ] = False
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that search all queries.", show_default="all cores")
    ] = None
    recall: Recall = None
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Write the TREC run: a file, or a folder for several runs.", show_default=False
        ),
    ] = None
    per_query: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the figures of single queries (.csv, otherwise JSON Lines).", show_default=False
        ),
    ] = None
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page to look at (HTML).", show_default=False)
    ] = None
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder of indexes and finished parts.", show_default=f"{_CACHE}/eval"),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder of BEIR sets.", show_default=f"{_CACHE}/beir"),
    ] = None
    offline: Annotated[
        bool, typer.Option("--offline", help="Never download: say what is missing.", show_default=False)
    ] = False
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do every part again, finished or not.", show_default=False)
    ] = False
    json: Json = False


@with_options
def evaluate(options: EvaluateOptions) -> None:
    """Measure quality and cost of systems on judged queries.

    After an interruption, the same command continues with the unfinished parts.

    Example:
        lexhound eval samples/cranfield
        lexhound eval scifact nfcorpus --encoder MODEL --report page.html
        lexhound eval my_folder --collection my.index --run my.trec
        lexhound eval my_folder --collection my.index --collection milvus://host:19530/my
        lexhound eval their_folder --collection shared.index --tenant acme
        lexhound eval scifact --dense MODEL --mode sparse --mode dense --mode hybrid
    """
    from lexhound.serve.errors import UsageError

    if not options.datasets and options.queries is None and options.qrels is None:
        raise UsageError(
            "there is no data set to evaluate on", hint="name a BEIR folder, or a BEIR set such as scifact"
        )
    if (options.queries is None) != (options.qrels is None):
        raise UsageError("queries and judgments go together", hint="give both --queries and --qrels")
    from lexhound.eval.commands import run_evaluation

    output = Output(json=options.json)
    request = _request(options)
    if not (request.encoders or request.collections):
        from lexhound.retrieval.collection.default_encoders import choose_encoders

        tell_default(choose_encoders(None, request.dense))
    stopped = (f"what was indexed and searched is kept in {request.work}", "the same command goes on from there")
    with stoppable(lambda: stopped), reporter("starting") as progress:
        outcome = run_evaluation(request, progress=_steps(progress.update), fetching=_fetching(progress.update))
    for notice in outcome.evaluation.notices():
        tell(notice)
    if options.json:
        from lexhound.eval.serialise import to_json

        output.document(to_json(outcome))
    else:
        _print(output, outcome)
    for path in outcome.written:
        tell(f"written: {path}")


def _request(options: EvaluateOptions) -> EvaluationRequest:
    """Return what the library is to evaluate."""
    from lexhound.eval.commands import EvaluationRequest
    from lexhound.eval.datasets.public import FetchOptions
    from lexhound.eval.evaluation import EvaluationOptions
    from lexhound.eval.measures import DEFAULT_MEASURES
    from lexhound.retrieval.collection.request import check_recall
    from lexhound.serve.engines import milvus_settings

    check_recall(options.recall)
    return EvaluationRequest(
        work=options.work or Path(_CACHE).expanduser() / "eval",
        datasets=tuple(options.datasets or ()),
        queries=options.queries,
        qrels=options.qrels,
        topic_field=options.topic_field,
        split=options.split,
        encoders=tuple(options.encoder or ()),
        collections=tuple(options.collection or ()),
        milvus=milvus_settings(),
        tenant=None if options.tenant is None else as_text(options.tenant),
        learned=trusting(options.trust_remote_code),
        dense=None if options.dense is None else as_text(options.dense),
        modes=tuple(each.value for each in options.mode or ()),
        fusion=fusion_of(options.fusion, options.dense_weight, options.fusion_depth),
        threads=options.threads,
        recall=options.recall,
        options=EvaluationOptions(
            measures=tuple(options.measure or DEFAULT_MEASURES),
            depth=options.depth,
            drop_identical=not options.keep_identical,
            reuse=not options.fresh,
        ),
        fetch=FetchOptions(offline=options.offline)
        if options.cache is None
        else FetchOptions(cache=options.cache, offline=options.offline),
        run=options.run,
        per_query=options.per_query,
        report=options.report,
    )


def _steps(update: Callable[[State], None]) -> Progress:
    def tell_step(step: object) -> None:
        from lexhound.eval.evaluation import Step

        if isinstance(step, Step):
            who = " ".join(name for name in (step.dataset, step.system) if name)
            if step.indexing is not None:
                update(ingest_state(step.indexing, f"{who}: {_STAGES[step.stage]}"))
                return
            fraction = step.done / step.total if step.total else None
            unit = _UNITS.get(step.stage, "")
            update(State(f"{who}: {_STAGES[step.stage]}", step.done if unit else 0, fraction=fraction, unit=unit))

    return tell_step


def _fetching(update: Callable[[State], None]) -> FetchProgress:
    verbs = {"download": "downloading", "check": "checking", "unpack": "unpacking"}

    def tell_bytes(what: str, name: str, done: int, total: int | None) -> None:
        fraction = min(done / total, 1.0) if total else None
        update(State(f"{verbs.get(what, what)} {name}", done // 1_000_000, fraction=fraction, unit="MB"))

    return tell_bytes


def _print(output: Output, outcome: EvaluationOutcome) -> None:
    evaluation = outcome.evaluation
    for dataset in evaluation.datasets:
        parts = [evaluation.part(dataset.name, system) for system in evaluation.systems]
        words = f"{dataset.report.queries:,} queries, {parts[0].cost.documents:,} documents"
        output.line((dataset.label, "bold"), f": {words}")
        _print_quality(
            output, evaluation, [(part.system, [part.mean(m) for m in evaluation.measures]) for part in parts]
        )
        output.line()
        _print_costs(output, [(part.system, part.cost) for part in parts])
        output.line()
        if dataset.name in outcome.comparisons:
            print_differences(output, outcome.comparisons[dataset.name])
            output.line()
    sets = evaluation.sets()
    means = [(f"mean over the {len(parts)} parts of {name}", name) for name, parts in sets.items() if len(parts) > 1]
    if len(sets) > 1:
        means.append((f"mean over {len(sets)} data sets", ""))
    for words, name in means:
        output.line((words, "bold"))
        rows = [
            (
                system,
                [
                    evaluation.set_mean(name, system, m) if name else evaluation.mean(system, m)
                    for m in evaluation.measures
                ],
            )
            for system in evaluation.systems
        ]
        _print_quality(output, evaluation, rows)
        output.line()
        _print_costs(output, [(system, evaluation.mean_cost(system, name or None)) for system in evaluation.systems])
        output.line()


def _print_quality(output: Output, evaluation: Evaluation, rows: Sequence[tuple[str, Sequence[float]]]) -> None:
    from lexhound.eval.report.numbers import quality

    head = ["quality", *evaluation.measures]
    output.columns(head, [[name, *map(quality, values)] for name, values in rows], indent=2)


def _print_costs(output: Output, rows: Sequence[tuple[str, Cost]]) -> None:
    from lexhound.eval.report.numbers import figure, megabytes, milliseconds

    head = ["cost", "dims/doc", "dims/query", "FLOPS", "queries/s", "p50 ms", "p99 ms", "index MB", "indexing s"]
    cells = [
        [
            name,
            figure(cost.document_dimensions),
            figure(cost.query_dimensions),
            figure(cost.flops, 3),
            figure(cost.queries_per_second, 0),
            milliseconds(cost.p50_ms),
            milliseconds(cost.p99_ms),
            megabytes(cost.index_bytes),
            figure(cost.encoding_seconds),
        ]
        for name, cost in rows
    ]
    output.columns(head, cells, indent=2)


def print_differences(output: Output, comparison: Comparison) -> None:
    """Print the differences of a comparison as a table: interval, p-values corrected by Holm, wins, ties, losses."""
    from lexhound.eval.report.numbers import p_value, signed

    pairs = dict.fromkeys((difference.system, difference.baseline) for difference in comparison.differences)
    for system, baseline in pairs:
        confidence = f"{comparison.options.confidence:.0%} interval"
        head = [f"{system} against {baseline}", "difference", confidence, "p (random.)", "p (t-test)", "+ = −"]
        rows = [
            [
                difference.measure,
                signed(difference.difference),
                f"{signed(difference.interval.low)} to {signed(difference.interval.high)}",
                p_value(difference.randomisation_holm),
                p_value(difference.t_test_holm),
                f"{difference.wins} {difference.ties} {difference.losses}",
            ]
            for difference in comparison.differences
            if (difference.system, difference.baseline) == (system, baseline)
        ]
        output.columns(head, rows, indent=2)
