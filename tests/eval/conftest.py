"""Small data sets, and a brute-force system that shares no code with Lexhound's search."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lexhound.eval.cost import Preparation, QuerySparsity
from lexhound.eval.datasets.dataset import Dataset, DocumentText


class BruteForce:
    """Sums idf over shared words, plainly. `flat` drops the fractions, so that scores tie often."""

    def __init__(self, name: str = "brute", *, flat: bool = False, settings: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.threads = 1
        self.flat = flat
        self.extra = dict(settings or {})
        self.prepared: list[str] = []
        self.ranked = 0
        self.documents: dict[str, DocumentText] = {}
        self.holders: dict[str, list[int]] = {}
        self.idf: dict[str, float] = {}

    @property
    def settings(self) -> dict[str, Any]:
        return {"flat": self.flat, **self.extra}

    def prepare(self, dataset: Dataset, progress: Any = None) -> Preparation:
        self.prepared.append(dataset.name)
        self.documents = {}
        for line in dataset.require_corpus().read_text("utf-8").splitlines():
            row = json.loads(line)
            self.documents[row["_id"]] = DocumentText(row.get("title", ""), row["text"])
        words = [set(f"{doc.title} {doc.text}".lower().split()) for doc in self.documents.values()]
        self.holders = defaultdict(list)
        for place, own in enumerate(words):
            for word in own:
                self.holders[word].append(place)
        self.idf = {word: math.log(1 + len(words) / len(places)) for word, places in self.holders.items()}
        mean = sum(map(len, words)) / len(words)
        return Preparation(len(self.documents), mean, 1000, 0.5)

    def rank(self, queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        self.ranked += len(queries)
        return [self._rank(set(query.lower().split()), k) for query in queries]

    def _rank(self, query: set[str], k: int) -> list[tuple[str, float]]:
        sums: dict[int, float] = defaultdict(float)
        for word in sorted(query & self.holders.keys()):
            for place in self.holders[word]:
                sums[place] += self.idf[word]
        scores = [(-(float(int(shared)) if self.flat else shared), place) for place, shared in sums.items()]
        keys = list(self.documents)
        return [(keys[place], -score) for score, place in sorted(scores)[:k]]

    def sparsity(self, queries: Sequence[str]) -> QuerySparsity:
        return QuerySparsity(sum(len(set(query.split())) for query in queries) / len(queries), 1.5)

    def texts(self, document_ids: Collection[str]) -> dict[str, DocumentText]:
        return {key: self.documents[key] for key in document_ids if key in self.documents}


@pytest.fixture(scope="session")
def brute_force() -> type[BruteForce]:
    """The class of the brute-force system."""
    return BruteForce


MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write a BEIR folder from plain values."""

    def make(
        name: str = "tiny",
        *,
        corpus: Mapping[str, tuple[str, str]] | None = None,
        queries: Mapping[str, str] | None = None,
        qrels: Sequence[tuple[str, str, int]] = (("q1", "d1", 1), ("q2", "d3", 2)),
        split: str = "test",
        header: bool = True,
    ) -> Path:
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        documents = corpus or {
            "d1": ("heat", "the flow of heat over a plate"),
            "d2": ("wings", "a wing in a slipstream"),
            "d3": ("", "sound and heat in a shock wave"),
        }
        asked = queries or {"q1": "heat over plate", "q2": "shock wave"}
        rows = [{"_id": key, "title": title, "text": text} for key, (title, text) in documents.items()]
        write_lines(folder / "corpus.jsonl", [json.dumps(row) for row in rows])
        write_lines(folder / "queries.jsonl", [json.dumps({"_id": key, "text": text}) for key, text in asked.items()])
        lines = ["query-id\tcorpus-id\tscore"] if header else []
        write_lines(folder / "qrels" / f"{split}.tsv", lines + ["\t".join(map(str, row)) for row in qrels])
        return folder

    return make


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    """Write lines as UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


@pytest.fixture
def lines_file(tmp_path: Path) -> Callable[[str, Sequence[str]], Path]:
    """Write a file of lines below the test's folder."""
    return lambda name, lines: write_lines(tmp_path / name, lines)
