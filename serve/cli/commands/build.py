"""`lexhound index` and `lexhound add`: from a corpus to a collection."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexhound.serve.cli.default_encoder import usual_encoder
from lexhound.serve.cli.dense_options import (
    DenseDocumentPrompt,
    DenseIndex,
    DenseIndexOption,
    DenseMaxLength,
    DenseOption,
    DensePoolingOption,
    DenseQueryPrompt,
    dense_settings,
)
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
    QueryIdfOption,
    QueryPruneRatio,
    QueryTopK,
    StoredTrust,
    TopK,
    TrustRemoteCode,
    learned_settings,
    trusting,
)
from lexhound.serve.cli.options import (
    CorpusFormat,
    Format,
    IdField,
    Json,
    OnBadRow,
    OnError,
    Place,
    Rejects,
    TextField,
    TitleField,
    Vectors,
    as_text,
)
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import State, counted, duration, rate, reporter
from lexhound.serve.cli.rejects import RejectList

from .maintenance import weight_notes

if TYPE_CHECKING:
    from lexhound.encoders.bm25.encoder import LexicalSettings
    from lexhound.retrieval.collection.write.ingest import IngestReport, Progress
    from lexhound.retrieval.corpus import Corpus
    from lexhound.retrieval.engines.address import Address


def index(
    source: Annotated[
        str,
        typer.Argument(
            help="A file (JSON Lines, CSV, TSV, Parquet; .gz and .zst too), a BEIR folder, a folder of .txt, .md and"
            " .html files, or - for standard input.",
            show_default=False,
        ),
    ],
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="DIR",
            help="The collection to make: a directory, or an address such as milvus://HOST/NAME.",
            show_default=False,
        ),
    ],
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="bm25, lexhound-mini (or default), or the path or hub name of a sparse encoder's checkpoint.",
            show_default="lexhound-mini; bm25 with --dense, or without the extra neural",
        ),
    ] = None,
    k1: Annotated[
        float | None,
        typer.Option(help="bm25: saturation of the term frequency, 0 or more.", show_default="0.9"),
    ] = None,
    b: Annotated[
        float | None,
        typer.Option("--b", help="bm25: length normalisation, 0 to 1.", show_default="0.4"),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="bm25: the language of stemmer and stop words, or none.", show_default="english"),
    ] = None,
    no_stemming: Annotated[bool, typer.Option("--no-stemming", help="bm25: no stemming.", show_default=False)] = False,
    no_stop_words: Annotated[
        bool,
        typer.Option(
            "--no-stop-words", help="bm25: no stop words: frequent words such as 'the' count too.", show_default=False
        ),
    ] = False,
    format: Format = None,
    id_field: IdField = None,
    text_field: TextField = None,
    title_field: TitleField = None,
    vectors: Vectors = False,
    on_error: OnBadRow = OnError.STOP,
    rejects: Rejects = None,
    max_length: MaxLength = None,
    long_texts: Long = None,
    top_k: TopK = None,
    prune_ratio: PruneRatio = None,
    query_top_k: QueryTopK = None,
    query_prune_ratio: QueryPruneRatio = None,
    query_idf: QueryIdfOption = None,
    pooling: PoolingOption = None,
    activation: ActivationOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    batch_tokens: BatchTokens = None,
    trust_remote_code: TrustRemoteCode = False,
    dense: DenseOption = None,
    dense_max_length: DenseMaxLength = None,
    dense_pooling: DensePoolingOption = None,
    dense_query_prompt: DenseQueryPrompt = None,
    dense_document_prompt: DenseDocumentPrompt = None,
    dense_index: DenseIndexOption = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an existing collection; it stays as it is until the new one is complete.",
            show_default=False,
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Make a collection from a corpus.

    After an interruption, the same command continues where it stopped.

    Example:
        lexhound index corpus.jsonl --into my.index
        lexhound index notes/ --into notes.index --language german
        lexhound index corpus.jsonl --into my.index --encoder bm25 --dense sentence-transformers/all-MiniLM-L6-v2
        zstdcat big.jsonl.zst | lexhound index - --into big.index --on-error skip
        lexhound index corpus.jsonl --into milvus://host:19530/my --encoder default
        lexhound index vectors.jsonl --into my.index --encoder MODEL --vectors
    """
    if vectors and encoder is None:
        from lexhound.serve.errors import UsageError

        raise UsageError("--vectors needs the encoder that made them", hint="name it: --encoder MODEL")
    if encoder is None:
        lexical = (k1, b, language) != (None, None, None) or no_stemming or no_stop_words
        encoder = usual_encoder(lexical_options=lexical, dense=dense is not None)
    settings = _lexical_settings(encoder, k1, b, language, stemming=not no_stemming, stop_words=not no_stop_words)
    running = {"precision": precision, "device": device, "batch_tokens": batch_tokens}
    if vectors and encoder == "bm25":
        from lexhound.serve.errors import UsageError

        raise UsageError(
            "--vectors needs the learned encoder that made them, and bm25 counts words", hint="name it: --encoder MODEL"
        )
    if vectors and dense is not None and source.endswith(".npz"):
        from lexhound.serve.errors import UsageError

        raise UsageError("--dense encodes texts, and an .npz file has none", hint="give JSON Lines with texts")
    dense_options = dense_settings(
        dense,
        max_length=dense_max_length,
        pooling=dense_pooling,
        query_prompt=dense_query_prompt,
        document_prompt=dense_document_prompt,
        index=dense_index,
        **running,
    )
    if dense is not None and encoder == "bm25":  # then they are the dense model's alone
        running = {}
    learned = learned_settings(
        encoder,
        max_length=max_length,
        long_texts=long_texts,
        top_k=top_k,
        ratio=prune_ratio,
        query_top_k=query_top_k,
        query_ratio=query_prune_ratio,
        query_idf=query_idf,
        pooling=pooling,
        activation=activation,
        trust_remote_code=trust_remote_code,
        **running,
    )
    from lexhound.retrieval.collection.building import build_collection, kept_documents
    from lexhound.retrieval.engines.address import read_address
    from lexhound.retrieval.engines.building import build_in_engine
    from lexhound.serve.engines import milvus_settings

    output = Output(json=json)
    address = read_address(into)
    corpus = open_source(source, format, id_field, text_field, title_field, vectors=vectors)
    listed = _reject_list(on_error, rejects, _beside(address))
    started = perf_counter()

    def say_stopped() -> tuple[str, str]:
        if not address.own:
            return f"what was stored in {into} is visible", f"`lexhound add {into} {source}` goes on from there"
        kept = kept_documents(into, overwrite=overwrite)
        what = f"{counted(kept)} kept for {into}, not yet visible" if kept else f"nothing kept for {into}"
        if overwrite and Path(into).exists():
            what += "; the old collection is unchanged"
        return what, "the same command goes on from there" if kept else "the same command starts again"

    with stoppable(say_stopped), listed, reporter("indexing") as progress:
        # A path stays as it was written, for messages.
        build = partial(build_collection, into)
        if not address.own:
            build = partial(build_in_engine, address, milvus=milvus_settings())
        report = build(
            corpus,
            source=identify_source(source, format, id_field, text_field, title_field, vectors=vectors),
            encoder=encoder,
            lexical=settings,
            learned=learned,
            dense=None if dense is None else as_text(dense),
            dense_settings=dense_options,
            dense_index=(dense_index or DenseIndex.AUTO).value,
            overwrite=overwrite,
            on_bad_row=listed.add if on_error is OnError.SKIP else None,
            progress=forward(progress.update),
        )
    seconds = perf_counter() - started
    listed.tell(corpus)
    if json:
        output.document(_summary(source, report, seconds, listed, corpus) | {"collection": into})
        return
    documents = report.added + report.replaced + report.unchanged
    output.line(
        (counted(documents), "bold"),
        f" in {duration(seconds)} ({rate(documents, seconds)}) → ",
        (into, "bold"),
    )
    _tell_special(output, corpus)
    output.line(f'next: lexhound search {shlex.quote(into)} "what you are looking for"')


