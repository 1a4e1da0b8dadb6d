"""`lexhound encode --ray`: the same work, shared by the workers of a Ray cluster."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from lexhound.serve.cli.encode_output import show_encoding
from lexhound.serve.cli.ingest_output import forward
from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import as_text
from lexhound.serve.cli.progress import reporter

if TYPE_CHECKING:
    from lexhound.encoders.sparse.settings import LearnedSettings
    from lexhound.serve.cli.encode_options import EncodeOptions


def encode_with_ray(options: EncodeOptions, settings: LearnedSettings | None) -> None:
    """Encode on the cluster and tell what was written."""
    from lexhound.encoders.sparse.encoder import LearnedEncoder
    from lexhound.retrieval.bulk_encode.cluster import RaySettings
    from lexhound.retrieval.bulk_encode.encoding import EncodingOptions
    from lexhound.retrieval.bulk_encode.ray import encode_on_ray
    from lexhound.retrieval.bulk_encode.shards import Texts, finished_shards

    encoder, out = as_text(options.encoder), options.out
    # Workers run in folders of their own.
    model = str(Path(encoder).resolve()) if Path(encoder).exists() else encoder
    path = Path(options.source).resolve() if Path(options.source).exists() else Path(options.source)
    fields = options.corpus
    texts = Texts(str(path), fields.format_name, fields.id_field, fields.text_field, fields.title_field)
    rejects = options.bad_rows.reject_list(out)
    started = perf_counter()

    def what_is_kept() -> tuple[str, str]:
        finished, count = finished_shards(out)
        text = f"{finished:,} of {count:,} shards kept for {out}"
        return text, "the same command goes on from there" if finished else "the same command starts again"

    # Ray prints what befalls its workers to where results belong.
    with stoppable(what_is_kept), rejects, reporter("encoding") as progress, redirect_stdout(sys.stderr):
        report = encode_on_ray(
            texts,
            model,
            settings,
            out,
            RaySettings(options.ray.ray_address or "", options.ray.ray_shards, options.ray.ray_processors),
            EncodingOptions(
                fields.identity(options.source),
                queries=options.queries,
                overwrite=options.overwrite,
                passages=options.passage_settings(),
            ),
            on_bad_row=rejects.add if options.bad_rows.skip else None,
            progress=forward(progress.update, "encoding"),
        )
    seconds = perf_counter() - started
    rejects.tell()
    loaded = LearnedEncoder(encoder, settings)
    shards = {"shards": report.shards, "resumed_shards": report.resumed_shards}
    show_encoding(options, report.encoding, rejects.path, loaded, seconds, **shards)
