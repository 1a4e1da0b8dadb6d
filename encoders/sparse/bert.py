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

from .layout import EncoderLayout
from .model_encoder import VocabularyEncoder
from .settings import LearnedSettings
from .vocabulary_size import require_outputs

Floats = NDArray[np.float32]


class BertEncoder(VocabularyEncoder):
    """A masked language model of BERT's, RoBERTa's or DistilBERT's form.

    Raises:
        CheckpointError: see `open_masked_lm`; or the tokenizer has more tokens than the head has outputs.
        SettingsError: the processor cannot run the model in the precision that is asked for.
    """

    def __init__(
        self, root: Path, subwords: Subwords, layout: EncoderLayout, settings: LearnedSettings, config: BertConfig
    ) -> None:
        self._model = open_masked_lm(root / layout.folder, config, settings.precision)
        self.vocabulary_size = len(self._model.decoder.weight)
        require_outputs(root, subwords, self.vocabulary_size)
        self.width = config.width
        self._pooling = settings.pooling or layout.pooling
        self._activation = settings.activation or layout.activation or "log1p_relu"
        super().__init__(subwords, layout, settings, model_limit=config.max_length)
        if not isinstance(self._model.backbone, Float32Backbone):  # then vectors are the same to the bit in any batch
            self._batch_tokens = BatchSize(settings.batch_tokens)

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        states, lengths = self._states(token_ids)
        return self._pooled(states, lengths)

    def _encode_batch_with_states(self, token_ids: list[list[int]]) -> list[tuple[QueryVector, Floats, Floats]]:
        states, lengths = self._states(token_ids)
        apart = np.split(states, starts_of(lengths)[1:])
        return list(zip(self._pooled(states, lengths), means_of(states, lengths), apart, strict=True))

    def _states(self, token_ids: list[list[int]]) -> tuple[Floats, list[int]]:
        """Return float32[tokens, width], one text after the other, and the texts' lengths."""
        rows = [self._around(text_ids) for text_ids in token_ids]
        return self._model.backbone.states(rows, threads()), [len(row) for row in rows]

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
