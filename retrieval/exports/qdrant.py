"""Qdrant: the request that makes a collection, and requests of points, each small enough for one upsert."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import orjson

from lexhound.core.progress import OnStep, Stage

from .base import Source
from .files import PartFiles

SPARSE, DENSE = "sparse", "dense"
CREATE = "collection.json"
# Qdrant refuses requests of more than 32 MB unless it is told otherwise.
_PART_BYTES = 16 * 10**6
_NAMESPACE = uuid.UUID("0f3b7f5e-6d0f-5c8e-9d0a-3d1b8f6a2c47")


def point_id(identifier: str) -> str:
    """Return the UUID of a point, always the same for a document's id: Qdrant names points by numbers or UUIDs."""
    return str(uuid.uuid5(_NAMESPACE, identifier))


class QdrantForm:
    """Bodies of `PUT /collections/NAME` and `PUT /collections/NAME/points`."""

    def write(self, source: Source, folder: Path, progress: OnStep | None) -> tuple[str, ...]:
        """See `Form`."""
        stage = Stage(progress, "writing", source.header.documents)
        frame = {"head": b'{"points":[\n', "between": b",\n", "tail": b"\n]}\n"}
        with PartFiles(folder, "points", "json", _PART_BYTES, **frame) as files:
            for chunk in source.rows():
                for position, document in enumerate(chunk.documents):
                    terms, impacts = chunk.vector(position)
                    vector: dict[str, Any] = {}
                    if len(terms):  # a point may lack a vector
                        vector[SPARSE] = {"indices": terms.tolist(), "values": impacts.astype(float).tolist()}
                    if chunk.dense is not None and chunk.dense[position].any():  # zeros stand for none
                        vector[DENSE] = chunk.dense[position]
                    payload = {
                        "id": document.id,
                        "title": document.title,
                        "text": document.text,
                        "metadata": document.metadata,
                    }
                    point = {"id": point_id(document.id), "vector": vector, "payload": payload}
                    files.write(orjson.dumps(point, option=orjson.OPT_SERIALIZE_NUMPY))
                stage.add(len(chunk.documents))
            names = files.finish()
        request = orjson.dumps(creation(source), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (folder / CREATE).write_bytes(request)
        return names

    def readme(self, source: Source) -> str:
        """See `Form`."""
        name = source.name
        idf = ""
        if source.lexical:
            idf = """\
- The sparse values are the document side of BM25. The collection is made with the modifier `idf`, so Qdrant weighs the
  query's terms itself, by the same formula: give every term of a question the value 1, or how often it occurs. (Its N
  counts the points that have the vector, ours all documents; empty ones have none.)
"""
        return f"""\
## Loading

    curl -X PUT localhost:6333/collections/{name} -H 'Content-Type: application/json' --data-binary @{CREATE}
    for part in points-*.json; do
        curl -X PUT "localhost:6333/collections/{name}/points?wait=true" \\
            -H 'Content-Type: application/json' --data-binary @$part
    done

## What to know

- A point's id is a UUID made of the document's id, the same at every export, so that loading again replaces. The
  document's own id, title, text and metadata are in the payload.
- `{SPARSE}` holds term ids and impacts; `{DENSE}`, where there is one, the dense vector, compared by inner product.
{idf}"""


def creation(source: Source) -> dict[str, Any]:
    """Return the body of the request that makes the collection."""
    sparse: dict[str, Any] = {"modifier": "idf"} if source.lexical else {}
    request: dict[str, Any] = {"sparse_vectors": {SPARSE: sparse}}
    if source.header.dense is not None:
        request["vectors"] = {DENSE: {"size": source.header.dense.width, "distance": "Dot"}}
    return request
