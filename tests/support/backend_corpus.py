"""A small corpus full of ties, empties and odd metadata, and how to bring it into any engine."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm

from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.store.passage_table import read_spans
from lexhound.retrieval.collection.store.stored_documents import content_hash
from lexhound.retrieval.engines.collection import EngineCollection
from lexhound.retrieval.engines.engine import EngineDocument

TEXTS = (
    "heat transfer in hypersonic flow",
    "heat transfer in hypersonic flow",
    "the wing of an aircraft",
    "shock wave and boundary layer",
    "a cat sat on the mat by the river",
    "flow over a flat plate and heat transfer",
    "",
    "laminar boundary layer on a cone",
    "the the the",
    "new year old world",
)
METADATA: tuple[dict[str, Any], ...] = (
    {"year": 1990, "lang": "en", "peer": True},
    {"year": 1991.5, "lang": ["en", "de"], "author": {"name": "Lin"}},
    {},
    {"year": "1990", "lang": "É\"\\'x/~", "peer": False},
    {"year": [1, 3000], "note": None, "empty": []},
    {"year": -3, "lang": "", "author": [{"name": "Ada"}, {"name": "Lin"}]},
    {"odd name": 1, "peer": 1.0},
)
DOCUMENTS = [
    Document(f"d{number}", TEXTS[number % len(TEXTS)], "title" * (number % 3), METADATA[number % len(METADATA)])
    for number in range(24)
]
QUERIES = ["heat transfer", "the wing", "cat and mat", "zzz 9", "", "laminar boundary layer the"]
FILTERS = (
    "year >= 1990",
    "not year >= 1990",
    'lang = "en"',
    'lang != "en"',
    'not lang != "en"',
    'lang in ("de", "É\\"\\\\\'x/~", "")',
    'not lang not in ("de")',
    "exists author",
    "not exists author.name",
    "peer = true and year > 0",
    "not (peer = 1 or year < 0)",
    '`odd name` < 2 or lang >= "é"',
    'year < "2" and not year < "1"',
    "year != 1990",
    "nothing = 1",
)


@cache
def models() -> tuple[str, str]:
    """The folders of a tiny sparse and a tiny dense model."""
    folder = Path(tempfile.mkdtemp(prefix="backends-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(build_tiny_masked_lm(folder / "sparse")), str(build_tiny_embedding_model(folder / "dense"))


def encoders() -> dict[str, Any]:
    """The encoders of a collection, as the arguments of `Collection.create`."""
    sparse, dense = models()
    return {
        "encoder": sparse,
        "learned": LearnedSettings(device="cpu", precision="float32", top_k=20),
        "dense": dense,
        "dense_settings": DenseSettings(device="cpu", precision="float32"),
    }


def move_rows(own: Collection, other: EngineCollection) -> None:
    """Bring documents with the vectors that our own collection stores into another engine, row by row."""
    rows: dict[int, dict[int, tuple[Any, Any]]] = {}
    names: dict[int, str] = {}
    for part in own.snapshot().segments:
        index, dense = part.segment.index, part.segment.dense
        for row in np.flatnonzero(np.ones(part.segment.n_rows, bool) if part.live is None else part.live).tolist():
            postings = _row(index.postings, row)
            terms = np.array(sorted(postings), np.int32)
            weights = np.array([postings[term] * index.scale for term in terms.tolist()], np.float32)
            vector = None if dense is None else dense.vectors_of(np.array([row]))[0]
            number = int(part.segment.documents_of(np.array([row]))[0])
            rows.setdefault(number, {})[part.segment.passage_of(row)] = ((terms, weights), vector)
            names[number] = part.segment.ids[row]
    with own.snapshot().reading() as connection:
        spans = read_spans(connection, list(rows))
    moved = []
    for number, by_passage in sorted(rows.items()):
        document = own.get(names[number])
        assert document is not None
        vectors = [by_passage[passage] for passage in range(len(by_passage))]
        near = None if vectors[0][1] is None else np.stack([vector for _, vector in vectors])
        own_spans = [tuple(span) for span in spans[number].tolist()] if number in spans else []
        sparse = [vector for vector, _ in vectors]
        moved.append(EngineDocument(number, content_hash(document), document, sparse, near, own_spans))
    other.add_encoded(moved)


def _row(postings: Any, wanted: int) -> dict[int, int]:
    """{term: impact} of a row, by looking at every posting."""
    found = {}
    for slot, term in enumerate(postings.terms.tolist()):
        for entry in range(int(postings.entry_starts[slot]), int(postings.entry_starts[slot + 1])):
            base = int(postings.entry_windows[entry]) << postings.window_bits
            start = int(postings.entry_ends[entry - 1]) if entry else 0
            for at in range(start, int(postings.entry_ends[entry])):
                if base + int(postings.rows[at]) == wanted:
                    found[term] = int(postings.impacts[at])
    return found
