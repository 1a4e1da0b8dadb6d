"""`lexhound search`: one query for a person, or many for a program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexhound.serve.cli.dense_options import (
    DenseQueriesOption,
    DenseWeight,
    FusionDepth,
    FusionOption,
    Mode,
    ModeOption,
    fusion_of,
)
from lexhound.serve.cli.learned_options import StoredTrust, trusting
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import AllowUnknownFields, Filter, Json, Place, Recall, Tenant, as_text, confined
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import counted
from lexhound.serve.cli.startup import prepare_one_search, prepare_searches

from .search_output import TEXT_CHARACTERS, nothing_found, print_hit, search_json

if TYPE_CHECKING:
    from lexhound.retrieval.collection.request import BatchRequest
    from lexhound.retrieval.engines.protocol import Backend

_BATCH = 1024  # queries answered and printed together


class Group(StrEnum):
    """`lexhound.retrieval.collection.request.GROUPS`, known without loading that room."""

    DOCUMENT = "document"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """Arguments and options of `lexhound search`."""

    directory: Place
    query: Annotated[str | None, typer.Argument(metavar="QUERY", help="What to look for.", show_default=False)] = None
    k: Annotated[int, typer.Option("-k", "--k", help="The number of documents.")] = 10
    offset: Annotated[int, typer.Option(help="How many hits to skip: -k 10 --offset 10 is the second page.")] = 0
    filter: Filter = None
    allow_unknown_fields: AllowUnknownFields = False
    tenant: Tenant = None
    mode: ModeOption = Mode.AUTO
    fusion: FusionOption = None
    dense_weight: DenseWeight = None
    fusion_depth: FusionDepth = None
    dense_queries: DenseQueriesOption = None
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each term gave to each score.", show_default=False)
    ] = False
    total: Annotated[bool, typer.Option("--total", help="Tell how many documents match.", show_default=False)] = False
    sort: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD[:desc]",
            help="Order the hits by a field in place of the score; may be given several times.",
            show_default=False,
        ),
    ] = None
    collapse: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="Show the best hit of each value of a field alone.", show_default=False),
    ] = None
    recall: Recall = None
    rerank: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Put the best hits in the order of a cross-encoder, a folder or hub name; late for late interaction,"
            " in a collection made with --late; none for not.",
            show_default="the collection's",
        ),
    ] = None
    rerank_depth: Annotated[
        int | None, typer.Option(metavar="N", help="How many hits --rerank reads.", show_default="50; late: 100")
    ] = None
    rerank_weight: Annotated[
        float | None,
        typer.Option(metavar="W", help="late: its share of the sum with the score before, 0 to 1.", show_default="0.5"),
    ] = None
    group: Annotated[
        Group,
        typer.Option(help="What hits are: documents, each with its best passage, or (none) passages."),
    ] = Group.DOCUMENT
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Answer every line of a file, or of - (standard input): JSON with id and text, or just a text.",
            show_default=False,
        ),
    ] = None
    trust_remote_code: StoredTrust = False
    json: Json = False

    def check(self) -> None:
        """Raise UsageError where there is no query, or where options contradict each other."""
        from lexhound.serve.errors import UsageError

        if self.query is None and self.queries is None:
            raise UsageError(
                "there is no query",
                hint='write the query in quotes after the directory: lexhound search DIR "what you are looking for"',
            )
        if self.query is not None and self.queries is not None:
            raise UsageError("a query and --queries were both given", hint="give one of the two")
        single = ("--explain", "--offset", "--total", "--sort", "--collapse")
        if self.queries is not None and (self.explain or self.offset or self.total or self.sort or self.collapse):
            raise UsageError(
                f"{', '.join(single[:-1])} and {single[-1]} are for a single query",
                hint="leave them out, or give one query",
            )

    def shared(self) -> dict[str, Any]:
        """Return what a search and a batch of searches have in common."""
        return {
            "k": self.k,
            "mode": self.mode.value,
            "filter": None if self.filter is None else as_text(self.filter),
            "allow_unknown_fields": self.allow_unknown_fields,
            "recall": self.recall,
            "fusion": fusion_of(self.fusion, self.dense_weight, self.fusion_depth),
            "rerank": _rerank_of(self.rerank, self.rerank_depth, self.rerank_weight),
            "group": self.group.value,
        }


def _rerank_of(model: str | None, depth: int | None, weight: float | None) -> Any:
    """Return the reranking of the options, None for the collection's own. Raises UsageError, QueryError."""
    from lexhound.retrieval.collection.reranking.options import NO_RERANKER, Rerank
    from lexhound.serve.errors import UsageError

    if depth is None and weight is None:
        return model
    if model is None or model == NO_RERANKER:
        given = "--rerank-depth" if weight is None else "--rerank-weight"
        raise UsageError(f"{given} goes with --rerank MODEL", hint=f"name the model, or leave {given} out")
    return Rerank(model, depth, weight)


