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
    if output.json:
        output.document(
            {
                "out": str(out),
                "vectors": report.vectors,
                "resumed": report.resumed,
                "rejected": report.rejected,
                "rejects": str(rejects) if report.rejected else None,
                "tokens": report.tokens,
                "seconds": seconds,
                "documents_per_second": encoded / seconds,
                "tokens_per_second": report.tokens / seconds,
                "encoder": encoder.identity.as_dict(),
                **more,
            }
        )
        return
    speed = f"{rate(encoded, seconds)}, {rate(report.tokens, seconds).removesuffix('/s')} tokens/s"
    before = f", {report.resumed:,} of them by an earlier attempt" if report.resumed else ""
    output.line((counted(report.vectors, "vector"), "bold"), f" in {duration(seconds)} ({speed}{before}) → {out}")
