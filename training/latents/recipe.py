"""A recipe of latents: everything that training a sparse autoencoder does, as a TOML file of tables with fixed keys.

docs/training.md explains each key. A recipe with a table [latents] is one of these. This module needs no torch.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Strict
from pydantic.dataclasses import dataclass

from lexhound.training.recipe import DataRecipe, Flag, Number, Positive, Share, ValidationRecipe, Weight
from lexhound.training.recipe_folder import InFolder

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True, config=_CONFIG)
class LatentModelRecipe:
    """The frozen model whose vectors are taken apart.

    Attributes:
        start: folder or hub name of a sentence-embedding model.
        max_length: longest text in tokens.
    """

    start: str
    max_length: Annotated[int, Strict(), Field(ge=8)] = 256


@dataclass(frozen=True, slots=True, config=_CONFIG)
class LatentsRecipe:
    """The autoencoder.

    Attributes:
        count: how many latents there are.
        k: how many of them rebuild a vector. Of several numbers each is trained for (nested, as in Matryoshka
            representations: one training for several budgets); the largest is what texts keep.
        normalise: bring vectors to mean 0 and deviation 1 before the encoder, and back after the decoder.
        of: "texts", whose one vector becomes latents (CSR), or "tokens", whose states' latents are summed over a text.
        document_terms, query_terms: of tokens, how many latents a document and a query keep.
        words: of tokens, keep the words and expansions of the model, a sparse encoder, beside the latents.
        weight: of those, what a query's latents are multiplied by.
    """

    count: Annotated[int, Strict(), Field(ge=2)] = 4096
    k: Annotated[tuple[Positive, ...], Field(min_length=1)] = (8, 16, 32)
    normalise: Flag = False
    of: Literal["texts", "tokens"] = "texts"
    document_terms: Positive = 400
    query_terms: Positive = 64
    words: Flag = False
    weight: Number = 0.2


@dataclass(frozen=True, slots=True, config=_CONFIG)
class LatentLossRecipe:
    """Weights of the losses (Wen et al., "Beyond Matryoshka", ICML 2025, section 3).

    Attributes:
        wider: of rebuilding from four times as many latents.
        auxiliary: of rebuilding what is left over from latents that have died.
        auxiliary_k: how many dead latents that takes; dead_after: steps without a vector after which one is dead.
        contrast: of telling a query's own document from the others of the step by the dot product of their latents.
        scale: of those products.
    """

    wider: Weight = 0.125
    auxiliary: Weight = 0.1
    auxiliary_k: Positive = 512
    dead_after: Positive = 30
    contrast: Weight = 1.0
    scale: Number = 1.0


@dataclass(frozen=True, slots=True, config=_CONFIG)
class LatentOptimiserRecipe:
    """Steps and rates.

    Attributes:
        steps: how many.
        batch: queries a step, each with its document; documents alone where nothing has a query.
        rate: learning rate. warmup: share of the steps with a rising one; floor: share of it left at the end.
        clip: largest norm of a step's gradient.
    """

    steps: Positive = 1000
    batch: Annotated[int, Strict(), Field(ge=2)] = 256
    rate: Number = 1e-3
    warmup: Share = 0.05
    floor: Share = 0.1
    clip: Number = 5.0


@dataclass(frozen=True, slots=True, config=_CONFIG)
class LatentRecipe(InFolder):
    """A whole run. `folder` is where the recipe lies, from which its paths are read."""

    model: LatentModelRecipe
    latents: LatentsRecipe
    data: DataRecipe
    loss: LatentLossRecipe = field(default_factory=LatentLossRecipe)
    optimiser: LatentOptimiserRecipe = field(default_factory=LatentOptimiserRecipe)
    validation: ValidationRecipe = field(default_factory=ValidationRecipe)
    name: str = "latents"
    seed: Annotated[int, Strict()] = 1
    folder: str = "."

    @property
    def teachers(self) -> tuple[()]:
        """None: the frozen model is what is learned from."""
        return ()
