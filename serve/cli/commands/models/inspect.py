"""`lexhound inspect`: what an encoder makes of a text, term by term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexhound.serve.cli.learned_options import LearnedOptions
from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.options import Json, as_text
from lexhound.serve.cli.output import Output, tell

if TYPE_CHECKING:
    from lexhound.encoders.base import QueryVector
    from lexhound.encoders.sparse.encoder import LearnedEncoder

_BAR_WIDTH = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """Arguments and options of `lexhound inspect`."""

    encoder: Annotated[
        str, typer.Argument(metavar="MODEL", help="The path or hub name of a checkpoint, or bm25.", show_default=False)
    ]
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to encode.", show_default=False)]
    query: Annotated[
        bool, typer.Option("--query", help="TEXT is a query: use the query encoder.", show_default=False)
    ] = False
    against: Annotated[
        str | None,
        typer.Option(
            metavar="QUERY", help="Show what this query and TEXT, a document, have in common.", show_default=False
        ),
    ] = None
    top: Annotated[int, typer.Option(metavar="N", min=1, help="How many terms to show, the heaviest.")] = 30
    learned: LearnedOptions
    json: Json = False


@with_options
def inspect(options: InspectOptions) -> None:
    """Show what an encoder makes of a text, term by term.

    A + marks expansions, terms that the text does not contain.

    Example:
        lexhound inspect MODEL "boundary layer"
        lexhound inspect MODEL "heat transfer in hypersonic flow" --against "hot wings"
    """
    from lexhound.serve.errors import UsageError

    if options.query and options.against is not None:
        raise UsageError("--query and --against were both given", hint="with --against, TEXT is the document")
    settings = options.learned.settings(options.encoder)
    output = Output(json=options.json)
    if options.encoder == "bm25":
        if options.against is not None:
            raise UsageError(
                "bm25's weights depend on a collection, and here is none",
                hint='ask a collection: lexhound search DIR "QUERY" --explain',
            )
        _show_lexical(output, as_text(options.text), options.query, options.top)
        return
    from lexhound.encoders.sparse.encoder import LearnedEncoder

    encoder = LearnedEncoder(as_text(options.encoder), settings)
    text, side = as_text(options.text), "query" if options.query else "document"
    vector, is_cut = _encode(encoder, text, side)
    if is_cut:
        tell(f"the text is longer than the model reads ({_limit(encoder, side)} tokens): what is beyond is left out")
    terms = _terms(encoder, text, side, vector)
    overlap = None
    if options.against is not None:
        against, against_cut = _encode(encoder, as_text(options.against), "query")
        if against_cut:
            tell(f"the query is longer than the model reads ({_limit(encoder, 'query')} tokens): the rest is left out")
        overlap = _overlap(encoder, vector, against)
    if not options.json:
        _print(output, encoder, side, terms, overlap, options.top)
        return
    values: dict[str, Any] = {
        "encoder": encoder.identity.as_dict(),
        "side": side,
        "text": text,
        "cut": is_cut,
        "active": len(terms),
        "terms": terms[: options.top],
    }
    if overlap is not None:
        score = sum(part["score"] for part in overlap)
        values["against"] = {"query": as_text(options.against or ""), "score": score, "overlap": overlap}
    output.document(values)


def _print(
    output: Output,
    encoder: LearnedEncoder,
    side: str,
    terms: list[dict[str, Any]],
    overlap: list[dict[str, Any]] | None,
    top: int,
) -> None:
    identity = encoder.identity
    output.table(
        [
            ("encoder", f"{identity.name} ({identity.kind})"),
            *([("revision", identity.revision)] if identity.revision else []),
            ("fingerprint", identity.fingerprint),
            ("side", side),
            ("active", f"{len(terms):,} of {identity.vocabulary_size or 0:,} terms"),
        ]
    )
    if overlap is not None:
        _print_overlap(output, overlap)
    else:
        _print_terms(output, terms[:top])
    if not (terms if overlap is None else overlap):
        tell("the vector is empty" if overlap is None else "nothing in common")


def _encode(encoder: LearnedEncoder, text: str, side: str) -> tuple[QueryVector, bool]:
    """Return the vector of a text, and whether a part of it is left out."""
    if side == "query":
        return encoder.encode_query(text), encoder.query_reader().cuts(text)
    row = encoder.encode_documents([text])
    return (row.indices.astype("int32"), row.data), encoder.document_reader().cuts(text)


def _limit(encoder: LearnedEncoder, side: str) -> int | None:
    return (encoder.query_reader() if side == "query" else encoder.document_reader()).limit


def _terms(encoder: LearnedEncoder, text: str, side: str, vector: QueryVector) -> list[dict[str, Any]]:
    """Return terms and weights, the heaviest first, of equal weights the lower id."""
    text_terms = set(encoder.subwords(side).ids(text))
    pairs = sorted(zip(vector[0].tolist(), vector[1].tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
    return [
        {"term": encoder.term_text(term), "weight": weight, "in_text": term in text_terms} for term, weight in pairs
    ]


def _overlap(encoder: LearnedEncoder, document: QueryVector, query: QueryVector) -> list[dict[str, Any]]:
    """Return what each term gives to the score, the largest first."""
    weights = dict(zip(document[0].tolist(), document[1].tolist(), strict=True))
    parts = [
        {
            "term": encoder.term_text(term),
            "query_weight": weight,
            "document_weight": weights[term],
            "score": weight * weights[term],
        }
        for term, weight in zip(query[0].tolist(), query[1].tolist(), strict=True)
        if term in weights
    ]
    return sorted(parts, key=lambda part: -part["score"])


def _print_terms(output: Output, terms: list[dict[str, Any]]) -> None:
    width = max((len(part["term"]) for part in terms), default=0)
    for part in terms:
        bar = "█" * max(1, round(_BAR_WIDTH * part["weight"] / terms[0]["weight"]))
        mark = " " if part["in_text"] else "+"
        output.line(f"{mark} {part['term']:<{width}}  {part['weight']:>9.4f}  ", (bar, "cyan"))


def _print_overlap(output: Output, parts: list[dict[str, Any]]) -> None:
    """Print all of the overlap, whatever --top says, so that it sums to the score."""
    width = max((len(part["term"]) for part in parts), default=3)
    for part in parts:
        output.line(
            f"{part['term']:<{width}}  {part['score']:>9.4f}",
            (f"  query {part['query_weight']:.4f} × document {part['document_weight']:.4f}", "dim"),
            indent=2,
        )
    output.line(f"{'sum':<{width}}  {sum(part['score'] for part in parts):>9.4f}", indent=2)


def _show_lexical(output: Output, text: str, query: bool, top: int) -> None:
    """Show the terms of bm25 and how often each occurs: weights come from a collection."""
    from lexhound.encoders.bm25.encoder import LexicalEncoder
    from lexhound.encoders.bm25.settings import LexicalSettings
    from lexhound.encoders.bm25.vocabulary import MemoryVocabulary

    encoder = LexicalEncoder(LexicalSettings(), MemoryVocabulary())
    row = encoder.count_documents([text])
    pairs = sorted(zip(row.indices.tolist(), row.data.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
    terms = [{"term": encoder.term_text(term), "weight": float(count), "in_text": True} for term, count in pairs]
    if output.json:
        identity = encoder.identity.as_dict()
        side = "query" if query else "document"
        output.document({"encoder": identity, "side": side, "text": text, "active": len(terms), "terms": terms[:top]})
        return
    output.table([("encoder", "bm25"), ("active", f"{len(terms):,} terms")])
    _print_terms(output, terms[:top])
    tell("these are counts: bm25's weights depend on a collection, `lexhound search DIR QUERY --explain` shows them")
