"""From results of the library to what is sent: plain dicts, written as JSON by orjson in the thread that searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

import orjson
from starlette.responses import Response

from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.bm25.encoder import KIND as BM25
from lexhound.retrieval.collection.info import CollectionInfo
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.collection.result import Facet, Hit, SearchResult
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.collection.write.ingest_jobs import Unfinished
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.engines.protocol import EngineInfo
from lexhound.retrieval.tenants.info import TenantInfo

_HIT = tuple(field.name for field in fields(Hit))


def json_response(content: bytes | Any, status: int = 200) -> Response:
    """Return an answer in JSON; bytes are JSON already."""
    body = content if isinstance(content, bytes) else orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, media_type="application/json")


def search_answer(request: SearchRequest, result: SearchResult) -> dict[str, Any]:
    """Return what a search is answered."""
    answer: dict[str, Any] = {
        "hits": [_hit(hit) for hit in result.hits],
        "seconds": round(result.seconds, 6),
        "took_ms": round(result.took_ms, 3),
    }
    if request.stats and result.stats is not None:
        answer["stats"] = {
            "postings_read": result.stats.postings_read,
            "rows_scored": result.stats.rows_scored,
            "documents_scored": result.stats.rows_scored,
        }
    if result.total is not None:
        answer["total"] = asdict(result.total)
    if result.query_cut:
        answer["query_cut"] = True
    if result.reranked_cut:
        answer["reranked_cut"] = result.reranked_cut
    if not request.by_text:
        answer["unknown_terms"] = list(result.unknown)
    return answer


def _hit(hit: Hit) -> dict[str, Any]:
    """Return a hit without what was not asked for; orjson writes the values, dataclasses among them, as they are."""
    values = {name: getattr(hit, name) for name in _HIT if getattr(hit, name) is not None}
    if "metadata" in values:
        values["metadata"] = dict(values["metadata"])
    if "contributions" in values:
        values["explanation"] = values["contributions"]  # its former name
    return values


def document_answer(document: Document) -> dict[str, Any]:
    """Return a document as it is stored."""
    return {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "metadata": dict(document.metadata),
    }


def modes_of(
    manifest: Manifest | CollectionInfo | EngineInfo | TenantInfo,
) -> list[Literal["lexical", "sparse", "dense", "hybrid"]]:
    """Return the modes in which a collection can be searched; first the one that `auto` means."""
    sparse_mode: Literal["lexical", "sparse"] = "lexical" if manifest.encoder.kind == BM25 else "sparse"
    return [sparse_mode] if manifest.dense is None else ["hybrid", sparse_mode, "dense"]


def summary_answer(name: str, info: CollectionInfo | EngineInfo | TenantInfo) -> dict[str, Any]:
    """Return a collection in the list."""
    segments, size = None, None if isinstance(info, TenantInfo) else info.index_bytes
    if isinstance(info, CollectionInfo):
        segments, size = len(info.segments), info.index_bytes + info.database_bytes
    return {
        "name": name,
        "documents": info.documents,
        "segments": segments,
        "bytes": size,
        "encoder": {"kind": info.encoder.kind, "name": shown_name(info.encoder.name)},
        "modes": modes_of(info),
        "health": _health(info),
    }


def _health(info: CollectionInfo | EngineInfo | TenantInfo) -> Literal["ok", "unfinished", "damaged"]:
    if isinstance(info, TenantInfo):
        return "ok"
    if isinstance(info, CollectionInfo) and info.damage:
        return "damaged"
    finished = info.unfinished is None if isinstance(info, CollectionInfo) else info.ready
    return "ok" if finished else "unfinished"


def _damage(info: CollectionInfo) -> list[dict[str, str]]:
    """Return what is damaged; files are named from the collection on: callers have no business with where that is."""
    homes = (f"{Path(info.path).absolute()}/", f"{info.path}/")

    def shown(text: str) -> str:
        for home in homes:
            text = text.replace(home, "")
        return text

    return [{"where": shown(problem.where), "message": shown(problem.message)} for problem in info.damage]


def unavailable_answer(name: str) -> dict[str, Any]:
    """Return a collection in the list that cannot be opened."""
    nothing = dict.fromkeys(("documents", "segments", "bytes", "encoder"))
    return {"name": name, **nothing, "modes": [], "health": "unavailable"}


def description_answer(name: str, info: CollectionInfo | EngineInfo | TenantInfo) -> dict[str, Any]:
    """Return the figures of a collection, or of what it has of a tenant."""
    if isinstance(info, EngineInfo):
        return _engine_description(name, info)
    if isinstance(info, TenantInfo):
        return _tenant_description(name, info)
    return {
        "name": name,
        "tenant_field": info.tenant_field,
        "tenants": info.tenants,
        "tenant": None,
        "documents": info.documents,
        "deleted": info.deleted,
        "pending": info.pending,
        "segments": [
            {
                "name": segment.name,
                "rows": segment.rows,
                "deleted": segment.deleted,
                "postings": segment.postings,
                "bytes": sum(segment.bytes.values()),
            }
            for segment in info.segments
        ],
        "bytes": info.index_bytes + info.database_bytes,
        "index_bytes": info.index_bytes,
        "document_bytes": info.database_bytes,
        "log_bytes": info.log_bytes,
        "terms": info.terms,
        "postings": info.postings,
        "unfinished": None if info.unfinished is None else _unfinished(name, info.unfinished),
        "average_length": info.average_length,
        "far_average": None if info.far_average is None else asdict(info.far_average),
        "clipped": info.loss.clipped,
        "passages": info.passages,
        "rows": info.rows,
        "split": info.split,
        "cut": info.cut,
        "late_bytes": info.late_bytes,
        "encoder": _encoder(info.encoder),
        "dense": None
        if info.dense is None
        else {
            "encoder": _encoder(info.dense.encoder),
            "width": info.dense.width,
            "vectors": info.dense.vectors,
            "bytes": info.dense.bytes,
            "index": info.dense.index,
            "clustered": info.dense.clustered,
        },
        "engine": None,
        "modes": modes_of(info),
        "health": _health(info),
        "damage": _damage(info),
    }


def _unfinished(name: str, job: Unfinished) -> dict[str, Any]:
    """Return an ingest job whose documents are not visible, and how it goes on."""
    hint = "its documents become visible when it is done"
    if job.running is None:
        hint = f"the command that began it finishes it, POST /v1/collections/{name}/discard-unfinished drops it"
    return asdict(job) | {"hint": hint}


# What other engines do not tell of a collection.
_UNTOLD = (
    "deleted",
    "pending",
    "segments",
    "document_bytes",
    "log_bytes",
    "unfinished",
    "average_length",
    "far_average",
    "clipped",
    "passages",
    "rows",
    "split",
    "cut",
    "tenants",
    "tenant",
    "late_bytes",
)


def _untold_dense(info: EngineInfo | TenantInfo) -> dict[str, Any] | None:
    if info.dense is None:
        return None
    nulls = dict.fromkeys(("vectors", "bytes", "index", "clustered"))
    return {"encoder": _encoder(info.dense.encoder), "width": info.dense.width, **nulls}


def _tenant_description(name: str, info: TenantInfo) -> dict[str, Any]:
    """Return what a tenant is told of a collection: nothing that is not its own."""
    unknown = dict.fromkeys((*_UNTOLD, "bytes", "index_bytes", "terms", "postings", "engine", "tenant_field"))
    return {
        "name": name,
        "documents": info.documents,
        **unknown,
        "tenant": info.tenant,
        "encoder": _encoder(info.encoder),
        "dense": _untold_dense(info),
        "modes": modes_of(info),
        "health": _health(info),
        "damage": [],
    }


def _engine_description(name: str, info: EngineInfo) -> dict[str, Any]:
    unknown = dict.fromkeys(_UNTOLD)
    dense = _untold_dense(info)
    return {
        "name": name,
        "documents": info.documents,
        "tenant_field": info.tenant_field,
        **unknown,
        "passages": info.passages,
        "rows": info.rows,
        "split": info.split,
        "cut": info.cut,
        "bytes": info.index_bytes,
        "index_bytes": info.index_bytes,
        "terms": info.terms,
        "postings": info.postings,
        "encoder": _encoder(info.encoder),
        "dense": dense,
        "engine": {"name": info.engine, "settings": dict(info.settings), "refused": list(info.refused)},
        "modes": modes_of(info),
        "health": _health(info),
        "damage": [],
    }


def _encoder(identity: EncoderIdentity) -> dict[str, Any]:
    return {"kind": identity.kind, "name": shown_name(identity.name), "settings": dict(identity.settings)}


def facet_answer(facets: Sequence[Facet]) -> dict[str, Any]:
    """Return the facets of metadata fields."""
    return {
        "fields": [
            {
                "field": facet.field,
                "kind": facet.kind,
                "documents": facet.documents,
                "values": [{"value": each.value, "count": each.count} for each in facet.values],
                "min": facet.minimum,
                "max": facet.maximum,
            }
            for facet in facets
        ]
    }


def shown_name(name: str) -> str:
    """Return an encoder's name without the folders it lies in: a caller has no business with paths of the server."""
    return name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] if name.startswith(("/", ".", "~")) else name
