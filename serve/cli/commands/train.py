"""`lexhound train`: train or fine-tune an encoder by a recipe."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.learned_options import Device
from lexhound.serve.cli.options import Json
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import State, counted, reporter

if TYPE_CHECKING:
    from lexhound.eval.validation import ValidationSet
    from lexhound.training.data.pool import Pool
    from lexhound.training.distributed import Distributed
    from lexhound.training.loop import Outcome, Trainer
    from lexhound.training.model import TrainableEncoder
    from lexhound.training.recipe import Recipe


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.", show_default=False)],
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder of the training run; the encoder is written into its folder `encoder`.",
            show_default="the recipe's name, here",
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe, such as optimiser.steps=2000."),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of a CPU; 0 for all cores.", show_default="all cores")
    ] = 0,
    device: Annotated[
        Device | None,
        typer.Option(help="Where to compute; auto: cuda or mps if available, otherwise the cpu.", show_default="auto"),
    ] = None,
    json: Json = False,
) -> None:
    """Train or fine-tune an encoder by a recipe.

    After an interruption, the same command continues where it stopped.

    Example:
        lexhound train recipe.toml
        lexhound train recipe.toml --into runs/a --set optimiser.steps=2000 --set sparsity.weight=0.05
        torchrun --nproc-per-node 2 -m lexhound train recipe.toml
    """
    from lexhound.training.recipe_file import read_recipe

    read = read_recipe(recipe, change or ())
    folder = into or Path(read.name)

    def say_stopped() -> tuple[str, str]:
        return f"what was done is kept in {folder}", "the same command goes on from there"

    distributed = _several()
    if distributed is not None and not distributed.first:
        with stoppable(say_stopped):
            _train(read, folder, threads, device or "auto", lambda state: None, distributed)
        return
    with stoppable(say_stopped), reporter("reading the recipe's data") as progress:
        outcome = _train(read, folder, threads, device or "auto", progress.update, distributed)
    if json:
        best = outcome.best if outcome.best == outcome.best else None
        Output(json=True).document(
            {
                "steps": outcome.steps,
                "best_step": outcome.best_step,
                "best": best,
                "run": str(folder),
                "encoder": str(folder / "encoder"),
            }
        )
        return
    note = f", the best at step {outcome.best_step} ({outcome.best:.4f})" if outcome.best == outcome.best else ""
    tell(f"{counted(outcome.steps, 'step')}{note} → {folder / 'encoder'}")
    tell(f"next: lexhound index corpus.jsonl --into my.index --encoder {folder / 'encoder'}")


def _several() -> Distributed | None:
    """Return this process among those that torchrun started; None where it is alone."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    from lexhound.training.distributed import distributed_from_environment

    distributed = distributed_from_environment()
    return distributed if distributed.size > 1 else None


def _train(
    recipe: Recipe,
    folder: Path,
    threads: int,
    device: str,
    show: Callable[[State], None],
    distributed: Distributed | None,
) -> Outcome:
    """Train; of several processes, the first does what need be done once, and the others wait for it."""
    if distributed is not None and not distributed.first:
        from lexhound.training.distributed import device_of, join

        join(distributed, device_of(device, distributed))
    say = tell if distributed is None or distributed.first else _silent
    # Whatever is wrong with the data is told before anything heavy is imported or computed.
    sets, pool = _read_data(recipe, say)

    import torch

    from lexhound.eval.validation import validator
    from lexhound.training.data.training_set import prepare
    from lexhound.training.distributed import Distributed, device_of, join, leave
    from lexhound.training.loop import Trainer

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    distributed = distributed or Distributed()
    target = device_of(device, distributed)
    model = _model(recipe).to(target)
    report = partial(_tell_texts, show)
    training = prepare(recipe, pool, model, folder / "teachers", report, device=device)
    if not model.has_head and distributed.first:  # whose weights all begin with
        _solve_head(recipe, model, training.documents, say)
    if distributed.first:
        join(distributed, target)
    trainer = Trainer(
        model,
        training,
        recipe,
        folder,
        validate=validator(sets, model, recipe) if sets else None,
        watcher=_Watcher(show),
        distributed=distributed,
    )
    with _interruptible(say) as stop:
        outcome = trainer.run(stop=stop.is_set)
    leave(distributed)
    if distributed.first:
        _export(recipe, trainer, training.documents, folder, report)
    return outcome


