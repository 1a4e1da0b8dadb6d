"""`lexhound encode`: a learned encoder's vectors as a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from lexhound.serve.cli.corpus_options import BadRowOptions, CorpusOptions
from lexhound.serve.cli.ingest_output import forward
from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.learned_options import LearnedOptions
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import Json, as_text
from lexhound.serve.cli.output import Output
from lexhound.serve.cli.progress import counted, duration, rate, reporter

if TYPE_CHECKING:
    from lexhound.encoders.sparse.encoder import LearnedEncoder
    from lexhound.encoders.sparse.settings import LearnedSettings
    from lexhound.retrieval.bulk_encode.encoding import EncodingReport

# `lexhound.retrieval.bulk_encode.shards.MOST_SHARDS`, known without loading that room.
MOST_SHARDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """Whether and how a Ray cluster shares the work."""

    ray: Annotated[
        bool,
        typer.Option("--ray", help="Share the work on a Ray cluster, or on this machine's own.", show_default=False),
    ] = False
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="The Ray cluster: HOST:PORT, ray://HOST:PORT or auto.", show_default="found by Ray"
        ),
    ] = None
    ray_shards: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=MOST_SHARDS, help="Parts of the work.", show_default="4 a processor"),
    ] = None
    ray_processors: Annotated[int, typer.Option(metavar="N", min=1, help="Processors a Ray worker gets.")] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """Arguments and options of `lexhound encode`."""

    source: Annotated[
        str,
        typer.Argument(metavar="TEXTS", help="A corpus, as for `index`, or - for standard input.", show_default=False),
    ]
    encoder: Annotated[
        str, typer.Option(metavar="MODEL", help="The path or hub name of a checkpoint.", show_default=False)
    ]
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Where to write: .jsonl, .jsonl.zst or .npz.", show_default=False),
    ]
    queries: Annotated[
        bool, typer.Option("--queries", help="The texts are queries: use the query encoder.", show_default=False)
    ] = False
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only part I of N, by a hash of the id.", show_default=False),
    ] = None
    ray: RayOptions
    corpus: CorpusOptions
    bad_rows: BadRowOptions
    learned: LearnedOptions
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace FILE; it stays until the new one is complete.", show_default=False),
    ] = False
    json: Json = False


@with_options
def encode(options: EncodeOptions) -> None:
    """Write a learned encoder's vectors of texts to a file.

    After an interruption, the same command continues where it stopped.

    Example:
        lexhound encode corpus.jsonl --encoder MODEL --out vectors.jsonl
        lexhound encode queries.jsonl --encoder MODEL --out queries.npz --queries
        lexhound encode corpus.jsonl --encoder MODEL --out part1.jsonl.zst --shard 1/4
        lexhound encode corpus.jsonl --encoder MODEL --out vectors.npz --ray --ray-address head:6379
    """
    _check(options)
    shard = _shard(options.shard)
    settings = options.learned.settings(options.encoder)
    if options.ray.ray:
        from .encode_ray import encode_with_ray

        encode_with_ray(options, settings)
        return
    _encode_here(options, settings, shard)


def _encode_here(options: EncodeOptions, settings: LearnedSettings | None, shard: tuple[int, int]) -> None:
    """Encode in this process and tell what was written."""
    from lexhound.encoders.sparse.encoder import LearnedEncoder
    from lexhound.retrieval.bulk_encode.encoding import EncodingOptions, encode_corpus, kept_vectors

    out = options.out
    corpus = options.corpus.open(options.source)
    rejects = options.bad_rows.reject_list(out)
    encoder = LearnedEncoder(as_text(options.encoder), settings)
    started = perf_counter()

    def what_is_kept() -> tuple[str, str]:
        count = kept_vectors(out)
        hint = "the same command goes on from there" if count else "the same command starts again"
        return f"{counted(count, 'vector')} kept for {out}", hint

    with stoppable(what_is_kept), rejects, reporter("encoding") as progress:
        report = encode_corpus(
            corpus,
            encoder,
            out,
            EncodingOptions(options.corpus.identity(options.source), options.queries, shard, options.overwrite),
            on_bad_row=rejects.add if options.bad_rows.skip else None,
            progress=forward(progress.update, "encoding"),
        )
    rejects.tell(corpus)
    show_encoding(options, report, rejects.path, encoder, perf_counter() - started)


def _check(options: EncodeOptions) -> None:
    """Refuse options that contradict each other."""
    from lexhound.serve.errors import UsageError

    if options.encoder == "bm25":
        raise UsageError(
            "bm25 has no vectors of its own: its weights depend on the collection", hint="give a learned encoder"
        )
    options.bad_rows.check()
    if not options.ray.ray and options.ray != RayOptions():
        raise UsageError("--ray-address, --ray-shards and --ray-processors are for --ray", hint="give --ray with them")
    if options.ray.ray and (options.shard is not None or options.source == "-"):
        raise UsageError(
            "--ray cuts the work into shards itself, and every worker reads the texts",
            hint="leave --shard out, and give a file in place of standard input",
        )


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


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if match is None or int(match[1]) > int(match[2]):
        from lexhound.serve.errors import UsageError

        raise UsageError(f"--shard is {as_text(text)}", hint="give I/N with I from 1 to N, such as --shard 1/4")
    return int(match[1]), int(match[2])
