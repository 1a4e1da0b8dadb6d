"""`lexhound add`: more documents for a collection."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexhound.serve.cli.commands.upkeep.maintenance import weight_notes
from lexhound.serve.cli.corpus_options import BadRowOptions, CorpusOptions, Vectors, beside
from lexhound.serve.cli.ingest_output import forward, sentence, summary, tell_special_weights, tell_split
from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.learned_options import StoredTrust, trusting
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import Json, Place, confined
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import counted, reporter

if TYPE_CHECKING:
    from lexhound.retrieval.corpus import Corpus
    from lexhound.retrieval.engines.protocol import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOptions:
    """Arguments and options of `lexhound add`."""

    directory: Place
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE", help="Corpora, as for `index`; each is an ingest job of its own.", show_default=False
        ),
    ] = None
    discard_unfinished: Annotated[
        bool,
        typer.Option(
            "--discard-unfinished", help="First drop the documents of an interrupted ingest job.", show_default=False
        ),
    ] = False
    tenant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose all these documents are, in a collection with tenants; else each says so in its field.",
            show_default=False,
        ),
    ] = None
    corpus: CorpusOptions
    vectors: Vectors = False
    bad_rows: BadRowOptions
    trust_remote_code: StoredTrust = False
    json: Json = False


@with_options
def add(options: AddOptions) -> None:
    """Add documents to a collection, or replace those with the same ids.

    An ingest job becomes visible as a whole. After an interruption, the same command continues where it stopped.

    Example:
        lexhound add my.index more.jsonl
        lexhound add my.index monday.csv tuesday.csv --id-field number
        lexhound add milvus://host:19530/my more.jsonl
        lexhound add shared.index acme.jsonl --tenant acme
    """
    from lexhound.retrieval.collection.building import kept_documents
    from lexhound.retrieval.collection.info import CollectionInfo
    from lexhound.retrieval.engines.address import read_address
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.serve.engines import milvus_settings
    from lexhound.serve.errors import UsageError

    sources = options.sources or []
    if not sources and not options.discard_unfinished:
        raise UsageError("there is nothing to add", hint="name a corpus: lexhound add DIR SOURCE")
    output = Output(json=options.json)
    address = read_address(options.directory)
    rejects = options.bad_rows.reject_list(beside(address))
    finished: list[dict[str, Any]] = []
    read: list[Corpus] = []
    discarded = None

    def what_is_kept() -> tuple[str, str]:
        done = f"{len(finished)} of {len(sources)} sources are added; " if len(sources) > 1 else ""
        if not address.is_native:
            return f"{done}what was stored of this one is visible", "the same command goes on from there"
        text = f"{done}{counted(kept_documents(options.directory))} of this one kept, not yet visible"
        return text, "the same command goes on from there, --discard-unfinished drops them"

    learned = trusting(options.trust_remote_code)
    opened = open_collection(options.directory, writable=True, milvus=milvus_settings(), learned=learned)
    with stoppable(what_is_kept), opened as collection, rejects:
        if options.discard_unfinished:
            discarded = _discard_unfinished(collection)
        target = confined(collection, options.tenant, must_exist=False)
        for source in sources:
            started = perf_counter()
            corpus = options.corpus.open(source, vectors=options.vectors)
            read.append(corpus)
            with reporter("adding") as progress:
                report = target.ingest(
                    corpus,
                    source=options.corpus.identity(source, vectors=options.vectors, tenant=options.tenant),
                    on_bad_row=rejects.add if options.bad_rows.skip else None,
                    progress=forward(progress.update),
                )
            seconds = perf_counter() - started
            finished.append(summary(source, report, seconds, rejects, corpus))
            if not options.json:
                output.line(sentence(source, report, seconds))
                tell_special_weights(output, corpus)
                tell_split(output, report)
        info = collection.info()
        documents = target.info().documents
        notes = weight_notes(info) if isinstance(info, CollectionInfo) else []
    rejects.tell(*read)
    if options.json:
        figures = {"documents": documents, "discarded": discarded, "runs": finished, "notes": notes}
        output.document({"collection": str(options.directory), **figures})
        return
    output.line(f"{options.directory} has ", (counted(documents), "bold"))
    for note in notes:
        tell(note)


def _discard_unfinished(collection: Backend) -> int:
    """Drop the documents of an interrupted ingest job; return how many they were."""
    from lexhound.retrieval.collection.capability import Capability
    from lexhound.retrieval.engines.protocol import capable
    from lexhound.serve.errors import UsageError

    able = capable(collection, Capability.INGEST_JOBS)
    if able is None:
        raise UsageError(
            "only Lexhound's own collections have unfinished ingest jobs", hint="leave --discard-unfinished out"
        )
    discarded = able.discard_unfinished()
    tell(f"{counted(discarded)} of an unfinished ingest job dropped")
    return discarded
