"""docs/backends.md says of each engine what the code refuses, word for word, and how much is tested."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from lexhound.retrieval.engines.address import ENGINES, LUCENE, MILVUS, MILVUS_LITE
from lexhound.retrieval.engines.refusals import REFUSED

HERE = Path(__file__).parent
COLUMNS = (MILVUS, MILVUS_LITE, LUCENE)


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "docs" / "backends.md").read_text("utf-8")


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    below = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def test_every_sentence_of_refusal_is_listed_with_its_engines(text: str) -> None:
    assert set(COLUMNS) == set(ENGINES) == set(REFUSED)
    sentences = list(dict.fromkeys(sentence for engine in COLUMNS for sentence in REFUSED[engine]))
    expected = [
        [sentence, *("refused" if sentence in REFUSED[engine] else "" for engine in COLUMNS)] for sentence in sentences
    ]
    assert table(text, "Word for word") == expected


def test_the_counts_of_the_behaviour_suite_are_those_of_its_files(text: str) -> None:
    counts: Counter[str] = Counter()
    module = ast.parse((HERE / "test_behaviour.py").read_text("utf-8"))
    lists: dict[str, list[str]] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name == "KINDS":
                lists[name] = ast.literal_eval(node.value)
                lists["OTHERS"] = lists[name][1:]
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        for decorator in node.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Name)
                and decorator.func.id == "kinds"
            ):
                chosen = decorator.args[0]
                counts.update(lists[chosen.id] if isinstance(chosen, ast.Name) else ast.literal_eval(chosen))
    lucene = ast.parse((HERE / "test_lucene.py").read_text("utf-8"))
    counts["lucene"] = sum(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in lucene.body)
    assert min(counts.values()) >= 10
    assert {row[0]: int(row[1]) for row in table(text, "How much is tested")} == dict(counts)
