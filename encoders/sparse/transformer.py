"""Encoders that run a model: texts into token ids, token ids into batches, batches into sparse vectors.

Policies:

- A text longer than the limit is cut, or encoded in windows that follow each other (`LearnedSettings.long_texts`).
- Special tokens are input, as they were in training, and the head is pooled over them too, but they never become terms.
- A text without a token of its own has an empty vector.
- A vector does not depend on the batch, its neighbours or the number of threads, up to rounding: in float32 weights
  differ by less than 1e-4; in 16-bit integers by less than 1e-2, and vectors keep a cosine of at least .9999 with those
  of float32; in bfloat16 one of at least .999. A term may come or go, or change places with another, only where weights
  are closer than that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector, ShareDone
from lexhound.encoders.checkpoints.loading import load_language_model, load_regression_model
from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.runtime.backbone import padded
from lexhound.encoders.runtime.batching import in_batches
from lexhound.encoders.runtime.device import wants_integers
from lexhound.encoders.runtime.pooling import activate, pooled
from lexhound.encoders.text.subwords import Subwords

from .layout import EncoderLayout
from .pruning import largest
from .settings import LearnedSettings

if TYPE_CHECKING:
    import torch

    from lexhound.encoders.runtime.int16.head import MaximumHead
    from lexhound.encoders.runtime.int16.layers import IntegerBackbone

_NO_LIMIT = 512  # where neither the tokenizer nor the model says one


class ModelEncoder(ABC):
    """The common part of language-model and term-weighting encoders. Safe to call from several threads.

    Attributes:
        vocabulary_size: length of the vectors.
        max_length: the longest input in tokens, special tokens included.
        tokens_encoded: how many tokens the model has read so far, special tokens included, padding left out.
    """

    vocabulary_size: int

    def __init__(
        self,
        subwords: Subwords,
        layout: EncoderLayout,
        settings: LearnedSettings,
        device: torch.device,
        *,
        model_limit: int | None,
        padding: int,
    ) -> None:
        limits = (settings.max_length, layout.max_length or subwords.max_length, model_limit)
        known = [limit for limit in limits if limit is not None]
        if len(known) == 1:
            known.append(_NO_LIMIT)
        self.max_length = min(known)
        self.tokens_encoded = 0
        self._subwords = subwords
        self._layout = layout
        self._settings = settings
        self._device = device
        self._padding = padding
        self._room = self.max_length - len(subwords.prefix) - len(subwords.suffix)
        if layout.echo:
            self._room //= 2
        if self._room < 1:
            raise SettingsError(f"max_length is {self.max_length}", "Special tokens alone are that many")

    def encode(self, texts: Sequence[str], progress: ShareDone | None = None) -> list[QueryVector]:
        """Return each text's term ids, int32 ascending, and float32 weights > 0."""
        prompt = self._layout.prompt
        owners: list[int] = []
        token_ids: list[list[int]] = []
        most = None if self._settings.long_texts == "windows" else self._room
        unprompted = self._subwords.ids_of(texts, most)
        prompted = self._subwords.ids_of([prompt + text for text in texts], most) if prompt else unprompted
        for number, ids in enumerate(prompted):
            if self._subwords.says_nothing(unprompted[number]):
                continue
            windows = range(0, len(ids), self._room) if self._settings.long_texts == "windows" else range(1)
            token_ids += [ids[start : start + self._room] for start in windows]
            owners += [number] * len(windows)
        empty = (np.empty(0, np.int32), np.empty(0, np.float32))
        windows_of: list[list[QueryVector]] = [[] for _ in texts]
        for owner, vector in zip(owners, self._vectors(token_ids, progress), strict=True):
            windows_of[owner].append(vector)
        merged = [largest(vectors) if len(vectors) > 1 else (vectors or [empty])[0] for vectors in windows_of]
        if self._layout.exact_terms is None:
            return merged
        ids_of_text: list[list[int]] = [[] for _ in texts]
        for owner, text_ids in zip(owners, token_ids, strict=True):
            ids_of_text[owner] += text_ids
        return [self._boosted(vector, ids) for vector, ids in zip(merged, ids_of_text, strict=True)]

    def _boosted(self, vector: QueryVector, ids: list[int]) -> QueryVector:
        """Add the BM25 boost of the text's exact terms, where the layout asks for it."""
        if self._layout.exact_terms is None:
            return vector
        token_ids = np.array(ids, np.int32)
        return self._layout.exact_terms.added(vector, token_ids[self._is_term[token_ids]])

    def encode_one(self, text: str) -> QueryVector:
        """Return one text's vector."""
        return self.encode([text])[0]

    def _vectors(self, token_ids: list[list[int]], progress: ShareDone | None) -> list[QueryVector]:
        import torch

        vectors: list[QueryVector | None] = [None] * len(token_ids)
        extra = len(self._subwords.prefix) + len(self._subwords.suffix)
        lengths = [len(text_ids) * (2 if self._layout.echo else 1) + extra for text_ids in token_ids]
        with torch.inference_mode():
            batches = in_batches(self._encode_batch, token_ids, lengths, self._settings.batch_tokens, progress)
            for positions, batch in batches:
                for position, vector in zip(positions, batch, strict=True):
                    vectors[position] = vector
                self.tokens_encoded += sum(lengths[position] for position in positions)
        return [vector for vector in vectors if vector is not None]

    @abstractmethod
    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        """Return each text's vector."""

    def _sparse(self, weights: torch.Tensor) -> list[QueryVector]:
        rows: NDArray[np.float32] = weights.float().cpu().numpy()
        rows[:, self._no_terms] = 0.0
        terms = [np.flatnonzero(row > 0).astype(np.int32) for row in rows]
        return [(ids, row[ids]) for ids, row in zip(terms, rows, strict=True)]

    @cached_property
    def _is_term(self) -> NDArray[np.bool_]:
        """False for special tokens, and for outputs that only pad the head to a round width."""
        terms = np.zeros(self.vocabulary_size, dtype=bool)
        terms[: self._subwords.size] = ~self._subwords.special
        return terms

    @cached_property
    def _no_terms(self) -> NDArray[np.int64]:
        return np.flatnonzero(~self._is_term)

    def _padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        return padded(rows, self._padding, self._device)

    def _around(self, inner: list[int]) -> list[int]:
        return [*self._subwords.prefix, *inner, *self._subwords.suffix]


