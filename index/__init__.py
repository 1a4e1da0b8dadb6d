"""Vectors in, ranked rows out: the inverted index, its files and its kernels.

Nothing in here knows text, models, string ids of documents, or HTTP.
"""

from __future__ import annotations

from .builder import build_inverted
from .errors import CorruptFileError, IndexStorageError, UnsupportedFormatError
from .files import FileProblem
from .inverted import InvertedIndex, SearchStats, warm
from .merge import MergePart, merge_inverted
from .quantise import QuantisationLoss, Query, quantise_weights
from .topk import TopK, merge_topk

__all__ = [
    "CorruptFileError",
    "FileProblem",
    "IndexStorageError",
    "InvertedIndex",
    "MergePart",
    "QuantisationLoss",
    "Query",
    "SearchStats",
    "TopK",
    "UnsupportedFormatError",
    "build_inverted",
    "merge_inverted",
    "merge_topk",
    "quantise_weights",
    "warm",
]
