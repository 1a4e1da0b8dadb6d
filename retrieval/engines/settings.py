"""How other engines are reached and set up. Nothing here is read from the environment: callers say it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lexhound.retrieval.errors import QueryError

CONSISTENCIES = ("Strong", "Bounded", "Session", "Eventually")
DENSE_INDEXES = ("FLAT", "HNSW", "IVF_FLAT", "DISKANN", "AUTOINDEX")


@dataclass(frozen=True, slots=True)
class MilvusSettings:
    """Of Milvus.

    Attributes:
        token: `user:password` or an API key; "" for none. tls: whether to encrypt; certificate: a file with the
            server's certificate or that of its authority, where the system does not know it.
        database: "" for the default one.
        timeout: seconds that an answer may take; attempts: how often a write is tried, with growing pauses between.
        consistency: one of CONSISTENCIES, of reads. With `Strong`, a read sees every write that was acknowledged.
        dense_index: one of DENSE_INDEXES, of new collections. All but FLAT are approximate, by what Milvus presets.
        tenant_field: of new collections: a metadata field, by which Milvus partitions the rows; "" for none.
        shards: of new collections.
    """

    token: str = field(default="", repr=False)
    tls: bool = False
    certificate: str = ""
    database: str = ""
    timeout: float = 60.0
    attempts: int = 6
    consistency: str = "Strong"
    dense_index: str = "FLAT"
    tenant_field: str = ""
    shards: int = 1

    def __post_init__(self) -> None:
        for name, value, known in (
            ("consistency", self.consistency, CONSISTENCIES),
            ("dense index", self.dense_index, DENSE_INDEXES),
        ):
            if value not in known:
                raise QueryError(f"the {name} of Milvus is {value!r}", hint=f"it must be one of {', '.join(known)}")
        if self.timeout <= 0 or self.attempts < 1 or not 1 <= self.shards <= 64:
            raise QueryError(
                "Milvus's timeout, attempts or shards are out of range",
                hint="timeout above 0, attempts from 1, shards from 1 to 64",
            )
