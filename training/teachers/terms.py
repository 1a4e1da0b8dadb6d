"""The terms that a dense model would bring into a document: it reads every word of the vocabulary as a query.

A document's target for a term is how far its similarity to that word lies above the usual one of the pool, in standard
deviations, beyond a threshold. So a step teaches about all the columns it computes, and not the terms of its queries
alone; a term that fits every text alike (its mean is high) is no target anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lexhound.encoders.text.subwords import Subwords

_LEAST_LETTERS = 2
_BLOCK = 4096
_ABOVE = 3.0  # standard deviations over a word's mean similarity from where on it belongs to a document
_STRENGTH = 0.3  # the logit asked for, for each standard deviation more


@dataclass(frozen=True, slots=True, eq=False)
class TermTeacher:
    """A teacher of words: a dense model's view of them.

    Attributes:
        terms: int64[terms], ascending: the tokens that are words.
        vectors: float32[terms, width], of unit length.
        mean, deviation: float32[terms], of the similarity to the documents of a pool.
        above, strength: a target is `strength` · (z - `above`) where z, the standardised similarity, exceeds `above`.
    """

    terms: NDArray[np.int64]
    vectors: NDArray[np.float32]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    above: float
    strength: float

    def targets(self, documents: NDArray[np.float32], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return float32[documents, columns], >= 0 logits, 0 for columns that are no words.

        Args:
            documents: float32[documents, width], the same model's vectors of unit length.
            columns: int64[columns], ascending.
        """
        targets = np.zeros((len(documents), len(columns)), dtype=np.float32)
        shared, column_positions, term_positions = np.intersect1d(
            columns, self.terms, assume_unique=True, return_indices=True
        )
        if len(shared):
            standard = (documents @ self.vectors[term_positions].T - self.mean[term_positions]) / self.deviation[
                term_positions
            ]
            targets[:, column_positions] = self.strength * np.maximum(standard - self.above, 0.0)
        return targets


def word_terms(subwords: Subwords) -> tuple[NDArray[np.int64], list[str]]:
    """Return the tokens that are words by themselves, int64 ascending, and how they are written."""
    words = sorted((term, text) for text, term in subwords.ids_by_token.items() if is_word(text))
    return np.array([term for term, _ in words], dtype=np.int64), [text for _, text in words]


def is_word(token: str) -> bool:
    """Return whether a token is a word and not a piece of one, a sign, a number or a special token."""
    return len(token) >= _LEAST_LETTERS and token.isalpha()


def make_term_teacher(
    subwords: Subwords,
    encode: Callable[[list[str]], NDArray[np.float32]],
    documents: NDArray[np.float32],
    *,
    above: float = _ABOVE,
    strength: float = _STRENGTH,
) -> TermTeacher:
    """Let a dense model read the words of a vocabulary.

    Args:
        encode: texts -> float32[texts, width] of unit length.
        documents: float32[documents, width], its vectors of the pool.
        above, strength: see `TermTeacher`.
    """
    terms, words = word_terms(subwords)
    vectors = encode(words)
    total = np.zeros(len(terms), dtype=np.float64)
    squares = np.zeros(len(terms), dtype=np.float64)
    for start in range(0, len(documents), _BLOCK):
        similar = documents[start : start + _BLOCK] @ vectors.T
        total += similar.sum(axis=0, dtype=np.float64)
        squares += np.square(similar, dtype=np.float64).sum(axis=0)
    mean = total / max(1, len(documents))
    deviation = np.sqrt(np.maximum(squares / max(1, len(documents)) - mean**2, 1e-12))
    return TermTeacher(terms, vectors, mean.astype(np.float32), deviation.astype(np.float32), above, strength)


def term_shortfall(logits: torch.Tensor, targets: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
    """Return how far logits lie below their targets, weighted by the targets: nothing is asked of a term without one.

        sum over d, t of m_t · y_dt · max(0, y_dt - logit_dt)  /  sum over d, t of m_t · y_dt

    Args:
        logits, targets: float32[documents, columns].
        multiplier: float32[columns], how many terms each column stands for.
    """
    weights = targets * multiplier
    return (weights * (targets - logits).relu()).sum() / weights.sum().clamp_min(1e-6)
