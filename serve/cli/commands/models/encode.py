"""`lexhound encode`: a learned encoder's vectors as a file."""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING

from lexhound.serve.cli.encode_options import EncodeOptions, RayOptions
from lexhound.serve.cli.encode_output import show_encoding
from lexhound.serve.cli.ingest_output import forward
from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import as_text
from lexhound.serve.cli.progress import counted, reporter

if TYPE_CHECKING:
    from lexhound.encoders.sparse.settings import LearnedSettings


@with_options
def encode(options: EncodeOptions) -> None:
    """Write a learned encoder's vectors of texts to a file.

    After an interruption, the same command continues where it stopped.

    Example:
        lexhound encode corpus.jsonl --encoder MODEL --out vectors.jsonl
        lexhound encode queries.jsonl --encoder MODEL --out queries.npz --queries
        lexhound encode corpus.jsonl --encoder MODEL --out passages.jsonl --passages 256/32
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
    from lexhound.retrieval.bulk_encode.encoding import EncodingOptions, encode_corpus
    from lexhound.retrieval.bulk_encode.partial import kept_vectors

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
            EncodingOptions(
                options.corpus.identity(options.source),
                options.queries,
                shard,
                options.overwrite,
                options.passage_settings(),
            ),
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
    if options.passage_settings() is not None and options.queries:
        raise UsageError("--passages is for documents: queries are not split", hint="leave out --passages or --queries")
    options.bad_rows.check()
    if not options.ray.ray and options.ray != RayOptions():
        raise UsageError("--ray-address, --ray-shards and --ray-processors are for --ray", hint="give --ray with them")
    if options.ray.ray and (options.shard is not None or options.source == "-"):
        raise UsageError(
            "--ray cuts the work into shards itself, and every worker reads the texts",
            hint="leave --shard out, and give a file in place of standard input",
        )


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if match is None or int(match[1]) > int(match[2]):
        from lexhound.serve.errors import UsageError

        raise UsageError(f"--shard is {as_text(text)}", hint="give I/N with I from 1 to N, such as --shard 1/4")
    return int(match[1]), int(match[2])
