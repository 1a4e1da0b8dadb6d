"""Vectors without a model: each token that occurs weighs what a table says.

    w_t = [t in text] · weight_t      (or (count of t in text)**power · weight_t, where the table is `counted`)

With idf weights these are the queries of OpenSearch's inference-free encoders (Geng et al., "Towards Competitive
Search Relevance For Inference-Free Learned Sparse Retrievers", 2024, section 3.1); with learned ones those of Li-LSR
(Nardini et al., "Effective Inference-Free Retrieval for Learned Sparse Representations", SIGIR 2025, section 3); with 1
everywhere BINARY of the unified framework (ECIR 2023, section 3.2).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector, ShareDone
from lexhound.encoders.checkpoints.tensors import read_arrays
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.text.subwords import Subwords
from lexhound.encoders.text.token_reader import TokenReader

from .layout import EncoderLayout
from .settings import LearnedSettings


class TokenTable:
    """An encoder that needs neither torch nor transformers. Safe to call from several threads.

    Attributes:
        weights: float32[vocabulary], >= 0, 0 for special tokens.
        vocabulary_size: how many.
        surface_match: float32[vocabulary], each token's surface-match ratio; None where there is no such table.
    """

    def __init__(
        self,
        subwords: Subwords,
        weights: NDArray[np.float32],
        layout: EncoderLayout,
        settings: LearnedSettings,
        surface_match: NDArray[np.float32] | None = None,
    ) -> None:
        self.weights = weights
        self.tokens_encoded = 0  # there is no model to read them
        self.vocabulary_size = len(weights)
        self.surface_match = surface_match
        self._subwords = subwords
        self._layout = layout
        self._in_windows = settings.long_texts == "windows"
        limits = (settings.max_length, layout.max_length or subwords.max_length)
        self._limit = min(limit for limit in limits if limit is not None)

    @property
    def reader(self) -> TokenReader:
        """How it reads a text."""
        prompt = len(self._subwords.ids(self._layout.prompt)) if self._layout.prompt else 0
        return TokenReader(self._subwords, None if self._in_windows else self._limit - prompt, prompt)

    def encode(self, texts: Sequence[str], progress: ShareDone | None = None) -> list[QueryVector]:
        """Return each text's term ids, int32 ascending, and float32 weights > 0."""
        vectors = [self.encode_one(text) for text in texts]
        if progress is not None:
            progress(1.0)
        return vectors

    def encode_one(self, text: str) -> QueryVector:
        """Return one text's vector; some 30 µs for a question."""
        prompt = self._layout.prompt
        ids = self._subwords.ids(text)
        if self._subwords.says_nothing(ids):
            return np.empty(0, np.int32), np.empty(0, np.float32)
        if prompt:
            ids = self._subwords.ids(prompt + text)
        if len(ids) > self._limit and not self._in_windows:
            ids = ids[: self._limit]
        if self._layout.counted:
            counts = Counter(ids)
            terms = np.array(sorted(counts), dtype=np.int32)
            occurring = np.array([counts[term] for term in terms.tolist()], dtype=np.float32)
            weights = self.weights[terms] * occurring**self._layout.power
        else:
            terms = np.array(sorted(set(ids)), dtype=np.int32)
            weights = self.weights[terms]
        if not weights.all():
            positive = weights > 0
            terms, weights = terms[positive], weights[positive]
        return terms, weights


def read_weights(folder: Path, name: str | None, subwords: Subwords) -> NDArray[np.float32]:
    """Return a table's weights, float32[vocabulary]; tokens that the file does not name weigh nothing.

    Args:
        name: `idf.json` (token -> weight), `query_token_weights.txt` (token and weight a line), a safetensors file with
            `weight`, a PyTorch file with it, or None for 1 everywhere.

    Raises:
        CheckpointError: the file is missing, unreadable or of another vocabulary, or a weight is negative or no number.
        MissingExtraError: reading it needs a package that is not installed.
    """
    if name is None:
        weights = np.ones(subwords.size, dtype=np.float32)
    else:
        path = folder / name
        if not path.is_file():
            raise CheckpointError(
                f"{folder} has no {name}, the weights of its query encoder", "Download the whole folder"
            )
        try:
            weights = _read(path, subwords)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}", "Download it again") from error
    if not np.isfinite(weights).all():
        raise CheckpointError(f"{folder / (name or '')}: a weight is not a number", "Download it again")
    if len(weights) < subwords.size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {subwords.size} tokens and {name} {len(weights)} weights",
            "The two come from different models: bring them together again",
        )
    weights = weights.astype(np.float32)
    weights[: subwords.size][subwords.special] = 0.0
    weights[subwords.size :] = 0.0
    if (weights < 0).any():
        least = int(weights.argmin())
        raise CheckpointError(
            f"{folder / (name or '')}: {int((weights < 0).sum())} tokens weigh less than 0, {subwords.text(least)!r} "
            f"{weights[least]:g}, and an inverted index holds no such weights",
            "Write 0 for them where they are to count for nothing",
        )
    return weights


def read_surface_match(path: Path, size: int) -> NDArray[np.float32]:
    """Return surface-match ratios (`lexhound.encoders.sparse.exact_terms`), float32[size], from a safetensors file.

    Raises:
        CheckpointError: the file is missing, unreadable, of another vocabulary, or holds what is no ratio.
    """
    try:
        ratios = read_arrays(path)["weight"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", "Download the whole folder again") from error
    if len(ratios) != size or not ((ratios > 0) & (ratios <= 1)).all():
        raise CheckpointError(f"{path} does not hold a ratio above 0 for each of {size} tokens", "Download it again")
    return ratios


def _read(path: Path, subwords: Subwords) -> NDArray[np.float32]:
    if path.suffix == ".json":
        return _by_token(json.loads(path.read_bytes()).items(), subwords)
    if path.suffix == ".txt":
        lines = path.read_text(encoding="utf-8").splitlines()
        return _by_token([line.rsplit(None, 1) for line in lines if line.strip()], subwords)
    return read_arrays(path)["weight"]


def _by_token(pairs: Any, subwords: Subwords) -> NDArray[np.float32]:
    weights = np.zeros(subwords.size, dtype=np.float32)
    known = subwords.ids_by_token
    unknown = 0
    for token, weight in pairs:
        number = known.get(token)
        if number is not None:
            weights[number] = float(weight)
        else:
            unknown += 1
    if not weights.any():
        raise ValueError(f"none of its {unknown} tokens is in the tokenizer's vocabulary")
    return weights
