"""Filters name what documents have: unknown fields and kinds of values are refused, `id` and `title` are their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.errors import UnknownFieldError
from lexhound.retrieval.filters import parse_filter
from lexhound.retrieval.filters.column import OWN_FIELDS
from tests.support.plain_selection import matches

DOCUMENTS = [
    Document("a", "heat", "On wings", {"year": 1990, "lang": "en", "author": {"name": "Lin"}, "mixed": "x"}),
    Document("b", "heat", "", {"year": 1960, "lang": "de", "open": True, "mixed": 3}),
    Document("c", "heat", "Stall", {"year": 2001, "title": "Dr.", "tags": ["air", "heat"], "id": 7}),
    Document("9", "heat", "Stall"),
]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    path = tmp_path_factory.mktemp("known") / "my.index"
    with Collection.create(path) as made:
        made.add(DOCUMENTS[:2])
        made.compact()
        made.add(DOCUMENTS[2:])  # of two parts: what the first lacks, the second has
        yield made


@pytest.mark.parametrize(
    ("filter", "message", "hint"),
    [
        ("yaer > 3", "no document has the field 'yaer'", "did you mean year?"),
        ("lang = 'en' or yaer > 3", "'yaer'", "did you mean year?"),
        ("not (exists auther and year > 3)", "'auther'", "did you mean author.name"),
        ("zzz = 1", "'zzz'", "the fields are author.name, id, lang, mixed, open, tags, title, year"),
        ("text = 'heat'", "'text'", "texts are what the query searches"),
        ("author = 'Lin'", "'author' has no value of its own", "the fields within it are author.name"),
        ('year = "1990"', "'year' are numbers, and \"1990\" is text", "without quotes: 1990"),
        ('year != "n.d."', "are numbers", "compare it with a number"),
        ('open = "true"', "are numbers", "without quotes: true"),
        ("lang > 3", "'lang' are text, and 3 is a number", 'in quotes: "3"'),
        ('tags in ("air", 1)', "are text, and 1 is a number", '"true"'),
        ("title = 3", "'title' are text", 'in quotes: "3"'),
    ],
)
def test_what_no_document_has_is_refused_unless_it_is_allowed(
    collection: Collection, filter: str, message: str, hint: str
) -> None:
    asks = (
        lambda **more: collection.search("heat", filter=filter, **more).hits,
        lambda **more: collection.search_many(["heat"], filter=filter, **more)[0],
        lambda **more: collection.ids(filter, **more),
        lambda **more: [None] * collection.count(filter, **more),
    )
    numbers = set()
    for ask in asks:
        for _ in range(2):  # what was allowed, or refused, once says nothing of the next time
            with pytest.raises(UnknownFieldError) as refused:
                ask()
            assert message in refused.value.message
            assert hint in str(refused.value.hint)
            assert "allow_unknown_fields" in str(refused.value.hint)
            assert "--allow-unknown-fields" in str(refused.value.cli_hint)
            numbers.add(len(ask(allow_unknown_fields=True)))
    assert len(numbers) == 1  # all have the word


def test_known_fields_of_either_part_and_kind_pass(collection: Collection) -> None:
    assert collection.ids("open = true") == ["b"]
    assert collection.ids('tags = "air"') == ["c"]
    assert collection.ids("exists author") == ["a"]
    assert collection.ids('mixed = "x" or mixed = 3') == ["a", "b"]
    assert collection.ids('mixed in ("x", 3)') == ["a", "b"]


_VALUES = st.sampled_from(["a", "b", "c", "9", "On wings", "Stall", "Dr.", "", "zz"])
_NUMBERS = st.sampled_from([7, 3, 1990])


@settings(max_examples=examples(150))
@given(
    field=st.sampled_from(OWN_FIELDS),
    sign=st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    value=_VALUES | _NUMBERS,
    negated=st.booleans(),
)
def test_id_and_title_are_the_document_s_and_its_metadata_s(
    collection: Collection, field: str, sign: str, value: str | int, negated: bool
) -> None:
    """As if they stood in the metadata; an empty title is none."""
    written = f'"{value}"' if isinstance(value, str) else str(value)
    text = f"{'not ' if negated else ''}{field} {sign} {written}"
    expected = [each.id for each in DOCUMENTS if matches(parse_filter(text), _with_own(each))]
    assert collection.ids(text, allow_unknown_fields=True) == expected
    exists = [each.id for each in DOCUMENTS if field == "id" or each.title or "title" in each.metadata]
    assert collection.ids(f"exists {field}") == exists


def _with_own(document: Document) -> dict[str, Any]:
    own = {"id": document.id, "title": document.title}
    metadata = dict(document.metadata)
    for name, value in own.items():
        if value:
            metadata[name] = [*([metadata[name]] if name in metadata else []), value]
    return metadata


def test_own_fields_follow_deletes_and_replacements(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "my.index") as collection:
        collection.add([Document(f"d{n}", "heat", f"title {n % 3}") for n in range(9)])
        reader = Collection.open(tmp_path / "my.index")
        assert reader.count('title = "title 1"') == 3
        collection.delete(["d1"])
        collection.add([Document("d4", "heat", "title 2")])
        assert collection.ids('title = "title 1"') == ["d7"]
        assert collection.ids('id >= "d7" and id < "d9"') == ["d7", "d8"]
        assert collection.ids('id = "d1"') == []
        assert reader.ids('id = "d1" and title = "title 0"') == []  # gone since, whatever it was
        reader.close()


def test_an_empty_collection_has_nothing_to_misspell(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "my.index") as collection:
        assert collection.count("yaer > 3") == 0
        assert collection.facets(["yaer"]) == []
        collection.add([Document("a", "heat")])
        with pytest.raises(UnknownFieldError, match="no metadata"):
            collection.count("yaer > 3")


def test_facets_of_unknown_fields_are_refused_unless_it_is_allowed(collection: Collection) -> None:
    with pytest.raises(UnknownFieldError, match="Did you mean lang"):
        collection.facets(["year", "lnag"])
    assert [facet.field for facet in collection.facets(["year", "lnag"], allow_unknown_fields=True)] == ["year"]
