"""Files of many queries, read as `lexhound eval` reads them: JSON Lines, CSV, TSV, TREC topics, or a text a line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NoReturn

from lexhound.core.streams import InputStream
from lexhound.eval.datasets.dataset import ProblemLog
from lexhound.eval.datasets.topics import each_query
from lexhound.eval.files import TextFile
from lexhound.retrieval.collection.request import MAX_QUERY_CHARACTERS
from lexhound.retrieval.errors import QueryError

Named = tuple[str, str]  # id, text

_HINT = 'write one query a line, as {"id": "1", "text": "..."}, as id, tab and text, or as plain text'


def read_queries(path: Path) -> Iterator[Named]:
    """Return the queries of a file, or of standard input for `-`; the id of one that has none is the number of its
    line.

    Raises:
        QueryError: a line is no query, or its id was there before; says which.
        DatasetError: the file is marked up, but no TREC topics, or its header does not say what its columns are.
        OSError: the file cannot be read.
    """
    if str(path) == "-":
        name = "standard input"
        pipe = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)  # gives what is there, and does not wait for more
        file = TextFile(name, "", lambda: InputStream(pipe, name, _fault))
    else:
        path.stat()
        file = TextFile.at(path, _fault)
    for number, identifier, text in each_query(file, _Strict(), plain=True):
        if len(text) > MAX_QUERY_CHARACTERS:
            raise QueryError(
                f"the query has {len(text):,} characters; at most {MAX_QUERY_CHARACTERS:,} are allowed",
                where=f"{file.name}, line {number}",
                hint="shorten the query",
            )
        yield identifier, text


def batches_of(queries: Iterable[Named], size: int) -> Iterator[list[Named]]:
    """Yield the queries in lists of at most `size`."""
    iterator = iter(queries)
    while batch := list(islice(iterator, size)):
        yield batch


def _fault(message: str, where: str, hint: str) -> QueryError:
    return QueryError(message, where=where, hint=hint)


class _Strict(ProblemLog):
    """The first line that is no query is an error: answers without it would be taken for all."""

    def add(self, file: str, line: int, reason: str, lines: int = 1) -> NoReturn:
        raise QueryError(reason, where=f"{file}, line {line}", hint=_HINT)
