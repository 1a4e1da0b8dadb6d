"""`lexhound train` for sparse autoencoders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lexhound.serve.cli.output import tell
from lexhound.serve.cli.progress import State
from lexhound.serve.cli.training_run import Watcher, interruptible, read_data, tell_cut_sets, tell_texts

if TYPE_CHECKING:
    from lexhound.encoders.latent.autoencoder import Autoencoder
    from lexhound.eval.validation import ValidationSet
    from lexhound.training.data.pool import Pool
    from lexhound.training.latents.loop import TrainingVectors, Validate
    from lexhound.training.latents.recipe import LatentRecipe
    from lexhound.training.latents.vectors import FrozenModel
    from lexhound.training.loop import Outcome

_DESCRIBED = 2000  # documents that tell how rare latents are, and their words


def train_latents(recipe: LatentRecipe, folder: Path, threads: int, show: Callable[[State], None]) -> Outcome:
    """Train an autoencoder over a frozen model's vectors, or over its tokens' states, and write the encoder."""
    from lexhound.encoders.checkpoints.loading import require_neural

    # Whatever is wrong with the data is told before anything heavy is imported or computed.
    sets, pool = read_data(recipe, tell)
    require_neural()

    import torch

    from lexhound.eval.report.training import write_curves
    from lexhound.training.data.cut_texts import cut_notice
    from lexhound.training.latents.loop import LatentTrainer
    from lexhound.training.latents.vectors import FrozenModel

    if threads:
        torch.set_num_threads(threads)
    model = FrozenModel.of(recipe)
    reader = model.documents.reader
    notice = cut_notice(reader, pool.documents, "documents are", "model.max_length")
    if notice is not None:
        tell(notice)
    tell_cut_sets(sets, reader, "model.max_length", tell)
    run = (_tokens if recipe.latents.of == "tokens" else _texts)(recipe, model, pool, sets, folder / "vectors", show)
    trainer = LatentTrainer(run.training, recipe, folder, validate=run.validate, watcher=Watcher(show))
    with interruptible(tell) as stop:
        outcome = trainer.run(stop=stop.is_set)
    write_curves(folder / "log.jsonl", folder / "curves.html", recipe.name)
    if (folder / "encoder").exists():
        shutil.rmtree(folder / "encoder")
    run.write(trainer.frozen(), folder / "encoder")
    return outcome


class _Run:
    """What differs between kinds of latents.

    Attributes:
        training: what the autoencoder is trained on; validate: what measures it; write: what writes its encoder.
    """

    def __init__(
        self, training: TrainingVectors, validate: Validate | None, write: Callable[[Autoencoder, Path], object]
    ) -> None:
        self.training = training
        self.validate = validate
        self.write = write


def _texts(
    recipe: LatentRecipe, model: FrozenModel, pool: Pool, sets: list[ValidationSet], cache: Path,
    show: Callable[[State], None],
) -> _Run:  # fmt: skip
    """Latents of texts' vectors."""
    from lexhound.eval.validation import latent_validator
    from lexhound.training.latents.export import export_latents

    training = model.read(pool, cache, partial(tell_texts, show))
    validate = latent_validator(sets, model, recipe, cache) if sets else None

    def write(autoencoder: Autoencoder, folder: Path) -> None:
        export_latents(autoencoder, model.layout, recipe.model.max_length, folder)

    return _Run(training, validate, write)


def _tokens(
    recipe: LatentRecipe, model: FrozenModel, pool: Pool, sets: list[ValidationSet], cache: Path,
    show: Callable[[State], None],
) -> _Run:  # fmt: skip
    """Latents of tokens' states."""
    import numpy as np

    from lexhound.eval.validation import latent_terms_validator
    from lexhound.training.latents.description import described
    from lexhound.training.latents.export import export_beside_words, export_latent_terms, require_words

    if recipe.latents.words:
        require_words(model.layout.root)
    states = model.states([*pool.documents, *pool.queries], cache, partial(tell_texts, show, "texts"))
    tell(f"{len(states.states):,} token states, {states.states.nbytes / 1e9:.1f} GB in {cache}")
    validate = latent_terms_validator(sets, model, recipe, cache) if sets else None

    def write(autoencoder: Autoencoder, folder: Path) -> None:
        sample = states.sampled(np.random.default_rng(recipe.seed), _DESCRIBED, len(pool.documents))
        subwords = model.documents.encoder.backbone.subwords
        description = described(autoencoder, sample, subwords, recipe.latents.document_terms)
        if recipe.latents.words:
            export_beside_words(description, model.layout, recipe.latents, folder)
        else:
            export_latent_terms(description, model.layout, recipe.model.max_length, recipe.latents, folder)

    return _Run(states, validate, write)