@with_options
def search(options: SearchOptions) -> None:
    """Find the documents that answer a query best.

    With --queries, the answers are one line a hit (query id, rank, score, document id, separated by tabs), or with
    --json one line of JSON a query.

    Example:
        lexhound search my.index "heat transfer in hypersonic flow" -k 3
        lexhound search my.index "boundary layer" --filter 'year >= 1960' --explain
        lexhound search my.index "shock wave" --sort year:desc --collapse author --total
        lexhound search my.index "why do planes stall" --mode hybrid --dense-weight 0.7
        lexhound search handbook.index "how to renew a key" --group none
        lexhound search my.index --queries questions.jsonl -k 100 --json > answers.jsonl
        lexhound search milvus://host:19530/my "heat transfer" --mode hybrid
        lexhound search shared.index "heat transfer" --tenant acme
    """
    options.check()
    prepare_one_search() if options.queries is None else prepare_searches()
    from lexhound.retrieval.collection.request import BatchRequest, SearchRequest
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.serve.engines import milvus_settings

    output = Output(json=options.json)
    shared = options.shared()
    request = SearchRequest(
        as_text(options.query or ""),
        offset=options.offset,
        explain=options.explain,
        highlight=True,
        snippet_characters=TEXT_CHARACTERS,
        total=options.total,
        sort=[as_text(each) for each in options.sort or ()],
        collapse=None if options.collapse is None else as_text(options.collapse),
        **shared,
    )
    learned = trusting(options.trust_remote_code)
    with open_collection(options.directory, milvus=milvus_settings(), learned=learned) as opened:
        if options.dense_queries is not None:
            _ask_dense_by(opened, options.dense_queries.value)
        collection = confined(opened, options.tenant)
        if options.queries is not None:
            _answer_many(collection, output, options.queries, BatchRequest((), **shared))
            return
        result = collection.search(request)
        if result.query_cut:
            tell("the query is longer than the model reads: its end is left out")
        if result.reranked_cut:
            tell(f"{counted(result.reranked_cut, 'hit')} longer than the reranker reads: judged by their beginnings")
        if options.json:
            output.document(search_json(request, result))
            return
        for hit in result.hits:
            print_hit(collection, output, hit, result.terms)
        if result.total is not None:
            matching = "document matches" if str(result.total) == "1" else "documents match"
            output.line(f"{result.total} {matching}")
        if not result.hits:
            tell(nothing_found(collection, request, result))


def _ask_dense_by(collection: Backend, which: str) -> None:
    from lexhound.retrieval.collection.capability import Capability
    from lexhound.retrieval.engines.protocol import capable
    from lexhound.serve.errors import UsageError

    able = capable(collection, Capability.STATIC_QUERIES)
    if able is None:
        raise UsageError(
            "--dense-queries is for collections in directories", hint="leave it out: other engines ask the model"
        )
    able.ask_dense_by(which)


def _answer_many(collection: Backend, output: Output, path: Path, request: BatchRequest) -> None:
    """Answer a file of queries, a batch at a time, so that answers flow while queries still come."""
    from lexhound.serve.cli.queries import batches_of, read_queries

    for batch in batches_of(read_queries(path), _BATCH):
        answers = collection.search_many(replace(request, queries=[text for _, text in batch]))
        for (identifier, text), ranking in zip(batch, answers, strict=True):
            if output.json:
                hits = [
                    {"rank": rank, "id": document, "score": score} for rank, (document, score) in enumerate(ranking, 1)
                ]
                output.json_line({"id": identifier, "query": text, "hits": hits})
            else:
                for rank, (document, score) in enumerate(ranking, 1):
                    output.row(identifier, str(rank), f"{score:.6f}", document)
