"""`lexhound train`: train or fine-tune an encoder by a recipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.learned_options import Device
from lexhound.serve.cli.options import Json
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import State, counted, reporter
from lexhound.serve.cli.training_run import Watcher, interruptible, read_data, tell_cut_sets, tell_texts
from lexhound.serve.errors import UsageError

from .latent_training import train_latents

if TYPE_CHECKING:
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
    from lexhound.training.latents.recipe import LatentRecipe
    from lexhound.training.recipe_file import read_recipe

    read = read_recipe(recipe, change or ())
    folder = into or Path(read.name)

    def say_stopped() -> tuple[str, str]:
        return f"what was done is kept in {folder}", "the same command goes on from there"

    distributed = _several()
    if distributed is not None and isinstance(read, LatentRecipe):
        raise UsageError("latents are trained by one process", "Start `lexhound train` without torchrun")
    if distributed is not None and not distributed.first and not isinstance(read, LatentRecipe):
        with stoppable(say_stopped):
            _train(read, folder, threads, device or "auto", lambda state: None, distributed)
        return
    with stoppable(say_stopped), reporter("reading the recipe's data") as progress:
        if isinstance(read, LatentRecipe):
            outcome = train_latents(read, folder, threads, progress.update)
        else:
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
    from lexhound.encoders.checkpoints.loading import require_neural

    # Whatever is wrong with the data is told before anything heavy is imported or computed.
    sets, pool = read_data(recipe, say)
    require_neural()

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
    report = partial(tell_texts, show)
    training = prepare(recipe, pool, model, folder / "teachers", report, device=device, say=say)
    tell_cut_sets(sets, model.reader(recipe.validation.max_length), "validation.max_length", say)
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
        watcher=Watcher(show),
        distributed=distributed,
    )
    with interruptible(say) as stop:
        outcome = trainer.run(stop=stop.is_set)
    leave(distributed)
    if distributed.first:
        _export(recipe, trainer, training.documents, folder, report)
    return outcome


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
    use = DocumentUse(
        recipe.exact_terms.boost,
        recipe.model.top_k or None,
        "mean" if recipe.model.dense or recipe.loss.hybrid else None,
    )
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


def _spread(documents: Any, count: int) -> list[Any]:
    step = max(1, len(documents) // count)
    return list(documents[::step][:count])


def _silent(text: str) -> None:
    """Say nothing, as all but the first of several processes."""
