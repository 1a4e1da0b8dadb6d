"""What a newcomer types: `make demo`, and the README's commands pasted in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RELEVANT = {"32", "67"}  # of the demo's question, among the 300 abstracts


def newcomer() -> dict[str, str]:
    """Return an environment in which nothing was chosen for the tests."""
    chosen = {"LEXHOUND_ENCODER", "LEXHOUND_PRECISION"}
    return {name: value for name, value in os.environ.items() if name not in chosen}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone after `make demo`, whose output is in demo.txt."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "samples").symlink_to(ROOT / "samples")
    environment = newcomer() | {"BIN": str(Path(sys.executable).parent), "DEMO": "demo.index"}
    done = subprocess.run(
        ["sh", "samples/demo.sh"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "demo.txt").write_text(done.stdout)
    return folder


def test_the_demo_shows_what_words_alone_do_not_find(place: Path) -> None:
    shown = (place / "demo.txt").read_text()
    _, *steps = shown.split("\n$ lexhound ")
    words, learned = (step for step in steps if step.startswith("search"))
    found = [re.findall(r"^ +\d+\. +[\d.]+ +(\S+)", step, re.MULTILINE) for step in (words, learned)]
    assert len(found[0]) == len(found[1]) == 2, shown
    assert not RELEVANT & set(found[0])
    assert found[1][0] in RELEVANT
    assert re.search(r"^\+ \w+", next(step for step in steps if step.startswith("inspect")), re.MULTILINE)


def test_the_commands_of_the_readme_work_in_order(place: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    section = text[text.index("## One minute") : text.index("From Python (")]
    blocks = [
        "\n".join(line[4:] for line in block.splitlines()) for block in re.findall(r"(?:^ {4}.*\n)+", section, re.M)
    ]
    lines = [line for block in blocks if "lexhound serve" not in block for line in block.splitlines()]
    lines = [line for line in lines if "scifact" not in line]  # downloads
    assert len(lines) > 10
    script = "set -e\n" + "\n".join(lines)
    environment = newcomer() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"id":"n2"' in done.stdout
    assert "nDCG@10" in done.stdout
