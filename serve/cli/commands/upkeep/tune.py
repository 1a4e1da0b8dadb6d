"""`lexhound tune-fusion`: which fusion suits a collection, learned on judged queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from lexhound.serve.cli.dense_options import FusionDepth, Method
from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.learned_options import StoredTrust, trusting
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import Directory, Json
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import reporter, show

if TYPE_CHECKING:
    from lexhound.eval.tuning import Tuning
    from lexhound.retrieval.collection.request import Fusion


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneFusionOptions:
    """Arguments and options of `lexhound tune-fusion`."""

    directory: Directory
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="Judged queries over the collection's documents: a BEIR folder, a file of judged queries, or the name"
            " of a BEIR set.",
            show_default=False,
        ),
    ]
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Which judgments: such as train or dev, never those you report.")
    ] = "train"
    measure: Annotated[str, typer.Option(metavar="NAME", help="The measure to maximise, as ir-measures writes it.")] = (
        "nDCG@10"
    )
    method: Annotated[
        list[Method] | None,
        typer.Option(help="A method to try. May be repeated.", show_default="all"),
    ] = None
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 20
    fusion_depth: FusionDepth = None
    keep_identical: Annotated[
        bool,
        typer.Option(
            "--keep-identical", help="Keep a document whose id equals the query's in the ranking.", show_default=False
        ),
    ] = False
    save: Annotated[
        bool,
        typer.Option(
            "--save",
            help="Store the choice in the collection, for hybrid searches that name no fusion.",
            show_default=False,
        ),
    ] = False
    trust_remote_code: StoredTrust = False
    json: Json = False


@with_options
def tune_fusion(options: TuneFusionOptions) -> None:
    """Choose the fusion of a collection's hybrid searches by judged queries.

    Cross-validation measures each setting on queries that had no part in choosing it.

    Example:
        lexhound tune-fusion my.index my_folder --split train
        lexhound tune-fusion my.index my_folder --split dev --save
    """
    from lexhound.eval.datasets import open_dataset
    from lexhound.eval.errors import TuningError
    from lexhound.eval.tuning import TuningOptions
    from lexhound.eval.tuning import tune_fusion as tune
    from lexhound.retrieval.collection.collection import Collection

    output = Output(json=options.json)
    default = TuningOptions()
    settings = TuningOptions(
        measure=options.measure,
        methods=tuple(each.value for each in options.method) if options.method else default.methods,
        depth=default.depth if options.fusion_depth is None else options.fusion_depth,
        folds=options.folds,
        seed=options.seed,
        drop_identical=not options.keep_identical,
    )
    directory, learned = options.directory, trusting(options.trust_remote_code)
    with (
        stoppable(lambda: ("the collection is as it was", "the same command starts again")),
        Collection.open(directory, writable=options.save, learned=learned) as collection,
        reporter("reading") as progress,
    ):
        datasets = open_dataset(options.dataset, split=options.split)
        if len(datasets) != 1:
            raise TuningError(
                f"{options.dataset} is {len(datasets)} data sets, over as many corpora", "Name one of them."
            )
        tuning = tune(collection, datasets[0], settings, show(progress.update))
        if options.save and tuning.gained:
            collection.keep_fusion(tuning.chosen)
    if options.json:
        from lexhound.eval.serialise import to_json

        output.document(to_json(tuning) | {"gained": tuning.gained, "saved": options.save and tuning.gained})
        return
    _print(output, tuning, datasets[0].label)
    if options.save:
        tell(f"{directory}: {'keeps it from now on' if tuning.gained else 'is as it was'}")


def _print(output: Output, tuning: Tuning, label: str) -> None:
    from lexhound.eval.report.numbers import p_value, quality

    head = [f"{label}, {tuning.queries:,} queries", tuning.measure, f"in {tuning.folds} folds"]
    rows = [
        ["sparse alone", quality(tuning.sparse), ""],
        ["dense alone", quality(tuning.dense), ""],
        [f"so far: {_words(tuning.present)}", quality(tuning.present_mean), quality(tuning.present_mean)],
        *([_words(each.fusion), quality(each.mean), quality(each.cross_validated)] for each in tuning.methods),
    ]
    output.columns(head, rows)
    output.line()
    output.line(
        f"the best, {_words(tuning.best.fusion)}, judged in folds against the one so far: better in {tuning.better:,}"
        f" queries, the same in {tuning.same:,}, worse in {tuning.worse:,}; p {p_value(tuning.p)}"
    )
    if tuning.gained:
        chosen = tuning.chosen
        words = f"--fusion {chosen.method} --dense-weight {chosen.dense_weight:g}"
        if chosen.method == "rrf":
            words += f" (rank_constant {chosen.rank_constant:g}: over REST, from Python, or kept by --save)"
        output.line(("chosen: ", "bold"), words)
    else:
        output.line(("chosen: ", "bold"), "the one so far; nothing is better on queries that did not choose it")


def _words(fusion: Fusion) -> str:
    constant = f", rank constant {fusion.rank_constant:g}" if fusion.method == "rrf" else ""
    return f"{fusion.method}, dense weight {fusion.dense_weight:g}{constant}"
