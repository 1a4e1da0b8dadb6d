"""Run as a program: forks writers and kills them at random moments, then checks what they left.

One process imports everything once and forks a child for each attempt, so that hundreds of kills take seconds. The
child tells what has been acknowledged through a pipe; the parent sends SIGKILL after a random delay, reopens the
collection and compares. Prints one JSON object.

    crash_nursery.py writes DIRECTORY KILLS SEED
    crash_nursery.py dense DIRECTORY KILLS SEED
    crash_nursery.py run DIRECTORY KILLS SEED CORPUS
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from whole_texts import WholeTexts

from lexhound.encoders.base import EncoderIdentity
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.store import dense_index
from lexhound.retrieval.collection.write import writer
from lexhound.retrieval.corpus import open_corpus

# Small enough that segments are built, merged and swept all the time.
writer.FLUSH_BYTES = 4096
writer.SMALLEST_SEGMENT = 8

# Both kinds of index of dense vectors are met: of six documents or more there is a clustered one.
dense_index.CLUSTERED_FROM = 6

WORDS = [f"word{number}" for number in range(200)]
WIDTH = 12


class WordVectors(DenseField):
    """A dense encoder that needs no model: a text's vector counts its words, by their numbers modulo WIDTH."""

    def encode(self, texts, progress=None):
        vectors = np.zeros((len(texts), WIDTH), np.float32)
        for i, text in enumerate(texts):
            for word in text.split():
                if word.startswith("word"):
                    vectors[i, int(word[4:]) % WIDTH] += 1
        return vectors

    queries = encode

    def cuts_query(self, text: str) -> bool:
        return False

    def document_reader(self):
        return WholeTexts()


def make(path: Path, *, dense: bool) -> None:
    """An empty collection."""
    if dense:
        DenseField.named = lambda *_: WordVectors(EncoderIdentity("words", "words", "0"), WIDTH)
        Collection.create(path, dense="words").close()
    else:
        Collection.create(path).close()


def opened(path: Path, **options) -> Collection:
    """The collection, with the encoder that `make` gave it."""
    collection = Collection.open(path, **options)
    if collection.manifest.dense is not None:
        collection.adopt(None, WordVectors(collection.manifest.dense.encoder, WIDTH))
    return collection


def document(number: int, version: int) -> Document:
    rng = random.Random(f"{number} {version}")
    return Document(
        f"d{number}", " ".join(rng.choices(WORDS, k=rng.randrange(0, 30))), f"version {version}", {"n": number}
    )


def write_forever(path: Path, seed: int, pipe: int, version: int) -> None:
    """Add, replace, delete and compact without end; each acknowledged change is one line in the pipe."""
    rng = random.Random(seed)
    with opened(path, writable=True) as collection:
        os.write(pipe, b'["open"]\n')
        while True:
            version += 1
            numbers = rng.sample(range(60), rng.randrange(1, 12))
            action = rng.random()
            if action < 0.7:
                intent = ["add", numbers, version]
                os.write(pipe, (json.dumps(["try", *intent]) + "\n").encode())
                collection.add([document(number, version) for number in numbers])
            elif action < 0.93:
                intent = ["delete", numbers, version]
                os.write(pipe, (json.dumps(["try", *intent]) + "\n").encode())
                collection.delete([f"d{number}" for number in numbers])
            else:
                intent = ["compact", [], version]
                os.write(pipe, (json.dumps(["try", *intent]) + "\n").encode())
                collection.compact()
            os.write(pipe, b'["done"]\n')


