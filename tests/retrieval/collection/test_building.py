"""Building a collection: resumed, replaced, recovered; never less than before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexhound.core.errors import CollectionLockedError
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.building import build_collection, kept_documents
from lexhound.retrieval.collection.write.ingest import IngestReport
from lexhound.retrieval.corpus import open_corpus
from lexhound.retrieval.errors import (
    BadRowError,
    CollectionExistsError,
    CorpusError,
    NotACollectionError,
    UnfinishedRunError,
)


def corpus_file(path: Path, *texts: str, broken: bool = False) -> Path:
    rows = [json.dumps({"id": f"d{number}", "text": text}) for number, text in enumerate(texts)]
    path.write_text("\n".join([*rows, *(["broken"] if broken else [])]) + "\n", "utf-8")
    return path


def build(target: Path, source: Path, **options: object) -> IngestReport:
    return build_collection(target, open_corpus(source), source=str(source), **options)  # type: ignore[arg-type]


def texts_of(path: Path) -> list[str]:
    with Collection.open(path) as collection:
        found = [collection.get(f"d{number}") for number in range(collection.count())]
    return [document.text for document in found if document is not None]


def test_new_and_exists(tmp_path: Path) -> None:
    source = corpus_file(tmp_path / "c.jsonl", "one", "two")
    assert build(tmp_path / "x", source).added == 2
    with pytest.raises(CollectionExistsError, match="a collection is here already"):
        build(tmp_path / "x", source)


def test_replacement_is_resumed_beside_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "x"
    build(target, corpus_file(tmp_path / "old.jsonl", "old"))
    source = corpus_file(tmp_path / "new.jsonl", "new one", "new two", broken=True)
    with pytest.raises(BadRowError):
        build(target, source, overwrite=True)
    assert texts_of(target) == ["old"]
    assert kept_documents(target, overwrite=True) == 2
    corpus_file(source, "new one", "new two", "new three")
    report = build(target, source, overwrite=True)
    assert (report.added, report.resumed) == (3, 2)
    assert texts_of(target) == ["new one", "new two", "new three"]
    assert {path.name for path in tmp_path.iterdir()} == {"x", "old.jsonl", "new.jsonl"}


def test_replacement_of_another_corpus_starts_over(tmp_path: Path) -> None:
    target = tmp_path / "x"
    build(target, corpus_file(tmp_path / "old.jsonl", "old"))
    with pytest.raises(BadRowError):
        build(target, corpus_file(tmp_path / "a.jsonl", "a", "b", broken=True), overwrite=True)
    report = build(target, corpus_file(tmp_path / "b.jsonl", "c"), overwrite=True)
    assert (report.added, report.resumed) == (1, 0)
    assert texts_of(target) == ["c"]


def test_replacing_a_link_replaces_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    build(tmp_path / "elsewhere" / "x", corpus_file(tmp_path / "old.jsonl", "old"))
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "x")
    build(tmp_path / "link", corpus_file(tmp_path / "new.jsonl", "new"), overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert texts_of(tmp_path / "elsewhere" / "x") == ["new"]
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["x"]


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    target = tmp_path / "x"
    build(target, corpus_file(tmp_path / "old.jsonl", "old"))
    target.rename(tmp_path / ".x.replaced")
    source = corpus_file(tmp_path / "new.jsonl", "new")
    with pytest.raises(CollectionExistsError):
        build(target, source)
    assert texts_of(target) == ["old"]
    build(target, source, overwrite=True)
    assert texts_of(target) == ["new"]


def test_no_replacement_while_another_process_writes(tmp_path: Path) -> None:
    target = tmp_path / "x"
    source = corpus_file(tmp_path / "c.jsonl", "one")
    build(target, source)
    with Collection.open(target, writable=True) as collection:
        collection.add([Document("d1", "two")])
        with pytest.raises(CollectionLockedError):
            build(target, source, overwrite=True)
    assert texts_of(target) == ["one", "two"]


def test_damaged_and_newer_collections_may_be_replaced_but_nothing_else(tmp_path: Path) -> None:
    source = corpus_file(tmp_path / "c.jsonl", "one")
    for manifest in ('{"format": 99}', "not json"):
        build(tmp_path / "x", source, overwrite=True)
        (tmp_path / "x" / "lexhound.json").write_text(manifest, "utf-8")
        build(tmp_path / "x", source, overwrite=True)
        assert texts_of(tmp_path / "x") == ["one"]
    (tmp_path / "thesis").mkdir()
    with pytest.raises(NotACollectionError, match="not overwritten"):
        build(tmp_path / "thesis", source, overwrite=True)
    with pytest.raises(NotACollectionError):
        build(source, source, overwrite=True)
    assert source.is_file()


def test_unfinished_with_other_arguments(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pytest.raises(BadRowError):
        build(target, corpus_file(tmp_path / "a.jsonl", "a", broken=True))
    assert kept_documents(target) == 1
    with pytest.raises(UnfinishedRunError, match=r"a\.jsonl"):
        build(target, corpus_file(tmp_path / "b.jsonl", "b"))
    from lexhound.encoders.bm25.settings import LexicalSettings

    with pytest.raises(CollectionExistsError, match="other settings"):
        build(target, tmp_path / "a.jsonl", lexical=LexicalSettings(k1=2.0))
    assert kept_documents(target) == 1


def test_what_a_killed_build_left_without_a_document_stands_in_nobodys_way(tmp_path: Path) -> None:
    from lexhound.encoders.bm25.settings import LexicalSettings

    target = tmp_path / "x"
    with Collection.create(target, lexical=LexicalSettings(k1=2.0)) as collection:
        connection = collection._writing().connection  # as a process leaves it that is killed before its first chunk
        with connection:
            connection.execute("INSERT INTO runs(source, first_seq) VALUES ('a.jsonl', 1)")
    with Collection.open(target) as collection:
        assert collection.info().unfinished is None
    assert build(target, corpus_file(tmp_path / "b.jsonl", "b")).added == 1
    with Collection.open(target) as collection:
        assert collection.manifest.encoder.settings["k1"] == LexicalSettings().k1
    # A collection that somebody made empty is no such trace.
    Collection.create(tmp_path / "y", lexical=LexicalSettings(k1=2.0)).close()
    with pytest.raises(CollectionExistsError, match="other settings"):
        build(tmp_path / "y", tmp_path / "b.jsonl")


def test_nothing_is_left_where_nothing_was_stored(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(CorpusError, match="empty"):
        build(tmp_path / "x", tmp_path / "empty.jsonl")
    assert not (tmp_path / "x").exists()
    # What was there before stays, even if it is empty.
    Collection.create(tmp_path / "x").close()
    with pytest.raises(CorpusError, match="empty"):
        build(tmp_path / "x", tmp_path / "empty.jsonl")
    assert (tmp_path / "x").exists()
    assert build(tmp_path / "x", corpus_file(tmp_path / "c.jsonl", "one")).added == 1
