"""Masked language models of BERT's form as sparse encoders, without torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector
from lexhound.encoders.runtime.activation import activated
from lexhound.encoders.runtime.batching import BatchSize
from lexhound.encoders.runtime.bert.config import BertConfig
from lexhound.encoders.runtime.bert.float32 import Float32Backbone
from lexhound.encoders.runtime.bert.model import open_masked_lm
from lexhound.encoders.runtime.device import threads
from lexhound.encoders.runtime.token_pooling import means_of, starts_of
from lexhound.encoders.text.subwords import Subwords

from .latent_terms import LatentTerms, read_fitting
from .layout import EncoderLayout
from .model_encoder import VocabularyEncoder
from .pruning import followed
from .settings import LearnedSettings
from .vocabulary_size import require_outputs

Floats = NDArray[np.float32]


class BertEncoder(VocabularyEncoder):
    """A masked language model of BERT's, RoBERTa's or DistilBERT's form.

    Where the layout names an autoencoder, the latents of a text's tokens follow its words, as terms from `words` on.

    Attributes:
        words: how many terms are words.
        in_integers: whether states are computed in 16-bit integers.

    Raises:
        CheckpointError: see `open_masked_lm` and `read_fitting`; or the tokenizer has more tokens than the head has
            outputs.
        SettingsError: the processor cannot run the model in the precision that is asked for.
    """

    def __init__(
        self, root: Path, subwords: Subwords, layout: EncoderLayout, settings: LearnedSettings, config: BertConfig
    ) -> None:
        self._model = open_masked_lm(root / layout.folder, config, settings.precision)
        self.words = self.vocabulary_size = len(self._model.decoder.weight)
        require_outputs(root, subwords, self.words)
        self.width = config.width
        self._pooling = settings.pooling or layout.pooling
        self._activation = settings.activation or layout.activation or "log1p_relu"
        super().__init__(subwords, layout, settings, model_limit=config.max_length)
        self.in_integers = not isinstance(self._model.backbone, Float32Backbone)
        self._latents: LatentTerms | None = None
        if layout.beside_words:
            autoencoder = read_fitting(root, layout, config.width)
            self.vocabulary_size += autoencoder.latents
            self._latents = LatentTerms(
                autoencoder, integers=self.in_integers, token_k=layout.token_k, most=layout.latent_terms,
                saturation=layout.saturation, weighed=False,
            )  # fmt: skip
        if self.in_integers:  # then vectors are the same to the bit in any batch
            self._batch_tokens = BatchSize(settings.batch_tokens)

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        rows, states = self.states(token_ids)
        return self._vectors_of(rows, states)

    def _encode_batch_with_states(self, token_ids: list[list[int]]) -> list[tuple[QueryVector, Floats, Floats]]:
        rows, states = self.states(token_ids)
        lengths = [len(row) for row in rows]
        apart = np.split(states, starts_of(lengths)[1:])
        return list(zip(self._vectors_of(rows, states), means_of(states, lengths), apart, strict=True))

    def states(self, token_ids: list[list[int]]) -> tuple[list[list[int]], Floats]:
        """Return the texts' tokens with special ones around them, and their states, one text after the other,
        float32[tokens, width]."""
        rows = [self._around(text_ids) for text_ids in token_ids]
        return rows, self._model.backbone.states(rows, threads())

    def _vectors_of(self, rows: list[list[int]], states: Floats) -> list[QueryVector]:
        vectors = self._pooled(states, [len(row) for row in rows])
        if self._latents is None:
            return vectors
        latents = self._latents.of(rows, states, self._subwords.special)
        return [followed(words, own, self.words) for words, own in zip(vectors, latents, strict=True)]

    def _pooled(self, states: Floats, lengths: list[int]) -> list[QueryVector]:
        head = self._model.head
        if self._pooling == "max":
            largest = head.largest(head.transform(states, lengths, threads()), lengths, threads())
            return [self._vector(terms, logits) for terms, logits in largest]
        if self._pooling == "cls":
            states, lengths = states[starts_of(lengths)], [1] * len(lengths)
        function = partial(activated, activation=self._activation)
        return self._sparse(head.sums(head.transform(states, lengths, threads()), lengths, function, threads()))

    def _vector(self, terms: NDArray[np.int32], logits: Floats) -> QueryVector:
        allowed = self._is_term[terms]
        return terms[allowed], activated(logits[allowed], self._activation)