class LanguageModelEncoder(ModelEncoder):
    """The head of a language model over the vocabulary: SPLADE, CLS-MLM, Mistral-SPLADE.

    Raises:
        CheckpointError: see `load_language_model`; or the tokenizer has more tokens than the head has outputs.
    """

    def __init__(
        self,
        root: Path,
        subwords: Subwords,
        layout: EncoderLayout,
        settings: LearnedSettings,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._model = load_language_model(
            root / layout.folder,
            device,
            dtype,
            causal=layout.echo,
            adapter=None if layout.adapter is None else root / layout.adapter,
            trust_remote_code=settings.trust_remote_code,
        )
        self.vocabulary_size = len(self._model.weight)
        if subwords.size > self.vocabulary_size:
            raise CheckpointError(
                f"{root}: the tokenizer has {subwords.size} tokens and the model's head {self.vocabulary_size} outputs",
                "The two come from different models: put the tokenizer that the model was trained with into the folder",
            )
        self._pooling = settings.pooling or layout.pooling
        self._activation = settings.activation or layout.activation or "log1p_relu"
        limit, padding = self._model.max_length, self._model.padding
        super().__init__(subwords, layout, settings, device, model_limit=limit, padding=padding)
        self._backbone, self._head = self._on_cpu(root, dtype)

    def _on_cpu(self, root: Path, dtype: torch.dtype) -> tuple[IntegerBackbone | None, MaximumHead | None]:
        """Return what takes the place of the model's backbone and of the head's product, where something faster
        does.
        """
        import torch

        from lexhound.encoders.runtime.int16.head import MaximumHead
        from lexhound.encoders.runtime.int16.kernels import available
        from lexhound.encoders.runtime.int16.layers import integer_backbone

        integers = wants_integers(self._settings.precision, self._device)
        backbone = head = None
        if self._device.type == "cpu" and dtype == torch.float32 and available():
            if integers and not self._layout.echo:
                backbone = integer_backbone(self._model.backbone, self._subwords.size)
            if self._pooling == "max":
                bias = None if self._model.bias is None else self._model.bias.numpy()
                head = MaximumHead(self._model.weight.numpy(), bias, whole=backbone is not None)
        if backbone is None and self._settings.precision == "int16":
            raise SettingsError(
                f"{root} cannot be run in 16-bit integers here",
                "That takes a CPU with AVX2, and a model of BERT's, RoBERTa's or DistilBERT's form: choose another",
            )
        return backbone, head

    def encode_with_means(
        self, texts: Sequence[str], progress: ShareDone | None = None
    ) -> tuple[list[QueryVector], NDArray[np.float32]]:
        """Return each text's vector, and the mean of its tokens' states, special ones included, float32[n, width].

        Both of one pass; texts are cut at the limit. A text without a token of its own has an empty vector, and zeros.
        """
        import torch

        ids_of_text = self._subwords.ids_of(list(texts), self._room)
        nonempty = [position for position, ids in enumerate(ids_of_text) if not self._subwords.says_nothing(ids)]
        token_ids = [ids_of_text[position][: self._room] for position in nonempty]
        lengths = [len(text_ids) + len(self._subwords.prefix) + len(self._subwords.suffix) for text_ids in token_ids]
        empty = (np.empty(0, np.int32), np.empty(0, np.float32))
        vectors: list[QueryVector] = [empty] * len(texts)
        means = np.zeros((len(texts), self.width), dtype=np.float32)

        def both(batch: list[list[int]]) -> list[tuple[QueryVector, NDArray[np.float32]]]:
            hidden, mask = self._hidden(batch)
            counted = mask.unsqueeze(-1)
            mean = ((hidden.float() * counted).sum(1) / counted.sum(1)).cpu().numpy()
            return list(zip(self._pooled(hidden, mask), mean, strict=True))

        with torch.inference_mode():
            for positions, batch in in_batches(both, token_ids, lengths, self._settings.batch_tokens, progress):
                for position, (vector, mean) in zip(positions, batch, strict=True):
                    means[nonempty[position]] = mean
                    vectors[nonempty[position]] = self._boosted(vector, token_ids[position])
                self.tokens_encoded += sum(lengths[position] for position in positions)
        return vectors, means

    @property
    def width(self) -> int:
        """Length of a token's state."""
        return int(self._model.weight.shape[1])

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        return self._pooled(*self._hidden(token_ids))

    def _hidden(self, token_ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return floating[n, longest, width] and the bool[n, longest] of what is pooled."""
        import torch

        rows = [self._around(text_ids * 2 if self._layout.echo else text_ids) for text_ids in token_ids]
        ids, mask = self._padded(rows)
        if self._backbone is not None:
            hidden = torch.zeros((*mask.shape, self._backbone.width))
            hidden[mask] = torch.from_numpy(self._backbone.states(rows, torch.get_num_threads()))
            return hidden, mask
        hidden = self._model.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        if self._layout.echo:  # only the second copy has seen the whole text
            for number, text_ids in enumerate(token_ids):
                start = len(self._subwords.prefix) + len(text_ids)
                mask[number, :start] = False
                mask[number, start + len(text_ids) :] = False
        return hidden, mask

    def _pooled(self, hidden: torch.Tensor, mask: torch.Tensor) -> list[QueryVector]:
        import torch

        hidden = self._model.transform(hidden)
        if self._head is not None:
            lengths = mask.sum(dim=1).tolist()
            vectors = self._head.largest(hidden[mask].numpy(), lengths, torch.get_num_threads())
            if vectors is not None:
                return [self._activated(terms, logits) for terms, logits in vectors]
        model, ways = self._model, {"pooling": self._pooling, "activation": self._activation}
        return self._sparse(pooled(hidden, mask, model.weight, model.bias, **ways))

    def _activated(self, terms: NDArray[np.int32], logits: NDArray[np.float32]) -> QueryVector:
        import torch

        allowed = self._is_term[terms]
        return terms[allowed], activate(torch.from_numpy(logits[allowed]), self._activation).numpy()


class TermWeightingEncoder(ModelEncoder):
    """One weight for each token of the text, no expansion but the one that is asked for.

    - uniCOIL: w = relu(v · h + b), largest over a token's occurrences (Lin & Ma, "A Few Brief Notes on DeepImpact,
      COIL, and a Conceptual Framework for Information Retrieval Techniques", 2021, section 3);
    - DeepImpact: w = relu(v · relu(W h + a) + b), first occurrence (Mallia et al., SIGIR 2021, section 3.2);
    - DeepCT: w = v · h + b, largest (Dai & Callan, 2019, section 3.1);
    - exp-MLP: any of them over the text and the terms that a masked language model's [CLS] finds likeliest (Zhuang &
      Zuccon, "Fast Passage Re-ranking with Contextualized Exact Term Matching and Efficient Passage Expansion", 2021).

    Raises:
        CheckpointError: see `load_regression_model`.
    """

    def __init__(
        self,
        root: Path,
        subwords: Subwords,
        layout: EncoderLayout,
        settings: LearnedSettings,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        trust = settings.trust_remote_code
        self._model = load_regression_model(root / layout.folder, device, dtype, trust_remote_code=trust)
        self._expander = None
        if layout.expansion is not None:
            folder = root / layout.expansion
            self._expander = load_language_model(folder, device, dtype, trust_remote_code=trust)
            if len(self._expander.weight) < subwords.size:
                raise CheckpointError(f"{folder}: its head is of another vocabulary", "Choose one with this tokenizer")
        self.vocabulary_size = subwords.size
        limit, padding = self._model.max_length, self._model.padding
        super().__init__(subwords, layout, settings, device, model_limit=limit, padding=padding)
        self._terms_added = 0 if self._expander is None else min(layout.expansion_terms, self._room // 2)
        self._room -= self._terms_added

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        return self._sparse(self._weights(token_ids))

    def _weights(self, token_ids: list[list[int]]) -> torch.Tensor:
        """Return float32[len(token ids), vocabulary_size]: each text's weight of each term."""
        import torch

        if self._expander is not None:
            token_ids = [
                text_ids + added for text_ids, added in zip(token_ids, self._likeliest(token_ids), strict=True)
            ]
        ids, mask = self._padded([self._around(text_ids) for text_ids in token_ids])
        values = self._model.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
        for number, (weight, bias) in enumerate(self._model.layers):
            values = torch.nn.functional.linear(values.relu() if number else values, weight, bias)
        pooling = self._settings.pooling or self._layout.pooling
        weights = activate(values.squeeze(-1), self._settings.activation or self._layout.activation or "relu") * mask
        rows = torch.zeros((len(ids), self.vocabulary_size), device=self._device)
        if pooling == "sum":
            return rows.scatter_add_(1, ids, weights)
        if pooling == "first":  # from the last to the first, so that the first one stays
            for position in range(ids.shape[1] - 1, -1, -1):
                rows_with_token = mask[:, position].nonzero().squeeze(1)
                rows[rows_with_token, ids[rows_with_token, position]] = weights[rows_with_token, position]
            return rows
        return rows.scatter_reduce_(1, ids, weights, reduce="amax")

    def _likeliest(self, token_ids: list[list[int]]) -> list[list[int]]:
        """Return the ids of the terms that [CLS] finds likeliest and the text lacks, likeliest first."""
        if self._expander is None or not self._terms_added:
            return [[] for _ in token_ids]
        import torch

        ids, mask = self._padded([self._around(text_ids) for text_ids in token_ids])
        hidden = self._expander.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state[:, :1]
        bias = self._expander.bias
        logits = torch.nn.functional.linear(self._expander.transform(hidden)[:, 0], self._expander.weight, bias).float()
        logits = logits[:, : self.vocabulary_size]
        logits[:, self._no_terms] = -torch.inf
        logits.scatter_(1, ids, -torch.inf)
        best = torch.sort(logits, dim=1, descending=True, stable=True)
        finite = best.values[:, : self._terms_added].isfinite()
        return [
            row[: int(count)].tolist()
            for row, count in zip(best.indices[:, : self._terms_added], finite.sum(dim=1), strict=True)
        ]
