"""Vectors in, ranked rows out: the inverted index for sparse vectors, the flat index for dense ones, their files.

Nothing in here knows text, models, string ids of documents, or HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexhound.core.lazy import lazy_names

if TYPE_CHECKING:
    from lexhound.index.array_files import FileProblem
    from lexhound.index.dense.flat import FlatIndex, FlatPart, VectorIndex, build_flat, merge_flat
    from lexhound.index.errors import CorruptFileError, IndexStorageError, UnsupportedFormatError
    from lexhound.index.inverted.builder import build_inverted
    from lexhound.index.inverted.calibration import RecallCalibration
    from lexhound.index.inverted.index import InvertedIndex
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
    from lexhound.index.topk import SearchStats, TopK
    from lexhound.index.warming import read_ahead, warm

__all__ = [
    "CorruptFileError",
    "FileProblem",
    "FlatIndex",
    "FlatPart",
    "IndexStorageError",
    "InvertedIndex",
    "MergePart",
    "QuantisationLoss",
    "Query",
    "RecallCalibration",
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
    "quantise_weights",
    "ranges_from",
    "read_ahead",
    "row_ranges",
    "stored_ranges",
    "warm",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(
        __name__,
        {
            "CorruptFileError": "lexhound.index.errors",
            "RecallCalibration": "lexhound.index.inverted.calibration",
            "FileProblem": "lexhound.index.array_files",
            "FlatIndex": "lexhound.index.dense.flat",
            "FlatPart": "lexhound.index.dense.flat",
            "IndexStorageError": "lexhound.index.errors",
            "InvertedIndex": "lexhound.index.inverted.index",
            "MergePart": "lexhound.index.inverted.merge",
            "QuantisationLoss": "lexhound.index.inverted.quantization",
            "Query": "lexhound.index.inverted.quantization",
            "RowRanges": "lexhound.index.inverted.scales",
            "SearchStats": "lexhound.index.topk",
            "TopK": "lexhound.index.topk",
            "UnsupportedFormatError": "lexhound.index.errors",
            "VectorIndex": "lexhound.index.dense.flat",
            "build_flat": "lexhound.index.dense.flat",
            "build_inverted": "lexhound.index.inverted.builder",
            "choose_groups": "lexhound.index.inverted.scales",
            "choose_scale": "lexhound.index.inverted.scales",
            "group_of": "lexhound.index.inverted.scales",
            "merge_flat": "lexhound.index.dense.flat",
            "merge_inverted": "lexhound.index.inverted.merge",
            "quantise_weights": "lexhound.index.inverted.quantization",
            "ranges_from": "lexhound.index.inverted.scales",
            "read_ahead": "lexhound.index.warming",
            "row_ranges": "lexhound.index.inverted.scales",
            "stored_ranges": "lexhound.index.inverted.scales",
            "warm": "lexhound.index.warming",
        },
    )
