"""Collections in other engines from the command line, with the real engine of Milvus as it ships in milvus-lite."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra neural")
pytest.importorskip("transformers", reason="needs the extra neural")

from command import ids_of, run
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm

from lexhound.retrieval.engines.address import ENGINES
from lexhound.serve.cli import options
from lexhound.serve.engines import milvus_settings
from lexhound.serve.errors import UsageError

milvus = pytest.mark.skipif(
    not all(find_spec(name) for name in ("pymilvus", "milvus_lite", "pkg_resources")),
    reason="the extra milvus is not installed",
)
TEXTS = {
    "a": ("heat transfer in flow", {"year": 1990}),
    "b": ("the wing of an aircraft", {"year": 2000, "lang": "en"}),
    "c": ("boundary layer heat", {"year": 2010}),
    "d": ("shock wave", {}),
}
MODELS = ("--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engines")
    build_tiny_masked_lm(path / "sparse")
    build_tiny_embedding_model(path / "dense")
    corpus = [{"_id": key, "text": text, "metadata": values} for key, (text, values) in TEXTS.items()]
    (path / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in corpus))
    (path / "more.jsonl").write_text('{"_id": "e", "text": "cold water"}\n{"_id": "a", "text": "heat transfer"}\n')
    (path / "queries.jsonl").write_text('{"_id": "1", "text": "heat"}\n{"_id": "2", "text": "wing"}\n')
    (path / "qrels").mkdir()
    (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n1\tc\t1\n2\tb\t1\n")
    made = run(
        "index", path / "corpus.jsonl", "--into", path / "own", "--encoder", path / "sparse", "--dense", path / "dense",
        *MODELS,
    )  # fmt: skip
    assert made.code == 0, made.err
    return path


@pytest.fixture(scope="module")
def address(folder: Path) -> str:
    place = f"milvus-lite:{folder}/data.db/direct"
    made = run(
        "index", folder / "corpus.jsonl", "--into", place, "--encoder", folder / "sparse", "--dense", folder / "dense",
        *MODELS, "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert (made.json["collection"], made.json["added"]) == (place, 4)
    return place


@milvus
def test_the_same_commands_work_on_an_address(folder: Path, address: str) -> None:
    again = run("index", folder / "corpus.jsonl", "--into", address, "--encoder", folder / "sparse")
    assert again.code == 1
    assert "lexhound add" in again.err
    for mode in ("sparse", "dense", "hybrid"):
        expected = run("search", folder / "own", "heat flow", "--mode", mode, "--explain", "--json").json
        found = run("search", address, "heat flow", "--mode", mode, "--explain", "--json").json
        assert ids_of(found["hits"]) == ids_of(expected["hits"])
        assert found["mode"] == mode
        for hit, other in zip(found["hits"], expected["hits"], strict=True):
            assert hit["snippet"] == other["snippet"]
            assert sum(each["score"] for each in hit["contributions"]) == pytest.approx(
                hit["score"], rel=1e-4, abs=1e-4
            )
    shown = run("search", address, "heat", "--filter", "year >= 2000", "--mode", "sparse")
    assert "boundary layer" in shown.out
    assert "transfer" not in shown.out
    many = run("search", address, "--queries", folder / "queries.jsonl", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in many] == ["1", "2"]
    info = run("info", address)
    assert "milvus-lite" in info.out
    assert "refused" in info.out
    assert run("info", address, "--json").json["documents"] == 4
    assert run("get", address, "b").out.startswith("b\n")


@milvus
def test_documents_are_added_and_deleted_at_an_address(folder: Path) -> None:
    place = f"milvus-lite:{folder}/data.db/changed"
    assert run("index", folder / "corpus.jsonl", "--into", place, "--encoder", folder / "sparse", *MODELS).code == 0
    added = run("add", place, folder / "more.jsonl", "--json").json
    assert added["documents"] == 5
    assert (added["runs"][0]["added"], added["runs"][0]["replaced"]) == (1, 1)
    deleted = run("delete", place, "e", "zz", "--json").json
    assert deleted == {"deleted": ["e"], "missing": ["zz"]}
    refused = run("add", place, "--discard-unfinished")
    assert refused.code == 2
    assert "unfinished ingest jobs" in refused.err
    (folder / "bad.jsonl").write_text('{"_id": "f", "text": "new"}\nnonsense\n')
    stopped = run("add", place, folder / "bad.jsonl")
    assert stopped.code == 1
    assert "stored and visible" in stopped.err
    assert run("get", place, "f").code == 0


@milvus
def test_moving_keeps_every_score(folder: Path) -> None:
    place = f"milvus-lite:{folder}/data.db/moved"
    report = run("move", folder / "own", place, "--json")
    assert report.code == 0, report.err
    assert (report.json["documents"], report.json["dense"]) == (4, True)
    for mode in ("sparse", "dense"):
        expected = run("search", folder / "own", "heat wing", "--mode", mode, "--json").json["hits"]
        found = run("search", place, "heat wing", "--mode", mode, "--json").json["hits"]
        assert ids_of(found) == ids_of(expected)
        assert [hit["score"] for hit in found] == pytest.approx([hit["score"] for hit in expected], rel=1e-5)
    assert run("move", folder / "own", place).code == 1  # it is there already
    refused = run("move", folder / "own", folder / "other.index")
    assert refused.code == 2
    assert "copy the directory" in refused.err.lower()


@milvus
def test_an_address_is_evaluated_beside_a_directory(folder: Path, address: str) -> None:
    outcome = run(
        "eval", folder, "--collection", folder / "own", "--collection", address, "--mode", "sparse", "--measure",
        "nDCG@10", "--work", folder / "work", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    means = [part["measures"]["nDCG@10"] for part in outcome.json["results"]]
    assert len(means) == 2
    assert means[0] == means[1]


@milvus
def test_what_milvus_cannot_do_is_refused_in_one_sentence(folder: Path, address: str) -> None:
    bm25 = run("index", folder / "corpus.jsonl", "--into", f"milvus-lite:{folder}/data.db/words", "--encoder", "bm25")
    assert (bm25.code, "bm25" in bm25.err) == (2, True)
    for arguments, named in (
        (("search", address, "heat", "--recall", "0.9"), "recall"),
        (("search", address, "heat", "-k", "20000"), "16,384"),
        (("search", address, "heat", "--mode", "hybrid", "--fusion", "fixed"), "sparse_high"),
        (("index", str(folder / "corpus.jsonl"), "--into", address, "--overwrite", "--encoder", str(folder / "sparse")),
         "not replaced"),
    ):  # fmt: skip
        refused = run(*arguments)
        assert refused.code == 2, refused.err
        assert named in refused.err
        assert refused.err.count("error:") == 1


def test_an_unknown_engine_is_told_with_the_known_ones(tmp_path: Path) -> None:
    for arguments in (
        ("search", "redis://host/my", "heat"),
        ("info", "redis://host/my"),
        ("delete", "redis://host/my", "a"),
        ("index", "corpus.jsonl", "--into", "redis://host/my"),
    ):
        outcome = run(*arguments, cwd=tmp_path)
        assert outcome.code == 2
        assert "redis: is not an engine" in outcome.err
        assert "milvus://" in outcome.err
    assert list(tmp_path.iterdir()) == []


@milvus
def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXHOUND_MILVUS_TIMEOUT", "1")
    outcome = run("search", "milvus://127.0.0.1:9/my", "heat")
    assert outcome.code == 1
    assert "does not answer" in outcome.err
    assert "Traceback" not in outcome.err


def test_the_environment_says_how_milvus_is_reached() -> None:
    found = milvus_settings(
        {
            "LEXHOUND_MILVUS_TOKEN": "root:hush",
            "LEXHOUND_MILVUS_TLS": "on",
            "LEXHOUND_MILVUS_TIMEOUT": "2.5",
            "LEXHOUND_MILVUS_SHARDS": "4",
            "LEXHOUND_MILVUS_CONSISTENCY": "Bounded",
            "LEXHOUND_DATA": "/data",
        }
    )
    assert (found.token, found.tls, found.timeout, found.shards, found.consistency) == (
        "root:hush", True, 2.5, 4, "Bounded",
    )  # fmt: skip
    assert "hush" not in repr(found)
    for name, value in (
        ("TLS", "maybe"),
        ("TIMEOUT", "soon"),
        ("CONSISTENCY", "never"),
        ("TOKENS", "x"),
        ("SHARDS", "0"),
    ):
        with pytest.raises(UsageError, match="LEXHOUND_MILVUS_"):
            milvus_settings({f"LEXHOUND_MILVUS_{name}": value})


def test_commands_that_work_on_directories_say_so(tmp_path: Path) -> None:
    for command, more in (
        ("verify", ()), ("compact", ()), ("export", ("--format", "parquet", "--out", "x")),
        ("tune-fusion", ("scifact",)), ("fit-static-queries", ()),
    ):  # fmt: skip
        for address in ("milvus://host:19530/my", "milvus-lite:data.db/my", "redis://host/my"):
            outcome = run(command, address, *more, cwd=tmp_path)
            assert (outcome.code, "is an address" in outcome.err) == (2, True), (command, address, outcome.err)


def test_the_names_of_engines_are_those_of_the_library() -> None:
    assert options._ENGINES == ENGINES