def add(
    directory: Place,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE", help="Corpora, as for `index`; each is an ingest job of its own.", show_default=False
        ),
    ] = None,
    discard_unfinished: Annotated[
        bool,
        typer.Option(
            "--discard-unfinished", help="First drop the documents of an interrupted ingest job.", show_default=False
        ),
    ] = False,
    format: Format = None,
    id_field: IdField = None,
    text_field: TextField = None,
    title_field: TitleField = None,
    vectors: Vectors = False,
    on_error: OnBadRow = OnError.STOP,
    rejects: Rejects = None,
    trust_remote_code: StoredTrust = False,
    json: Json = False,
) -> None:
    """Add documents to a collection, or replace those with the same ids.

    An ingest job becomes visible as a whole. After an interruption, the same command continues where it stopped.

    Example:
        lexhound add my.index more.jsonl
        lexhound add my.index monday.csv tuesday.csv --id-field number
        lexhound add milvus://host:19530/my more.jsonl
    """
    from lexhound.retrieval.collection.building import kept_documents
    from lexhound.retrieval.collection.collection import Collection
    from lexhound.retrieval.engines.address import read_address
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.serve.engines import milvus_settings
    from lexhound.serve.errors import UsageError

    if not sources and not discard_unfinished:
        raise UsageError("there is nothing to add", hint="name a corpus: lexhound add DIR SOURCE")
    output = Output(json=json)
    address = read_address(directory)
    listed = _reject_list(on_error, rejects, _beside(address))
    finished: list[dict[str, Any]] = []
    read: list[Corpus] = []
    discarded = None

    def say_stopped() -> tuple[str, str]:
        done = f"{len(finished)} of {len(sources or [])} sources are added; " if len(sources or []) > 1 else ""
        if not address.own:
            return f"{done}what was stored of this one is visible", "the same command goes on from there"
        kept = kept_documents(directory)
        what = f"{done}{counted(kept)} of this one kept, not yet visible"
        return what, "the same command goes on from there, --discard-unfinished drops them"

    learned = trusting(trust_remote_code)
    opened = open_collection(directory, writable=True, milvus=milvus_settings(), learned=learned)
    with stoppable(say_stopped), opened as collection, listed:
        if discard_unfinished and not isinstance(collection, Collection):
            raise UsageError(
                "only Lexhound's own collections have unfinished runs", hint="leave --discard-unfinished out"
            )
        if discard_unfinished and isinstance(collection, Collection):
            discarded = collection.discard_unfinished()
            tell(f"{counted(discarded)} of an unfinished run dropped")
        for source in sources or []:
            started = perf_counter()
            corpus = open_source(source, format, id_field, text_field, title_field, vectors=vectors)
            read.append(corpus)
            with reporter("adding") as progress:
                report = collection.ingest(
                    corpus,
                    source=identify_source(source, format, id_field, text_field, title_field, vectors=vectors),
                    on_bad_row=listed.add if on_error is OnError.SKIP else None,
                    progress=forward(progress.update),
                )
            finished.append(_summary(source, report, perf_counter() - started, listed, corpus))
            if not json:
                output.line(_sentence(source, report, perf_counter() - started))
                _tell_special(output, corpus)
        documents = collection.count()
        notes = weight_notes(collection.info()) if isinstance(collection, Collection) else []
    listed.tell(*read)
    if json:
        output.document(
            {
                "collection": str(directory),
                "documents": documents,
                "discarded": discarded,
                "runs": finished,
                "notes": notes,
            }
        )
        return
    output.line(f"{directory} has ", (counted(documents), "bold"))
    for note in notes:
        tell(note)


