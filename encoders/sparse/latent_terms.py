"""Latent terms: latents of a text's tokens as the terms of an inverted index ("Latent Terms", arXiv 2605.29384, 2026).

Documents and queries run the same frozen model; `lexhound.encoders.latent.token_latents` has the formulas.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector
from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.latent.autoencoder import LatentActivations, read_autoencoder
from lexhound.encoders.latent.token_latents import summed_latents
from lexhound.encoders.runtime.backbone import Backbone
from lexhound.encoders.text.subwords import Subwords

from .layout import EncoderLayout
from .model_encoder import ModelEncoder
from .pruning import prune
from .settings import LearnedSettings


class LatentModel:
    """A transformer and the autoencoder of its tokens' states: what documents and queries have in common.

    Args:
        root: the encoder's folder; layout, settings: of either encoder.

    Raises:
        CheckpointError: see `Backbone` and `read_autoencoder`; or the autoencoder is of states of another width.
        SettingsError: the processor cannot run the model in the precision that is asked for.
    """

    def __init__(self, root: Path, layout: EncoderLayout, settings: LearnedSettings) -> None:
        self.backbone = Backbone(
            root / layout.folder, root, max_length=settings.max_length, device=settings.device,
            precision=settings.precision, stated=layout.max_length, lower_case=layout.lower_case,
        )  # fmt: skip
        folder = root / (layout.latents or "")
        self.autoencoder = read_autoencoder(folder)
        if self.autoencoder.weight.shape[1] != self.backbone.width:
            raise CheckpointError(
                f"{folder} is of states of {self.autoencoder.weight.shape[1]} values, and the model makes "
                f"{self.backbone.width}",
                "The two come from different models: bring them together again",
            )
        self.backbone.prepare()
        self.latents = LatentActivations(self.autoencoder, integers=self.backbone.states_precision() == "int16")


class LatentTermsEncoder(ModelEncoder):
    """The documents' or the queries' side of a `LatentModel`. Safe to call from several threads.

    Attributes:
        weights: float32[latents], their idf, which queries are weighed by; None where they are not.
        surface_match: None, as of a table without ratios.

    Raises:
        CheckpointError: latents are to be weighed by idf, and have none.
        SettingsError: a setting is for other encoders.
    """

    surface_match = None

    def __init__(
        self, model: LatentModel, subwords: Subwords, layout: EncoderLayout, settings: LearnedSettings, *, query: bool
    ) -> None:
        if settings.pooling is not None or settings.activation is not None:
            raise SettingsError("pooling and activation are for heads over a vocabulary", "Leave them out for latents")
        if layout.prior and model.autoencoder.idf is None:
            raise CheckpointError(f"{layout.latents} holds no idf of latents", "Leave prior out, or train them again")
        self._model = model
        self._k = layout.token_k or model.autoencoder.k
        self._most = (settings.query_top_k or layout.query_top_k) if query else (settings.top_k or layout.top_k)
        self.weights: Any = model.autoencoder.idf if layout.prior else None
        self.vocabulary_size = model.autoencoder.latents
        super().__init__(subwords, layout, settings, model_limit=model.backbone.limit)

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        rows = [self._around(text_ids) for text_ids in token_ids]
        states, own = self._model.backbone.states(rows), self._terms_among(rows)
        lengths = [int(each.sum()) for each in own]
        sums = summed_latents(self._model.latents, states[np.concatenate(own)], lengths, self._k)
        return [self._weighed(*prune(*vector, self._most, 0.0)) for vector in sums]

    def _terms_among(self, rows: list[list[int]]) -> list[NDArray[np.bool_]]:
        """Return which of the tokens that the model reads are no special ones."""
        special = self._subwords.special
        return [~special[np.array(row)] for row in rows]

    def _weighed(self, latents: NDArray[np.int32], frequencies: NDArray[np.float32]) -> QueryVector:
        if self._layout.saturation is not None:
            return latents, self._layout.saturation.weights(frequencies)
        if self.weights is None:
            return latents, frequencies
        weights = frequencies * self.weights[latents]
        return latents[weights > 0], weights[weights > 0]
