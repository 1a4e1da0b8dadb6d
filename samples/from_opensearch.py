"""Move an index from OpenSearch into Lexhound, and ask the same questions there: pip install opensearch-py.

lexhound serve data/ --opensearch
python samples/from_opensearch.py http://localhost:9200 http://localhost:8080/opensearch articles
"""

from __future__ import annotations

import sys
from pathlib import Path
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


def ask(client: OpenSearch, index: str, text: str, size: int = 3) -> list[dict[str, Any]]:
    """Return the best hits for a text: the same lines, whoever answers. Put your own query here."""
    answer = client.search(index=index, body={"query": {"match": {"text": text}}, "size": size})
    hits: list[dict[str, Any]] = answer["hits"]["hits"]
    return hits


def write_run(client: OpenSearch, index: str, questions: Path, run: Path) -> None:
    """Write the best 100 hits of each question as a TREC run."""
    with run.open("w", encoding="utf-8") as out:
        for line in questions.read_text("utf-8").splitlines():
            question, _, text = line.partition("\t")
            for rank, hit in enumerate(ask(client, index, text, 100), 1):
                out.write(f"{question} Q0 {hit['_id']} {rank} {hit['_score']} {run.stem}\n")


if __name__ == "__main__":
    source, target, name = sys.argv[1:4]
    old_client, new_client = OpenSearch(source), OpenSearch(target)
    print(f"{move(old_client, new_client, name):,} documents moved")  # noqa: T201
    for hit in ask(new_client, name, "heat transfer"):
        print(hit["_id"], hit["_score"], hit["_source"].get("title", ""))  # noqa: T201
    for file in sys.argv[4:]:
        write_run(old_client, name, Path(file), Path("old.trec"))
        write_run(new_client, name, Path(file), Path("new.trec"))
