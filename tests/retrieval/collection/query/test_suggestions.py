"""Words put right and completed, beside counting the words of the documents by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.words import word_table
from lexhound.retrieval.collection.words.suggestions import put_right
from lexhound.retrieval.collection.words.word_table import count_words, words_of
from lexhound.retrieval.errors import FilterSyntaxError, QueryError, UnknownFieldError

STEMS = ("heat", "flow", "hypersonic", "transfer", "wing", "slipstream", "shock", "boundary", "bounded", "trance")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    chosen = random.Random(7)
    with Collection.create(tmp_path_factory.mktemp("words") / "my.index", encoder="bm25") as made:
        documents = [
            Document(f"d{n}", " ".join(chosen.choices(STEMS, k=3)), "Title", {"owner": "a" if n % 3 else "b"})
            for n in range(200)
        ]
        documents[5] = Document("d5", "privateword of somebody", "Title", {"owner": "b"})
        documents[6] = Document("d6", "Änderung Änderungen U.S. e-mail 传热 1958 l'homme", "", {"owner": "a"})
        made.add(documents[:120])
        made.compact()
        made.add(documents[120:])
        made.delete(["d0", "d150"])
        yield made


def by_hand(collection: Collection, prefix: str, owner: str | None = None) -> list[str]:
    counted: Counter[str] = Counter()
    for number in range(200):
        document = collection.get(f"d{number}")
        if document is not None and owner in (None, document.metadata["owner"]):
            counted.update(set(words_of(f"{document.title}\n{document.text}")))
    found = [(-count, word) for word, count in counted.items() if word.startswith(prefix) and word != prefix]
    return [word for _, word in sorted(found)]


@pytest.mark.parametrize("prefix", ["he", "bo", "tran", "tr", "ti", "än", "pr", "zz", "wing"])
@pytest.mark.parametrize("owner", [None, "a", "b"])
def test_completions_are_those_of_counting_by_hand(collection: Collection, prefix: str, owner: str | None) -> None:
    filter = None if owner is None else f'owner = "{owner}"'
    found = collection.suggest(f"Some {prefix}", 50, filter=filter).completions
    assert [each.removeprefix("Some ") for each in found] == by_hand(collection, prefix, owner)


def test_no_word_of_other_documents_comes_out(collection: Collection) -> None:
    assert collection.suggest("privatew", filter='owner = "b"').completions == ("privateword",)
    assert collection.suggest("privateward", filter='owner = "b"').did_you_mean == "privateword"
    for text in ("privatew", "privateward"):
        found = collection.suggest(text, filter='owner = "a"')
        assert (found.did_you_mean, found.completions) == (None, ())


def test_what_is_put_right_and_what_is_left(collection: Collection) -> None:
    for query, right in (
        ("hypersnic flow", "hypersonic flow"),
        ("Heat trasnfer, wnig", "Heat transfer, wing"),
        ("boundray  slipstraem?", "boundary  slipstream?"),
        ("heating flows", None),  # BM25 knows them by their stems
        ("kerosene pizza", None),
        ("het fow", None),  # too short to say
        ("传热学 1959", None),
        ("", None),
    ):
        assert collection.suggest(query).did_you_mean == right, query


def test_what_is_deleted_is_suggested_no_more(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "my.index", encoder="bm25") as made:
        made.add([Document("a", "secretword heat"), Document("b", "heat")])
        assert made.suggest("secretw").completions == ("secretword",)
        made.delete(["a"])
        assert made.suggest("secretw").completions == ()
        assert made.suggest("secretwort").did_you_mean is None
        made.add([Document("a", "otherword heat")])
        assert made.suggest("other").completions == ("otherword",)
        made.compact()
        assert made.suggest("other").completions == ("otherword",)


def test_of_many_documents_a_sample_is_read(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(word_table, "SAMPLED_DOCUMENTS", 50)
    monkeypatch.setattr(word_table, "count_words", lambda texts, whole: read.extend(texts) or count_words(read))
    collection._reader._words._tables.clear()
    assert "heat" in collection.suggest("hea").completions
    assert 40 <= len(read) <= 50
    # BM25 knows what is in no table.
    monkeypatch.setattr(word_table, "count_words", lambda texts, whole: count_words(["privateward"]))
    collection._reader._words._tables.clear()
    assert collection.suggest("privateword").did_you_mean is None


def test_bad_requests(collection: Collection) -> None:
    for error, arguments in (
        (QueryError, {"k": 0}),
        (FilterSyntaxError, {"filter": "owner ="}),
        (UnknownFieldError, {"filter": "ownr = 1"}),
    ):
        with pytest.raises(error):
            collection.suggest("heat", **arguments)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["abcdef", "abcdfe", "bcdefa", "xyzxyz", "abcdefg"]), min_size=1, max_size=4), st.data()
)
def test_the_nearest_word_is_taken(words: list[str], data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(["abcdeg", "abcdef", "abdcef", "zzzzzz", "xyzxya", "abcdegf"]))
    right = put_right(word, [count_words(words)], lambda _: False)
    most = 1 if len(word) < 7 else 2
    distances = {each: distance(word, each) for each in words}
    if distances.get(word) == 0 or min(distances.values()) > most:
        assert right is None
    else:
        assert right is not None
        assert distances[right] == min(distances.values())


def distance(one: str, other: str) -> int:
    """Optimal string alignment, by its definition."""
    table = [[max(i, j) if not i or not j else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            cost = one[i - 1] != other[j - 1]
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + cost)
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]
