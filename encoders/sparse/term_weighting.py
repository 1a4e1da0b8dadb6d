"""Term-weighting models as sparse encoders: one weight for each token of a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.runtime.activation import activated
from lexhound.encoders.runtime.bert.config import BertConfig
from lexhound.encoders.runtime.bert.float32 import split_texts
from lexhound.encoders.runtime.bert.model import (
    StatesModel,
    config_without_torch,
    in_integers,
    multiplication,
    open_backbone,
    open_masked_lm,
)
from lexhound.encoders.runtime.device import threads
from lexhound.encoders.runtime.token_pooling import starts_of
from lexhound.encoders.text.subwords import Subwords

from .layout import EncoderLayout
from .model_encoder import ModelEncoder
from .regression_layers import read_regression_layers
from .settings import LearnedSettings

Floats = NDArray[np.float32]
FirstLogits = Callable[[Sequence[Sequence[int]]], Floats]


class TermWeightingEncoder(ModelEncoder):
    """One weight for each token of the text, no expansion but the one that is asked for.

    - uniCOIL: w = relu(v · h + b), largest over a token's occurrences (Lin & Ma, "A Few Brief Notes on DeepImpact,
      COIL, and a Conceptual Framework for Information Retrieval Techniques", 2021, section 3);
    - DeepImpact: w = relu(v · relu(W h + a) + b), first occurrence (Mallia et al., SIGIR 2021, section 3.2);
    - DeepCT: w = v · h + b, largest (Dai & Callan, 2019, section 3.1);
    - exp-MLP: any of them over the text and the terms that a masked language model's [CLS] finds likeliest (Zhuang &
      Zuccon, "Fast Passage Re-ranking with Contextualized Exact Term Matching and Efficient Passage Expansion", 2021).

    Raises:
        CheckpointError: see `open_backbone`, `open_masked_lm` and `read_regression_layers`; or the expansion's model
            has another vocabulary.
    """

    def __init__(self, root: Path, subwords: Subwords, layout: EncoderLayout, settings: LearnedSettings) -> None:
        folder = root / layout.folder
        config = config_without_torch(folder, settings.device, settings.precision)
        self._backbone, model_limit = _open(folder, config, settings)
        integers = config is not None and in_integers(folder, config, settings.precision)
        self._layers = [multiplication(layer, integers=integers) for layer in read_regression_layers(folder)]
        self._first_logits: FirstLogits | None = None
        if layout.expansion is not None:
            self._first_logits = _open_expansion(root / layout.expansion, settings, subwords.size)
        self.vocabulary_size = subwords.size
        super().__init__(subwords, layout, settings, model_limit=model_limit)
        self._terms_added = 0 if self._first_logits is None else min(layout.expansion_terms, self._room // 2)
        self._room -= self._terms_added

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        return self._sparse(self._weights(token_ids))

    def _weights(self, token_ids: list[list[int]]) -> Floats:
        """Return float32[len(token ids), vocabulary_size]: each text's weight of each term."""
        if self._first_logits is not None and self._terms_added:
            added = self._likeliest(self._first_logits, token_ids)
            token_ids = [[*text_ids, *more] for text_ids, more in zip(token_ids, added, strict=True)]
        rows = [self._around(text_ids) for text_ids in token_ids]
        states = split_texts(self._backbone.states(rows, threads()), [len(row) for row in rows])
        values = np.concatenate([self._values(part) for part in states])
        weights = activated(values, self._settings.activation or self._layout.activation or "relu")
        pooling = self._settings.pooling or self._layout.pooling
        pooled = np.zeros((len(rows), self.vocabulary_size), dtype=np.float32)
        places = np.repeat(np.arange(len(rows)), [len(row) for row in rows]), np.concatenate(rows)
        if pooling == "sum":
            np.add.at(pooled, places, weights)
        elif pooling == "first":
            _, firsts = np.unique(places[0] * self.vocabulary_size + places[1], return_index=True)
            pooled[places[0][firsts], places[1][firsts]] = weights[firsts]
        else:
            np.maximum.at(pooled, places, weights)
        return pooled

    def _values(self, states: Floats) -> Floats:
        """Return the raw weight of each of a text's tokens, float32[tokens]."""
        for number, multiplied in enumerate(self._layers):
            states = multiplied(np.maximum(states, 0) if number else states)
        return states[:, 0]

    def _likeliest(self, first_logits: FirstLogits, token_ids: list[list[int]]) -> list[list[int]]:
        """Return the ids of the terms that [CLS] finds likeliest and the text lacks, likeliest first."""
        rows = [self._around(text_ids) for text_ids in token_ids]
        logits = first_logits(rows)[:, : self.vocabulary_size]
        logits[:, ~self._is_term] = -np.inf
        likeliest = []
        for row, values in zip(rows, logits, strict=True):
            values[row] = -np.inf
            best = np.argsort(-values, kind="stable")[: self._terms_added]
            likeliest.append(best[np.isfinite(values[best])].tolist())
        return likeliest


def _open(folder: Path, config: BertConfig | None, settings: LearnedSettings) -> tuple[StatesModel, int | None]:
    """Return the transformer in `folder`, and the longest input that it takes."""
    if config is not None:
        return open_backbone(folder, config, settings.precision), config.max_length
    from lexhound.encoders.runtime.torch_backbone import open_torch_backbone

    backbone = open_torch_backbone(
        folder, settings.device, settings.precision, trust_remote_code=settings.trust_remote_code
    )
    return backbone, backbone.max_length


def _open_expansion(folder: Path, settings: LearnedSettings, vocabulary_size: int) -> FirstLogits:
    """Return what makes float32[texts, vocabulary] of token ids: the logits of each text's first token, [CLS]."""
    config = config_without_torch(folder, settings.device, settings.precision)
    if config is None:
        from lexhound.encoders.runtime.torch_backbone import open_torch_first_logits

        first_logits, outputs = open_torch_first_logits(
            folder, settings.device, settings.precision, trust_remote_code=settings.trust_remote_code
        )
    else:
        model = open_masked_lm(folder, config, settings.precision)
        outputs = len(model.decoder.weight)

        def first_logits(rows: Sequence[Sequence[int]]) -> Floats:
            states = model.backbone.states(rows, threads())[starts_of([len(row) for row in rows])]
            ones = [1] * len(rows)
            hidden = model.head.transform(states, ones, threads())
            return model.head.sums(hidden, ones, lambda logits: logits, threads())

    if outputs < vocabulary_size:
        raise CheckpointError(f"{folder}: its head is of another vocabulary", "Choose one with this tokenizer")
    return first_logits
