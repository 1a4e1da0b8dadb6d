"""What is told of a job while it runs, and how much of it an interruption loses; by a clock that the test moves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm

from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval.bulk_encode.encoding import EncodingOptions, encode_corpus
from lexhound.retrieval.bulk_encode.partial import kept_vectors
from lexhound.retrieval.collection.building import build_collection, kept_documents
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.fields.document_vectors import GROUP
from lexhound.retrieval.collection.write.progress import Pace, Progress
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.documents.document import Document

WORDS = ["heat", "flow", "wing", "boundary", "layer", "pressure"]
DOCUMENTS = 3 * GROUP + 10


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("checkpoints") / "tiny-splade")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    rows = [{"id": str(n), "text": " ".join(WORDS[n % 6 :] * (1 + n % 4))} for n in range(DOCUMENTS)]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def rising(steps: Sequence[Progress]) -> None:
    """Check that nothing that is counted ever falls."""
    for before, after in itertools.pairwise(steps):
        assert before.documents <= after.documents
        assert before.bytes_read <= after.bytes_read
        assert (before.tokens or 0) <= (after.tokens or 0)


def test_progress_moves_within_a_chunk(model: Path, corpus: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    learned = LearnedSettings(device="cpu", batch_tokens=256)
    build_collection(
        tmp_path / "index", open_corpus(corpus), source="s", progress=steps.append, encoder=str(model), learned=learned
    )
    reading = [step for step in steps if step.phase == "reading"]
    rising(steps)
    assert reading[0].documents == 0
    assert reading[0].tokens == 0
    assert reading[-1].documents == DOCUMENTS
    assert reading[-1].bytes_read == reading[-1].total_bytes == corpus.stat().st_size
    tokens = [step.tokens or 0 for step in reading]
    # A report for every batch of the model: none of them reads more than its share of tokens.
    assert max(after - before for before, after in itertools.pairwise(tokens)) <= 256
    assert 0 < reading[2].documents < GROUP


def test_an_interruption_keeps_the_groups_before(model: Path, corpus: Path, tmp_path: Path) -> None:
    learned = LearnedSettings(device="cpu", batch_tokens=256)

    def stop(step: Progress) -> None:
        if step.documents > GROUP:
            raise KeyboardInterrupt

    arguments = {"source": "s", "encoder": str(model), "learned": learned}
    with pytest.raises(KeyboardInterrupt):
        build_collection(tmp_path / "index", open_corpus(corpus), progress=stop, **arguments)
    assert kept_documents(tmp_path / "index") == GROUP
    report = build_collection(tmp_path / "index", open_corpus(corpus), **arguments)
    assert (report.resumed, report.added) == (GROUP, DOCUMENTS)


def test_an_interrupted_encoding_keeps_the_groups_before(model: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors.jsonl"
    encoder = LearnedEncoder(model, LearnedSettings(device="cpu", batch_tokens=256))

    def stop(step: Progress) -> None:
        steps.append(step)
        if step.documents > GROUP:
            raise KeyboardInterrupt

    steps: list[Progress] = []
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(open_corpus(corpus), encoder, out, EncodingOptions("s"), progress=stop)
    rising(steps)
    assert kept_vectors(out) == GROUP
    report = encode_corpus(open_corpus(corpus), encoder, out, EncodingOptions("s"))
    assert (report.resumed, report.vectors) == (GROUP, DOCUMENTS)
    whole = tmp_path / "whole.jsonl"
    encode_corpus(open_corpus(corpus), encoder, whole, EncodingOptions("s"))
    assert out.read_bytes() == whole.read_bytes()


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_chunks_are_whole_groups_whatever_the_time(seconds: list[float]) -> None:
    clock = Clock()
    pace = Pace(256, models=True, clock=clock)
    row = Document("1", "heat")
    for each in seconds:
        size = 1
        pace_is_full = pace.is_full(size, row)
        while not pace_is_full:
            size += 1
            pace_is_full = pace.is_full(size, row)
        assert size % GROUP == 0
        assert GROUP <= size <= 256
        pace.start()
        clock.now += each
        pace.finish(size)


def chunk_after(seconds: float, documents: int = GROUP) -> int:
    """Return how large the next chunk is where one took so many seconds."""
    clock = Clock()
    pace = Pace(256, models=True, clock=clock)
    pace.start()
    clock.now += seconds
    pace.finish(documents)
    return next(size for size in range(1, 257) if pace.is_full(size, Document("1", "heat")))


def test_a_slow_encoder_commits_every_group_and_a_fast_one_all_it_may() -> None:
    assert chunk_after(60) == GROUP
    assert chunk_after(1.5) == 2 * GROUP
    assert chunk_after(0.01) == 256


def test_long_documents_make_small_chunks_and_counts_are_the_same_without_a_model() -> None:
    pace = Pace(4096, models=False)
    long = Document("1", "heat " * 500_000)
    assert not pace.is_full(1, long)
    assert pace.is_full(2, long)
    pace.start()
    pace.finish(2)
    short = Document("2", "heat")
    assert next(size for size in range(1, 5000) if pace.is_full(size, short)) == 4096


def test_groups_of_bm25_bring_terms_of_their_own(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    dense = build_tiny_embedding_model(tmp_path_factory.mktemp("checkpoints") / "tiny-dense")
    with Collection.create(tmp_path / "index", encoder="bm25", dense=str(dense)) as collection:
        report = collection.add(Document(str(n), f"word{n} heat") for n in range(2 * GROUP + 5))
        assert report.added == 2 * GROUP + 5
        for number in (0, GROUP, 2 * GROUP + 4):
            assert [hit.id for hit in collection.search(f"word{number}", mode="sparse").hits] == [str(number)]
        assert len(collection.search("heat", 1000, mode="sparse").hits) == 2 * GROUP + 5
