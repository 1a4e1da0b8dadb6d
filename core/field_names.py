"""The names under which people keep ids, texts and relevance: the one table of every reader.

They are compared as `normalise` writes them, so `query-id`, `Query ID` and `query_id` are one name. Of several that a
row has, the first that holds something counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Documents of a corpus.
DOCUMENT_ID = ("id", "_id", "docid")
DOCUMENT_TEXT = ("text", "contents", "body")
DOCUMENT_TITLE = ("title",)

# What says which query: in judgments, and in a file of queries, whose own `id` is the query's too.
QUERY = ("query_id", "queryid", "qid", "topic_id", "topicid", "topic")
QUERY_ID = ("_id", "id", *QUERY, "num", "number")
OWN_QUERY_ID = ("_id", *QUERY)  # where a row's `id` may be another thing's
QUERY_TEXT = ("query", "query_text", "text", "question", "title")

# What says which document in judgments, and how relevant it is.
JUDGED_DOCUMENT = (
    *("corpus_id", "corpusid", "document_id", "documentid", "doc_id", "docid", "docno"),
    *("passage_id", "pid", "document", "doc", "did"),
)
JUDGED_DOCUMENTS = ("document_ids", "docids", "doc_ids")  # a list of them
RELEVANCE = ("score", "relevance", "rel", "grade", "label", "judgment", "judgement", "relevant")

# What training files hold: a query, a text that answers it, texts that do not, and what a teacher gives documents.
TRAINING_QUERY = ("query", "anchor", "question")
POSITIVE = ("positive", "text", "answer", "document", "pos", "contents")
NEGATIVES = ("negatives", "negative", "neg")
TRAINING_TEXT = ("text", "positive", "answer", "document", "pos", "contents", "body")
SCORES = ("scores", "score")


def normalise(name: str) -> str:
    """Return a name as it is compared: lower case, `-` and blanks as `_`."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def find_field(row: Mapping[str, Any] | Iterable[str], names: tuple[str, ...]) -> str | None:
    """Return the first of `names` that a row (or a header) has; one that holds nothing (null) only where no other is
    there.
    """
    present = row if isinstance(row, Mapping) else dict.fromkeys(row, "")
    candidates = [name for name in names if name in present]
    return next((name for name in candidates if present[name] is not None), candidates[0] if candidates else None)


def normalised(row: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return a row under normalised names; where two of its names are one then, and hold different things, what is
    wrong.
    """
    fields: dict[str, Any] = {}
    for name, value in row.items():
        key = normalise(name)
        if key in fields and fields[key] != value:
            return f"two fields that are both called {key!r}"
        fields[key] = value
    return fields
