"""Synonyms of a collection of BM25: rules, weights beside a plain twin, every door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import run
from service import running
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.backup import backup_collection
from lexhound.retrieval.collection.synonyms.rules import parse_rules
from lexhound.retrieval.errors import QueryError

RULES = ("car, automobile, motor car", "tv => television, telly", "# a remark", "", "usa => united states")
TEXTS = {
    "c": "a car on the road",
    "a": "an automobile of steel",
    "m": "a motor that runs",
    "mc": "the motor car of my aunt",
    "t": "television in the evening",
    "l": "telly telly",
    "tv": "the tv is off",
    "u": "the united states and the road",
}


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path / "my.index", encoder="bm25") as made:
        made.add([Document(identifier, text) for identifier, text in TEXTS.items()])
        made.keep_synonyms(RULES)
        yield made


def found(collection: Collection, query: str) -> list[str]:
    return [hit.id for hit in collection.search(query)]


def test_a_query_finds_what_its_words_stand_for(collection: Collection) -> None:
    assert set(found(collection, "cars")) == {"c", "a", "m", "mc"}
    assert set(found(collection, "Motor CAR")) == {"c", "a", "m", "mc"}
    assert set(found(collection, "tv")) == {"tv", "t", "l"}
    assert set(found(collection, "television")) == {"t"}  # one way
    assert set(found(collection, "usa")) == {"u"}  # a word that no document has
    assert found(collection, "motor") == found(collection, "motors") == ["m", "mc"]
    assert collection.search_many(["tv", "steel"])[0] == [(hit.id, hit.score) for hit in collection.search("tv")]


def test_weights_and_explanations_are_those_of_the_definition(collection: Collection) -> None:
    result = collection.search("red tv", explain=True)
    own = {"tv": weight(collection, "tv")}
    brought = {term: min(weight(collection, term), own["tv"]) for term in ("televis", "telli")}
    for hit in result:
        for part in hit.contributions or ():
            assert part.query_weight == pytest.approx((own | brought)[part.term], rel=1e-3)
            assert (part.typed, part.synonym_of) == ((True, None) if part.term == "tv" else (False, "tv"))
        assert sum(part.score for part in hit.contributions or ()) == pytest.approx(hit.score)
    # A synonym of two words: each of its terms has half.
    parts = {part.term: part for hit in collection.search("cars", explain=True) for part in hit.contributions or ()}
    assert parts["motor"].query_weight == pytest.approx(
        min(weight(collection, "motor"), weight(collection, "car")) / 2, rel=1e-3
    )
    assert parts["motor"].synonym_of == "cars"
    snippet = next(hit for hit in collection.search("tv", highlight=True) if hit.id == "t").snippet
    assert snippet is not None
    assert snippet.marks == ((0, 10),)


def weight(collection: Collection, word: str) -> float:
    field, snapshot = collection.sparse_field, collection.snapshot()
    terms = field.lookup([word])
    df = snapshot.document_frequencies(terms).astype(np.float64)
    return float(np.log1p((snapshot.n_documents - df + 0.5) / (df + 0.5))[0])


def test_rules_stay_with_the_collection(collection: Collection, tmp_path: Path) -> None:
    kept = ("car, automobile, motor car", "tv => television, telly", "usa => united states")
    assert collection.synonyms == kept
    collection.compact()
    backup_collection(tmp_path / "my.index", tmp_path / "copy")
    with Collection.open(tmp_path / "copy") as reader:
        assert reader.synonyms == kept
        assert set(found(reader, "tv")) == {"tv", "t", "l"}
        assert reader.verify() == []
    collection.keep_synonyms(())
    assert collection.synonyms == ()
    assert found(collection, "tv") == ["tv"]


@pytest.mark.parametrize(
    "rule", ["car", "=>", "a =>", "=> b", "a => b => c", ", ,", "x" * 3000, ",".join(map(str, range(200)))]
)
def test_what_is_no_rule_is_refused_with_its_number(collection: Collection, rule: str) -> None:
    with pytest.raises(QueryError, match="rule 2"):
        collection.keep_synonyms(["a, b", rule])
    assert len(collection.synonyms) == 3
    assert len(parse_rules(["a, b", " a  ,  a c => b"])) == 2


def test_learned_collections_have_none(tmp_path: Path) -> None:
    checkpoint = build_tiny_masked_lm(tmp_path / "model")
    with (
        Collection.create(tmp_path / "learned.index", encoder=str(checkpoint)) as made,
        pytest.raises(QueryError, match="synonyms are for the words of BM25"),
    ):
        made.keep_synonyms(["a, b"])


def test_the_command_and_rest(collection: Collection, tmp_path: Path) -> None:
    collection.close()
    directory, file = tmp_path / "my.index", tmp_path / "rules.txt"
    file.write_text("\ufeffroad, street\n# no rule\ntv => telly\n", "utf-8")
    assert run("synonyms", directory, file).out == "road, street\ntv => telly\n"
    assert run("synonyms", directory, "--json").json["rules"] == ["road, street", "tv => telly"]
    outcome = run("search", directory, "street", "--explain")
    assert "(synonym of street)" in outcome.out
    for arguments, code in (
        ((directory, file, "--clear"), 2),
        ((directory, tmp_path / "none"), 2),
        ((directory, "-"), 2),
    ):
        assert run("synonyms", *arguments, stdin=b"nonsense\n").code == code
    with running(directory) as service, service.client() as client:
        assert client.synonyms("my") == ["road, street", "tv => telly"]
        assert client.set_synonyms("my", ["steel, iron"]) == ["steel, iron"]
        hit = client.search("my", "iron", explain=True).hits[0]
        assert (hit.id, (hit.contributions or ())[0].synonym_of) == ("a", "iron")
        answer = service.request("POST", "/v1/collections/my/synonyms", json={"rules": ["iron"]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "query")
        assert client.synonyms("my") == ["steel, iron"]
    assert run("synonyms", directory, "--clear").out == ""
