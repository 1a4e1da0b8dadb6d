"""Stored weights do not depend on the order and the portions in which documents came."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from repository import GOLDEN

from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.text.subwords import Subwords
from lexhound.index.inverted.scales import MOST_GROUPS
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.store.average_length import FAR
from lexhound.retrieval.collection.store.manifest import SEGMENT_FORMAT, read_manifest
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.documents.encoded_document import EncodedDocument

TERMS = np.arange(2000, 2012, dtype=np.int32)
Weights = dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]


@pytest.fixture(autouse=True, scope="module")
def one_tokenizer() -> Iterator[None]:
    """The encoder's tokenizer is read once, not for each of some seventy collections and their openings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subwords, "open", staticmethod(cache(Subwords.open)))
        yield


def create(path: Path) -> Collection:
    """A collection of a learned encoder, whose documents bring their vectors."""
    return Collection.create(path, encoder="lexhound-mini", load_model=False)


def encoded(identifier: str, weights: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float32]]) -> Document:
    """Weights of TERMS, where they are above 0."""
    values = np.array(weights, np.float32)
    there = values > 0
    return EncodedDocument(Document(identifier, ""), (TERMS[: len(values)][there], values[there]))


def stored(collection: Collection) -> Weights:
    """What the collection holds for each document, found by asking for every term alone."""
    found = {identifier: np.zeros(len(TERMS), np.float32) for identifier in all_ids(collection)}
    for place, term in enumerate(TERMS.tolist()):
        name = collection.sparse_field.term_text(term)
        for hit in collection.search({name: 1.0}, 10_000).hits:
            found[hit.id][place] = hit.score
    return found


def all_ids(collection: Collection) -> list[str]:
    snapshot = collection.snapshot()
    ids = []
    for part in snapshot.segments:
        rows = range(part.segment.n_rows) if part.live is None else np.flatnonzero(part.live).tolist()
        ids += [part.segment.ids[row] for row in rows]
    return sorted(ids)


def scales(collection: Collection) -> dict[str, float]:
    return {
        part.segment.ids[row]: part.segment.index.scale
        for part in collection.snapshot().segments
        for row in range(part.segment.n_rows)
        if part.live is None or part.live[row]
    }


def assert_as_given(collection: Collection, given: Weights, steps: dict[str, float] | None = None) -> None:
    """Every weight is what was given but for one step of the coarsest scale it ever had, and none was clipped.

    `steps` are the scales of before; those of now are added.
    """
    held, now = stored(collection), scales(collection)
    steps = {} if steps is None else steps
    steps |= {identifier: max(scale, steps.get(identifier, 0.0)) for identifier, scale in now.items()}
    assert sorted(held) == sorted(given)
    for identifier, weights in given.items():
        assert np.abs(held[identifier] - weights).max(initial=0) <= steps[identifier], identifier
        assert ((held[identifier] > 0) == (weights > 0)).all()
    assert collection.info().loss.clipped == 0


