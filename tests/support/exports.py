"""Reading exports with the standard library, as a stranger to the project would, and what they ought to hold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from lexhound.retrieval import Collection

Vectors = dict[str, dict[str, int]]


def stored_vectors(collection: Collection, ids: list[str]) -> Vectors:
    """Tokens and impacts of every document, found by asking for every term alone: scores are impacts by scale."""
    vectors: Vectors = {identifier: {} for identifier in ids}
    names = set()
    for part in collection.snapshot().segments:
        names |= {collection.sparse_field.term_text(term) for term in part.segment.index.postings.terms.tolist()}
        scale = part.segment.index.scale
    for name in names:
        for hit in collection.search({name: 1.0}, k=len(ids) + 1, mode="sparse").hits:
            vectors[hit.id][name] = round(hit.score / scale)
    return vectors


def terms_by_id(folder: Path) -> dict[int, str]:
    rows = [json.loads(line) for line in (folder / "terms.jsonl").read_text("utf-8").splitlines()]
    assert [row["term"].encode() for row in rows] == sorted(row["term"].encode() for row in rows)
    return {row["id"]: row["term"] for row in rows}


def read_anserini(folder: Path) -> tuple[Vectors, dict[str, dict[str, Any]]]:
    rows = [json.loads(line) for path in _files(folder) for line in path.read_text("utf-8").split("\n") if line]
    contents = {
        row["id"]: {"text": row["contents"], "title": row.get("title", ""), "metadata": row.get("metadata", {})}
        for row in rows
    }
    return {row["id"]: row["vector"] for row in rows}, contents


def read_opensearch(folder: Path, kind: str) -> tuple[Vectors, dict[str, dict[str, Any]]]:
    lines = [
        json.loads(line)
        for path in _files(folder)
        if path.name.startswith(kind)
        for line in path.read_text("utf-8").split("\n")
        if line
    ]
    names = terms_by_id(folder)
    vectors, contents = {}, {}
    for action, row in zip(lines[::2], lines[1::2], strict=True):
        assert action["index"]["_id"] == row["id"]
        vector = row["sparse_embedding"]
        if kind == "sparse_vector":
            vector = {names[int(term)]: value for term, value in vector.items()}
        vectors[row["id"]] = {token.replace("<dot>", "."): value for token, value in vector.items()}
        contents[row["id"]] = {name: row[name] for name in ("text", "title", "metadata")}
    return vectors, contents


def read_qdrant(folder: Path) -> tuple[Vectors, dict[str, dict[str, Any]]]:
    names = terms_by_id(folder)
    vectors, contents = {}, {}
    for path in _files(folder):
        for point in json.loads(path.read_text("utf-8"))["points"]:
            payload = point["payload"]
            sparse = point["vector"].get("sparse", {"indices": [], "values": []})
            assert sparse["indices"] == sorted(sparse["indices"])
            vectors[payload["id"]] = {
                names[term]: int(value) for term, value in zip(sparse["indices"], sparse["values"], strict=True)
            }
            contents[payload["id"]] = {name: payload[name] for name in ("text", "title", "metadata")}
    return vectors, contents


def read_parquet(folder: Path) -> tuple[Vectors, dict[str, dict[str, Any]]]:
    import pyarrow.parquet as pq

    names = terms_by_id(folder)
    vectors, contents = {}, {}
    for row in pq.read_table(folder / "documents.parquet").to_pylist():
        vectors[row["id"]] = {names[t]: v for t, v in zip(row["indices"], row["values"], strict=True)}
        contents[row["id"]] = {"text": row["text"], "title": row["title"], "metadata": json.loads(row["metadata"])}
    return vectors, contents


def read_ciff(path: Path) -> tuple[dict[int, Any], Vectors, dict[str, int]]:
    """Header fields by number, vectors, lengths by id; a byte at a time, from the public description of the format."""
    data = path.read_bytes()
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def message(end: int) -> list[tuple[int, Any]]:
        nonlocal place
        found: list[tuple[int, Any]] = []
        while place < end:
            tag = number()
            if tag & 7 == 0:
                found.append((tag >> 3, number()))
            elif tag & 7 == 1:
                found.append((tag >> 3, float(np.frombuffer(data[place : place + 8], "<f8")[0])))
                place += 8
            else:
                size = number()
                found.append((tag >> 3, (place, place + size)))
                place += size
        assert place == end
        return found

    def text(span: tuple[int, int]) -> str:
        return data[slice(*span)].decode()

    header = dict(message(number() + place))
    lists = []
    for _ in range(header.get(2, 0)):
        fields = message(number() + place)
        after = place
        postings, docid = [], 0
        for name, span in fields:
            if name == 4:
                place = span[0]
                posting = dict(message(span[1]))
                docid += posting.get(1, 0)
                postings.append((docid, posting[2]))
        place = after
        single = dict(pair for pair in fields if pair[0] != 4)
        assert single[2] == len(postings)
        assert single[3] == sum(tf for _, tf in postings)
        lists.append((text(single[1]), postings))
    assert [term.encode() for term, _ in lists] == sorted(term.encode() for term, _ in lists)
    ids, lengths = {}, {}
    for _ in range(header.get(3, 0)):
        record = dict(message(number() + place))
        ids[record.get(1, 0)] = text(record[2])
        lengths[text(record[2])] = record.get(3, 0)
    assert place == len(data)
    vectors: Vectors = {identifier: {} for identifier in ids.values()}
    for term, postings in lists:
        for docid, tf in postings:
            vectors[ids[docid]][term] = tf
    assert math.isclose(header.get(7, 0.0), sum(lengths.values()) / max(1, len(lengths)))
    assert header.get(6, 0) == sum(lengths.values())
    return header, vectors, lengths


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in json.loads((folder / "export.json").read_text())["files"]]
