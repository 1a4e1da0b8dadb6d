"""`lexhound compare`: is the difference between runs real?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import Json
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import reporter, show

from .evaluate import print_differences

if TYPE_CHECKING:
    from lexhound.eval.comparison import ChangedQuery, Comparison


class Missing(StrEnum):
    """What to do with queries that not every run answers."""

    ERROR = "error"
    ZERO = "zero"
    COMMON = "common"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """Arguments and options of `lexhound compare`."""

    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="TREC run files, the baseline first.", show_default=False)
    ]
    qrels: Annotated[Path, typer.Option(metavar="FILE", help="The judgments.", show_default=False)]
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A measure as ir-measures writes it; changed queries go by the first. May be repeated.",
            show_default="nDCG@10, R@100, AP",
        ),
    ] = None
    every_pair: Annotated[
        bool,
        typer.Option(
            "--every-pair", help="Compare each run with each other, not only with the first.", show_default=False
        ),
    ] = False
    missing: Annotated[
        Missing,
        typer.Option(help="Queries that not every run answers: error, zero (they count 0), or common (drop them)."),
    ] = Missing.ERROR
    permutations: Annotated[int, typer.Option(help="Draws of the randomisation test, 10,000 or more.")] = 10_000
    resamples: Annotated[int, typer.Option(min=1, help="Draws of the bootstrap interval.")] = 10_000
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Confidence of the bootstrap interval.")] = 0.95
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 20
    changed: Annotated[int, typer.Option(min=0, help="How many of the most changed queries are shown.")] = 5
    shown: Annotated[int, typer.Option(min=1, help="How many documents of each ranking are shown for them.")] = 3
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Queries, to show their texts.", show_default="beside the judgments, in a BEIR folder"
        ),
    ] = None
    corpus: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Documents, to show titles.", show_default="beside the judgments, in a BEIR folder"
        ),
    ] = None
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page to look at (HTML).", show_default=False)
    ] = None
    json: Json = False


@with_options
def compare(options: CompareOptions) -> None:
    """Test whether runs differ by more than chance, and in which queries.

    Example:
        lexhound compare a.trec b.trec --qrels qrels/test.tsv
        lexhound compare base.trec x.trec y.trec --qrels test.tsv --measure AP
    """
    from lexhound.eval.commands import ComparisonRequest, run_comparison
    from lexhound.eval.comparison import ComparisonOptions

    output = Output(json=options.json)
    settings = ComparisonOptions(
        every_pair=options.every_pair,
        permutations=options.permutations,
        resamples=options.resamples,
        confidence=options.confidence,
        seed=options.seed,
        changed=options.changed,
        shown=options.shown,
        missing=options.missing.value,
        **({"measures": tuple(options.measure)} if options.measure else {}),
    )
    request = ComparisonRequest(
        tuple(options.runs), options.qrels, options.queries, options.corpus, settings, report=options.report
    )
    stopped = ("nothing was written", "the same command starts again")
    with stoppable(lambda: stopped), reporter("comparing") as progress:
        comparison = run_comparison(request, progress=show(progress.update))
    for notice in comparison.notices:
        tell(notice)
    if options.json:
        from lexhound.eval.serialise import to_json

        output.document(to_json(comparison))
    else:
        _print(output, comparison)
    if options.report is not None:
        tell(f"written: {options.report}")


def _print(output: Output, comparison: Comparison) -> None:
    from lexhound.eval.report.numbers import quality

    rows = [[run.name, *(quality(run.means[name]) for name in comparison.measures)] for run in comparison.runs]
    output.columns([f"{comparison.queries:,} queries", *comparison.measures], rows)
    output.line()
    print_differences(output, comparison)
    output.line("p-values are two-sided and corrected by Holm over the comparisons of a measure")
    if comparison.changed:
        output.line()
        output.line((f"most changed by {comparison.measures[0]}", "bold"))
    for entry in comparison.changed:
        _print_changed(output, entry)


def _print_changed(output: Output, entry: ChangedQuery) -> None:
    from lexhound.eval.report.numbers import quality, shorten, signed

    output.line(
        (f"{signed(entry.difference)}  ", "cyan"),
        (entry.query_id, "green"),
        f"  {shorten(entry.text or '', 120)}",
        indent=2,
    )
    for name, value, ranking in (
        (entry.baseline, entry.baseline_value, entry.baseline_ranking),
        (entry.system, entry.system_value, entry.system_ranking),
    ):
        output.line((f"{name} {quality(value)}", "dim"), indent=6)
        for document in ranking:
            judged = "?" if document.relevance is None else str(document.relevance)
            words = "" if document.text is None else shorten(document.text.title or document.text.text, 90)
            output.line(f"{document.rank:>2}. [{judged}] {document.id}  {words}".rstrip(), indent=8)
