"""No kernel stores into an array that it takes out of a named tuple in the same breath.

Numba loses such stores where it inlines what the kernel calls (findings/numba-inlined-overload-store.sh): the field
goes into a local name first.
"""

from __future__ import annotations

import ast
from pathlib import Path

KERNELS = {"kernel", "reordering_kernel", "inlined_kernel"}


def stores_into_fields(source: str) -> list[int]:
    """Return the lines of kernels that store into `name.field[...]`."""
    lines = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        if not any(isinstance(each, ast.Name) and each.id in KERNELS for each in function.decorator_list):
            continue
        for node in ast.walk(function):
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AugAssign)
                else []
            )
            for target in targets:
                for part in ast.walk(target):
                    if isinstance(part, ast.Subscript) and isinstance(part.value, ast.Attribute):
                        lines.append(part.lineno)
    return lines


def test_kernels_store_into_local_names(root: Path) -> None:
    assert stores_into_fields("@kernel\ndef f(s):\n    s.a[0] = 1\n    s.b[1] += 2\n    c = s.a\n    c[0] = 1\n") == [
        3,
        4,
    ]
    files = [path for room in ("index", "encoders") for path in sorted((root / room).rglob("*.py"))]
    kernels = 0
    for path in files:
        source = path.read_text()
        kernels += source.count("@kernel\n") + source.count("@reordering_kernel\n")
        assert stores_into_fields(source) == [], path
    assert kernels > 40
