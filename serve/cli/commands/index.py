"""`lexhound index`: from a corpus to a new collection."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexhound.serve.cli.corpus_options import BadRowOptions, CorpusOptions, Vectors, beside
from lexhound.serve.cli.default_encoder import tell_default
from lexhound.serve.cli.dense_options import DenseOptions
from lexhound.serve.cli.ingest_output import forward, summary, tell_special_weights, tell_split
from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.learned_options import LearnedOptions, QueryIdfOption
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import Json, as_text
from lexhound.serve.cli.output import Output
from lexhound.serve.cli.progress import counted, duration, rate, reporter

if TYPE_CHECKING:
    from lexhound.encoders.bm25.settings import LexicalSettings
    from lexhound.retrieval.collection.default_encoders import ChosenEncoders
    from lexhound.retrieval.engines.address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalOptions:
    """Options of the encoder bm25; None for its default."""

    k1: Annotated[
        float | None,
        typer.Option(help="bm25: saturation of the term frequency, 0 or more.", show_default="0.9"),
    ] = None
    b: Annotated[
        float | None,
        typer.Option("--b", help="bm25: length normalisation, 0 to 1.", show_default="0.4"),
    ] = None
    language: Annotated[
        str | None,
        typer.Option(help="bm25: the language of stemmer and stop words, or none.", show_default="english"),
    ] = None
    no_stemming: Annotated[bool, typer.Option("--no-stemming", help="bm25: no stemming.", show_default=False)] = False
    no_stop_words: Annotated[
        bool,
        typer.Option(
            "--no-stop-words", help="bm25: no stop words: frequent words such as 'the' count too.", show_default=False
        ),
    ] = False

    def given_values(self) -> dict[str, Any]:
        """Return the settings that were given, by their flags' names in `LexicalSettings`."""
        values: dict[str, Any] = {
            "k1": self.k1,
            "b": self.b,
            "language": None if self.language is None else as_text(self.language),
            "stemming": False if self.no_stemming else None,
            "stop_words": False if self.no_stop_words else None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def settings(self, encoder: str) -> LexicalSettings | None:
        """Return the settings of bm25; None for another encoder.

        Raises:
            UsageError: an option was given, and the encoder is another one.
        """
        values = self.given_values()
        if encoder != "bm25":
            if values:
                from lexhound.serve.errors import UsageError

                flags = {"stemming": "--no-stemming", "stop_words": "--no-stop-words"}
                names = ", ".join(flags.get(name, f"--{name}") for name in values)
                raise UsageError(f"{names} belongs to the encoder bm25, not to {encoder}", hint="leave it out")
            return None
        from lexhound.encoders.bm25.settings import LexicalSettings

        return LexicalSettings(**values)


Passages = Annotated[
    str | None,
    typer.Option(
        "--passages",
        metavar="N/OVERLAP",
        help="Split longer texts into passages of N tokens of the model, of which the next repeats OVERLAP; or none.",
        show_default="256/32 where the model stops reading; bm25: none",
    ),
]


Late = Annotated[
    bool,
    typer.Option(
        "--late",
        help="Keep vectors of tokens too, for search --rerank late: up to 12.4 KB a text; see docs/late.md.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """Arguments and options of `lexhound index`."""

    source: Annotated[
        str,
        typer.Argument(
            help="A file (JSON Lines, CSV, TSV, Parquet; .gz and .zst too), a BEIR folder, a folder of .txt, .md and"
            " .html files, or - for standard input.",
            show_default=False,
        ),
    ]
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="DIR",
            help="The collection to make: a directory, or an address such as milvus://HOST/NAME.",
            show_default=False,
        ),
    ]
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="bm25, lexhound-mini (or default), or the path or hub name of a sparse encoder's checkpoint.",
            show_default="lexhound-mini with dense vectors; bm25 with its options",
        ),
    ] = None
    lexical: LexicalOptions
    corpus: CorpusOptions
    vectors: Vectors = False
    bad_rows: BadRowOptions
    query_idf: QueryIdfOption = None
    learned: LearnedOptions
    dense: DenseOptions
    passages: Passages = None
    tenant_field: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="The metadata field that says whose a document is: everything is asked of one tenant then.",
            show_default=False,
        ),
    ] = None
    late: Late = False
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an existing collection; it stays as it is until the new one is complete.",
            show_default=False,
        ),
    ] = False
    json: Json = False


@with_options
def index(options: IndexOptions) -> None:
    """Make a collection from a corpus.

    After an interruption, the same command continues where it stopped.

    Example:
        lexhound index corpus.jsonl --into my.index
        lexhound index notes/ --into notes.index --language german
        lexhound index corpus.jsonl --into my.index --encoder bm25 --dense sentence-transformers/all-MiniLM-L6-v2
        zstdcat big.jsonl.zst | lexhound index - --into big.index --on-error skip
        lexhound index corpus.jsonl --into milvus://host:19530/my --encoder default
        lexhound index vectors.jsonl --into my.index --encoder MODEL --vectors
        lexhound index handbooks/ --into handbook.index --passages 384/64
        lexhound index everybody.jsonl --into shared.index --tenant-field org
    """
    from lexhound.retrieval.engines.address import read_address

    address = read_address(options.into)
    chosen = _choose(options, address)
    encoder = chosen.encoder
    lexical = options.lexical.settings(encoder)
    _check_vectors(options, encoder)
    dense = options.dense.settings(options.learned, chosen.dense)
    learned_options = options.learned
    if dense is not None and encoder == "bm25":  # then they are the dense model's alone
        learned_options = replace(learned_options, precision=None, device=None, batch_tokens=None)
    learned = learned_options.settings(encoder, query_idf=options.query_idf)
    from lexhound.retrieval.collection.building import build_collection
    from lexhound.retrieval.collection.default_encoders import NO_DENSE
    from lexhound.retrieval.collection.settings import CollectionSettings
    from lexhound.retrieval.engines.building import build_in_engine
    from lexhound.serve.engines import milvus_settings

    corpus = options.corpus.open(options.source, vectors=options.vectors)
    rejects = options.bad_rows.reject_list(beside(address))
    # A path stays as it was written, for messages.
    build = partial(build_collection, options.into)
    if not address.is_native:
        build = partial(build_in_engine, address, milvus=milvus_settings())
    settings = CollectionSettings(
        encoder,
        lexical,
        learned,
        chosen.dense or NO_DENSE,
        dense,
        options.dense.index_policy,
        passages=None if options.passages is None else as_text(options.passages),
        tenant_field=None if options.tenant_field is None else as_text(options.tenant_field),
        late=options.late,
    )
    started = perf_counter()
    with stoppable(lambda: _what_is_kept(options, address)), rejects, reporter("indexing") as progress:
        report = build(
            corpus,
            settings,
            source=options.corpus.identity(options.source, vectors=options.vectors),
            overwrite=options.overwrite,
            on_bad_row=rejects.add if options.bad_rows.skip else None,
            progress=forward(progress.update),
        )
    seconds = perf_counter() - started
    rejects.tell(corpus)
    output = Output(json=options.json)
    if options.json:
        output.document(summary(options.source, report, seconds, rejects, corpus) | {"collection": options.into})
        return
    documents = report.added + report.replaced + report.unchanged
    output.line(
        (counted(documents), "bold"), f" in {duration(seconds)} ({rate(documents, seconds)}) → ", (options.into, "bold")
    )
    tell_special_weights(output, corpus)
    tell_split(output, report)
    tenant = "" if options.tenant_field is None else " --tenant NAME"
    output.line(f'next: lexhound search {shlex.quote(options.into)} "what you are looking for"{tenant}')


def _choose(options: IndexOptions, address: Address) -> ChosenEncoders:
    """Return the encoders: those that were named, or the default ones, which are told."""
    if options.encoder is None and options.vectors:
        from lexhound.serve.errors import UsageError

        raise UsageError("--vectors needs the encoder that made them", hint="name it: --encoder MODEL")
    from lexhound.retrieval.collection.default_encoders import choose_encoders
    from lexhound.retrieval.engines.refusals import keeps_dense

    chosen = choose_encoders(
        options.encoder,
        options.dense.model,
        has_lexical_options=bool(options.lexical.given_values()),
        keeps_dense=keeps_dense(address),
    )
    tell_default(chosen)
    return chosen


def _check_vectors(options: IndexOptions, encoder: str) -> None:
    """Refuse --vectors where no encoder can have made them, or where texts are needed too."""
    if not options.vectors:
        return
    from lexhound.serve.errors import UsageError

    if encoder == "bm25":
        raise UsageError(
            "--vectors needs the learned encoder that made them, and bm25 counts words", hint="name it: --encoder MODEL"
        )
    if options.dense.model not in (None, "none") and options.source.endswith(".npz"):
        raise UsageError("--dense encodes texts, and an .npz file has none", hint="give JSON Lines with texts")


def _what_is_kept(options: IndexOptions, address: Address) -> tuple[str, str]:
    """Return what an interrupted run leaves, and how it goes on."""
    from lexhound.retrieval.collection.building import kept_documents

    into = options.into
    if not address.is_native:
        return f"what was stored in {into} is visible", f"`lexhound add {into} {options.source}` goes on from there"
    count = kept_documents(into, overwrite=options.overwrite)
    text = f"{counted(count)} kept for {into}, not yet visible" if count else f"nothing kept for {into}"
    if options.overwrite and Path(into).exists():
        text += "; the old collection is unchanged"
    return text, "the same command goes on from there" if count else "the same command starts again"
