"""Building the Lucene index: weights become impacts, Anserini reads them, the index gets its name when it is whole."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.core.atomic_files import put_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.retrieval.errors import EngineError

from .impact_weights import ImpactWeights
from .java import INDEXER, Java
from .store import Store

if TYPE_CHECKING:
    from lexhound.encoders.bm25.encoder import LexicalEncoder

INDEX = "index"
_BUILDING = ".building"
_ARGUMENTS = (
    *("-collection", "JsonVectorCollection"),
    *("-generator", "DefaultLuceneDocumentGenerator"),
    *("-threads", "2"),
    "-impact",
    "-pretokenized",
    "-optimize",
)


def number_text(seq: int) -> str:
    """Return a row's name in Lucene, which breaks ties by it: numbers of one length, in order of insertion."""
    return f"{seq:019d}"


def build(folder: Path, store: Store, java: Java, lexical: LexicalEncoder | None) -> ImpactWeights:
    """Build the index of all rows of a store, and note it there; returns how they were weighed.

    Raises:
        EngineError: Anserini failed; says how. StorageFullError, ReadOnlyError: the disk.
    """
    aside = folder / _BUILDING
    with storage_errors(folder):
        shutil.rmtree(aside, ignore_errors=True)
        try:
            (aside / "documents").mkdir(parents=True)
            impact_weights = ImpactWeights.of((vector for _, vector in store.weights()), lexical)
            frequencies, indexed = _write_impacts(store, aside / "documents" / "impacts.jsonl", impact_weights)
            if indexed:
                _run(java, aside)
            else:
                (aside / INDEX).mkdir()
            put_directory(aside / INDEX, folder / INDEX)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    store.built(impact_weights.scale, impact_weights.average_length, frequencies)
    return impact_weights


def _write_impacts(store: Store, path: Path, impact_weights: ImpactWeights) -> tuple[NDArray[np.int64], int]:
    """Write Anserini's lines; returns how many rows hold each term, and how many have any."""
    counts = np.zeros(0, np.int64)
    indexed = 0
    with path.open("xb") as file:
        for seq, vector in store.weights():
            terms = vector[0]
            if not len(terms):  # Anserini would pass over it
                continue
            indexed += 1
            if int(terms[-1]) >= len(counts):
                counts = np.concatenate([counts, np.zeros(int(terms[-1]) + 1 - len(counts), np.int64)])
            counts[terms] += 1
            impacts = dict(zip(map(str, terms.tolist()), impact_weights.impacts([vector]).tolist(), strict=True))
            file.write(orjson.dumps({"id": number_text(seq), "contents": "", "vector": impacts}) + b"\n")
    return counts, indexed


def _run(java: Java, aside: Path) -> None:
    command = [java.command, "-cp", str(java.archive), INDEXER, *_ARGUMENTS]
    command += ["-input", str(aside / "documents"), "-index", str(aside / INDEX)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode or not (aside / INDEX).is_dir():
        output = (done.stderr or done.stdout).strip().splitlines()
        reason = output[-1] if output else f"exit code {done.returncode}"
        raise EngineError(
            f"Anserini {java.anserini} did not build the index: {reason}",
            where=str(aside.parent),
            hint="see whether the disk is full and the machine has memory left; the same command starts again",
        )
