"""Collections in Milvus, over the network (`milvus://`) or in this process (`milvus-lite:`), through pymilvus 2.5."""

from __future__ import annotations

from .engine import MilvusEngine
from .opening import open_milvus

__all__ = ["MilvusEngine", "open_milvus"]
