"""One flipped bit anywhere in a collection: found by `verify`, or without effect; never another text without a word.

`LEXHOUND_FLIPS=1000` flips so many bits; LEXHOUND_FLIP_SEED chooses which.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from repository import TINY_DENSE

from lexhound.encoders.dense.settings import DenseSettings
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.store.schema import DATABASE
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import BadRowError, CorruptCollectionError
from lexhound.retrieval.exports import export_collection

FLIPS = int(os.environ.get("LEXHOUND_FLIPS", "200"))
SEED = int(os.environ.get("LEXHOUND_FLIP_SEED", "5"))
DOCUMENTS = 80
WORDS = ["wing", "heat", "flow", "shock", "plate", "naïve", "翼", "supersonic", "boundary", "layer", "jet", "cone"]
QUERIES = ["heat flow", "naïve wing", "supersonic boundary layer", "翼", "cone"]
FILTERS = ["year > 1960", 'lang = "en"', 'tags = "b"', "deep.score < 0.5"]


def document(number: int, rng: random.Random) -> Document:
    text = " ".join(rng.choices(WORDS, k=rng.randint(4, 60)))
    metadata: dict[str, Any] = {
        "year": 1940 + number,
        "lang": rng.choice(["en", "de"]),
        "tags": rng.sample(["a", "b", "c"], 2),
        "deep": {"score": rng.random()},
    }
    return Document(f"doc-{number}", text, rng.choice(["", f"title {number}"]), metadata if number % 3 else {})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lexical and dense vectors, a query table, two segments, batches that wait, deletes, a run that was cut short."""
    folder = tmp_path_factory.mktemp("flips")
    rng = random.Random(1)
    made = [document(number, rng) for number in range(DOCUMENTS)]
    with Collection.create(
        folder / "c", dense=str(TINY_DENSE), dense_settings=DenseSettings(device="cpu", precision="float32")
    ) as collection:
        collection.add(made[:40])
        collection.maintain(1)
        collection.add(made[40:60])
        collection.maintain(1)
        collection.fit_static_queries()
        collection.add(made[60:])
        collection.delete([f"doc-{number}" for number in range(0, DOCUMENTS, 11)])
        collection.add([Document("doc-5", "another heat", "", {"year": 2000})])
        corpus = folder / "corpus.jsonl"
        corpus.write_text('{"id": "staged", "text": "heat cone", "metadata": {"year": 2001}}\n{"id": 3\n')
        with pytest.raises(BadRowError):
            collection.ingest(open_corpus(corpus), source="corpus")
        assert collection.verify() == []
    return folder / "c"


def answers(path: Path, out: Path) -> dict[str, Any]:
    """Everything that a collection is asked, and what is answered, or that it is said to be damaged.

    Anything else that is raised is a failure.
    """
    found: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            found[name] = question()
        except CorruptCollectionError:
            found[name] = CorruptCollectionError

    def hits(query: str, mode: str, filter: str | None) -> Any:
        answer = collection.search(query, 20, mode=mode, filter=filter, explain=filter is None)
        return [asdict(hit) for hit in answer.hits]

    def exported() -> dict[str, bytes]:
        shutil.rmtree(out, ignore_errors=True)
        export_collection(collection, out, "anserini")
        return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}

    try:
        opened = Collection.open(path)
    except CorruptCollectionError:
        return {}
    with opened as collection:
        for query in QUERIES:
            for mode in ("sparse", "dense", "hybrid"):
                for filter in (None, FILTERS[0]):
                    ask(f"{mode} {query} {filter}", partial(hits, query, mode, filter))
        ask("many", lambda: collection.search_many(QUERIES, 50, mode="sparse"))
        ask("count", collection.count)
        ask("facets", lambda: [asdict(facet) for facet in collection.facets()])
        for filter in FILTERS:
            ask(f"ids {filter}", partial(collection.ids, filter))
        for number in (*range(DOCUMENTS), "never"):
            ask(f"get doc-{number}", partial(collection.get, f"doc-{number}"))
        ask("export", exported)
    return found


def flips(whole: Path, count: int) -> Iterator[tuple[Path, int, int]]:
    """File, byte and bit: half of them in the database, where it holds data, half in the other files."""
    rng = random.Random(SEED)
    database = (whole / DATABASE).read_bytes()
    held = [place for place, byte in enumerate(database) if byte]
    kept = (DATABASE, f"{DATABASE}-shm", "write.lock")
    others = sorted(p for p in whole.rglob("*") if p.is_file() and p.stat().st_size and p.name not in kept)
    for number in range(count):
        if number % 2:
            yield whole / DATABASE, rng.choice(held), rng.randrange(8)
        else:
            file = rng.choice(others)
            yield file, rng.randrange(file.stat().st_size), rng.randrange(8)


def test_no_flipped_bit_is_missed_and_none_alters_a_text(whole: Path, tmp_path: Path) -> None:
    truth = answers(whole, tmp_path / "out")
    assert CorruptCollectionError not in truth.values()
    copy = tmp_path / "c"
    missed, silent, told = [], [], 0
    for file, place, bit in flips(whole, FLIPS):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        target = copy / file.relative_to(whole)
        content = bytearray(target.read_bytes())
        content[place] ^= 1 << bit
        target.write_bytes(content)
        known = is_told(copy)
        other = [
            name
            for name, answer in answers(copy, tmp_path / "out").items()
            if answer is not CorruptCollectionError and answer != truth[name]
        ]
        told += known
        if other and not known:
            missed.append((file.name, place, bit, other))
        if altered := [name for name in other if name.startswith(("get", "export"))]:
            silent.append((file.name, place, bit, altered))
    sys.stdout.write(f"{FLIPS} bits: {told} told by verify, {len(missed)} missed, {len(silent)} altered silently\n")
    assert missed == []
    assert silent == []
    assert told > FLIPS / 2


def is_told(path: Path) -> bool:
    """Whether `verify` says that something is wrong."""
    try:
        with Collection.open(path) as collection:
            return collection.verify() != []
    except CorruptCollectionError:
        return True
