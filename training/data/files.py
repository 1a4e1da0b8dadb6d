"""Training files: documents, queries, pairs, triples, ids over a corpus, and teachers' scores, read as streams.

A row that is wrong stops the reading with its file and line: a training run that passes over bad rows in silence trains
on something else than was meant. Formats: see `rows`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from lexhound.core import field_names as names

from .rows import Field, Row, is_table, read_rows

QUERY = Field("query", names.TRAINING_QUERY)
POSITIVE = Field("positive", names.POSITIVE)
NEGATIVES = Field("negatives", names.NEGATIVES, many=True)
QUERY_ID = Field("query_id", names.QUERY, "id")
DOCUMENT_IDS = Field("document_ids", names.JUDGED_DOCUMENTS, "id", many=True)
SCORES = Field("scores", names.SCORES, "number")
TITLE = Field("title", names.DOCUMENT_TITLE)
# Files of documents and of queries are those that are indexed and asked, with whatever else they hold.
DOCUMENT_ID = Field("id", names.DOCUMENT_ID, "id")
QUESTION_ID = Field("id", names.QUERY_ID, "id")
TEXT = Field("text", names.TRAINING_TEXT)
QUESTION = Field("query", (*QUERY.names, "text"))
SOURCE = Field("source", ("source",))
# Fields that rows may have beside those of their kind.
BESIDE = ("id", "_id", "title", "source", "metadata")


@dataclass(frozen=True, slots=True)
class Text:
    """A document or a query by itself; `id`, `title` and `source` are "" where the file has none."""

    text: str
    id: str = ""
    title: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a text that answers it, with its title if it has one."""

    query: str
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Triple:
    """A query, a text that answers it, and at least one that does not."""

    query: str
    text: str
    negatives: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Identified:
    """The ids of a query and of documents of a corpus: the answer first, then others that are worth a comparison."""

    query_id: str
    document_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores that a teacher gives documents of a corpus for a query; as many scores as documents."""

    query_id: str
    document_ids: tuple[str, ...]
    scores: tuple[float, ...]


def read_documents(path: Path) -> Iterator[Text]:
    """Yield documents: JSON rows with a text (`TEXT`), or two columns, id and text. Texts may be empty.

    Raises as `read_pairs`, but for unknown fields, which are passed over.
    """

    def document(row: Row) -> Text:
        return Text(row.first(TEXT), row.first(DOCUMENT_ID), row.first(TITLE))

    return read_rows(path, (DOCUMENT_ID, TEXT), document, beside=None)


def read_queries(path: Path) -> Iterator[Text]:
    """Yield queries: JSON rows with a query (`QUESTION`), or two columns, id and query. Raises as `read_documents`."""

    def question(row: Row) -> Text:
        if not row.has(QUESTION):
            raise row.error("the row has no query", f"It must stand in {', '.join(QUESTION.names)}")
        return Text(row.first(QUESTION), row.first(QUESTION_ID), source=row.first(SOURCE))

    return read_rows(path, (QUESTION_ID, QUESTION), question, beside=None)


def read_pairs(path: Path) -> Iterator[Pair]:
    """Yield pairs: JSON rows with a query and a positive (`QUERY`, `POSITIVE`), or two columns.

    Raises:
        TrainingDataError: from the iteration: the file is missing, empty or damaged, or a row is wrong (its line is
            named).
    """

    def pair(row: Row) -> Pair:
        return Pair(row.text(QUERY), row.text(POSITIVE), row.first(TITLE))

    return read_rows(path, (QUERY, POSITIVE), pair, beside=BESIDE)


def read_triples(path: Path) -> Iterator[Triple]:
    """Yield triples: JSON rows with one negative or a list of them, or three and more columns.

    Raises as `read_pairs`.
    """

    def triple(row: Row) -> Triple:
        return Triple(row.text(QUERY), row.text(POSITIVE), tuple(row.texts(NEGATIVES)), row.first(TITLE))

    return read_rows(path, (QUERY, POSITIVE, NEGATIVES), triple, beside=BESIDE)


def read_ids(
    path: Path, *, queries: Collection[str] | None = None, documents: Collection[str] | None = None
) -> Iterator[Identified]:
    """Yield ids: JSON rows `{"query_id", "document_ids"}`, or a query's id and documents' ids as columns.

    Args:
        queries, documents: the ids that there are; None where they are not known.

    Raises:
        TrainingDataError: as `read_pairs`; or a row names a query or document that there is not.
    """

    def identified(row: Row) -> Identified:
        return Identified(*_ids(row, queries, documents))

    return read_rows(path, (QUERY_ID, DOCUMENT_IDS), identified, beside=BESIDE)


def read_scores(
    path: Path, *, queries: Collection[str] | None = None, documents: Collection[str] | None = None
) -> Iterator[Scored]:
    """Yield a teacher's scores: JSON rows `{"query_id", "document_ids", "scores"}`; raises as `read_ids`.

    A table has three columns, query id, document id and score; rows of one query that follow each other are joined.
    """

    def scored(row: Row) -> Scored:
        query, candidates = _ids(row, queries, documents)
        scores = row.numbers(SCORES)
        if len(scores) != len(candidates):
            raise row.error(
                f"there are {len(candidates)} documents and {len(scores)} scores", "Give each document its score"
            )
        return Scored(query, candidates, scores)

    rows = read_rows(path, (QUERY_ID, DOCUMENT_IDS, SCORES), scored, beside=BESIDE)
    return _joined(rows) if is_table(path) else rows


def _ids(row: Row, queries: Collection[str] | None, documents: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    query = row.text(QUERY_ID)
    document_ids = tuple(row.texts(DOCUMENT_IDS))
    if queries is not None and query not in queries:
        raise row.error(f"there is no query {query!r}", "Check that the file belongs to these queries")
    for document in document_ids:
        if documents is not None and document not in documents:
            raise row.error(f"there is no document {document!r}", "Check that the file belongs to this corpus")
    return query, document_ids


def _joined(rows: Iterator[Scored]) -> Iterator[Scored]:
    ids: list[str] = []
    scores: list[float] = []
    query: str | None = None
    for row in rows:
        if query is not None and row.query_id != query:
            yield Scored(query, tuple(ids), tuple(scores))
            ids, scores = [], []
        query = row.query_id
        ids += row.document_ids
        scores += row.scores
    if query is not None:
        yield Scored(query, tuple(ids), tuple(scores))
