"""Corpora: files and folders read as a stream of documents.

`open_corpus` recognises the format; what it returns can be iterated, row by row, in bounded memory.
"""

from __future__ import annotations

from .base import BadRow, Corpus
from .source import FORMATS, open_corpus
from .vectors import open_vectors

__all__ = ["FORMATS", "BadRow", "Corpus", "open_corpus", "open_vectors"]
