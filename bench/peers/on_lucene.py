"""Lucene through Anserini's impact index (`pip install --no-deps pyserini==0.25.0 pyjnius`, Java 17), exact.

Impacts are term frequencies there, so a document is a text in which each term stands as often as it weighs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("JDK_JAVA_OPTIONS", "-Xmx4g")

from pyserini.pyclass import JHashMap, JInt, autoclass

from . import Engine, Vectors

_JARS = Path(__import__("pyserini").__file__).parent / "resources" / "jars"


class Lucene:
    """Block-max WAND over Lucene's postings."""

    version = f"Anserini {version('pyserini')}"

    def build(self, vectors: Vectors, folder: Path, options: dict[str, Any]) -> None:
        source = folder / "source"
        source.mkdir()
        names = [str(term) for term in range(vectors.shape[1])]
        with (source / "vectors.jsonl").open("w") as file:
            for row, (terms, weights) in enumerate(vectors.rows()):
                vector = dict(zip([names[t] for t in terms.tolist()], weights.astype(int).tolist(), strict=True))
                file.write(json.dumps({"id": str(row), "contents": "", "vector": vector}) + "\n")
        (jar,) = _JARS.glob("anserini-*-fatjar.jar")
        command = ["java", "-cp", str(jar), "io.anserini.index.IndexCollection", "-collection", "JsonVectorCollection"]
        command += ["-input", str(source), "-index", str(folder / "index"), "-threads", "1", "-optimize"]
        command += ["-generator", "DefaultLuceneDocumentGenerator", "-impact", "-pretokenized"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        shutil.rmtree(source)

    def open(self, folder: Path) -> None:
        self.searcher = autoclass("io.anserini.search.SimpleImpactSearcher")(str(folder / "index"))

    def prepare(self, terms: Any, weights: Any) -> Any:
        query = JHashMap()
        for term, weight in zip(terms.tolist(), weights.astype(int).tolist(), strict=True):
            query.put(str(term), JInt(weight))
        return query

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> Any:
        return self.searcher.search(query, k)

    def rows(self, found: Any) -> list[int]:
        return [int(hit.docid) for hit in found]


def make() -> Engine:
    """The adapter."""
    return Lucene()
