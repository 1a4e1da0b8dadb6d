"""Arguments and options of `lexhound encode`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .corpus_options import BadRowOptions, CorpusOptions
from .learned_options import LearnedOptions
from .options import Json, as_text

if TYPE_CHECKING:
    from lexhound.retrieval.documents.passages import PassageSettings

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
    passages: Annotated[
        str | None,
        typer.Option(
            metavar="N/OVERLAP",
            help="Split longer texts, as `index` does: a vector a passage, with the id ID#NUMBER; or none.",
            show_default="none: a vector a text, of its beginning where the model stops reading",
        ),
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

    def passage_settings(self) -> PassageSettings | None:
        """Return how long texts are split; None for a vector a text.

        Raises:
            SettingsError: the sizes mean nothing.
        """
        from lexhound.retrieval.documents.passages import NONE, parse_passages

        return parse_passages(NONE if self.passages is None else as_text(self.passages))
