"""`lexhound search`: one query for a person, or many for a program."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
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
from lexhound.serve.cli.output import Output, Segment, tell
from lexhound.serve.cli.startup import prepare_one_search, prepare_searches

if TYPE_CHECKING:
    from lexhound.retrieval.collection.request import BatchRequest, SearchRequest
    from lexhound.retrieval.collection.result import Contribution, Hit, SearchResult
    from lexhound.retrieval.documents.snippet import Snippet
    from lexhound.retrieval.engines.protocol import Backend

# What is looked through for the best snippet: more would make a search wait for a very long document.
_TEXT_CHARACTERS = 100_000
_TITLE_WIDTH = 200
_BAR_WIDTH = 24
_MARK = "bold yellow"
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
        snippet_characters=_TEXT_CHARACTERS,
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
        if options.json:
            output.document(_as_json(request, result))
            return
        for hit in result.hits:
            _print_hit(collection, output, hit, result.terms)
        if result.total is not None:
            matching = "document matches" if str(result.total) == "1" else "documents match"
            output.line(f"{result.total} {matching}")
        if not result.hits:
            tell(_nothing_found(collection, request, result))


def _nothing_found(collection: Backend, request: SearchRequest, result: SearchResult) -> str:
    reason = _why_nothing(collection, request, result)
    unfinished = getattr(collection.info(), "unfinished", None)  # only our own collections have ingest jobs
    if unfinished is None:
        return reason
    if unfinished.running is not None:
        who = f"process {unfinished.running.pid}, since {unfinished.running.clock}"
        return (
            f"{reason}; an ingest job over {unfinished.source} is running ({who}): its documents become visible when it"
            " is done"
        )
    return (
        f"{reason}; the ingest job over {unfinished.source} was interrupted and its {unfinished.documents:,} documents"
        " are not visible yet: start the same command again to finish it, or drop them with:"
        f" lexhound add {shlex.quote(str(collection.address))} --discard-unfinished"
    )


def _why_nothing(collection: Backend, request: SearchRequest, result: SearchResult) -> str:
    from lexhound.retrieval.collection.request import INDEX_MODES

    if not collection.count():
        return "nothing found: the collection is empty"
    if not result.terms and result.mode in INDEX_MODES:
        meant = _meant(collection, request)
        hint = "" if meant is None else f"; did you mean: {meant}"
        return f"nothing found: the collection has none of the query's words{hint}"
    if request.offset:
        return "nothing found from that offset on"
    return "nothing found among the documents that the filter lets through" if request.filter else "nothing found"


def _meant(collection: Backend, request: SearchRequest) -> str | None:
    """Return the query with its misspelt words put right, if there are such."""
    from lexhound.retrieval.collection.capability import Capability
    from lexhound.retrieval.engines.protocol import capable

    able = capable(collection, Capability.SUGGESTIONS)
    if able is None or not isinstance(request.query, str):
        return None
    allow = request.allow_unknown_fields
    return able.suggest(request.query, 1, filter=request.filter, allow_unknown_fields=allow).did_you_mean


def _print_hit(collection: Backend, output: Output, hit: Hit, terms: frozenset[int]) -> None:
    from lexhound.retrieval.documents.snippet import make_snippet

    text = (hit.title or "")[:_TEXT_CHARACTERS]
    title = make_snippet(text, collection.highlights(text, terms), terms, _TITLE_WIDTH)
    head: list[str | Segment] = [f"{hit.rank:>3}. ", (f"{hit.score:.4f}", "cyan"), "  ", (_one_line(hit.id), "green")]
    if title.text:
        head += ["  ", *_marked(title, "bold")]
    if hit.passage is not None:
        place = f"characters {hit.passage.start:,} to {hit.passage.end:,}"
        head += [(f"  passage {hit.passage.number + 1:,}, {place}", "dim")]
    if hit.retrieval_rank is not None:
        late = "" if hit.late_score is None else f", late {hit.late_score:.4f}"
        head += [(f"  before {hit.retrieval_rank}. {hit.retrieval_score:.4f}{late}", "dim")]
    output.line(*head)
    if hit.snippet is not None and hit.snippet.text:
        output.line(*_marked(hit.snippet, ""), indent=5)
    if hit.contributions is not None:
        _print_contributions(output, hit)
    output.line()


def _print_contributions(output: Output, hit: Hit) -> None:
    """Print a bar for each term, and the sum."""
    contributions = hit.contributions or ()
    names = [_one_line(contribution.term) for contribution in contributions]
    width = max((len(name) for name in [*names, "sum"]), default=0)
    largest = max((abs(contribution.score) for contribution in contributions), default=0.0) or 1.0
    for name, contribution in zip(names, contributions, strict=True):
        length = max(1, round(_BAR_WIDTH * abs(contribution.score) / largest))
        output.line(
            f"{name:<{width}}  {contribution.score:>9.4f}  ",
            ("█" * length + " " * (_BAR_WIDTH - length), "cyan"),
            (f"  {_product(contribution)}", "dim"),
            indent=5,
        )
    total = sum(contribution.score for contribution in contributions)
    output.line(f"{'sum':<{width}}  {total:>9.4f}", indent=5)
    for share in hit.shares or ():
        detail = "no term in common" if share.rank is None else f"rank {share.rank:,}, score {share.score:.4f}"
        output.line(
            f"{share.side}: {share.share:.4f} = {share.weight:.2f} × {share.value:.4f}",
            (f"  {detail}", "dim"),
            indent=5,
        )


def _product(contribution: Contribution) -> str:
    """Return what multiplies to a contribution, and which side's expansion brought the term."""
    if contribution.kind != "term":
        return f"weight {contribution.query_weight:.4g} × normalised {contribution.document_weight:.4g}"
    parts = [f"query {contribution.query_weight:.4f}", f"document {contribution.document_weight:.4f}"]
    if contribution.factor != 1.0:
        parts.append(f"fusion {contribution.factor:.4g}")
    if contribution.synonym_of is not None:
        return " × ".join(parts) + f"  (synonym of {_one_line(contribution.synonym_of)})"
    expansion = [side for side, own in (("query", contribution.typed), ("document", contribution.in_text)) if not own]
    ending = f"  (expansion of the {' and the '.join(expansion)})" if expansion else ""
    return " × ".join(parts) + ending


