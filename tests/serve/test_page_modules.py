"""The page's modules hold together, without a browser: what one imports of another, that one exports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "serve" / "page" / "static"
MODULES = sorted(path.name for path in STATIC.glob("*.js"))
EXPORTED = re.compile(r"^export (?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
NAMED = re.compile(r"""^import \{([^}]*)\} from "\./([^"]+)";""", re.MULTILINE)
WHOLE = re.compile(r"""^import \* as (\w+) from "\./([^"]+)";""", re.MULTILINE)


def used(text: str) -> set[tuple[str, str]]:
    """``(module, name)`` of everything that this text takes from other modules."""
    named = {
        (module, name.split(" as ")[0].strip())
        for names, module in NAMED.findall(text)
        for name in names.split(",")
        if name.strip()
    }
    spaces = {
        (module, name)
        for space, module in WHOLE.findall(text)
        for name in re.findall(rf"\b(?<![./]){space}\.(\w+)", text)
    }
    return named | spaces


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_of_the_page_imports_is_exported(module: str) -> None:
    taken = used((STATIC / module).read_text())
    exported = {name: set(EXPORTED.findall((STATIC / name).read_text())) for name in {origin for origin, _ in taken}}
    assert sorted((origin, name) for origin, name in taken if name not in exported[origin]) == []


def test_the_imports_of_the_page_are_seen() -> None:
    assert {("notices.js", "sentence"), ("api.js", "documentOf")} <= used((STATIC / "detail.js").read_text())
