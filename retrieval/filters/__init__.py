"""Filters: expressions on metadata, and the documents that they allow."""

from __future__ import annotations

from .expression import And, Comparison, Exists, Expression, Membership, Not, Or
from .parser import parse_filter
from .selection import select

__all__ = [
    "And",
    "Comparison",
    "Exists",
    "Expression",
    "Membership",
    "Not",
    "Or",
    "parse_filter",
    "select",
]
