"""Bad input: one clear message, the right exit code, nothing lost, no traceback."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import environment, lines, run, run_process

from lexhound.retrieval import Collection

Fails = Callable[..., None]
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # from linux/prctl.h and linux/capability.h


def test_usage(collection: Path, fails: Fails, corpus: Path, tmp_path: Path) -> None:
    into = ("--into", tmp_path / "x")
    fails("serch", collection, "heat", code=2, says="Did you mean 'search'")
    fails("indx", corpus, code=2, says="Did you mean 'index'")
    fails("frobnicate", code=2, says="no such command 'frobnicate'")
    fails("search", collection, "heat", "--ofset", "3", code=2, says="--offset")
    fails("search", collection, "heat", "--limit", "3", code=2, says="Did you mean -k?")
    fails("search", collection, "heat", "--where", "year = 3", code=2, says="Did you mean --filter?")
    fails("index", corpus, "--output", tmp_path / "x", code=2, says="Did you mean --into?")
    fails("search", collection, "heat", "--mode", "dense", code=2, says="Search it in mode lexical")
    fails("search", collection, "heat", "-k", "ten", code=2, says="'-k'")
    fails("search", collection, "heat", "--mode", "fuzzy", code=2, says="for '--mode': 'fuzzy' is not one of 'auto'")
    fails("search", collection, "heat", "-k", "-5", code=2, says="k is -5")
    fails("search", collection, "heat", "-k", "0", code=2, says="k is 0")
    fails("search", collection, "heat", "--offset", "-1", code=2, says="offset is -1")
    fails("search", collection, "heat", "--filter", "yaer > 3", code=2, says="Did you mean year")
    fails("search", collection, "heat", "--filter", 'year = "1990"', code=2, says="--allow-unknown-fields")
    fails("search", collection, "a" * 100_000, code=2, says="100,000 characters")
    fails("search", collection, code=2, says="there is no query")
    fails("search", code=2, says="DIR")
    fails("search", collection, "heat", "--queries", "-", code=2, says="both given")
    fails("search", collection, "--queries", "-", "--explain", code=2, says="single query")
    fails("index", corpus, code=2, says="--into")
    fails("index", corpus, *into, "--k1", "-1", code=2, says="k1 is -1")
    fails("index", corpus, *into, "--b", "nan", code=2, says="b is nan")
    fails("index", corpus, *into, "--language", "klingon", code=2, says="klingon")
    fails("index", corpus, *into, "--encoder", "some/model", "--k1", "1", code=2, says="--k1 belongs to")
    fails("index", corpus, *into, "--format", "docx", code=2, says="--format")
    fails("index", corpus, *into, "--rejects", tmp_path / "r", code=2, says="--on-error skip")
    fails("add", collection, code=2, says="nothing to add")
    fails("delete", collection, code=2, says="nothing to delete")
    assert not (tmp_path / "x").exists()


def test_usage_as_json(collection: Path) -> None:
    outcome = run("search", collection, "heat", "--json", "--bogus")
    assert outcome.code == 2
    assert outcome.json["error"]["code"] == "usage"
    outcome = run("search", collection, "heat", "--json", "-k", "-1")
    assert outcome.code == 2
    assert outcome.json["error"]["code"] == "query"
    # A text that looks like the option is not the option.
    assert run("search", collection, "-k", "0", "--", "--json").out == ""


def test_not_a_collection(fails: Fails, tmp_path: Path, corpus: Path) -> None:
    for command in (("search", tmp_path, "q"), ("info", tmp_path), ("verify", tmp_path), ("add", tmp_path, corpus)):
        fails(*command, code=1, says="not a collection")
    for command in (("get", tmp_path / "no", "1"), ("delete", tmp_path / "no", "1"), ("compact", tmp_path / "no")):
        fails(*command, code=1, says="no such collection")
    fails("search", corpus, "q", code=1, says="not a collection")


def test_a_newer_format(copy: Path, fails: Fails) -> None:
    manifest = copy / "lexhound.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text("utf-8")) | {"format": 99}), "utf-8")
    for command in (("search", copy, "heat"), ("info", copy), ("compact", copy)):
        fails(*command, code=1, says="format 99")


def test_damage_is_named(copy: Path, fails: Fails) -> None:
    largest = max(copy.joinpath("segments").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)
    outcome = run("verify", copy)
    assert outcome.code == 1
    assert outcome.err.startswith("error: ") or outcome.out.startswith("problem: ")
    assert largest.name in outcome.out + outcome.err
    assert "Traceback" not in outcome.err
    (copy / "documents.sqlite").write_bytes(b"nothing of the kind" * 1000)
    fails("search", copy, "heat", code=1, says="documents.sqlite")


def test_ids(collection: Path, copy: Path, fails: Fails, tmp_path: Path) -> None:
    fails("get", collection, "x" * 10_000, code=1, says="10,000 bytes")
    fails("delete", copy, "x" * 10_000, code=1, says="10,000 bytes")
    (tmp_path / "ids").write_bytes(b"wing\nnul\0byte\n")
    fails("delete", copy, "--ids-from", tmp_path / "ids", code=1, says="ids, line 2")
    (tmp_path / "ids").write_bytes(b"wing\n\xff\n")
    fails("delete", copy, "--ids-from", tmp_path / "ids", code=1, says="not UTF-8")
    fails("delete", copy, "--ids-from", tmp_path / "none", code=1, says="No such file")
    for identifier, says in [("nul\0byte", "NUL byte"), ("x" * 10_000, "10,000 bytes")]:
        (tmp_path / "c.jsonl").write_bytes(lines({"id": identifier, "text": "x"}))
        fails("add", copy, tmp_path / "c.jsonl", code=1, says=says)
    assert run("info", copy, "--json").json["documents"] == 6


def test_checkpoint_that_is_no_masked_language_model(corpus: Path, fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2"]}', "utf-8")
    offline = environment(HF_HUB_OFFLINE="1")
    into = ("--into", tmp_path / "x", "--encoder")
    fails("index", corpus, *into, tmp_path / "model", code=1, says="model", env=offline)
    fails("index", corpus, *into, tmp_path / "nothing", code=1, says="nothing", env=offline)
    assert not (tmp_path / "x").exists()


def test_an_unexpected_exception_is_one_line_and_a_traceback_on_request(
    collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Collection, "verify", lambda self, *_: 1 / 0)
    for env, traceback in ((environment(), False), (environment(LEXHOUND_DEBUG="1"), True)):
        outcome = run("verify", collection, env=env)
        assert outcome.code == 1
        assert "error: ZeroDivisionError: division by zero\n" in outcome.err
        assert "LEXHOUND_DEBUG=1" in outcome.err
        assert ("Traceback" in outcome.err) is traceback


@pytest.fixture
def read_only(copy: Path, corpus: Path) -> Iterator[Path]:
    """A folder with a collection and a corpus that nobody may write to."""
    folder = copy.parent
    shutil.copy(corpus, folder / "corpus.jsonl")
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)
    yield folder
    for path in folders:
        path.chmod(stat.S_IRWXU)


def obey_permissions() -> None:
    """In a child before it runs: permissions do not bind the superuser, unless he gives up that privilege."""
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the privilege cannot be dropped")


def test_read_only_directory(read_only: Path, fails: Fails) -> None:
    who: dict[str, Any] = {"preexec_fn": obey_permissions, "env": environment(HOME="/nonexistent")}
    refused = who | {"by": run_process}
    index = read_only / "my.index"
    outcome = run_process("search", index, "heat", "--json", **who)
    assert outcome.code == 0, outcome.err
    assert len(outcome.json["hits"]) == 2
    assert run_process("info", index, **who).code == 0
    assert "all is well" in run_process("verify", index, **who).out
    fails("add", index, read_only / "corpus.jsonl", code=1, says="cannot be written to", **refused)
    fails("delete", index, "wing", code=1, says="cannot be written to", **refused)
    fails("compact", index, code=1, says="cannot be written to", **refused)
    into = read_only / "new.index"
    fails("index", read_only / "corpus.jsonl", "--into", into, code=1, says="cannot be written", **refused)
    fails(
        "index",
        read_only / "corpus.jsonl",
        "--into",
        index,
        "--overwrite",
        code=1,
        says="written",
        by=run_process,
        **who,
    )
    assert not into.exists()
    assert run("info", index, "--json").json["documents"] == 6