def attempt(child_main, delay: float) -> list[list]:
    """Fork, wait, kill; returns the lines that the child wrote. The delay counts from the child's first line."""
    reader, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            child_main(pipe)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  # a forked child has nobody else to tell
            os.write(pipe, (json.dumps(["failed", repr(error)]) + "\n").encode())
            os._exit(1)
    os.close(pipe)
    received = b""
    kill_at = None
    while True:
        wait = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        ready, _, _ = select.select([reader], [], [], wait)
        if ready:
            piece = os.read(reader, 1 << 16)
            if not piece:
                break
            received += piece
            if kill_at is None:
                kill_at = time.monotonic() + delay
        elif kill_at is not None and time.monotonic() >= kill_at:
            os.kill(child, signal.SIGKILL)
            kill_at = time.monotonic() + 3600
    os.waitpid(child, 0)
    os.close(reader)
    whole = received[: received.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def apply(state: dict[str, int], intent: list) -> dict[str, int]:
    action, numbers, version = intent
    state = dict(state)
    for number in numbers:
        if action == "add":
            state[f"d{number}"] = version
        else:
            state.pop(f"d{number}", None)
    return state


def check_writes(path: Path, expected: list[dict[str, int]]) -> dict[str, int]:
    """The collection holds exactly one of the `expected` states (the last change may or may not have made it)."""
    with opened(path, writable=True) as collection:
        problems = collection.verify()
        if problems:
            raise SystemExit(f"verify: {problems}")
        found = {}
        for number in range(60):
            stored = collection.get(f"d{number}")
            if stored is not None:
                version = int(stored.title.split()[1])
                if stored != document(number, version):
                    raise SystemExit(f"torn document: {stored}")
                found[stored.id] = version
        if found not in expected or collection.count() != len(found):
            raise SystemExit(f"lost or torn: found {found}, expected one of {expected}")
        for word in WORDS[:5]:  # the index agrees with the documents
            hits = {hit.id for hit in collection.search(word, k=100, mode="sparse").hits}
            stem = {identifier for identifier in found if word in collection.get(identifier).text.split()}
            if hits != stem:
                raise SystemExit(f"{word}: index says {hits}, documents say {stem}")
        if collection.manifest.dense is not None:
            check_vectors(collection, found)
        if len({entry.name for entry in (path / "segments").iterdir()} if (path / "segments").exists() else ()) != len(
            collection.info().segments
        ):
            raise SystemExit("segment directories were left behind")
    return found


def check_vectors(collection: Collection, found: dict[str, int]) -> None:
    """Every document is found by its vector, with the score that its text gives."""
    side = WordVectors(None, WIDTH)
    for word in WORDS[:5]:
        query = side.encode([word])[0]
        hits = {hit.id: hit.score for hit in collection.search(word, k=100, mode="dense", recall=1).hits}
        texts = {identifier: collection.get(identifier) for identifier in found}
        vectors = {identifier: side.encode([text.encoded_text])[0] for identifier, text in texts.items()}
        # A vector of nothing but zeros is none.
        scores = {identifier: float(vector @ query) for identifier, vector in vectors.items() if vector.any()}
        if hits != scores:
            raise SystemExit(f"{word}: vectors say {hits}, documents say {scores}")
        if set(hits) != {hit.id for hit in collection.search(word, k=100, mode="dense").hits}:
            raise SystemExit(f"{word}: clusters lack some documents")


def kill_writers(path: Path, kills: int, seed: int, *, dense: bool = False) -> dict:
    rng = random.Random(seed)
    make(path, dense=dense)
    clustered = 0
    waited = 0.0
    state: dict[str, int] = {}
    acknowledged = mid_change = 0
    version = 0
    for number in range(kills):
        # As long as ten changes take here, by what was seen so far: a busy machine is given more time.
        longest = min(5.0, max(0.6 if dense else 0.25, 10 * waited / max(1, acknowledged)))
        delay = rng.uniform(0, longest)
        waited += delay
        lines = attempt(lambda pipe, n=number, v=version: write_forever(path, seed + n, pipe, v), delay)
        pending = None
        for line in lines:
            if line[0] == "failed":
                raise SystemExit(line[1])
            if line[0] == "try":
                pending = line[1:]
                version = line[3]
            elif line[0] == "done":
                state = apply(state, pending)
                pending = None
                acknowledged += 1
        mid_change += pending is not None
        state = check_writes(path, [state] if pending is None else [state, apply(state, pending)])
        clustered += any(path.glob("segments/*/dense/current.json"))
    return {
        "kills": kills,
        "acknowledged": acknowledged,
        "mid_change": mid_change,
        "documents": len(state),
        "clustered": clustered,
    }


def kill_runs(path: Path, kills: int, seed: int, corpus: str) -> dict:
    """Kill a bulk run again and again; whenever it is looked at, either nothing of it is visible or all of it."""
    rng = random.Random(seed)
    Collection.create(path).close()
    total = sum(isinstance(row, Document) for row in open_corpus(corpus))

    def run(pipe: int) -> None:
        with Collection.open(path, writable=True) as collection:
            collection._writer.sparse_field.batch_documents = 16
            os.write(pipe, b'["open"]\n')
            report = collection.ingest(
                open_corpus(corpus),
                source=corpus,
                progress=lambda p: os.write(pipe, (json.dumps(["held", p.documents, p.resumed]) + "\n").encode()),
            )
            os.write(pipe, (json.dumps(["finished", report.resumed]) + "\n").encode())

    held = killed = resumed = 0
    while True:
        # The first kills come early, so that many are needed; then each attempt gets further.
        lines = attempt(run, rng.uniform(0, 0.02 + 0.012 * killed))
        for line in lines:
            if line[0] == "failed":
                raise SystemExit(line[1])
            if line[0] == "held":
                held = max(held, line[1])
                resumed = max(resumed, line[2])
        finished = any(line[0] == "finished" for line in lines)
        with Collection.open(path) as collection:
            info = collection.info()
            if info.documents not in (0, total):
                raise SystemExit(f"half visible: {info.documents} of {total}")
            if info.documents == 0 and (0 if info.unfinished is None else info.unfinished.documents) < held:
                raise SystemExit(f"acknowledged {held}, held {info.unfinished}")
            if collection.verify():
                raise SystemExit(f"verify: {collection.verify()}")
            if info.documents == total:
                break
        if finished:
            raise SystemExit("finished, but not visible")
        killed += 1
        if killed > 100 * kills:
            raise SystemExit("never finished")
    return {"kills": killed, "documents": total, "most_resumed": resumed}


def warm(path: Path, *, dense: bool) -> None:
    """Import and compile everything once, so that the children spend their short lives on writing."""
    make(path, dense=dense)
    with opened(path, writable=True) as collection:
        collection.add([document(number, 1) for number in range(20)])
        collection.delete(["d1"])
        collection.compact()
        collection.search("word1")


if __name__ == "__main__":
    what, directory, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    warm(directory.with_name("warm"), dense=what == "dense")
    if what in ("writes", "dense"):
        print(json.dumps(kill_writers(directory, kills, seed, dense=what == "dense")))
    else:
        print(json.dumps(kill_runs(directory, kills, seed, sys.argv[5])))