def wild(rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Empty, faint, usual and huge vectors, as they come."""
    kind = rng.integers(0, 20)
    if kind == 0:
        return np.zeros(len(TERMS), np.float32)
    size = 10 ** rng.uniform(-3, 4) if kind < 3 else rng.uniform(1, 4)
    return (size * rng.uniform(0.05, 1, len(TERMS)) * (rng.random(len(TERMS)) < 0.5)).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_weights_are_those_given_however_they_come(tmp_path: Path, seed: int) -> None:
    rng, choose = np.random.default_rng(seed), random.Random(seed)
    given: Weights = {}
    steps: dict[str, float] = {}
    with create(tmp_path / "grown") as collection:
        for _ in range(12):
            action = choose.choice(["add", "add", "add", "delete", "segment", "compact"])
            if action == "add":
                some = {str(rng.integers(0, 80)): wild(rng) for _ in range(choose.choice([1, 2, 30]))}
                collection.add([encoded(identifier, weights) for identifier, weights in some.items()])
                given |= some
                steps = {identifier: step for identifier, step in steps.items() if identifier not in some}
            elif action == "delete" and given:
                gone = choose.sample(sorted(given), len(given) // 3)
                collection.delete(gone)
                given = {identifier: own for identifier, own in given.items() if identifier not in gone}
            elif action == "segment":
                collection.maintain(1)
            else:
                collection.compact()
            assert_as_given(collection, given, steps)
        collection.compact()
        assert_as_given(collection, given, steps)
        assert len(collection.info().segments) <= MOST_GROUPS
        assert collection.verify() == []
        with create(tmp_path / "once") as other:
            other.add([encoded(identifier, weights) for identifier, weights in given.items()])
            other.maintain(1)
            theirs = scales(other)
            held, at_once = stored(collection), stored(other)
        for identifier in given:
            step = steps[identifier] + theirs[identifier]
            assert np.abs(held[identifier] - at_once[identifier]).max(initial=0) <= step, identifier


STARTS = {
    "empty": [[0.0]],
    "faint": [[0.01]],
    "huge": [[1000.0, 3.0]],
    "one": [[1.5, 0.2]],
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("waiting", [False, True])
def test_a_bad_start_costs_nothing(tmp_path: Path, start: str, waiting: bool) -> None:
    rng = np.random.default_rng(3)
    usual = {f"u{i}": (3 * rng.random(len(TERMS))).astype(np.float32) for i in range(100)}
    first = {
        f"s{i}": np.pad(np.array(row, np.float32), (0, len(TERMS) - len(row))) for i, row in enumerate(STARTS[start])
    }
    given = first | usual
    with create(tmp_path / "a") as collection, create(tmp_path / "b") as other:
        collection.add([encoded(identifier, weights) for identifier, weights in first.items()])
        if not waiting:
            collection.maintain(1)
        collection.add([encoded(identifier, weights) for identifier, weights in usual.items()])
        other.add([encoded(identifier, weights) for identifier, weights in given.items()])
        for step in ("waiting", "indexed", "compacted"):
            if step == "indexed":
                collection.maintain(1)
                other.maintain(1)
            elif step == "compacted":
                collection.compact()
            steps = scales(collection)
            assert all(steps[identifier] == 2**-6 for identifier in usual)
            assert_as_given(collection, given)
            mine, theirs = stored(collection), stored(other)
            for identifier in usual:
                assert (mine[identifier] == theirs[identifier]).all()


def test_readers_with_other_pasts_rank_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    with create(tmp_path / "c") as collection, Collection.open(tmp_path / "c") as often:
        for i in range(30):
            collection.add([encoded(f"{i}-{n}", wild(rng)) for n in range(3)])
            often.refresh()
            often.search({often.sparse_field.term_text(2000): 1.0})
        with Collection.open(tmp_path / "c") as late:
            mine = stored(often)
            for identifier, weights in stored(late).items():
                assert (mine[identifier] == weights).all()


def test_the_first_write_makes_an_old_collection_one_of_the_new_format(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "format-1", tmp_path / "old")
    with Collection.open(tmp_path / "old", writable=True) as collection:
        assert read_manifest(tmp_path / "old").format == 1
        collection.add([Document("new", "a layer of paint on the boundary wall " * 40)])
        assert read_manifest(tmp_path / "old").format == 1  # batches are as they were
        collection.maintain(1)
        assert collection.info().format == read_manifest(tmp_path / "old").format == SEGMENT_FORMAT
        collection.compact()
        with Collection.create(tmp_path / "once", lexical=LexicalSettings()) as other:
            other.add([hit.document for hit in sorted(rows_of(collection), key=lambda hit: hit.id)])
            other.compact()
            for query in ("boundary layer", "wing slipstream", "paint"):
                mine = sorted((hit.id, hit.score) for hit in collection.search(query, 50).hits)
                assert mine == sorted((hit.id, hit.score) for hit in other.search(query, 50).hits)


def rows_of(collection: Collection):
    class Row:
        def __init__(self, document: Document) -> None:
            self.id, self.document = document.id, document

    documents = (collection.get(identifier) for identifier in all_ids(collection))
    return [Row(document) for document in documents if document is not None]


WORDS = ["wing", "flow", "heat", "layer", "shock", "plate", "wave", "lift"]


def text(choose: random.Random, longest: int = 60) -> str:
    return " ".join(choose.choice(WORDS) for _ in range(choose.randint(1, longest)))


def ranking(collection: Collection, query: str) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in collection.search(query, 1000).hits]


@pytest.mark.parametrize("seed", range(4))
def test_bm25_compacted_is_bm25_at_once_to_the_bit(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    kept: dict[str, Document] = {}
    with Collection.create(tmp_path / "grown") as collection:
        for step in range(14):
            action = choose.choice(["add", "add", "ingest", "delete", "segment", "compact"])
            if action in ("add", "ingest"):
                some = [
                    Document(f"{step}-{i}", text(choose, 4 ** choose.randint(1, 4)))
                    for i in range(choose.randint(1, 40))
                ]
                ingest(collection, tmp_path, some) if action == "ingest" else collection.add(some)
                kept |= {document.id: document for document in some}
            elif action == "delete":
                gone = choose.sample(sorted(kept), len(kept) // 3)
                collection.delete(gone)
                kept = {identifier: own for identifier, own in kept.items() if identifier not in gone}
            elif action == "segment":
                collection.maintain(1)
            else:
                collection.compact()
        collection.compact()
        assert collection.info().far_average is None
        with Collection.create(tmp_path / "once") as other:
            other.add(kept.values())
            other.compact()
            for word in WORDS:
                assert ranking(collection, word) == ranking(other, word)


def ingest(collection: Collection, folder: Path, documents: Sequence[Document]) -> None:
    path = folder / "corpus.jsonl"
    import orjson

    path.write_bytes(b"".join(orjson.dumps({"id": own.id, "text": own.text}) + b"\n" for own in documents))
    collection.ingest(open_corpus(str(path)), source=str(hash(path.read_bytes())))


def test_a_short_first_document_does_not_set_the_average_of_bm25(tmp_path: Path) -> None:
    choose = random.Random(1)
    many = [Document(str(i), text(choose)) for i in range(300)]
    for way in ("ingest", "add", "wait"):
        with Collection.create(tmp_path / way) as collection:
            collection.add([Document("seed", "wing")])
            collection.maintain(1)
            if way == "ingest":
                ingest(collection, tmp_path, many)
            else:
                for start in range(0, len(many), 20):
                    collection.add(many[start : start + 20])
                if way == "add":
                    collection.maintain(1)
            info = collection.info()
            assert info.average_length == pytest.approx(30, rel=0.1)
            near = ranking(collection, "flow heat")
            collection.compact()
            assert [score for _, score in near[:50]] == pytest.approx(
                [score for _, score in ranking(collection, "flow heat")[:50]], rel=0.03
            )


def test_weights_far_from_today_are_told_and_paid_for(tmp_path: Path) -> None:
    choose = random.Random(2)
    with Collection.create(tmp_path / "c") as collection:
        ingest(collection, tmp_path, [Document(str(i), text(choose, 10)) for i in range(400)])
        collection.compact()
        assert collection.info().far_average is None
        # Few, and so long that the average doubles: 400 old documents are more than these few pay for.
        ingest(collection, tmp_path, [Document(f"long{i}", text(choose, 10) + " wing" * 300) for i in range(5)])
        far = collection.info().far_average
        # What came before has not been spent, so the old ones were weighed anew; now the account is empty.
        assert far is None
        ingest(collection, tmp_path, [Document(f"longer{i}", text(choose, 10) + " wing" * 900) for i in range(5)])
        ingest(collection, tmp_path, [Document(f"longest{i}", text(choose, 10) + " wing" * 2700) for i in range(5)])
        ingest(collection, tmp_path, [Document(f"endless{i}", text(choose, 10) + " wing" * 9000) for i in range(5)])
        ingest(collection, tmp_path, [Document(f"eternal{i}", text(choose, 10) + " wing" * 30000) for i in range(5)])
        far = collection.info().far_average
        assert far is not None
        assert far.documents >= 400
        assert abs(far.stored - far.today) > FAR * far.today
        collection.compact()
        assert collection.info().far_average is None
