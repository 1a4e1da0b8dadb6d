"""Move an index from OpenSearch into Lexhound, and ask the same questions there: pip install opensearch-py.

lexhound serve data/ --opensearch
python samples/from_opensearch.py http://localhost:9200 http://localhost:8080/opensearch articles
"""

from __future__ import annotations

import sys
from typing import Any

from opensearchpy import OpenSearch, helpers


def move(old: OpenSearch, new: OpenSearch, index: str) -> int:
    """Copy the mapping and all documents of an index; return how many there are."""
    mapping = old.indices.get_mapping(index=index)[index]["mappings"]
    new.indices.create(index=index, body={"mappings": {"properties": mapping["properties"]}})
    actions = (
        # The document as a whole goes under `_source`: of a flat one, the helper takes fields called `version`,
        # `parent`, `routing`, ... for options of the action.
        {"_index": index, "_id": hit["_id"], "_source": hit["_source"]}
        for hit in helpers.scan(old, index=index, size=1000)
    )
    moved, _ = helpers.bulk(new, actions, refresh=True)
    return moved


def ask(client: OpenSearch, index: str, text: str) -> list[dict[str, Any]]:
    """Return the best hits for a text: the same lines, whoever answers."""
    answer = client.search(index=index, body={"query": {"match": {"text": text}}, "size": 3})
    hits: list[dict[str, Any]] = answer["hits"]["hits"]
    return hits


if __name__ == "__main__":
    source, target, name = sys.argv[1:4]
    old_client, new_client = OpenSearch(source), OpenSearch(target)
    print(f"{move(old_client, new_client, name):,} documents moved")  # noqa: T201
    for hit in ask(new_client, name, "heat transfer"):
        print(hit["_id"], hit["_score"], hit["_source"].get("title", ""))  # noqa: T201
