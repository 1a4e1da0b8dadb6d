"""`lexhound warm`, and what commands say of compiling."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from command import run

from lexhound.core.compilation import compiling


def test_warm_says_what_is_ready() -> None:
    run("warm")
    outcome = run("warm", "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    names = [step["what"] for step in document["steps"]]
    assert {"search kernels", "kernels of encoders", "kernels that build and merge indexes"} <= set(names)
    assert [step["compiled"] for step in document["steps"]] == [False] * len(names)
    assert document["seconds"] >= 0
    assert "search kernels: ready" in run("warm").out.splitlines()


def test_a_command_says_what_it_compiles(monkeypatch, tmp_path: Path) -> None:
    from lexhound.retrieval.collection.collection import Collection

    Collection.create(tmp_path / "index").close()
    verify = Collection.verify

    def compiles(self: Collection, *arguments: object) -> object:
        compiling("search kernels", 10)
        return verify(self, *arguments)

    monkeypatch.setattr(Collection, "verify", compiles)
    outcome = run("verify", tmp_path / "index")
    line = "compiling the search kernels, once on this machine: usually 10 s (`lexhound warm` does it ahead)"
    assert outcome.err.splitlines().count(line) == 1


def test_kernels_that_the_cache_lacks_are_told_and_others_are_not(tmp_path: Path) -> None:
    program = (
        "from lexhound.core.compilation import on_compiling; on_compiling(lambda what, _: print(what));"
        "from lexhound.index.ahead import compile_ahead; dict(compile_ahead())['kernels for dense vectors']()"
    )
    for expected in (["kernels for dense vectors"], []):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"NUMBA_CACHE_DIR": str(tmp_path), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines() == expected
