"""Lucene as an engine, through Anserini and pyserini: an impact index in a directory, built once and then searched."""

from .engine import open_lucene

__all__ = ["open_lucene"]
