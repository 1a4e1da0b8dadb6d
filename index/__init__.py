"""Vectors in, ranked rows out: the inverted index for sparse vectors, the flat index for dense ones, their files.

Nothing in here knows text, models, string ids of documents, or HTTP.
"""

from __future__ import annotations

from lexhound.index.dense.flat import FlatIndex, FlatPart, VectorIndex, build_flat, merge_flat
from lexhound.index.inverted.builder import build_inverted
from lexhound.index.inverted.calibration import Dial
from lexhound.index.inverted.index import InvertedIndex, SearchStats, read_ahead, warm
from lexhound.index.inverted.merge import MergePart, merge_inverted
from lexhound.index.inverted.quantization import QuantisationLoss, Query, quantise_weights
from lexhound.index.inverted.scales import (
    RowRanges,
    choose_groups,
    choose_scale,
    group_of,
    ranges_from,
    row_ranges,
    stored_ranges,
)

from .array_files import FileProblem
from .errors import CorruptFileError, IndexStorageError, UnsupportedFormatError
from .topk import TopK, merge_topk

__all__ = [
    "CorruptFileError",
    "Dial",
    "FileProblem",
    "FlatIndex",
    "FlatPart",
    "IndexStorageError",
    "InvertedIndex",
    "MergePart",
    "QuantisationLoss",
    "Query",
    "RowRanges",
    "SearchStats",
    "TopK",
    "UnsupportedFormatError",
    "VectorIndex",
    "build_flat",
    "build_inverted",
    "choose_groups",
    "choose_scale",
    "group_of",
    "merge_flat",
    "merge_inverted",
    "merge_topk",
    "quantise_weights",
    "ranges_from",
    "read_ahead",
    "row_ranges",
    "stored_ranges",
    "warm",
]
