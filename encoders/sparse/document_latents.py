"""Contrastive sparse representations: a text's dense vector as the few latents of an autoencoder (Wen et al., "Beyond
Matryoshka: Revisiting Sparse Coding for Adaptive Representation", ICML 2025, section 3).
"""

from __future__ import annotations

from pathlib import Path

from lexhound.encoders.base import QueryVector
from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.latent.autoencoder import LatentActivations, read_autoencoder
from lexhound.encoders.runtime.backbone import Backbone
from lexhound.encoders.runtime.token_pooling import pooled, unit
from lexhound.encoders.text.subwords import Subwords

from .layout import EncoderLayout
from .model_encoder import ModelEncoder
from .settings import LearnedSettings


class DocumentLatentsEncoder(ModelEncoder):
    """A transformer, the pooling of its tokens, and an autoencoder of the pooled vector. Safe for several threads.

    Raises:
        CheckpointError: see `Backbone` and `read_autoencoder`; or the autoencoder is of vectors of another width.
        SettingsError: the processor cannot run the model in the precision that is asked for, or a setting is for
            other encoders.
    """

    def __init__(self, root: Path, subwords: Subwords, layout: EncoderLayout, settings: LearnedSettings) -> None:
        if settings.pooling is not None or settings.activation is not None:
            raise SettingsError("pooling and activation are for heads over a vocabulary", "Leave them out for latents")
        backbone = Backbone(
            root / layout.folder,
            root,
            max_length=settings.max_length,
            device=settings.device,
            precision=settings.precision,
            stated=layout.max_length,
            lower_case=layout.lower_case,
        )
        folder = root / (layout.latents or "")
        autoencoder = read_autoencoder(folder)
        if autoencoder.weight.shape[1] != backbone.width:
            raise CheckpointError(
                f"{folder} is of vectors of {autoencoder.weight.shape[1]} values, and the model makes {backbone.width}",
                "The two come from different models: bring them together again",
            )
        backbone.prepare()
        self._backbone = backbone
        self._latents = LatentActivations(autoencoder, integers=backbone.states_precision() == "int16")
        self._most = layout.top_k or autoencoder.k
        self._pooling, self._unit = layout.pooling, layout.unit
        self.vocabulary_size = autoencoder.latents
        super().__init__(subwords, layout, settings, model_limit=backbone.limit)

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        rows = [self._around(text_ids) for text_ids in token_ids]
        vectors = pooled(self._backbone.states(rows), [len(row) for row in rows], self._pooling)
        return self._latents.largest(unit(vectors) if self._unit else vectors, self._most)
