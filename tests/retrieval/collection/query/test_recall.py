"""Recall calibration, from a collection's point of view."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from lexhound.index.inverted import builder
from lexhound.index.inverted.calibration import calibrate
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.query.ranking import rank, rank_rows
from lexhound.retrieval.collection.query.row_filter import rows_passing
from lexhound.retrieval.errors import QueryError

WORDS = [f"word{number}" for number in range(300)]


def documents(count: int, first: int = 0) -> list[Document]:
    rng = np.random.default_rng(first)
    return [
        Document(f"d{first + number}", " ".join(WORDS[min(word, 299)] for word in rng.zipf(1.3, 25)), "", {"n": number})
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """Two segments and some documents that wait for one; segments are calibrated although they are small.

    It is made once: no test changes it.
    """
    with Collection.create(tmp_path_factory.mktemp("recall") / "my.index") as made:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(builder, "calibrate", partial(calibrate, smallest=100))
            made.add(documents(400))
            made.maintain(1)
            made.add(documents(700, 400))
            made.maintain(1)
        made.add(documents(30, 1100))
        made.delete(["d3", "d500"])
        yield made


def test_segments_share_a_threshold_and_nothing_is_lost(collection: Collection) -> None:
    snapshot = collection.snapshot()
    assert len(snapshot.segments) >= 3
    texts = ["word3 word17 word40", "word1 word200", "word5 word6 word7 word8 word9", "word299", "word0"]
    queries = collection.encode_queries(texts)
    for filter in (None, "n < 200", "n = 7"):
        allowed = rows_passing(snapshot, filter)
        for k in (1, 10, 2000):
            for query, many in zip(queries, rank_rows(snapshot, queries, k, allowed, None), strict=True):
                each = [
                    (-score, int(part.segment.internal_ids[row]))
                    for part, mask in zip(snapshot.segments, allowed, strict=True)
                    for top in [part.segment.index.search(query, part.segment.n_rows, allowed=mask)]
                    for row, score in zip(top.rows.tolist(), top.scores.tolist(), strict=True)
                ]
                expected = sorted(each)[:k]
                for found in (rank(snapshot, query, k, allowed)[0], many):
                    pairs = list(zip((-found.scores).tolist(), found.internal_ids.tolist(), strict=True))
                    assert pairs == expected


def test_recall_turns_the_dial_of_each_segment(collection: Collection) -> None:
    calibrations = [part.segment.index.recall_calibration for part in collection.snapshot().segments]
    assert sorted(len(each.settings) for each in calibrations) == [0, 4, 4]
    exact = collection.search("word3 word17 word40", 10)
    assert collection.search("word3 word17 word40", 10, recall=1).hits == exact.hits
    scores = {hit.id: hit.score for hit in collection.search("word3 word17 word40", 1200).hits}
    found = collection.search("word3 word17 word40", 10, recall=0.9)
    assert found.stats.postings_read <= exact.stats.postings_read
    assert [scores[hit.id] for hit in found.hits] == [hit.score for hit in found.hits]
    (many,) = collection.search_many(["word3 word17 word40"], 10, recall=0.9)
    assert many == [(hit.id, hit.score) for hit in found.hits]


@pytest.mark.parametrize("recall", [0.0, -1.0, 1.01, float("nan")])
def test_a_recall_that_means_nothing_is_refused(collection: Collection, recall: float) -> None:
    with pytest.raises(QueryError, match="recall is"):
        collection.search("word1", recall=recall)
    with pytest.raises(QueryError, match="recall is"):
        collection.search_many(["word1"], recall=recall)
