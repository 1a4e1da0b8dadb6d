"""Filters over a collection: what is read for them, and what they find while documents come and go."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from plain_selection import matches

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.query import row_filter as passing
from lexhound.retrieval.collection.query.row_filter import count_passing, internal_ids_passing, is_known, rows_passing
from lexhound.retrieval.deadline import Deadline, within
from lexhound.retrieval.errors import DeadlineError
from lexhound.retrieval.filters import parse_filter


def document(number: int, **metadata: Any) -> Document:
    return Document(f"d{number}", f"heat w{number}", "", {"n": number, "kind": f"k{number % 3}", **metadata})


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path / "my.index") as made:
        made.add([document(number) for number in range(500)])
        made.compact()
        yield made


def read(collection: Collection) -> int:
    """Columns that the collection has read."""
    return collection.snapshot().columns.read


def test_a_column_is_read_once_a_segment_and_field(collection: Collection) -> None:
    many = " or ".join(f"n = {number}" for number in range(400))
    assert collection.count(many) == 400
    assert read(collection) == 1
    for number in range(50):
        assert collection.count(f"n >= {number} and kind = 'k1'") == len(range(number + (1 - number) % 3, 500, 3))
    assert read(collection) == 2
    assert len(collection.search("heat", 1000, filter="not (n < 5 or kind in ('k0', 'k1'))").hits) == 165
    assert read(collection) == 2
    # What comes is read by itself, what is there stays.
    collection.add([document(1000)])
    assert collection.count("n >= 499") == 2
    assert read(collection) == 3
    collection.delete(["d1000", "d499"])
    assert collection.count("n >= 498") == 1
    assert collection.count("exists n.inner or exists n", allow_unknown_fields=True) == 499


def test_the_rows_of_a_filter_are_kept_for_the_next_page(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = collection.snapshot()
    assert not is_known(snapshot, "n < 7")
    first = rows_passing(snapshot, "n < 7")
    assert is_known(snapshot, "n < 7")
    assert [id(mask) for mask in rows_passing(snapshot, "n < 7")] == [id(mask) for mask in first]
    assert len(internal_ids_passing(snapshot, "n < 7")) == 7
    monkeypatch.setattr(passing, "_KEPT_BYTES", 3 * (500 + len("n < 10")))
    for number in range(10, 13):
        assert count_passing(snapshot, f"n < {number}") == number
    assert [is_known(snapshot, f"n < {number}") for number in (7, 10, 11, 12)] == [False, True, True, True]


def test_a_column_that_is_read_late_does_not_bring_deleted_documents_back(tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    with Collection.create(path) as writer:
        writer.add([document(number) for number in range(100)])
        with Collection.open(path) as reader:
            old = reader.snapshot()
            writer.delete([f"d{number}" for number in range(10)])
            writer.compact()  # their metadata is gone for good
            assert count_passing(old, "n >= 0") == 90
            assert count_passing(old, "not n >= 0") == 0
            assert count_passing(old, "n != 3") == 90


def test_work_that_a_filter_asks_for_is_given_up(collection: Collection) -> None:
    clauses = " and ".join(f"n > {number}" for number in range(-300, 0))
    for work in (
        lambda: collection.count(clauses),
        lambda: collection.search("heat", 1000),
        lambda: collection.search_many(["heat"] * 500, 100, threads=1),
        collection.facets,
    ):
        with pytest.raises(DeadlineError):
            _given_up(work)
        with within(Deadline(600.0)):
            assert work()
    assert collection.count(clauses) == 500


def _given_up(work: Callable[[], object]) -> None:
    deadline = Deadline(60.0)
    with within(deadline):
        deadline.cancel()
        work()


VALUES = st.one_of(
    st.integers(-2, 2),
    st.sampled_from([0.5, 1.0, 2.0**53, "a", "b", "", True, None, [1, "a"], {"x": 1}, {"x": {"y": 2.5}}]),
)
METADATA = st.dictionaries(st.sampled_from(["f", "g"]), VALUES, max_size=2)
FILTERS = (
    "f = 1", "f != 1", "not f = 1", "f > 0.5 or f = 'a'", "exists f", "exists f.x", "not exists g and f < 2",
    "f in (1, 'b', 0.5) or g not in (2)", "f.x.y >= 2.5 or g >= ''", "f = true and not (g = 1 or g = 'a')",
)  # fmt: skip


class Changing(RuleBasedStateMachine):
    """A writer and a reader that follows, beside a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "my.index"
        self.writer = Collection.create(path)
        self.reader = Collection.open(path)
        self.documents: dict[str, dict[str, Any]] = {}

    @rule(numbers=st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True), metadata=METADATA)
    def put(self, numbers: list[int], metadata: dict[str, Any]) -> None:
        self.writer.add([Document(f"d{number}", f"heat w{number}", "", metadata) for number in numbers])
        self.documents |= {f"d{number}": metadata for number in numbers}

    @rule(number=st.integers(0, 5))
    def delete(self, number: int) -> None:
        self.writer.delete([f"d{number}"])
        self.documents.pop(f"d{number}", None)

    @rule()
    def compact(self) -> None:
        self.writer.compact()

    @invariant()
    def filters_find_what_the_dictionary_says(self) -> None:
        self.reader.refresh()
        for text in FILTERS:
            expression = parse_filter(text)
            expected = {name for name, metadata in self.documents.items() if matches(expression, metadata)}
            for collection in (self.writer, self.reader):
                assert set(collection.ids(text, allow_unknown_fields=True)) == expected
                assert collection.count(text, allow_unknown_fields=True) == len(expected)
                hits = collection.search("heat", 10, filter=text, allow_unknown_fields=True).hits
                assert {hit.id for hit in hits} == expected

    def teardown(self) -> None:
        self.reader.close()
        self.writer.close()
        self._folder.cleanup()


TestChanging = Changing.TestCase
TestChanging.settings = settings(max_examples=examples(12), stateful_step_count=10, deadline=None)
