"""Filters: expressions on metadata, and the documents that they allow."""

from __future__ import annotations

from .cache import ColumnCache
from .column import Column, read_column, read_within
from .expression import And, Comparison, Exists, Expression, Membership, Not, Or
from .parser import parse_filter
from .selection import Columns, select

__all__ = [
    "And",
    "Column",
    "ColumnCache",
    "Columns",
    "Comparison",
    "Exists",
    "Expression",
    "Membership",
    "Not",
    "Or",
    "parse_filter",
    "read_column",
    "read_within",
    "select",
]
