"""What each engine refuses, one sentence each: for `info`, for docs/backends.md, and for asking before work is done."""

from __future__ import annotations

from lexhound.retrieval.collection.reranking.options import Rerank
from lexhound.retrieval.errors import UnsupportedError

from .address import LUCENE, MILVUS, MILVUS_LITE, Address

NO_BM25 = "the encoder bm25: its vocabulary and average length change with the documents, and nothing there keeps them"
NO_RECALL = "approximate searches with a recall: sparse and dense searches are exact"
NO_FIXED = "fusion `fixed` without sparse_high: only Lexhound's own index bounds what a document may weigh"
NO_JOBS = "ingest jobs that become visible as a whole: documents are visible chunk by chunk"

NO_FACETS = "facets: the values of metadata fields are counted in Lexhound's own index only"
NO_ORDER = "totals, `sort` and `collapse`: hits come by score, and nothing counts what matches"
NO_WORK = "how much a search read: engines do not tell"

NO_DENSE = "dense vectors, and with them modes dense and hybrid: an impact index has no place for them"
NO_FILTER = "filters on metadata: the index is of terms alone"
NO_CHANGE = "adding, replacing and deleting once the index is built: it is built once, of a whole corpus"

NO_TENANTS = "tenants: without filters nothing confines a search to one"
NO_LATE = "token vectors, and with them late interaction: they are kept in Lexhound's own index only"

NO_DEPTH = "hits beyond the 16,384th"
NO_GREAT_NUMBERS = "filters that compare by size with numbers of 2**53 and more"
NO_LONG_TEXTS = "texts that are not split, passages, titles and metadata of more than 65,535 bytes"

_UNCOUNTED = (NO_FACETS, NO_ORDER, NO_WORK, NO_LATE)
_MILVUS = (NO_BM25, NO_RECALL, NO_FIXED, NO_JOBS, NO_DEPTH, NO_GREAT_NUMBERS, NO_LONG_TEXTS, *_UNCOUNTED)
_LUCENE = (NO_DENSE, NO_FILTER, NO_TENANTS, NO_CHANGE, NO_RECALL, *_UNCOUNTED)

REFUSED: dict[str, tuple[str, ...]] = {MILVUS: _MILVUS, MILVUS_LITE: _MILVUS, LUCENE: _LUCENE}


def keeps_dense(address: Address) -> bool:
    """Return whether what an address names has a place for dense vectors."""
    return NO_DENSE not in REFUSED.get(address.engine, ())


def refuse_late(rerank: Rerank) -> None:
    """Raise UnsupportedError where a search is to be reranked by token vectors, which engines do not keep."""
    if rerank.is_late:
        raise UnsupportedError(
            "token vectors for late interaction are kept in Lexhound's own index only",
            hint="name a cross-encoder, or leave `rerank` out",
            cli_hint="name a cross-encoder, or leave --rerank out",
        )


def refuse_encoders(address: Address, *, bm25: bool, dense: bool = False) -> None:
    """Raise UnsupportedError where the engine of an address cannot keep the vectors of such encoders."""
    if bm25 and NO_BM25 in REFUSED[address.engine]:
        raise UnsupportedError(
            "Milvus cannot keep bm25: its vocabulary and average length change with the documents",
            where=str(address),
            hint="use a learned encoder, such as `default`, or an index of our own",
        )
    if dense and NO_DENSE in REFUSED[address.engine]:
        raise UnsupportedError(
            "Lucene keeps no dense vectors here, only an impact index",
            where=str(address),
            hint="leave `dense` out",
            cli_hint="leave --dense out",
        )


def refuse_tenants(address: Address, tenant_field: str | None) -> None:
    """Raise UnsupportedError where the engine of an address cannot keep tenants apart, and it should."""
    if tenant_field is not None and NO_TENANTS in REFUSED.get(address.engine, ()):
        raise UnsupportedError(
            "Lucene has no tenants here: its index is of terms alone, and nothing confines a search",
            where=str(address),
            hint="make an index a tenant, or use an index of our own or Milvus",
        )
