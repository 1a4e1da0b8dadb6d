"""`neural` and `hybrid` queries, and the search pipelines that say how a hybrid search is fused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lexhound.retrieval.collection.request import Fusion

from .errors import an_object, check_keys, malformed, unsupported
from .filters import as_list, one_entry
from .queries import QueryReader

_NORMALIZATIONS = {"min_max": "min-max", "z_score": "z-score"}


@dataclass(frozen=True, slots=True)
class TextQuery:
    """A query that the collection's dense vectors take part in.

    Attributes:
        mode: dense or hybrid; nearest: how many neighbours, if it says so.
    """

    text: str
    mode: str
    filter: str | None = None
    nearest: int | None = None


def read_text_query(kind: str, body: Any, reader: QueryReader) -> TextQuery:
    """Return a `neural` or `hybrid` query.

    Raises:
        OpenSearchError: it is not supported, or cannot be read.
    """
    return _neural(body, reader) if kind == "neural" else _hybrid(body, reader)


def _neural(body: Any, reader: QueryReader) -> TextQuery:
    name, options = one_entry(body, "neural")
    check_keys(an_object(options, name), ("query_text", "k", "model_id", "filter"), f"neural.{name}")
    if options.get("model_id") is not None:
        raise unsupported("[model_id] of [neural]", "leave it out: the index has its own model")
    nearest = options.get("k")
    if nearest is not None and (isinstance(nearest, bool) or not isinstance(nearest, int) or nearest < 1):
        raise malformed(f"[k] of [neural] is {nearest!r}")
    filter = None if "filter" not in options else reader.expression(options["filter"], "neural.filter")
    return TextQuery(_text(options.get("query_text"), reader), "dense", filter, nearest)


def _hybrid(body: Any, reader: QueryReader) -> TextQuery:
    check_keys(an_object(body, "hybrid"), ("queries", "filter"), "hybrid")
    texts: dict[str, str] = {}
    nearest, filters = None, []
    for query in as_list(body.get("queries")):
        kind, inner = one_entry(query, "hybrid.queries")
        if kind == "neural":
            neural = _neural(inner, reader)
            texts["dense"], nearest = neural.text, neural.nearest
            filters.append(neural.filter)
        elif kind in ("match", "multi_match", "neural_sparse"):
            reader.read(query)
            options = inner if kind == "multi_match" else one_entry(inner, kind)[1]
            options = options if isinstance(options, dict) else {"query": options}
            check_keys(options, ("query", "query_text", "fields", "type", "model_id"), f"hybrid.queries.{kind}")
            texts["sparse"] = _text(options.get("query", options.get("query_text")), reader)
        else:
            raise unsupported(f"[{kind}] in [hybrid]", "it takes one of match or neural_sparse, and one neural")
    if len(as_list(body.get("queries"))) != 2 or len(texts) != 2:
        raise unsupported(
            "[hybrid] of other queries than two", "it takes one of match or neural_sparse, and one neural"
        )
    if texts["dense"] != texts["sparse"]:
        raise unsupported("[hybrid] of two texts", "give both queries the same text")
    if any(filters):
        raise unsupported("[filter] of one side of [hybrid]", "put it into the hybrid query: it holds for both sides")
    filter = None if "filter" not in body else reader.expression(body["filter"], "hybrid.filter")
    return TextQuery(texts["dense"], "hybrid", filter, nearest)


def read_fusion(pipeline: Any, depth: int | None) -> Fusion | None:
    """Return the fusion that the `search_pipeline` of a request means; None where nothing is said of it.

    Raises:
        OpenSearchError: it is the name of one, or has other processors. QueryError: a weight is out of bounds.
    """
    if pipeline is None:
        return None if depth is None else Fusion(depth=depth)
    if not isinstance(pipeline, dict):
        raise unsupported("a search pipeline by its name", "write it into the request: search_pipeline: {...}")
    check_keys(pipeline, ("phase_results_processors", "description"), "search_pipeline")
    processors = as_list(pipeline.get("phase_results_processors"))
    if len(processors) != 1:
        raise unsupported("a search pipeline of other than one processor")
    kind, options = one_entry(processors[0], "phase_results_processors")
    options = {key: value for key, value in an_object(options, kind).items() if key not in ("tag", "description")}
    given: dict[str, Any] = {} if depth is None else {"depth": depth}
    if kind == "normalization-processor":
        check_keys(options, ("normalization", "combination"), kind)
        normalization = an_object(options.get("normalization", {}), "normalization")
        technique = str(normalization.get("technique", "min_max"))
        if technique not in _NORMALIZATIONS:
            raise unsupported(f"[technique: {technique}] of [normalization]", f"it is {' or '.join(_NORMALIZATIONS)}")
        check_keys(normalization, ("technique",), "normalization")
        given["method"] = _NORMALIZATIONS[technique]
        known = "arithmetic_mean"
    elif kind == "score-ranker-processor":
        check_keys(options, ("combination",), kind)
        given["method"] = known = "rrf"
    else:
        raise unsupported(f"the processor [{kind}]", "it is normalization-processor or score-ranker-processor")
    return Fusion(**given | _combination(options.get("combination", {}), known))


def _combination(combination: Any, known: str) -> dict[str, Any]:
    """Return the weights, and of `rrf` the rank constant. Both sides weigh the same unless told."""
    check_keys(an_object(combination, "combination"), ("technique", "rank_constant", "parameters"), "combination")
    if combination.get("technique", known) != known:
        raise unsupported(f"[technique: {combination['technique']}] of [combination]", f"it is {known}")
    if known != "rrf" and "rank_constant" in combination:
        raise unsupported("[rank_constant] of [combination]", "it is for rrf")
    parameters = an_object(combination.get("parameters", {}), "parameters")
    check_keys(parameters, ("weights",), "parameters")
    weights = parameters.get("weights", [0.5, 0.5])
    numbers = isinstance(weights, list) and all(isinstance(each, int | float) for each in weights)
    if not numbers or len(weights) != 2 or sum(weights) <= 0:
        raise malformed(f"[weights] are {weights!r}", "give two: of the sparse side, and of the neural one")
    given = {"dense_weight": weights[1] / sum(weights)}
    return given | ({"rank_constant": combination["rank_constant"]} if "rank_constant" in combination else {})


def _text(text: Any, reader: QueryReader) -> str:
    if not isinstance(text, str):
        raise malformed(f"the text to search for is {text!r}")
    reader.texts.append(text)
    return text
