"""Which other engines can be run here."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from lexhound.retrieval.engines.lucene import java
from lexhound.retrieval.errors import MissingEngineError


def milvus_installed() -> bool:
    return all(find_spec(name) is not None for name in ("pymilvus", "milvus_lite", "pkg_resources"))


def _missing() -> str:
    try:
        java.find_java()
    except MissingEngineError as error:
        return error.message
    return ""


needs_milvus = pytest.mark.skipif(not milvus_installed(), reason="the extra milvus is not installed")
needs_lucene = pytest.mark.skipif(bool(_missing()), reason=_missing() or "it is there")