def _lexical_settings(
    encoder: str, k1: float | None, b: float | None, language: str | None, *, stemming: bool, stop_words: bool
) -> LexicalSettings | None:
    given: dict[str, Any] = {}
    if k1 is not None:
        given["k1"] = k1
    if b is not None:
        given["b"] = b
    if language is not None:
        given["language"] = as_text(language)
    if not stemming:
        given["stemming"] = False
    if not stop_words:
        given["stop_words"] = False
    if encoder != "bm25":
        if given:
            from lexhound.serve.errors import UsageError

            names = ", ".join(_FLAGS[name] for name in given)
            raise UsageError(f"{names} belongs to the encoder bm25, not to {encoder}", hint="leave it out")
        return None
    from lexhound.encoders.bm25.encoder import LexicalSettings

    return LexicalSettings(**given)


_FLAGS = {
    "k1": "--k1",
    "b": "--b",
    "language": "--language",
    "stemming": "--no-stemming",
    "stop_words": "--no-stop-words",
}


def open_source(
    source: str,
    format: CorpusFormat | None,
    id_field: str | None,
    text_field: str | None,
    title_field: str | None,
    *,
    vectors: bool = False,
) -> Corpus:
    """The corpus that the arguments name."""
    from lexhound.retrieval.corpus import open_corpus, open_vectors

    return (open_vectors if vectors else open_corpus)(
        source,
        format=None if format is None else format.value,
        id_field=id_field,
        text_field=text_field,
        title_field=title_field,
    )


