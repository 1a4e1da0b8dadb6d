"""What `lexhound encode` says of a file of vectors that is complete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .output import Output
from .progress import counted, duration, rate

if TYPE_CHECKING:
    from lexhound.encoders.sparse.encoder import LearnedEncoder
    from lexhound.retrieval.bulk_encode.encoding import EncodingReport

    from .encode_options import EncodeOptions


def show_encoding(
    options: EncodeOptions,
    report: EncodingReport,
    rejects: Path,
    encoder: LearnedEncoder,
    seconds: float,
    **more: object,
) -> None:
    """Tell what was written and how fast; `more` is added to the JSON document."""
    output, out = Output(json=options.json), options.out
    encoded = report.vectors - report.resumed
    counts = report.counts
    texts = counts.texts - report.earlier.texts
    if output.json:
        output.document(
            {
                "out": str(out),
                "texts": counts.texts,
                "vectors": report.vectors,
                "resumed": report.resumed,
                "split": counts.split,
                "passages": counts.passages,
                "cut": counts.cut,
                "rejected": report.rejected,
                "rejects": str(rejects) if report.rejected else None,
                "tokens": report.tokens,
                "seconds": seconds,
                "documents_per_second": texts / seconds,
                "tokens_per_second": report.tokens / seconds,
                "encoder": encoder.identity.as_dict(),
                **more,
            }
        )
        return
    speed = f"{rate(encoded, seconds)}, {rate(report.tokens, seconds).removesuffix('/s')} tokens/s"
    before = f", {report.resumed:,} of them by an earlier attempt" if report.resumed else ""
    output.line((counted(report.vectors, "vector"), "bold"), f" in {duration(seconds)} ({speed}{before}) → {out}")
    if counts.split:
        output.line(f"{counted(counts.split, 'text')} split into {counted(counts.passages, 'passage')}")
    if counts.cut:
        hint = "--max-length" if options.queries else "--passages"
        texts_cut = counted(counts.cut, "text")
        output.line(f"{texts_cut} longer than the model reads: what is beyond is in no vector (see {hint})")
