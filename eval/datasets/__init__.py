"""Data sets: queries with judgments, from local folders and files or from the public BEIR sets."""

from __future__ import annotations

from .dataset import Dataset, DatasetReport, Problem
from .resolve import open_dataset

__all__ = ["Dataset", "DatasetReport", "Problem", "open_dataset"]
