"""Queries of words and latents: a table weighs the words, and the documents' model makes the latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector, ShareDone
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.latent.autoencoder import Autoencoder
from lexhound.encoders.text.subwords import Subwords
from lexhound.encoders.text.token_reader import TokenReader

from .latent_terms import LatentTerms
from .layout import EncoderLayout
from .pruning import followed
from .static import TokenTable


class StatesEncoder(Protocol):
    """What makes the states of tokens; `BertEncoder`."""

    words: int
    max_length: int

    def states(self, token_ids: list[list[int]]) -> tuple[list[list[int]], NDArray[np.float32]]: ...

    @property
    def in_integers(self) -> bool: ...


class WordsAndLatentsTable:
    """A query encoder of two term spaces. Safe to call from several threads.

    Args:
        table: of the words.
        autoencoder: of tokens' states.
        model: returns the documents' encoder, which is loaded for the first query.
        subwords, layout: as of the table.

    Attributes:
        weights: float32[words + latents], what the table says, and the latents' idf.
        surface_match: float32[words + latents], ratios of the words, and 1; None where the table has none.
        words: how many terms are words. vocabulary_size: how many terms there are.

    Raises:
        CheckpointError: the latents have no idf.
    """

    def __init__(
        self,
        table: TokenTable,
        autoencoder: Autoencoder,
        model: Callable[[], StatesEncoder],
        subwords: Subwords,
        layout: EncoderLayout,
    ) -> None:
        self._table = table
        self._autoencoder = autoencoder
        self._model = model
        self._subwords = subwords
        self._layout = layout
        self.words = len(table.weights)
        self.vocabulary_size = self.words + autoencoder.latents
        if autoencoder.idf is None:
            raise CheckpointError(f"{layout.latents} holds no idf of latents", "Train them again")
        self.weights = np.concatenate([table.weights, autoencoder.idf])
        ones = np.ones(autoencoder.latents, np.float32)
        self.surface_match = None if table.surface_match is None else np.concatenate([table.surface_match, ones])
        self.tokens_encoded = 0

    @property
    def reader(self) -> TokenReader:
        """How it reads a text."""
        return self._table.reader

    def encode(self, texts: Sequence[str], progress: ShareDone | None = None) -> list[QueryVector]:
        """Return each text's term ids, int32 ascending, and float32 weights > 0."""
        vectors = [self.encode_one(text) for text in texts]
        if progress is not None:
            progress(1.0)
        return vectors

    def encode_one(self, text: str) -> QueryVector:
        """Return one text's vector."""
        words = self._table.encode_one(text)
        model = self._model()
        room = model.max_length - len(self._subwords.prefix) - len(self._subwords.suffix)
        ids = self._subwords.ids_of([text], room)[0][:room]
        if self._subwords.says_nothing(ids):
            return words
        rows, states = model.states([ids])
        (latents,) = self._latents.of(rows, states, self._subwords.special)
        return followed(words, (latents[0], latents[1] * np.float32(self._layout.latent_weight)), self.words)

    @cached_property
    def _latents(self) -> LatentTerms:
        layout = self._layout
        return LatentTerms(
            self._autoencoder, integers=self._model().in_integers, token_k=layout.token_k, most=layout.latent_terms,
            saturation=None, weighed=True,
        )  # fmt: skip
