"""Passages on the command line: sizes, counts, hits of documents and of passages."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import lines, run
from installed_engines import needs_lucene

from lexhound.retrieval import Collection

LONG = "Heat flows in the wing. " * 30 + "A zeppelin is lighter than air. " + "Fuel burns in the tank. " * 30


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passages")
    (folder / "corpus.jsonl").write_bytes(lines({"id": "long", "text": LONG}, {"id": "short", "text": "Heat."}))
    outcome = run("index", folder / "corpus.jsonl", "--into", folder / "c", "--encoder", "bm25", "--passages", "32/8")
    assert outcome.code == 0, outcome.err
    assert "1 text split into " in outcome.out
    return folder


def test_the_run_and_info_count_what_was_split(place: Path) -> None:
    arguments = ("--encoder", "bm25", "--passages", "32/8", "--overwrite", "--json")
    told = run("index", place / "corpus.jsonl", "--into", place / "again", *arguments).json
    assert (told["documents"], told["split"], told["cut"]) == (2, 1, 0)
    assert told["passages"] > 5
    info = run("info", place / "again", "--json").json
    assert (info["passages"], info["split"], info["cut"], info["rows"]) == ("32/8", 1, 0, told["passages"] + 1)
    assert "of 32 tokens, overlapping by 8; 1 text split" in run("info", place / "again").out


def test_a_hit_shows_its_best_passage(place: Path) -> None:
    hits = run("search", place / "c", "zeppelin", "--json").json["hits"]
    assert [hit["id"] for hit in hits] == ["long"]
    passage = hits[0]["passage"]
    assert "zeppelin" in passage["text"]
    assert LONG[passage["start"] : passage["end"]] == passage["text"]
    shown = run("search", place / "c", "zeppelin").out
    assert f"passage {passage['number'] + 1}, characters {passage['start']:,} to {passage['end']:,}" in shown


def test_without_grouping_passages_come_back(place: Path) -> None:
    grouped = run("search", place / "c", "heat", "--json").json["hits"]
    assert sorted(hit["id"] for hit in grouped) == ["long", "short"]
    passages = run("search", place / "c", "heat", "--group", "none", "--json").json["hits"]
    assert len(passages) > 2
    assert {hit["id"] for hit in passages} == {"long", "short"}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [("some", "passages are 'some'"), ("8", "passages of 8 tokens are too small"), ("64/40", "cannot overlap by 40")],
)
def test_sizes_that_mean_nothing_are_refused_and_nothing_is_left(place: Path, sizes: str, message: str) -> None:
    arguments = ("--encoder", "bm25", "--passages", sizes)
    outcome = run("index", place / "corpus.jsonl", "--into", place / "bad", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert not (place / "bad").exists()


@needs_lucene
@pytest.mark.engine
@pytest.mark.process
def test_lucene_keeps_passages_and_gives_them_back(place: Path) -> None:
    address = f"lucene:{place}/words.lucene"
    arguments = ("--encoder", "bm25", "--passages", "32/8")
    made = run("index", place / "corpus.jsonl", "--into", address, *arguments)
    assert made.code == 0, made.err
    assert "1 text split into " in made.out
    for group in ("document", "none"):
        expected = run("search", place / "c", "heat zeppelin", "--group", group, "--json").json["hits"]
        assert run("search", address, "heat zeppelin", "--group", group, "--json").json["hits"] == expected
    assert "of 32 tokens, overlapping by 8; 1 text split" in run("info", address).out
    moved = run("move", address, place / "home", "--json")
    assert moved.code == 0, moved.err
    assert (moved.json["documents"], moved.json["rows"]) == (2, run("info", place / "c", "--json").json["rows"])
    assert run("search", place / "home", "zeppelin").out == run("search", place / "c", "zeppelin").out
    assert "next: lexhound search" in run("move", place / "c", f"lucene:{place}/moved").out
    assert run("move", address, place / "home").code == 1  # it is there already
    wrong = run("move", place / "c", f"lucene:{place}/no", "--dense", "default")
    assert (wrong.code, "give none" in wrong.err.lower()) == (2, True)
    refused = run("move", place / "c", place / "copy")
    assert (refused.code, "copy the directory" in refused.err.lower()) == (2, True)


@pytest.mark.parametrize("options", [("--encoder", "bm25", "--passages", "16"), ("--encoder", "bm25")])
def test_documents_whose_passages_would_be_empty_are_counted_and_whole(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    texts = {"blank": " \n\n\t" * 500, "odd": "\u200b \u00a0 -- " * 500, "title": "\n" * 900, "word": "heat"}
    path = tmp_path / "corpus.jsonl"
    rows = [{"id": name, "title": "wing" if name == "title" else "", "text": text} for name, text in texts.items()]
    path.write_bytes(lines(*rows))
    outcome = run("index", path, "--into", tmp_path / "c", *options)
    assert outcome.code == 0, outcome
    assert "2 documents without a word: no query of words finds them" in outcome.out
    told = run("index", path, "--into", tmp_path / "j", *options, "--json").json
    assert (told["documents"], told["wordless"], told["split"], told["cut"]) == (4, 2, 0, 0)
    assert run("info", tmp_path / "c", "--json").json["rows"] == 4
    assert [hit["id"] for hit in run("search", tmp_path / "c", "wing", "--json").json["hits"]] == ["title"]
    assert run("get", tmp_path / "c", "blank", "--json").json["text"] == texts["blank"]
    again = run("add", tmp_path / "c", path, "--json").json
    assert again["runs"][0]["wordless"] == 2, "of all that was read"
    with Collection.open(tmp_path / "c", writable=True) as collection:
        report = collection.add([{"id": "e", "text": ""}, {"id": "word", "text": "wing"}])
    assert (report.added, report.replaced, report.wordless) == (1, 1, 1)