def _marked(snippet: Snippet, style: str) -> list[Segment]:
    """Return the snippet's text with its marks in another style."""
    segments: list[Segment] = []
    position = 0
    for start, end in snippet.marks:
        segments += [(snippet.text[position:start], style), (snippet.text[start:end], _MARK)]
        position = end
    return [*segments, (snippet.text[position:], style)]


def _as_json(request: SearchRequest, result: SearchResult) -> dict[str, Any]:
    hits = []
    for hit in result.hits:
        values: dict[str, Any] = {
            "rank": hit.rank,
            "score": hit.score,
            "id": hit.id,
            "title": hit.title,
            "text": hit.text,
            "metadata": dict(hit.metadata or {}),
            "snippet": hit.snippet,
            "passage": hit.passage,
        }
        if hit.contributions is not None:
            values["contributions"] = hit.contributions
        if hit.shares is not None:
            values["shares"] = hit.shares
        if hit.retrieval_rank is not None:
            names = ("retrieval_rank", "retrieval_score", "late_score")
            values |= {name: getattr(hit, name) for name in names if getattr(hit, name) is not None}
        hits.append(values)
    return {
        "query": request.query,
        "k": request.k,
        "offset": request.offset,
        "filter": request.filter,
        "group": request.group,
        "mode": result.mode,
        "seconds": result.seconds,
        "stats": None if result.stats is None else asdict(result.stats),
        **({} if result.total is None else {"total": asdict(result.total)}),
        "hits": hits,
    }


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


def _one_line(text: str) -> str:
    from lexhound.retrieval.documents.snippet import printable

    return printable(text)
