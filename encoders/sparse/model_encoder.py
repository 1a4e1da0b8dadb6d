"""Encoders that run a model: texts into token ids, token ids into batches, batches into sparse vectors.

Policies:

- A text longer than the limit is cut, or encoded in windows that follow each other (`LearnedSettings.long_texts`).
- Special tokens are input, as they were in training, and the head is pooled over them too, but they never become terms.
- A text without a token of its own has an empty vector.
- A vector does not depend on the batch, its neighbours or the number of threads: in 16-bit integers not in a bit, and
  otherwise up to rounding. In float32 weights differ by less than 1e-4. In 16-bit integers they differ from those of
  float32 by less than 1e-2, and vectors keep a cosine of at least .9999; in bfloat16 one of at least .999. A term may
  come or go, or change places with another, only where weights are closer than that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector, ShareDone
from lexhound.encoders.errors import SettingsError
from lexhound.encoders.runtime.batching import BatchSize, in_batches
from lexhound.encoders.text.subwords import Subwords
from lexhound.encoders.text.token_reader import TokenReader

from .layout import EncoderLayout
from .pruning import largest
from .settings import LearnedSettings

Result = TypeVar("Result")
Kept = TypeVar("Kept")

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
        *,
        model_limit: int | None,
    ) -> None:
        limits = (settings.max_length, layout.max_length or subwords.max_length, model_limit)
        known = [limit for limit in limits if limit is not None]
        if len(known) == 1:
            known.append(_NO_LIMIT)
        self.max_length = min(known)
        self.tokens_encoded = 0
        self._batch_tokens: int | BatchSize = settings.batch_tokens
        self._subwords = subwords
        self._layout = layout
        self._settings = settings
        self._room = self.max_length - len(subwords.prefix) - len(subwords.suffix)
        if layout.echo:
            self._room //= 2
        if self._room < 1:
            raise SettingsError(f"max_length is {self.max_length}", "Special tokens alone are that many")

    @cached_property
    def reader(self) -> TokenReader:
        """How it reads a text."""
        around = len(self._subwords.prefix) + len(self._subwords.suffix)
        prompt = len(self._subwords.ids(self._layout.prompt)) if self._layout.prompt else 0
        room = None if self._settings.long_texts == "windows" else self._room - prompt
        return TokenReader(self._subwords, room, around + prompt)

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
        vectors = self._in_batches(self._encode_batch, token_ids, progress)
        return [vectors[position] for position in range(len(token_ids))]

    def _in_batches(
        self,
        encode: Callable[[list[list[int]]], list[Result]],
        token_ids: list[list[int]],
        progress: ShareDone | None,
    ) -> dict[int, Result]:
        """Return what `encode` makes of each text, by its position; texts of like length go together."""
        results: dict[int, Result] = {}
        extra = len(self._subwords.prefix) + len(self._subwords.suffix)
        lengths = [len(text_ids) * (2 if self._layout.echo else 1) + extra for text_ids in token_ids]
        with self._inference():
            batches = in_batches(encode, token_ids, lengths, self._batch_tokens, progress)
            for positions, batch in batches:
                results.update(zip(positions, batch, strict=True))
                self.tokens_encoded += sum(lengths[position] for position in positions)
        return results

    def _inference(self) -> AbstractContextManager[object]:
        """Return what surrounds the model's work."""
        return nullcontext()

    @abstractmethod
    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        """Return each text's vector."""

    def _sparse(self, rows: NDArray[np.float32]) -> list[QueryVector]:
        """Return the vectors of float32[texts, vocabulary_size], which is written to."""
        rows[:, ~self._is_term[: rows.shape[1]]] = 0.0
        terms = [np.flatnonzero(row > 0).astype(np.int32) for row in rows]
        return [(ids, row[ids]) for ids, row in zip(terms, rows, strict=True)]

    @cached_property
    def _is_term(self) -> NDArray[np.bool_]:
        """False for special tokens, and for outputs that only pad the head to a round width."""
        terms = np.zeros(self.vocabulary_size, dtype=bool)
        terms[: self._subwords.size] = ~self._subwords.special
        return terms

    def _around(self, inner: list[int]) -> list[int]:
        return [*self._subwords.prefix, *inner, *self._subwords.suffix]


class VocabularyEncoder(ModelEncoder):
    """A language model's head over the vocabulary: SPLADE, CLS-MLM. Its states also make dense vectors.

    Attributes:
        width: length of a token's state.
    """

    width: int

    def encode_with_means(
        self, texts: Sequence[str], progress: ShareDone | None = None
    ) -> tuple[list[QueryVector], NDArray[np.float32]]:
        """Return each text's vector, and the mean of its tokens' states, special ones included, float32[n, width].

        Both of one pass; texts are cut at the limit. A text without a token of its own has an empty vector, and zeros.
        """
        vectors, means, _ = self.encode_with_states(texts, lambda _ids, _states: None, progress)
        return vectors, means

    def encode_with_states(
        self,
        texts: Sequence[str],
        keep: Callable[[NDArray[np.int64], NDArray[np.float32]], Kept],
        progress: ShareDone | None = None,
    ) -> tuple[list[QueryVector], NDArray[np.float32], list[Kept | None]]:
        """Return what `encode_with_means` does, and what `keep` makes of each text's tokens.

        Args:
            keep: takes the tokens of a text, int64[n], without special ones, and their states, float32[n, width], both
                of which it must not keep. It is not asked about a text without a token of its own, which has None.
        """
        ids_of_text = self._subwords.ids_of(list(texts), self._room)
        nonempty = [position for position, ids in enumerate(ids_of_text) if not self._subwords.says_nothing(ids)]
        token_ids = [ids_of_text[position][: self._room] for position in nonempty]
        empty = (np.empty(0, np.int32), np.empty(0, np.float32))
        vectors: list[QueryVector] = [empty] * len(texts)
        means = np.zeros((len(texts), self.width), dtype=np.float32)
        kept: list[Kept | None] = [None] * len(texts)

        def encode(batch: list[list[int]]) -> list[tuple[QueryVector, NDArray[np.float32], Kept]]:
            return [
                (vector, mean, keep(*self._terms_of(ids, states)))
                for ids, (vector, mean, states) in zip(batch, self._encode_batch_with_states(batch), strict=True)
            ]

        for number, (vector, mean, own) in self._in_batches(encode, token_ids, progress).items():
            position = nonempty[number]
            vectors[position] = self._boosted(vector, token_ids[number])
            means[position], kept[position] = mean, own
        return vectors, means, kept

    def _terms_of(self, ids: list[int], states: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the tokens of a text that are terms, and their states, without those around the text."""
        tokens = np.array(ids, np.int64)
        own = states[len(self._subwords.prefix) :][: len(ids)]
        terms = self._is_term[tokens]
        return tokens[terms], own[terms]

    @abstractmethod
    def _encode_batch_with_states(
        self, token_ids: list[list[int]]
    ) -> list[tuple[QueryVector, NDArray[np.float32], NDArray[np.float32]]]:
        """Return each text's vector, the mean of its tokens' states, and these states, special tokens' included."""
