"""What is told of a tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexhound.encoders.base import EncoderIdentity
    from lexhound.retrieval.collection.store.manifest import DenseManifest


@dataclass(frozen=True, slots=True)
class TenantInfo:
    """The figures of a tenant: who it is, how many documents there are, and how they are encoded and searched.

    Attributes:
        dense: None where the collection has no dense vectors.
    """

    tenant: str
    documents: int
    encoder: EncoderIdentity
    dense: DenseManifest | None
    modes: tuple[str, ...]
