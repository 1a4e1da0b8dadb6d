"""Contrastive sparse representations: a text's dense vector as the few latents of an autoencoder (Wen et al., "Beyond
Matryoshka: Revisiting Sparse Coding for Adaptive Representation", ICML 2025, section 3).
"""

from __future__ import annotations

from lexhound.encoders.base import QueryVector
from lexhound.encoders.errors import SettingsError
from lexhound.encoders.runtime.token_pooling import pooled, unit
from lexhound.encoders.text.subwords import Subwords

from .latent_terms import LatentModel
from .layout import EncoderLayout
from .model_encoder import ModelEncoder
from .settings import LearnedSettings


class DocumentLatentsEncoder(ModelEncoder):
    """A transformer, the pooling of its tokens, and an autoencoder of the pooled vector. Safe for several threads.

    Raises:
        SettingsError: a setting is for other encoders.
    """

    def __init__(
        self, model: LatentModel, subwords: Subwords, layout: EncoderLayout, settings: LearnedSettings
    ) -> None:
        if settings.pooling is not None or settings.activation is not None:
            raise SettingsError("pooling and activation are for heads over a vocabulary", "Leave them out for latents")
        self._backbone = model.backbone
        self._latents = model.activations()
        self._most = layout.top_k or model.autoencoder.k
        self._pooling, self._unit = layout.pooling, layout.unit
        self.vocabulary_size = model.autoencoder.latents
        super().__init__(subwords, layout, settings, model_limit=model.backbone.limit)

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        rows = [self._around(text_ids) for text_ids in token_ids]
        vectors = pooled(self._backbone.states(rows), [len(row) for row in rows], self._pooling)
        return self._latents.largest(unit(vectors) if self._unit else vectors, self._most)