def _read_data(recipe: Recipe, say: Callable[[str], None]) -> tuple[list[ValidationSet], Pool]:
    from lexhound.eval.validation import open_validation_set
    from lexhound.training.data.pool import read_pool

    validation = recipe.validation
    sets = [
        open_validation_set(_set_path(recipe, name), validation.documents, validation.queries, recipe.seed)
        for name in validation.sets
    ]
    pool = read_pool(recipe)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in pool.counts().items())
    remainder = f"; {pool.left_out:,} left out" if pool.left_out else ""
    say(f"{counted(len(pool.documents))}, {len(pool.queries):,} queries ({kinds}){remainder}")
    return sets, pool


def _model(recipe: Recipe) -> TrainableEncoder:
    from lexhound.training.model import ModelSettings, TrainableEncoder

    settings = recipe.model
    return TrainableEncoder(
        ModelSettings(
            recipe.model_path(settings.start), settings.max_length, settings.activation, settings.frozen_layers
        )
    )


def _solve_head(recipe: Recipe, model: TrainableEncoder, documents: Sequence[Any], say: Callable[[str], None]) -> None:
    from lexhound.training.initialization import solve_head

    start = solve_head(
        model, _spread(documents, 1500), own=recipe.model.own, absent_quantile=recipe.model.absent_quantile
    )
    say(f"head solved in closed form: cosine {start.cosine:.3f}, own token first in {start.own_first:.0%}")


def _export(
    recipe: Recipe,
    trainer: Trainer,
    documents: Sequence[Any],
    folder: Path,
    report: Callable[[str, int, int], None],
) -> None:
    """Write the page of the run's curves, and the encoder in place of an earlier one."""
    from lexhound.eval.report.training import write_curves
    from lexhound.training.export import DocumentUse, export_encoder
    from lexhound.training.surface_match import measure_surface_match

    write_curves(folder / "log.jsonl", folder / "curves.html", recipe.name)
    encoder = folder / "encoder"
    if encoder.exists():
        import shutil

        shutil.rmtree(encoder)
    model = trainer.model
    use = DocumentUse(recipe.exact_terms.boost, recipe.model.top_k or None, "mean" if recipe.model.dense else None)
    ratios = None
    if recipe.query.surface_match:
        sample = _spread(documents, recipe.query.surface_match)
        ratios = measure_surface_match(
            model,
            sample,
            use.exact_terms,
            use.top_k,
            lambda done: report("measuring surface matches", done, len(sample)),
        )
    table = None if recipe.query.kind == "model" else trainer.table()
    export_encoder(model, table, encoder, query=recipe.query, surface_match=ratios, document=use)


def _tell_texts(show: Callable[[State], None], stage: str, done: int, total: int) -> None:
    show(State(stage, done, fraction=done / max(1, total), unit="texts"))


def _set_path(recipe: Recipe, name: str) -> str:
    folder, colon, split = name.rpartition(":")
    return f"{recipe.path(folder)}{colon}{split}" if recipe.path(folder).is_dir() else name


def _spread(documents: Any, count: int) -> list[Any]:
    step = max(1, len(documents) // count)
    return list(documents[::step][:count])


def _silent(text: str) -> None:
    """Say nothing, as all but the first of several processes."""


@contextmanager
def _interruptible(say: Callable[[str], None]) -> Iterator[Event]:
    """Turn the first Ctrl-C, or the first order to end, into a wish to stop: the step is finished and its state saved.
    The second one stops."""
    stop = Event()

    def ask(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, before[number])
        say("stopping after this step")

    # torchrun passes Ctrl-C on as an order to end.
    before = {int(number): signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Watcher:
    """The display of a run's course."""

    def __init__(self, show: Callable[[State], None]) -> None:
        self._show = show
        self._best = ""

    def step(self, record: dict[str, float], total: int) -> None:
        step = int(record["step"])
        figures = f"loss {record['loss']:.3f}, {record['active']:.0f} terms, FLOPS {record['flops']:.2f}{self._best}"
        self._show(State(f"training ({figures})", step, fraction=step / total, unit="steps"))

    def validated(self, step: int, measures: dict[str, float], best: bool) -> None:
        mean = sum(measures.values()) / len(measures)
        figures = ", ".join(f"{name} {value:.4f}" for name, value in measures.items())
        tell(f"step {step}: {figures}; mean {mean:.4f}{' (best)' if best else ''}")
        if best:
            self._best = f", best {mean:.4f}"

    def notice(self, message: str) -> None:
        tell(f"note: {message}")
