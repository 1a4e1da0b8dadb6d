"""Latent terms: latents of a text's tokens as the terms of an inverted index ("Latent Terms", arXiv 2605.29384, 2026).

Alone (`LatentTermsEncoder`), or after the words of a vocabulary, as a term space of its own (`LatentTerms` in the
encoders of these). Documents and queries run the same frozen model; `lexhound.encoders.latent.token_latents` has the
formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector
from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.latent.autoencoder import Autoencoder, LatentActivations, read_autoencoder
from lexhound.encoders.latent.token_latents import LatentSaturation, summed_latents
from lexhound.encoders.runtime.backbone import Backbone
from lexhound.encoders.text.subwords import Subwords

from .layout import EncoderLayout
from .model_encoder import ModelEncoder
from .pruning import prune
from .settings import LearnedSettings


class LatentTerms:
    """The latents of texts' tokens, weighed as a document's or as a query's.

    Args:
        autoencoder: of tokens' states.
        integers: see `LatentActivations`.
        token_k: how many latents a token keeps; most: a text; None of both for what there is.
        saturation: of documents; weighed: whether latents are multiplied by their idf, as a query's are.

    Raises:
        CheckpointError: latents are to be weighed by idf, and have none.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        *,
        integers: bool,
        token_k: int | None,
        most: int | None,
        saturation: LatentSaturation | None,
        weighed: bool,
    ) -> None:
        if weighed and autoencoder.idf is None:
            raise CheckpointError("the autoencoder holds no idf of latents", "Leave prior out, or train them again")
        self.idf = autoencoder.idf if weighed else None
        self._latents = LatentActivations(autoencoder, integers=integers)
        self._token_k = token_k or autoencoder.k
        self._most = most
        self._saturation = saturation

    def of(
        self, rows: Sequence[Sequence[int]], states: NDArray[np.float32], special: NDArray[np.bool_]
    ) -> list[QueryVector]:
        """Return each text's latents, int32 ascending, and their weights, float32 above 0.

        Args:
            rows: the tokens of each text as the model read them; states: float32[tokens, width], theirs, the texts one
                after the other; special: bool[vocabulary], which tokens do not count.
        """
        own = [~special[np.array(row)] for row in rows]
        lengths = [int(each.sum()) for each in own]
        sums = summed_latents(self._latents, states[np.concatenate(own)], lengths, self._token_k)
        return [self._weighed(*prune(*vector, self._most, 0.0)) for vector in sums]

    def _weighed(self, latents: NDArray[np.int32], frequencies: NDArray[np.float32]) -> QueryVector:
        if self._saturation is not None:
            return latents, self._saturation.weights(frequencies)
        if self.idf is None:
            return latents, frequencies
        weights = frequencies * self.idf[latents]
        return latents[weights > 0], weights[weights > 0]


def read_fitting(root: Path, layout: EncoderLayout, width: int) -> Autoencoder:
    """Return the autoencoder that a layout names.

    Args:
        root: the encoder's folder; width: of the model's vectors.

    Raises:
        CheckpointError: see `read_autoencoder`; or it is of vectors of another width.
    """
    folder = root / (layout.latents or "")
    autoencoder = read_autoencoder(folder)
    if autoencoder.weight.shape[1] != width:
        raise CheckpointError(
            f"{folder} is of vectors of {autoencoder.weight.shape[1]} values, and the model makes {width}",
            "The two come from different models: bring them together again",
        )
    return autoencoder


class LatentModel:
    """A transformer and an autoencoder, of its tokens' states or of texts' vectors: what documents and queries have in
    common.

    Args:
        root: the encoder's folder; layout, settings: of either encoder.

    Raises:
        CheckpointError: see `Backbone` and `read_fitting`.
        SettingsError: the processor cannot run the model in the precision that is asked for.
    """

    def __init__(self, root: Path, layout: EncoderLayout, settings: LearnedSettings) -> None:
        self.backbone = Backbone(
            root / layout.folder, root, max_length=settings.max_length, device=settings.device,
            precision=settings.precision, stated=layout.max_length, lower_case=layout.lower_case,
        )  # fmt: skip
        self.autoencoder = read_fitting(root, layout, self.backbone.width)
        self.backbone.prepare()
        self.in_integers = self.backbone.states_precision() == "int16"

    def activations(self) -> LatentActivations:
        """Return what computes latents, in the precision of the transformer."""
        return LatentActivations(self.autoencoder, integers=self.in_integers)


class LatentTermsEncoder(ModelEncoder):
    """The documents' or the queries' side of a `LatentModel`. Safe to call from several threads.

    Attributes:
        weights: float32[latents], their idf, which queries are weighed by; None where they are not.
        surface_match: None, as of a table without ratios.

    Raises:
        CheckpointError: as of `LatentTerms`.
        SettingsError: a setting is for other encoders.
    """

    surface_match = None

    def __init__(
        self, model: LatentModel, subwords: Subwords, layout: EncoderLayout, settings: LearnedSettings, *, query: bool
    ) -> None:
        if settings.pooling is not None or settings.activation is not None:
            raise SettingsError("pooling and activation are for heads over a vocabulary", "Leave them out for latents")
        self._backbone = model.backbone
        self._terms = LatentTerms(
            model.autoencoder,
            integers=model.in_integers,
            token_k=layout.token_k,
            most=(settings.query_top_k or layout.query_top_k) if query else (settings.top_k or layout.top_k),
            saturation=layout.saturation,
            weighed=layout.prior > 0,
        )
        self.weights = self._terms.idf
        self.vocabulary_size = model.autoencoder.latents
        super().__init__(subwords, layout, settings, model_limit=model.backbone.limit)

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        rows = [self._around(text_ids) for text_ids in token_ids]
        return self._terms.of(rows, self._backbone.states(rows), self._subwords.special)
