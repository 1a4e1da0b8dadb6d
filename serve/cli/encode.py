"""`lexhound encode`: a learned encoder's vectors as a file."""

from __future__ import annotations

import re
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from .build import forward, identify_source, open_source
from .learned_options import (
    ActivationOption,
    BatchTokens,
    DeviceOption,
    Long,
    MaxLength,
    PoolingOption,
    PrecisionOption,
    PruneRatio,
    QueryPruneRatio,
    QueryTopK,
    TopK,
    TrustRemoteCode,
    learned_settings,
)
from .options import Format, IdField, Json, OnBadRow, OnError, Rejects, TextField, TitleField, as_text
from .output import Output
from .progress import counted, duration, rate, reporter
from .rejects import RejectList
from .stopped import stoppable


def encode(
    source: Annotated[
        str,
        typer.Argument(metavar="TEXTS", help="A corpus, as for `index`, or - for standard input.", show_default=False),
    ],
    encoder: Annotated[
        str, typer.Option(metavar="MODEL", help="The path or hub name of a checkpoint.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Where to write: .jsonl, .jsonl.zst or .npz.", show_default=False),
    ],
    queries: Annotated[
        bool, typer.Option("--queries", help="The texts are queries: use the query side.", show_default=False)
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only part I of N, told by a hash of the id.", show_default=False),
    ] = None,
    format: Format = None,
    id_field: IdField = None,
    text_field: TextField = None,
    title_field: TitleField = None,
    on_error: OnBadRow = OnError.STOP,
    rejects: Rejects = None,
    max_length: MaxLength = None,
    long_texts: Long = None,
    top_k: TopK = None,
    prune_ratio: PruneRatio = None,
    query_top_k: QueryTopK = None,
    query_prune_ratio: QueryPruneRatio = None,
    pooling: PoolingOption = None,
    activation: ActivationOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    batch_tokens: BatchTokens = None,
    trust_remote_code: TrustRemoteCode = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace FILE; it stays until the new one is complete.", show_default=False),
    ] = False,
    json: Json = False,
) -> None:
    """Write a learned encoder's vectors of texts to a file.

    If it is interrupted, the same command goes on where it stopped.

    Example:
        lexhound encode corpus.jsonl --encoder MODEL --out vectors.jsonl
        lexhound encode queries.jsonl --encoder MODEL --out queries.npz --queries
        lexhound encode corpus.jsonl --encoder MODEL --out part1.jsonl.zst --shard 1/4
    """
    from ..errors import UsageError

    if encoder == "bm25":
        raise UsageError(
            "bm25 has no vectors of its own: its weights depend on the collection", hint="give a learned encoder"
        )
    if rejects is not None and on_error is not OnError.SKIP:
        raise UsageError("--rejects is for bad rows that are skipped", hint="give --on-error skip with it")
    part = _shard(shard)
    settings = learned_settings(
        encoder,
        max_length=max_length,
        long_texts=long_texts,
        top_k=top_k,
        ratio=prune_ratio,
        query_top_k=query_top_k,
        query_ratio=query_prune_ratio,
        pooling=pooling,
        activation=activation,
        precision=precision,
        device=device,
        batch_tokens=batch_tokens,
        trust_remote_code=trust_remote_code,
    )
    from ...encoders.learned import LearnedEncoder
    from ...retrieval.encoding import encode_corpus, kept_vectors

    output = Output(json=json)
    corpus = open_source(source, format, id_field, text_field, title_field)
    listed = RejectList(rejects or out.parent / f"{out.name}.rejects.jsonl")
    loaded = LearnedEncoder(as_text(encoder), settings)
    started = perf_counter()

    def say_stopped() -> tuple[str, str]:
        kept = kept_vectors(out)
        hint = "the same command goes on from there" if kept else "the same command starts again"
        return f"{counted(kept, 'vector')} kept for {out}", hint

    with stoppable(say_stopped), listed, reporter("encoding") as progress:
        report = encode_corpus(
            corpus,
            loaded,
            out,
            source=identify_source(source, format, id_field, text_field, title_field),
            queries=queries,
            shard=part,
            overwrite=overwrite,
            on_bad_row=listed.add if on_error is OnError.SKIP else None,
            progress=forward(progress.update, "encoding"),
        )
    seconds = perf_counter() - started
    listed.tell()
    encoded = report.vectors - report.resumed
    if json:
        output.document(
            {
                "out": str(out),
                "vectors": report.vectors,
                "resumed": report.resumed,
                "rejected": report.rejected,
                "rejects": str(listed.path) if report.rejected else None,
                "tokens": report.tokens,
                "seconds": seconds,
                "documents_per_second": encoded / seconds,
                "tokens_per_second": report.tokens / seconds,
                "encoder": loaded.identity.as_dict(),
            }
        )
        return
    speed = f"{rate(encoded, seconds)}, {rate(report.tokens, seconds).removesuffix('/s')} tokens/s"
    before = f", {report.resumed:,} of them by an earlier attempt" if report.resumed else ""
    output.line((counted(report.vectors, "vector"), "bold"), f" in {duration(seconds)} ({speed}{before}) → {out}")


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if match is None or int(match[1]) > int(match[2]):
        from ..errors import UsageError

        raise UsageError(f"--shard is {as_text(text)}", hint="give I/N with I from 1 to N, such as --shard 1/4")
    return int(match[1]), int(match[2])
