"""Looking into a corpus: which of some documents it holds, and their words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from lexhound.core.progress import BYTES, OnStep, Stage
from lexhound.retrieval.corpus import BadRow, open_corpus

from .dataset import SHOWN_PROBLEMS, Dataset, DocumentText


@dataclass(frozen=True, slots=True)
class CorpusScan:
    """What one pass over a corpus found.

    Attributes:
        documents: rows that are documents.
        broken: rows that are not.
        missing: of the ids asked for, those that the corpus lacks, in the order asked.
        texts: the words of those it has; empty unless they were wanted.
    """

    documents: int
    broken: int
    missing: tuple[str, ...]
    texts: dict[str, DocumentText] = field(default_factory=dict)


def scan_corpus(
    path: Path, document_ids: Collection[str], *, texts: bool = False, progress: OnStep | None = None
) -> CorpusScan:
    """Read a corpus once, looking for the documents with some ids. `progress` is told of it."""
    missing = dict.fromkeys(document_ids)
    texts_by_id: dict[str, DocumentText] = {}
    documents = broken = 0
    corpus = open_corpus(path)
    stage = Stage(progress, "reading the corpus", corpus.total_bytes, BYTES)
    for row in corpus:
        stage.reach(corpus.bytes_read)
        if isinstance(row, BadRow):
            broken += 1
            continue
        documents += 1
        if row.id in missing:
            del missing[row.id]
            if texts:
                texts_by_id[row.id] = DocumentText(row.title, row.text)
    return CorpusScan(documents, broken, tuple(missing), texts_by_id)


def judged_documents(dataset: Dataset) -> list[str]:
    """Return the ids of all judged documents, each once, in the order of the judgments."""
    return list(dict.fromkeys(document for judged in dataset.qrels.values() for document in judged))


def with_scan(dataset: Dataset, missing: Collection[str], broken: int) -> Dataset:
    """Return the data set with what a look into its corpus found added to its report."""
    examples = dataset.report.examples
    if missing:
        examples = (*examples, "judged but not in the corpus: " + ", ".join(list(missing)[:SHOWN_PROBLEMS]))
    report = replace(dataset.report, missing_documents=len(missing), broken_documents=broken, examples=examples)
    return replace(dataset, report=report)
