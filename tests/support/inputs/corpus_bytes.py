"""Corpora of a few bytes, as tests read them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from lexhound.core.streams import InputStream
from lexhound.retrieval.corpus import BadRow, Corpus, open_corpus
from lexhound.retrieval.corpus.base import corpus_fault
from lexhound.retrieval.corpus.jsonl import JsonLinesCorpus
from lexhound.retrieval.corpus.rows import FieldNames
from lexhound.retrieval.corpus.table import CsvCorpus
from lexhound.retrieval.documents.document import Document

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def from_bytes(content: bytes, format: str = "jsonl", **options: Any) -> Corpus:
    return open_corpus("-", format=format, stdin=io.BytesIO(content), **options)


def rows(content: bytes, format: str = "jsonl", **options: Any) -> list[Document | BadRow]:
    return list(from_bytes(content, format, **options))


def bad(content: bytes, format: str = "jsonl", **options: Any) -> list[tuple[int | None, str]]:
    return [(row.line, row.reason) for row in rows(content, format, **options) if isinstance(row, BadRow)]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def small_rows(content: bytes, kind: type[JsonLinesCorpus] | type[CsvCorpus]) -> list[Document | BadRow]:
    return list(kind("c", lambda: InputStream(io.BytesIO(content), "c", corpus_fault), None, FieldNames(), 100))


LINE = b'{"_id": "a", "title": "T", "text": "t"}\n'
