"""The vectors that an autoencoder is trained on: what the frozen model makes of the texts of a pool, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.layout import DenseLayout
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.errors import CheckpointError
from lexhound.training.data.pool import Pool
from lexhound.training.teachers.models import DenseTeacher, TeacherSettings

from .loop import LatentTrainingSet
from .recipe import LatentRecipe
from .token_states import TokenStates, read_states

Progress = Callable[[str, int, int], None]
"""Told the stage, how many texts are done, and of how many."""


@dataclass(frozen=True, slots=True)
class FrozenModel:
    """The model of a recipe, as it reads documents and as it reads queries; vectors are of unit length.

    Attributes:
        layout: what its folder says.
    """

    layout: DenseLayout
    documents: DenseTeacher
    queries: DenseTeacher

    @classmethod
    def of(cls, recipe: LatentRecipe) -> FrozenModel:
        """Open the model that a recipe names.

        Raises:
            CheckpointError, MissingExtraError: as of `DenseTeacher`; or its vectors are made in a way that no
                autoencoder's folder can say.
        """
        name, length = recipe.model_path(recipe.model.start), recipe.model.max_length
        layout = DenseEncoder(name, DenseSettings(max_length=length)).layout
        for what, wrong in (("cuts vectors short", layout.dimensions), ("leaves prompts out", not layout.pool_prompt)):
            if wrong:
                raise CheckpointError(f"{name} {what}", "Latents are trained on whole vectors of prompt and text")
        if recipe.latents.of == "tokens" and (layout.document_prompt or layout.query_prompt):
            raise CheckpointError(
                f"{name} puts prompts before texts", "Latents of tokens are of models without prompts"
            )
        prompts = layout.document_prompt, layout.query_prompt
        return cls(layout, *(DenseTeacher(name, TeacherSettings(max_length=length, prompt=each)) for each in prompts))

    def read(self, pool: Pool, cache: Path, report: Progress) -> LatentTrainingSet:
        """Return the vectors of a pool's documents, and of the queries that have a document of their own.

        Args:
            cache: the folder in which vectors are kept.
        """
        own = np.array(pool.own, dtype=np.int64)
        paired = np.flatnonzero(own >= 0)
        queries = [pool.queries[number] for number in paired.tolist()]
        documents = self.documents.encode(pool.documents, cache=cache, progress=partial(report, "documents"))
        vectors = self.queries.encode(queries, cache=cache, progress=partial(report, "queries"))
        return LatentTrainingSet(documents, vectors, own[paired])

    def states(
        self, texts: Sequence[str], cache: Path, progress: Callable[[int, int], None] | None = None
    ) -> TokenStates:
        """Return the states of texts' tokens; of documents and queries alike.

        Args:
            cache: the folder in which states are kept.
        """
        backbone = self.documents.encoder.backbone
        return read_states(backbone, texts, backbone.limit, cache, progress)
