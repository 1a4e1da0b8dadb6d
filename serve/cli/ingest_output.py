"""What commands tell of an ingest job: its progress, its result as a sentence and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .options import as_text
from .output import Output
from .progress import State, counted, duration, state_of
from .rejects import RejectList

if TYPE_CHECKING:
    from lexhound.retrieval.collection.write.ingest import IngestReport
    from lexhound.retrieval.collection.write.progress import Progress
    from lexhound.retrieval.corpus import Corpus


def forward(update: Callable[[State], None], reading: str = "indexing") -> Callable[[Progress], None]:
    """Return what tells an ingest job's progress to a reporter; `reading` is what it calls the first phase."""

    return lambda step: update(ingest_state(step, reading if step.phase == "reading" else step.phase))


def ingest_state(step: Progress, stage: str) -> State:
    """Return what a reporter shows of an ingest job; `stage` says what is being done."""
    if step.step is not None:
        return state_of(step.step)
    fraction = None
    if step.phase == "reading" and step.total_bytes:
        fraction = min(step.bytes_read / step.total_bytes, 1.0)
    return State(stage, step.documents, step.resumed, fraction, tokens=step.tokens or None)


def tell_special_weights(output: Output, corpus: Corpus) -> None:
    """Say how many weights of vectors belong to special tokens, which are no terms."""
    if corpus.special_weights:
        output.line(f"{counted(corpus.special_weights, 'weight')} of special tokens, which are no terms, left out")


def tell_split(output: Output, report: IngestReport) -> None:
    """Say how many texts were split into passages, how many a model reads no more than the beginning of, and how many
    have no words.
    """
    if report.split:
        output.line(f"{counted(report.split, 'text')} split into {counted(report.passages, 'passage')}")
    if report.cut:
        output.line(
            f"{counted(report.cut, 'text')} longer than the model reads: what is beyond is not searched"
            " (see --passages)"
        )
    if report.wordless:
        output.line(f"{counted(report.wordless, 'document')} without a word: no query of words finds them")


def summary(source: str, report: IngestReport, seconds: float, rejects: RejectList, corpus: Corpus) -> dict[str, Any]:
    """Return the figures of an ingest job for a JSON document."""
    documents = report.added + report.replaced + report.unchanged
    special = {"special_weights": corpus.special_weights} if corpus.brings_vectors else {}
    return special | {
        "source": as_text(source),
        "documents": documents,
        "added": report.added,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "resumed": report.resumed,
        "split": report.split,
        "passages": report.passages,
        "cut": report.cut,
        "wordless": report.wordless,
        "rejected": report.rejected,
        "rejects": str(rejects.path) if report.rejected else None,
        "seconds": seconds,
        "documents_per_second": documents / seconds,
    }


def sentence(source: str, report: IngestReport, seconds: float) -> str:
    """Return the figures of an ingest job as a sentence."""
    parts = [f"{report.added:,} added"]
    if report.replaced:
        parts.append(f"{report.replaced:,} replaced")
    if report.unchanged:
        parts.append(f"{report.unchanged:,} unchanged")
    return f"{as_text(source)}: {', '.join(parts)} in {duration(seconds)}"
