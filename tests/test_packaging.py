"""How Lexhound is installed, and what importing it costs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOMS = ("core", "index", "encoders", "training", "retrieval", "eval", "serve")


def run(code: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_installed_under_one_name(room: str, tmp_path: Path) -> None:
    # From a folder elsewhere: nobody's own `index.py` or `eval.py` may meet ours.
    finder = f"import importlib.util; print(importlib.util.find_spec({room!r}))"
    assert run(finder, tmp_path) == "None"
    assert run(f"import lexhound.{room}; print(lexhound.{room}.__name__)", tmp_path) == f"lexhound.{room}"


def test_lexhound_is_a_package(tmp_path: Path) -> None:
    assert run("import lexhound; print(lexhound.__name__)", tmp_path) == "lexhound"


def test_a_lexical_search_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    code = """
import sys
from lexhound.retrieval import Collection, Document
with Collection.create("c") as collection:
    collection.add([Document("a", "wing")])
heavy = {"torch", "transformers", "pyarrow", "fastapi", "ir_measures", "selectolax"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run(code, tmp_path) == "[]"
    code = """
import sys
from lexhound.retrieval import Collection
with Collection.open("c") as collection:
    assert [hit.id for hit in collection.search("wing").hits] == ["a"]
print(sorted({"torch", "transformers", "pyarrow", "fastapi", "lark", "scipy.sparse"} & set(sys.modules)))
"""
    assert run(code, tmp_path) == "[]"


def test_every_subpackage_is_in_the_wheel(root: Path) -> None:
    """`setup.py` finds packages by their `__init__.py`; a folder of modules without one would be left out silently."""
    for room in ROOMS:
        for module in (root / room).rglob("*.py"):
            if "__pycache__" not in module.parts:
                assert (module.parent / "__init__.py").exists(), module


def test_dependencies_have_a_floor_and_a_cap(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    for requirement in requirements:
        if not requirement.startswith("lexhound["):
            assert re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?>=[\w.]+,<[\w.]+(; .*)?", requirement), requirement


def test_the_changelog_speaks_of_this_version(root: Path) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (root / "CHANGELOG.md").read_text()


def test_links_in_the_documentation_lead_somewhere(root: Path) -> None:
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "bench").glob("*.md")]
    assert len(pages) >= 6
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
