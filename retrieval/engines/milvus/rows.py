"""Documents as rows of Milvus, and back; `schema` says what the fields are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import orjson

from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.splitting import Span
from lexhound.retrieval.engines.engine import EngineDocument, SparseVector, SplitsText, StoredDocument
from lexhound.retrieval.errors import UnsupportedError

from .filters import CUT, FIELD, NO_VECTOR, flags_of, tenant_key
from .schema import MAX_BYTES, Layout, key_of


def check(documents: Sequence[Document], tenant_field: str, split: SplitsText) -> None:
    """Refuse documents that do not fit.

    Raises:
        UnsupportedError: names the first of them and why.
    """
    for document in documents:
        sizes = {
            "title": len(document.title.encode()),
            "text": len(document.text.encode()),
            "metadata": len(orjson.dumps(document.metadata)),
            "metadata for filters": len(orjson.dumps(flags_of(document.metadata))) if document.metadata else 0,
        }
        if sizes["text"] > MAX_BYTES:  # it may be split
            sizes["text"] = max(len(each.encode()) for each in texts_of(document.text, split(document)))
        for what, size in sizes.items():
            if size > MAX_BYTES:
                raise UnsupportedError(
                    f"the {what} of document {document.id!r} has {size:,} bytes, at most {MAX_BYTES:,} fit Milvus",
                    hint="split the document into passages, or keep it in an index of our own",
                )
        if tenant_field:
            tenant_key(document.metadata, tenant_field)


def texts_of(text: str, spans: Sequence[Span]) -> list[str]:
    """Return the parts of a text that stand in the rows of its passages; joined they are the text."""
    begins = [0, *(begin for begin, _ in spans[1:]), len(text)]
    return [text[begin:end] for begin, end in pairwise(begins)]


def rows_of(document: EngineDocument, layout: Layout) -> list[dict[str, Any]]:
    """Return a document's rows as pymilvus takes them, the head first."""
    own = document.document
    owner, filters, number = key_of(own.id), flags_of(own.metadata), document.internal_id
    if document.cut:
        filters[CUT] = 1
    rows = []
    texts = texts_of(own.text, document.spans)
    for passage, (terms, weights) in enumerate(document.sparse):
        values: dict[str, Any] = {
            "key": f"{owner}:{number}:{passage}" if passage else owner,
            "id": own.id,
            "seq": number + passage,
            "digest": document.digest,
            "title": "" if passage else own.title,
            "text": texts[passage],
            "metadata": {} if passage else dict(own.metadata),
            FIELD: filters,
            "sparse": dict(zip(terms.tolist(), weights.tolist(), strict=True)),
        }
        if document.dense is not None:
            values["dense"] = document.dense[passage]
            if not document.dense[passage].any():
                values[FIELD] = filters | {NO_VECTOR: 1}
        if layout.tenant_field:
            values["tenant"] = tenant_key(own.metadata, layout.tenant_field)
        if layout.passages:
            start, end = document.spans[passage] if document.spans else (0, len(own.text))
            values |= {"owner": owner, "doc": number, "passage": passage, "passages": len(document.sparse)}
            values |= {"start": start, "end": end}
        rows.append(values)
    return rows


def vector_of(weights: dict[int, float]) -> SparseVector:
    """Return weights as pymilvus gives them, {term: weight}."""
    terms = np.array(sorted(weights), np.int32)
    return terms, np.array([weights[term] for term in terms.tolist()], np.float32)


def stored_document(head: dict[str, Any], rows: list[dict[str, Any]], layout: Layout) -> StoredDocument:
    """Return a document of its head and, where it is split, all its rows."""
    rows = sorted(rows, key=lambda row: int(row["passage"]))
    text = "".join(row["text"] for row in rows) if rows else head["text"]
    document = Document(head["id"], text, head["title"], head["metadata"] or {})
    spans = tuple((int(row["start"]), int(row["end"])) for row in rows)
    return StoredDocument(document, int(head[layout.document]), spans)


def engine_document(rows: list[dict[str, Any]], layout: Layout) -> EngineDocument:
    """Return a document of all its rows with their vectors."""
    rows = sorted(rows, key=lambda row: int(row["seq"]))
    head = rows[0]
    stored = stored_document(head, rows if len(rows) > 1 else [], layout)
    return EngineDocument(
        stored.internal_id,
        int(head["digest"]),
        stored.document,
        [vector_of(row["sparse"]) for row in rows],
        np.array([row["dense"] for row in rows], np.float32) if "dense" in head else None,
        stored.spans,
        CUT in head[FIELD],
    )
