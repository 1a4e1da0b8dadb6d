"""The Java machine of this process, and Anserini's searcher in it.

A process has one machine at most, and it wants to know the threads that call it; so all calls are made by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexhound.core.errors import first_line
from lexhound.retrieval.errors import EngineError, MissingEngineError

from .java import Java

Result = TypeVar("Result")

_lock = Lock()
_thread: ThreadPoolExecutor | None = None
_classes: dict[str, Any] = {}
# More terms than this in a query are refused by Lucene.
_MOST_TERMS = 1 << 15


def _call(work: Callable[[], Result]) -> Result:
    """Do something in the machine's thread."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = ThreadPoolExecutor(1, "lucene")
    return _thread.submit(work).result()


def _start(java: Java) -> None:
    """Start the machine and find the classes; in its thread."""
    if _classes:
        return
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.add_classpath(str(java.archive))
        # Without -Xrs the machine takes Ctrl-C for itself and ends the process.
        jnius_config.add_options("-Xrs", "-Djava.awt.headless=true", "-Dlog4j2.level=ERROR")
    try:
        from jnius import autoclass

        classes = {
            name.rpartition(".")[2]: autoclass(name)
            for name in (
                "io.anserini.search.SimpleImpactSearcher",
                "org.apache.lucene.search.IndexSearcher",
                "java.util.HashMap",
            )
        }
        classes["IndexSearcher"].setMaxClauseCount(_MOST_TERMS)
    except Exception as error:  # jnius raises whatever Java threw, and others of its own
        raise MissingEngineError(
            f"the Java machine does not start in this process: {first_line(error)}",
            where=java.command,
            hint=f"set JAVA_HOME to the folder of a JDK; {java.archive.name} was to run in Java {java.version}",
        ) from error
    _classes.update(classes)


class Searcher:
    """An open impact index. Safe to call from several threads, one of which works at a time."""

    def __init__(self, java: Java, index: Path) -> None:
        """Raise MissingEngineError where Java does not start, EngineError where the index cannot be opened."""
        self._index = index

        def make() -> Any:
            _start(java)
            return _classes["SimpleImpactSearcher"](str(index))

        self._searcher = self._guarded(make)

    def search(
        self, terms: Sequence[str], weights: Sequence[int], limit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return document numbers and scores (sums of weight × impact, below 2**24) of the best `limit`, best first."""

        def ask() -> tuple[list[int], list[int]]:
            query = _classes["HashMap"]()
            for term, weight in zip(terms, weights, strict=True):
                query.put(term, weight)  # becomes a java.lang.Integer
            hits = self._searcher.search(query, limit)
            return [int(hit.docid) for hit in hits], [int(hit.score) for hit in hits]

        numbers, scores = self._guarded(ask)
        return np.array(numbers, np.int64), np.array(scores, np.int64)

    def close(self) -> None:
        """Give back the files."""
        self._guarded(lambda: self._searcher.close())

    def _guarded(self, work: Callable[[], Result]) -> Result:
        def safely() -> Result:
            try:
                return work()
            except MissingEngineError:
                raise
            except Exception as error:  # jnius raises whatever Java threw
                raise EngineError(
                    f"Lucene failed: {first_line(error)}", where=str(self._index), hint="index the corpus again"
                ) from error

        return _call(safely)