def identify_source(
    source: str,
    format: CorpusFormat | None,
    id_field: str | None,
    text_field: str | None,
    title_field: str | None,
    *,
    vectors: bool = False,
) -> str:
    """What makes a run the same when it is started again: the corpus, wherever it is named from, and how it is read."""
    import orjson

    values: dict[str, object] = {
        "corpus": "standard input" if source == "-" else as_text(str(Path(source).resolve())),
        "format": None if format is None else format.value,
        "fields": [None if name is None else as_text(name) for name in (id_field, text_field, title_field)],
    }
    if vectors:
        values["vectors"] = True
    return orjson.dumps(values).decode()


def _beside(address: Address) -> Path:
    """Beside what a list of bad rows lies: the collection, or in the current folder for one elsewhere."""
    if address.path is None:
        return Path(address.name)
    return address.path if address.own else address.path.with_name(address.name or address.path.name)


def _reject_list(on_error: OnError, rejects: Path | None, directory: Path) -> RejectList:
    if rejects is not None and on_error is not OnError.SKIP:
        from lexhound.serve.errors import UsageError

        raise UsageError("--rejects is for bad rows that are skipped", hint="give --on-error skip with it")
    beside = directory.parent / f"{directory.name or 'collection'}.rejects.jsonl"
    return RejectList(rejects or beside)


def forward(update: Callable[[State], None], reading: str = "indexing") -> Callable[[Progress], None]:
    """Tell a run's progress to a reporter; `reading` is what it calls the first phase."""

    def progress(step: Progress) -> None:
        fraction = None
        if step.phase == "reading" and step.total_bytes:
            fraction = min(step.bytes_read / step.total_bytes, 1.0)
        stage = reading if step.phase == "reading" else step.phase
        update(State(stage, step.documents, step.resumed, fraction, tokens=step.tokens or None))

    return progress


def _tell_special(output: Output, corpus: Corpus) -> None:
    """Say that vectors weighed tokens that are no terms, where they did."""
    if corpus.special_weights:
        output.line(f"{counted(corpus.special_weights, 'weight')} of special tokens, which are no terms, left out")


def _summary(source: str, report: IngestReport, seconds: float, listed: RejectList, corpus: Corpus) -> dict[str, Any]:
    documents = report.added + report.replaced + report.unchanged
    special = {"special_weights": corpus.special_weights} if corpus.brings_vectors else {}
    return special | {
        "source": as_text(source),
        "documents": documents,
        "added": report.added,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "resumed": report.resumed,
        "rejected": report.rejected,
        "rejects": str(listed.path) if report.rejected else None,
        "seconds": seconds,
        "documents_per_second": documents / seconds,
    }


def _sentence(source: str, report: IngestReport, seconds: float) -> str:
    parts = [f"{report.added:,} added"]
    if report.replaced:
        parts.append(f"{report.replaced:,} replaced")
    if report.unchanged:
        parts.append(f"{report.unchanged:,} unchanged")
    return f"{as_text(source)}: {', '.join(parts)} in {duration(seconds)}"
