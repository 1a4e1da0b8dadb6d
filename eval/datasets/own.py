"""One's own judged queries: a file of queries beside a file of judgments, or both in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lexhound.core.field_names import JUDGED_DOCUMENT, OWN_QUERY_ID, QUERY_TEXT, RELEVANCE, find_field
from lexhound.eval.errors import DatasetError
from lexhound.eval.files import TextFile

from .dataset import Dataset, Judgments, ProblemLog, build_dataset
from .fields import as_id, as_relevance, read_rows
from .qrels import read_qrels
from .topics import read_queries

_QUERY_TEXT = tuple(name for name in QUERY_TEXT if name != "title")  # a document's, in a row that is a judgment


def load_pair(
    queries_path: Path,
    qrels_path: Path,
    *,
    name: str | None = None,
    corpus: Path | None = None,
    topic_field: str = "title",
) -> Dataset:
    """Return queries and judgments from two files of any of the known formats (see `topics` and `qrels`).

    Raises:
        DatasetError: a file is missing or holds nothing that could be used.
    """
    broken_queries = ProblemLog()
    queries = read_queries(queries_path, broken_queries, topic_field=topic_field)
    judgments = read_qrels(qrels_path)
    return build_dataset(
        name=name or queries_path.name.split(".")[0],
        split="",
        queries=queries,
        judgments=judgments,
        broken_queries=broken_queries,
        corpus=corpus,
        files=(*((corpus,) if corpus else ()), queries_path, qrels_path),
    )


def load_judged_file(path: Path, *, name: str | None = None, corpus: Path | None = None) -> Dataset:
    """Return queries and judgments from one CSV, TSV or JSON Lines file.

    A row of a table is one judgment: `query`, `document_id` and, unless being listed means relevant,
    `relevance`; a `query_id` is optional. A JSON object may also hold all judgments of its query:
    `{"query": "…", "relevant": ["a", "b"]}` or `{"query": "…", "relevant": {"a": 2, "b": 1}}`.
    Queries without an id are numbered q1, q2, … in the order in which their texts first appear.

    Raises:
        DatasetError: the file is missing, lacks a column, or holds nothing that could be used.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file", "Check the path.")
    broken = ProblemLog()
    file = TextFile.at(path)
    queries: dict[str, str] = {}
    numbered: dict[str, str] = {}
    judgments = Judgments(broken)
    for line, row in read_rows(file, broken):
        text_field = find_field(row, _QUERY_TEXT)
        if text_field is None or not isinstance(row[text_field], str) or not row[text_field].strip():
            if text_field is None and file.suffix in (".csv", ".tsv"):
                raise _missing_column(file, "query", row)
            broken.add(file.name, line, "no text of the query")
            continue
        text = row[text_field].strip()
        id_field = find_field(row, OWN_QUERY_ID)
        query_id = numbered.setdefault(text, f"q{len(numbered) + 1}") if id_field is None else as_id(row[id_field])
        if query_id is None:
            broken.add(file.name, line, "the query id is empty or holds a control character")
            continue
        pairs, reason = _pairs(file, row)
        if queries.setdefault(query_id, text) != text:
            broken.add(file.name, line, f"query id {query_id!r} stands for another text before")
            continue
        if reason:
            broken.add(file.name, line, reason)
        for document_id, relevance in pairs:
            judgments.add(query_id, document_id, relevance)
    return build_dataset(
        name=name or path.name.split(".")[0],
        split="",
        queries=queries,
        judgments=judgments,
        broken_queries=ProblemLog(),
        corpus=corpus,
        files=(*((corpus,) if corpus else ()), path),
    )


def _pairs(file: TextFile, row: Any) -> tuple[list[tuple[str, int]], str]:
    """Return the judgments of a row, and what is wrong with it (empty when nothing is)."""
    listed = row.get("relevant")
    if isinstance(listed, list):
        judgments: list[tuple[Any, Any]] = [(document, 1) for document in listed]
    elif isinstance(listed, dict):
        judgments = list(listed.items())
    else:
        document_field = find_field(row, JUDGED_DOCUMENT)
        if document_field is None:
            if file.suffix in (".csv", ".tsv"):
                raise _missing_column(file, "document_id", row)
            return [], "no document id"
        relevance_field = find_field(row, RELEVANCE)
        judgments = [(row[document_field], 1 if relevance_field is None else row[relevance_field])]
    pairs = [(as_id(document), as_relevance(relevance)) for document, relevance in judgments]
    good = [(document, grade) for document, grade in pairs if document is not None and grade is not None]
    reason = "" if len(good) == len(pairs) else "a document id or its relevance cannot be read"
    return good, reason


def _missing_column(file: TextFile, column: str, row: Any) -> DatasetError:
    return DatasetError(
        f"{file.name}: no column {column!r}; found: {', '.join(row)}",
        "The header line names query, document_id and relevance (query_id is optional).",
    )
