"""What the kinds of training have in common on the command line: reading, progress, stopping."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from .output import tell
from .progress import State, counted

_DESCRIBED = 2000  # documents that tell how rare latents are, and their words

if TYPE_CHECKING:
    from lexhound.encoders.text.token_reader import TokenReader
    from lexhound.eval.validation import ValidationSet
    from lexhound.training.data.pool import Pool
    from lexhound.training.latents.recipe import LatentRecipe
    from lexhound.training.loop import Outcome
    from lexhound.training.recipe import Recipe


def read_data(recipe: Recipe | LatentRecipe, say: Callable[[str], None]) -> tuple[list[ValidationSet], Pool]:
    """Return the judged sets and the texts of a recipe."""
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


def tell_cut_sets(sets: Sequence[ValidationSet], reader: TokenReader, setting: str, say: Callable[[str], None]) -> None:
    """Tell how many documents of judged sets are longer than is read of them."""
    from lexhound.training.data.cut_texts import cut_notice

    for each in sets:
        notice = cut_notice(reader, each.documents, f"documents of {each.name} are", setting)
        if notice is not None:
            say(notice)


def tell_texts(show: Callable[[State], None], stage: str, done: int, total: int) -> None:
    """Show how many texts of a stage are done."""
    show(State(stage, done, fraction=done / max(1, total), unit="texts"))


def _set_path(recipe: Recipe | LatentRecipe, name: str) -> str:
    folder, colon, split = name.rpartition(":")
    return f"{recipe.path(folder)}{colon}{split}" if recipe.path(folder).is_dir() else name


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Event]:
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


class Watcher:
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


def train_latents(recipe: LatentRecipe, folder: Path, threads: int, show: Callable[[State], None]) -> Outcome:
    """Train an autoencoder over a frozen model's vectors, and write the encoder."""
    # Whatever is wrong with the data is told before anything heavy is imported or computed.
    sets, pool = read_data(recipe, tell)

    import numpy as np
    import torch

    from lexhound.eval.report.training import write_curves
    from lexhound.eval.validation import latent_terms_validator, latent_validator
    from lexhound.training.data.cut_texts import cut_notice
    from lexhound.training.latents.description import described
    from lexhound.training.latents.export import export_latent_terms, export_latents
    from lexhound.training.latents.loop import LatentTrainer, TrainingVectors
    from lexhound.training.latents.vectors import FrozenModel

    if threads:
        torch.set_num_threads(threads)
    model, cache = FrozenModel.of(recipe), folder / "vectors"
    reader = model.documents.reader
    notice = cut_notice(reader, pool.documents, "documents are", "model.max_length")
    if notice is not None:
        tell(notice)
    tell_cut_sets(sets, reader, "model.max_length", tell)
    tokens = recipe.latents.of == "tokens"
    if tokens:
        texts = [*pool.documents, *pool.queries]
        states = model.states(texts, cache, partial(tell_texts, show, "texts"))
        tell(f"{len(states.states):,} token states, {states.states.nbytes / 1e9:.1f} GB in {cache}")
        trainer_data: TrainingVectors = states
        validator = latent_terms_validator
    else:
        trainer_data, validator = model.read(pool, cache, partial(tell_texts, show)), latent_validator
    validate = validator(sets, model, recipe, cache) if sets else None
    trainer = LatentTrainer(trainer_data, recipe, folder, validate=validate, watcher=Watcher(show))
    with interruptible(tell) as stop:
        outcome = trainer.run(stop=stop.is_set)
    write_curves(folder / "log.jsonl", folder / "curves.html", recipe.name)
    encoder = folder / "encoder"
    if encoder.exists():
        shutil.rmtree(encoder)
    if tokens:
        sample = states.sampled(np.random.default_rng(recipe.seed), _DESCRIBED, len(pool.documents))
        subwords = model.documents.encoder.backbone.subwords
        description = described(trainer.frozen(), sample, subwords, recipe.latents.document_terms)
        export_latent_terms(description, model.layout, recipe.model.max_length, recipe.latents, encoder)
    else:
        export_latents(trainer.frozen(), model.layout, recipe.model.max_length, encoder)
    return outcome
