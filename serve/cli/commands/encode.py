"""`lexhound encode`: a learned encoder's vectors as a file."""

from __future__ import annotations

import re
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.learned_options import (
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
from lexhound.serve.cli.options import Format, IdField, Json, OnBadRow, OnError, Rejects, TextField, TitleField, as_text
from lexhound.serve.cli.output import Output
from lexhound.serve.cli.progress import counted, duration, rate, reporter
from lexhound.serve.cli.rejects import RejectList

from .build import forward, identify_source, open_source

if TYPE_CHECKING:
    from lexhound.encoders.sparse.encoder import LearnedEncoder
    from lexhound.retrieval.bulk_encode.encoding import EncodingReport

# `lexhound.retrieval.bulk_encode.ray.MOST_SHARDS`, known without loading that room.
MOST_SHARDS = 1000


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
        bool, typer.Option("--queries", help="The texts are queries: use the query encoder.", show_default=False)
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only part I of N, by a hash of the id.", show_default=False),
    ] = None,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="Share the work on a Ray cluster, or on this machine's own.", show_default=False),
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="The Ray cluster: HOST:PORT, ray://HOST:PORT or auto.", show_default="found by Ray"
        ),
    ] = None,
    ray_shards: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=MOST_SHARDS, help="Parts of the work.", show_default="4 a processor"),
    ] = None,
    ray_processors: Annotated[int, typer.Option(metavar="N", min=1, help="Processors a Ray worker gets.")] = 1,
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

    After an interruption, the same command continues where it stopped.

    Example:
        lexhound encode corpus.jsonl --encoder MODEL --out vectors.jsonl
        lexhound encode queries.jsonl --encoder MODEL --out queries.npz --queries
        lexhound encode corpus.jsonl --encoder MODEL --out part1.jsonl.zst --shard 1/4
        lexhound encode corpus.jsonl --encoder MODEL --out vectors.npz --ray --ray-address head:6379
    """
    from lexhound.serve.errors import UsageError

    if encoder == "bm25":
        raise UsageError(
            "bm25 has no vectors of its own: its weights depend on the collection", hint="give a learned encoder"
        )
    if rejects is not None and on_error is not OnError.SKIP:
        raise UsageError("--rejects is for bad rows that are skipped", hint="give --on-error skip with it")
    if not ray and (ray_address is not None or ray_shards is not None or ray_processors != 1):
        raise UsageError("--ray-address, --ray-shards and --ray-processors are for --ray", hint="give --ray with them")
    if ray and (shard is not None or source == "-"):
        raise UsageError(
            "--ray cuts the work into shards itself, and every worker reads the texts",
            hint="leave --shard out, and give a file in place of standard input",
        )
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
    from lexhound.encoders.sparse.encoder import LearnedEncoder
    from lexhound.retrieval.bulk_encode.encoding import encode_corpus, kept_vectors

    output = Output(json=json)
    if ray:
        from lexhound.retrieval.bulk_encode.ray import RaySettings

        from .encode_ray import encode_with_ray

        encode_with_ray(
            output,
            source,
            as_text(encoder),
            settings,
            out,
            RaySettings(ray_address or "", ray_shards, ray_processors),
            fields=(format, id_field, text_field, title_field),
            queries=queries,
            overwrite=overwrite,
            skip=on_error is OnError.SKIP,
            rejects=rejects,
        )
        return
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
    listed.tell(corpus)
    show_encoding(output, report, out, listed.path, loaded, perf_counter() - started)


def show_encoding(
    output: Output,
    report: EncodingReport,
    out: Path,
    rejects: Path,
    encoder: LearnedEncoder,
    seconds: float,
    **more: object,
) -> None:
    """What a run wrote and how fast; `more` is added to the JSON document."""
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


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if match is None or int(match[1]) > int(match[2]):
        from lexhound.serve.errors import UsageError

        raise UsageError(f"--shard is {as_text(text)}", hint="give I/N with I from 1 to N, such as --shard 1/4")
    return int(match[1]), int(match[2])
