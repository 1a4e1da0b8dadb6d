"""`lexhound encode --ray`: the same work, shared by the workers of a Ray cluster."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import CorpusFormat
from lexhound.serve.cli.output import Output
from lexhound.serve.cli.progress import reporter
from lexhound.serve.cli.rejects import RejectList

from .build import forward, identify_source
from .encode import show_encoding

if TYPE_CHECKING:
    from lexhound.encoders.sparse.settings import LearnedSettings
    from lexhound.retrieval.bulk_encode.ray import RaySettings

Fields = tuple[CorpusFormat | None, str | None, str | None, str | None]


def encode_with_ray(
    output: Output,
    source: str,
    encoder: str,
    settings: LearnedSettings | None,
    out: Path,
    cluster: RaySettings,
    *,
    fields: Fields,
    queries: bool,
    overwrite: bool,
    skip: bool,
    rejects: Path | None,
) -> None:
    """Run it and tell what it wrote; the arguments are those of the command."""
    from lexhound.encoders.sparse.encoder import LearnedEncoder
    from lexhound.retrieval.bulk_encode.ray import Texts, encode_on_ray, finished_shards

    format, id_field, text_field, title_field = fields
    # Workers run in folders of their own.
    name = str(Path(encoder).resolve()) if Path(encoder).exists() else encoder
    place = Path(source).resolve() if Path(source).exists() else Path(source)
    texts = Texts(str(place), None if format is None else format.value, id_field, text_field, title_field)
    listed = RejectList(rejects or out.parent / f"{out.name}.rejects.jsonl")
    started = perf_counter()

    def say_stopped() -> tuple[str, str]:
        finished, count = finished_shards(out)
        kept = f"{finished:,} of {count:,} shards kept for {out}"
        return kept, "the same command goes on from there" if finished else "the same command starts again"

    # Ray prints what befalls its workers to where results belong.
    with stoppable(say_stopped), listed, reporter("encoding") as progress, redirect_stdout(sys.stderr):
        report = encode_on_ray(
            texts,
            name,
            settings,
            out,
            cluster,
            source=identify_source(source, format, id_field, text_field, title_field),
            queries=queries,
            overwrite=overwrite,
            on_bad_row=listed.add if skip else None,
            progress=forward(progress.update, "encoding"),
        )
    seconds = perf_counter() - started
    listed.tell()
    loaded = LearnedEncoder(encoder, settings)
    shards = {"shards": report.shards, "resumed_shards": report.resumed_shards}
    show_encoding(output, report.encoding, out, listed.path, loaded, seconds, **shards)
