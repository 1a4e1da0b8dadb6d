"""Aliases of a folder of collections, from Python and the command line."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from command import run

from lexhound.retrieval import Collection
from lexhound.retrieval.aliases import change_aliases, read_aliases, resolve_alias
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import AliasError, NotACollectionError, UnknownAliasError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("old.index", "new"):
        with Collection.create(tmp_path / name, encoder="bm25") as collection:
            collection.add([Document(name.removesuffix(".index"), "heat transfer")])
    return tmp_path


def found(path: Path) -> str:
    with Collection.open(path) as collection:
        return collection.search("heat").hits[0].id


def test_an_alias_is_switched_for_every_door_at_once(folder: Path) -> None:
    assert read_aliases(folder) == {}
    assert run("alias", folder, "papers=old", "b=new").out == "b\tnew\npapers\told\n"
    assert found(folder / "papers") == found(folder / "papers.index") == "old"
    assert run("alias", folder, "papers=new", "--remove", "b", "--json").json["aliases"] == {"papers": "new"}
    assert found(folder / "papers") == "new"
    assert resolve_alias(folder / "papers") == folder / "new"
    for command in (
        ("info", folder / "papers"),
        ("search", folder / "papers", "heat"),
        ("get", folder / "papers", "new"),
        ("verify", folder / "papers"),
        ("backup", folder / "papers", folder / "copy"),
        ("compact", folder / "papers"),
    ):
        outcome = run(*command)
        assert outcome.code == 0, outcome
    with Collection.open(folder / "papers", writable=True) as collection:
        collection.add([Document("more", "heat")])
    with Collection.open(folder / "new") as collection:
        assert collection.count() == 2


@pytest.mark.parametrize(
    ("put", "remove", "error", "says"),
    [
        ({"a": "nowhere"}, (), UnknownAliasError, "no collection 'nowhere'. There are new, old"),
        ({"a": "odl"}, (), UnknownAliasError, "Did you mean old"),
        ({"a": "papers"}, (), UnknownAliasError, "it is an alias itself; name its collection, old"),
        ({"a": "old.index"}, (), UnknownAliasError, "no collection 'old.index'"),
        ({"new": "old"}, (), AliasError, "new is a collection, so it can be no alias"),
        ({"../x": "old"}, (), AliasError, "no name of a collection"),
        ({"a.index": "old"}, (), AliasError, "does not end in .index"),
        ({"a": "old"}, ("paper",), UnknownAliasError, "no alias 'paper'. Did you mean papers"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    folder: Path, put: dict[str, str], remove: tuple[str, ...], error: type[AliasError], says: str
) -> None:
    change_aliases(folder, {"papers": "old"})
    with pytest.raises(error) as caught:
        change_aliases(folder, {"b": "new", **put}, remove)
    assert says.lower() in str(caught.value).lower()
    assert read_aliases(folder) == {"papers": "old"}


def test_no_collection_takes_the_name_of_an_alias(folder: Path) -> None:
    change_aliases(folder, {"papers": "old"})
    with pytest.raises(AliasError, match="papers is an alias of the collection old"):
        Collection.create(folder / "papers.index", encoder="bm25")
    assert not (folder / "papers.index").exists()
    change_aliases(folder, {}, ["papers"])
    with pytest.raises(NotACollectionError):
        Collection.open(folder / "papers")


def test_failures_of_the_command(folder: Path) -> None:
    for arguments, code, says in (
        ((folder, "papers"), 2, "'papers' is not ALIAS=COLLECTION"),
        ((folder, "a=old", "a=new"), 2, "given twice"),
        ((folder / "nowhere",), 2, "there is no folder"),
        ((folder / "new", "a=old"), 1, "this is none"),
    ):
        outcome = run("alias", *arguments)
        assert outcome.code == code, outcome
        assert says in outcome.err
    (folder / "aliases.json").write_text('{"aliases": []}')
    assert "cannot be understood" in run("alias", folder).err


def test_changes_at_a_time_lose_none(folder: Path) -> None:
    def work(number: int) -> None:
        change_aliases(folder, {f"a{number}": "old"})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_aliases(folder)) == [f"a{number}" for number in range(8)]
