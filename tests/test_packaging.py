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


def test_the_package_has_a_front_door(root: Path, tmp_path: Path) -> None:
    code = """
import lexhound
from lexhound import Collection, Document, open
with Collection.create("c") as collection:
    collection.add([Document("a", "wing")])
with open("c") as collection:
    print([hit.id for hit in collection.search("wing").hits], lexhound.__version__)
"""
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert run(code, tmp_path) == f"['a'] {version}"
    assert {"Collection", "Document", "open", "__version__"} <= set(
        run("import lexhound; print(*dir(lexhound))", tmp_path).split()
    )
    done = subprocess.run(
        [sys.executable, "-m", "lexhound", "--version"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert version in done.stdout


def test_a_folder_named_like_the_package_does_not_hide_it(tmp_path: Path) -> None:
    """As in the folder above a clone: `lexhound/` there holds the rooms, but is not the package."""
    (tmp_path / "lexhound" / "index").mkdir(parents=True)
    assert run("import lexhound.index; print(lexhound.index.__all__[:1])", tmp_path) == "['CorruptFileError']"


@pytest.mark.parametrize(
    ("module", "limit"),
    [("lexhound", 3), ("lexhound.retrieval", 4), ("lexhound.index", 4), ("lexhound.retrieval.engines.address", 12)],
)
def test_importing_a_module_loads_no_room(module: str, limit: int, tmp_path: Path) -> None:
    code = f"import sys, {module}; print(*(name for name in sys.modules if name.startswith('lexhound')))"
    ours = run(code, tmp_path).split()
    assert len(ours) <= limit, ours
    assert (
        run(f"import sys, {module}; print(sorted({{'numpy', 'numba', 'torch'}} & set(sys.modules)))", tmp_path) == "[]"
    )


def test_a_lexical_search_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    code = """
import sys
from lexhound.retrieval import Collection, Document
with Collection.create("c") as collection:
    collection.add([Document("a", "wing")])
heavy = {"torch", "transformers", "pyarrow", "fastapi", "ir_measures", "selectolax", "markdown_it"}
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
    """Packages are found by their `__init__.py`; a folder of modules without one would be left out silently."""
    for room in ROOMS:
        assert (root / "src" / "lexhound" / room).resolve() == root / room
        for module in (root / room).rglob("*.py"):
            if "__pycache__" not in module.parts:
                assert (module.parent / "__init__.py").exists(), module


def test_templates_and_static_files_are_in_the_wheel(root: Path) -> None:
    declared = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    beside = [
        path for room in ROOMS for kind in ("html", "css", "js", "svg") for path in (root / room).rglob(f"*.{kind}")
    ]
    assert len(beside) > 25
    for path in beside:
        package = ".".join(("lexhound", *path.parent.parent.relative_to(root).parts))
        assert f"{path.parent.name}/*" in declared.get(package, ()), path


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
