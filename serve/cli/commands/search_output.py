"""What `lexhound search` prints of one query: hits with their explanations, or why there are none."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lexhound.serve.cli.output import Output, Segment

if TYPE_CHECKING:
    from lexhound.retrieval.collection.request import SearchRequest
    from lexhound.retrieval.collection.result import Contribution, Hit, SearchResult
    from lexhound.retrieval.documents.snippet import Snippet
    from lexhound.retrieval.engines.protocol import Backend

# What is looked through for the best snippet: more would make a search wait for a very long document.
TEXT_CHARACTERS = 100_000
_TITLE_WIDTH = 200
_BAR_WIDTH = 24
_MARK = "bold yellow"


def nothing_found(collection: Backend, request: SearchRequest, result: SearchResult) -> str:
    """Return why a search has no hits, and what to do."""
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


def print_hit(collection: Backend, output: Output, hit: Hit, terms: frozenset[int]) -> None:
    """Print a hit for a person; `terms` are the query's, which are marked."""
    from lexhound.retrieval.documents.snippet import make_snippet

    text = (hit.title or "")[:TEXT_CHARACTERS]
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
    from lexhound.encoders.latent.names import is_latent  # it loads NumPy, which help does without

    if contribution.kind != "term":
        return f"weight {contribution.query_weight:.4g} × normalised {contribution.document_weight:.4g}"
    parts = [f"query {contribution.query_weight:.4f}", f"document {contribution.document_weight:.4f}"]
    if contribution.factor != 1.0:
        parts.append(f"fusion {contribution.factor:.4g}")
    if contribution.synonym_of is not None:
        return " × ".join(parts) + f"  (synonym of {_one_line(contribution.synonym_of)})"
    if is_latent(contribution.term):
        return " × ".join(parts) + "  (latent of both)"
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


def search_json(request: SearchRequest, result: SearchResult) -> dict[str, Any]:
    """Return the hits of a search for a program."""
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
        "query_cut": result.query_cut,
        **({"reranked_cut": result.reranked_cut} if result.reranked_cut else {}),
        "stats": None if result.stats is None else asdict(result.stats),
        **({} if result.total is None else {"total": asdict(result.total)}),
        "hits": hits,
    }


def _one_line(text: str) -> str:
    from lexhound.retrieval.documents.snippet import printable

    return printable(text)
