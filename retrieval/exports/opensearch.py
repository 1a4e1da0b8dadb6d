"""OpenSearch: `_bulk` lines, two mappings (`rank_features` and `sparse_vector`), and a query to go with each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from lexhound.core.progress import OnStep, Stage
from lexhound.retrieval.errors import ExportError

from .base import LINE, Source, tokens_of
from .files import PartFiles
from .rows import RowChunk

FIELD = "sparse_embedding"
DENSE_FIELD = "dense_embedding"
# http.max_content_length is 100 MB by default; several such requests are held in memory at a time.
_PART_BYTES = 20 * 10**6
_DOT = "<dot>"  # stands for a dot, at which the names of features are cut
_LARGEST_IMPACT = 255
_QUERY_TERMS = 3
# Lucene's queries of features take weights up to 64. A power of two, so that every product and sum stays exact.
_QUERY_SHARE = 0.25


class OpenSearchForm:
    """Two sets of lines, as the two kinds of field name a vector's dimensions in different ways.

    `rank_features` has tokens and keeps impacts as they are: OpenSearch keeps 9 significant bits of a feature, impacts
    have 8. Its queries take no weight above 64.
    `sparse_vector` (OpenSearch 3.3 and later) has term ids and is searched approximately.
    """

    def write(self, source: Source, folder: Path, progress: OnStep | None) -> tuple[str, ...]:
        """See `Form`."""
        examples: dict[str, dict[str, float]] = {}
        stage = Stage(progress, "writing", source.header.documents)
        with (
            PartFiles(folder, "rank_features", "ndjson", _PART_BYTES) as features,
            PartFiles(folder, "sparse_vector", "ndjson", _PART_BYTES) as vectors,
        ):
            for chunk in source.rows():
                for position, document in enumerate(chunk.documents):
                    action = orjson.dumps({"index": {"_index": source.name, "_id": document.id}}, option=LINE)
                    row: dict[str, Any] = {"id": document.id, "title": document.title, "text": document.text}
                    row["metadata"] = document.metadata
                    if chunk.dense is not None and chunk.dense[position].any():  # zeros stand for none
                        row[DENSE_FIELD] = chunk.dense[position]
                    tokens = _features(chunk, position)
                    terms, impacts = chunk.vector(position)
                    ids = dict(zip(map(str, terms.tolist()), impacts.tolist(), strict=True))
                    options = LINE | orjson.OPT_SERIALIZE_NUMPY
                    features.write(action + orjson.dumps({**row, FIELD: tokens}, option=options))
                    vectors.write(action + orjson.dumps({**row, FIELD: ids}, option=options))
                    if tokens and not examples:
                        examples = {
                            "rank_features": {
                                token: impact * _QUERY_SHARE for token, impact in list(tokens.items())[:_QUERY_TERMS]
                            },
                            "sparse_vector": dict(sorted(ids.items(), key=lambda pair: -pair[1])[:_QUERY_TERMS]),
                        }
                stage.add(len(chunk.documents))
            names = (*features.finish(), *vectors.finish())
        width = None if source.header.dense is None else source.header.dense.width
        for kind in ("rank_features", "sparse_vector"):
            (folder / f"{kind}.mapping.json").write_bytes(_pretty(_mapping(kind, width)))
            (folder / f"{kind}.query.json").write_bytes(_pretty(_query(kind, examples.get(kind, {}))))
        return names

    def readme(self, source: Source) -> str:
        """See `Form`."""
        name = source.name
        return f"""\
## Loading

Two sets of the same documents; take one. `rank_features` is searched exactly and works with OpenSearch 2.11 and later;
`sparse_vector` (OpenSearch 3.3 and later) is searched approximately, which pays from about a million documents on.

    curl -X PUT  localhost:9200/{name} -H 'Content-Type: application/json' --data-binary @rank_features.mapping.json
    for part in rank_features-*.ndjson; do
        curl -X POST localhost:9200/_bulk -H 'Content-Type: application/x-ndjson' --data-binary @$part
    done
    curl -X GET  localhost:9200/{name}/_search -H 'Content-Type: application/json' \\
        --data-binary @rank_features.query.json

Answers of `_bulk` have `"errors": false` where all went well. Parts have at most {_PART_BYTES // 10**6} MB.

## What to know

- The values are whole numbers from 1 to {_LARGEST_IMPACT}. OpenSearch keeps 9 significant bits of a rank feature, so
  none is changed. For `sparse_vector` the mapping sets both quantisation ceilings to {_LARGEST_IMPACT}.
- A dot in a token is written as `{_DOT}` in `rank_features`, as dots cannot stand in the names of features; write it
  so in queries too. `sparse_vector` has term ids for names.
- A query of `rank_features` takes weights above 0 and up to 64, and at most 1,024 terms unless OpenSearch is told
  otherwise; others are an error there. Where any weight of your queries is larger, divide all weights of all queries by
  the same power of two: scores are divided by it too, and no ranking changes. The query here is divided by 4.
- OpenSearch adds up in float32: whole numbers divided by one power of two are exact as long as scores times that power
  stay below 16,777,216. With other weights, and beyond, documents whose scores nearly tie may change places.
- The queries are of the heaviest terms of the first document, to try out. Those of real questions come from
  `lexhound encode --queries`; with a model that OpenSearch runs itself, give `query_text` and `model_id` instead of
  `query_tokens`.
- These files follow OpenSearch's documentation; no OpenSearch was at hand to load them into.
"""


def _features(chunk: RowChunk, position: int) -> dict[str, int]:
    tokens = tokens_of(chunk, position)
    if not any("." in token for token in tokens):
        return tokens
    named = {token.replace(".", _DOT): impact for token, impact in tokens.items()}
    if len(named) != len(tokens):
        raise ExportError(
            f"a token of the document {chunk.documents[position].id!r} holds {_DOT!r}, which stands for a dot",
            hint="export in another format",
        )
    return named


def _mapping(kind: str, width: int | None) -> dict[str, Any]:
    sparse: dict[str, Any] = {"type": "rank_features"}
    settings: dict[str, Any] = {}
    if kind == "sparse_vector":
        settings["sparse"] = True
        parameters = {
            "quantization_ceiling_ingest": _LARGEST_IMPACT,
            "quantization_ceiling_search": _LARGEST_IMPACT,
        }
        sparse = {"type": "sparse_vector", "method": {"name": "seismic", "engine": "lucene", "parameters": parameters}}
    properties: dict[str, Any] = {
        "id": {"type": "keyword"},
        "title": {"type": "text"},
        "text": {"type": "text"},
        "metadata": {"type": "object"},
        FIELD: sparse,
    }
    if width is not None:
        settings["knn"] = True
        method = {"name": "hnsw", "engine": "faiss", "space_type": "innerproduct"}
        properties[DENSE_FIELD] = {"type": "knn_vector", "dimension": width, "method": method}
    mapping: dict[str, Any] = {"mappings": {"properties": properties}}
    if settings:
        mapping = {"settings": {"index": settings}, **mapping}
    return mapping


def _query(kind: str, tokens: dict[str, float]) -> dict[str, Any]:
    clause: dict[str, Any] = {"query_tokens": {token: float(weight) for token, weight in tokens.items()}}
    if kind == "sparse_vector":
        clause["method_parameters"] = {"k": 10, "top_n": 10, "heap_factor": 1.0}
    # The vectors need not come back with every hit.
    return {"size": 10, "_source": {"excludes": [FIELD, DENSE_FIELD]}, "query": {"neural_sparse": {FIELD: clause}}}


def _pretty(values: dict[str, Any]) -> bytes:
    return orjson.dumps(values, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
