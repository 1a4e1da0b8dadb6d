"""What a service asks of a collection: outcomes a document, weights for queries, facets, merges beside writes."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.errors import FilterSyntaxError, QueryError

WORDS = ("heat", "transfer", "flow", "wing", "boundary", "layer", "shock", "tube")


def document(number: int, **metadata: Any) -> Document:
    text = " ".join(WORDS[(number * step) % len(WORDS)] for step in (1, 2, 3, 5))
    return Document(f"d{number}", f"{text} {number}", metadata=metadata)


@given(batches=st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=6), max_size=4))
def test_put_tells_what_became_of_each_document_as_if_added_one_by_one(
    batches: list[list[tuple[int, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("put") / "put.index"
    stored: dict[str, str] = {}
    with Collection.create(path) as collection:
        for batch in batches:
            documents = [Document(str(number), f"version {version}") for number, version in batch]
            expected = []
            for each in documents:
                before = stored.get(each.id)
                expected.append("added" if before is None else "unchanged" if before == each.text else "replaced")
                stored[each.id] = each.text
            assert collection.put(documents) == expected
        assert collection.count() == len(stored)
        for identifier, text in stored.items():
            found = collection.get(identifier)
            assert found is not None
            assert found.text == text


def test_a_vector_of_the_query_s_own_weights_finds_the_same(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "my.index") as collection:
        collection.add([document(number) for number in range(200)])
        by_text = collection.search("heat flow wing", 20, explain=True)
        contributions = by_text.hits[0].contributions
        assert contributions is not None
        weights = {each.term: each.query_weight for hit in by_text.hits for each in hit.contributions or ()}
        by_weights = collection.search({**weights, "unheard-of": 2.0}, 20)
        assert [hit.id for hit in by_weights.hits] == [hit.id for hit in by_text.hits]
        assert [hit.score for hit in by_weights.hits] == pytest.approx([hit.score for hit in by_text.hits], rel=1e-5)
        assert by_weights.unknown == ("unheard-of",)
        assert all(each.typed for each in contributions)
        assert 0 <= by_text.encoding <= by_text.took


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_weights_that_are_none_are_refused(tmp_path: Path, weight: float) -> None:
    with Collection.create(tmp_path / "my.index") as collection, pytest.raises(QueryError, match="weight"):
        collection.search({"heat": weight})


def test_count_ids_and_facets_agree_with_counting_by_hand(tmp_path: Path) -> None:
    langs = ("en", "de", "en", "ar", "en", "de")
    with Collection.create(tmp_path / "my.index") as collection:
        collection.add([document(n, lang=langs[n % 6], year=1900 + n % 7, tags=["a", f"t{n % 3}"]) for n in range(60)])
        collection.delete([f"d{number}" for number in range(0, 60, 5)])
        left = [number for number in range(60) if number % 5]
        expected = Counter(langs[number % 6] for number in left)
        lang, tags, year = collection.facets()
        assert (lang.field, lang.kind, lang.documents) == ("lang", "text", len(left))
        assert [(value.value, value.count) for value in lang.values] == sorted(
            expected.items(), key=lambda item: (-item[1], item[0])
        )
        assert (tags.field, tags.values[0].value, tags.values[0].count) == ("tags", "a", len(left))
        assert (year.kind, year.minimum, year.maximum) == ("number", 1900, 1906)
        assert collection.count('lang = "en"') == expected["en"]
        assert collection.ids('lang = "en"') == [f"d{number}" for number in left if langs[number % 6] == "en"]
        assert collection.facets(["nothing"], allow_unknown_fields=True) == []
        assert [facet.field for facet in collection.facets(["year", "lang"], limit=1)] == ["year", "lang"]
        with pytest.raises(FilterSyntaxError):
            collection.count("lang =")


def test_writes_and_deletes_go_on_while_segments_are_merged(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "my.index") as collection:
        present: set[str] = set()
        stop = threading.Event()
        failures: list[BaseException] = []

        def merge() -> None:
            try:
                while not stop.is_set():
                    collection.maintain(40)
                    collection.compact()
            except BaseException as error:  # noqa: BLE001  told by the main thread
                failures.append(error)

        merging = threading.Thread(target=merge)
        merging.start()
        try:
            for start in range(0, 1200, 20):
                collection.put([document(number) for number in range(start, start + 20)])
                present |= {f"d{number}" for number in range(start, start + 20)}
                gone = [f"d{number}" for number in range(start // 2, start // 2 + 3)]
                present -= set(collection.delete(gone))
                collection.put([document(start, again=True)])
                present.add(f"d{start}")
        finally:
            stop.set()
            merging.join()
        assert not failures
        assert collection.count() == len(present)
        assert collection.verify() == []
        found = {name for (name, _) in collection.search_many([" ".join(WORDS)], 2000)[0]}
        assert found == present
    with Collection.open(tmp_path / "my.index") as again:
        assert again.count() == len(present)
        assert again.verify() == []


def test_a_refresh_in_one_thread_leaves_searches_in_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    with Collection.create(path) as writer, Collection.open(path) as reader:
        assert reader.count() == 0  # the first read takes the snapshot
        writer.put([document(number) for number in range(50)])
        assert not reader.is_current()
        assert reader.get("d1") is None
        assert reader.get("d1", latest=True) == document(1)
        assert reader.refresh()
        assert reader.is_current()
        assert not reader.refresh()
        failures: list[BaseException] = []
        stop = threading.Event()

        def ask() -> None:
            try:
                while not stop.is_set():
                    result = reader.search(
                        "heat flow", 100, filter="exists n or not (exists n)", allow_unknown_fields=True
                    )
                    assert len({hit.id for hit in result.hits}) == len(result.hits) > 0
                    assert reader.get("d1") is not None
            except BaseException as error:  # noqa: BLE001  told by the main thread
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for start in range(50, 450, 10):
            writer.put([document(number) for number in range(start, start + 10)])
            reader.refresh()
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert reader.count() == 450
