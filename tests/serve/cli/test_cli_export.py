"""`lexhound export`: what it prints, refuses and leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import COMMAND, environment, lines, run

from lexhound.retrieval.exports import FORMATS
from lexhound.serve.cli.commands.export import ExportFormat


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    rows = [{"id": f"d{n}", "text": f"heat transfer {n}", "year": n} for n in range(30)]
    (folder / "corpus.jsonl").write_bytes(lines(*rows))
    assert run("index", folder / "corpus.jsonl", "--into", folder / "x").code == 0
    return folder / "x"


def test_the_formats_are_those_of_the_library() -> None:
    assert tuple(ExportFormat) == FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_export_says_what_it_did(name: str, index: Path, tmp_path: Path) -> None:
    outcome = run("export", index, "--format", name, "--out", tmp_path / "out")
    assert outcome.code == 0
    first, second = outcome.out.splitlines()
    assert first.startswith("30 documents in ")
    assert second == f"next: see {tmp_path / 'out'}/README.md"
    again = run("export", index, "--format", name, "--out", tmp_path / "out", "--overwrite", "--json").json
    header = json.loads((tmp_path / "out" / "export.json").read_text())
    assert again["documents"] == header["documents"] == 30
    assert again["files"] == header["files"]
    assert again["scale"] == header["quantisation"]["scale"]
    assert again["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "30 documents" in readme
    assert str(header["quantisation"]["scale"]) in readme or name == "ciff"


def test_import_brings_back_what_was_exported(index: Path, tmp_path: Path) -> None:
    assert run("export", index, "--format", "qdrant", "--out", tmp_path / "out").code == 0
    outcome = run("import", tmp_path / "out", "--into", tmp_path / "back")
    assert outcome.code == 0
    first, second = outcome.out.splitlines()
    assert first.startswith("30 documents in ")
    assert second == f'next: lexhound search {tmp_path / "back"} "what you are looking for"'
    for question in ("heat 7", "transfer"):
        hits = [run("search", path, question, "--json").json["hits"] for path in (index, tmp_path / "back")]
        assert hits[0] == hits[1]
    assert run("import", tmp_path / "out", "--into", tmp_path / "back").code == 1
    again = run("import", tmp_path / "out", "--into", tmp_path / "back", "--overwrite", "--json").json
    assert again["documents"] == 30
    assert again["lost"] == []
    refused = run("import", index, "--into", tmp_path / "other", "--json")
    assert refused.code == 1
    assert refused.json["error"]["code"] == "export"


def test_what_is_refused(index: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for out, flags, message in (
        (tmp_path / "mine", (), "something is here already"),
        (tmp_path / "mine", ("--overwrite",), "not an export"),
        (index, ("--overwrite",), "not an export"),
    ):
        outcome = run("export", index, "--format", "ciff", "--out", out, *flags)
        assert outcome.code == 1
        assert message in outcome.err
        assert "Traceback" not in outcome.err
    assert run("import", tmp_path / "mine", "--into", f"lucene:{tmp_path}/l").code == 2
    assert run("export", index, "--format", "xml", "--out", tmp_path / "out").code == 2
    assert run("export", tmp_path / "none", "--format", "ciff", "--out", tmp_path / "out").code == 1


def test_a_damaged_collection_gets_one_message(index: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(index, tmp_path / "x")
    path = next((tmp_path / "x").rglob("impacts.bin"))
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    outcome = run("export", tmp_path / "x", "--format", "anserini", "--out", tmp_path / "out", "--json")
    assert outcome.code == 1
    assert outcome.json["error"]["code"] == "corrupt_collection"
    assert outcome.json["error"]["where"] == str(path)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    rows = [{"id": f"d{n}", "text": " ".join(f"w{n * 31 + m}" for m in range(40))} for n in range(4000)]
    (tmp_path / "corpus.jsonl").write_bytes(lines(*rows))
    assert run("index", tmp_path / "corpus.jsonl", "--into", tmp_path / "x").code == 0
    arguments = [*COMMAND, "export", str(tmp_path / "x"), "--format", "ciff", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment())
    deadline = time.monotonic() + 60
    while not (tmp_path / ".out.exporting").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "out is as it was" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "x"]
