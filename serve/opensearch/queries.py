"""OpenSearch's query language as trees of clauses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lexhound.retrieval.collection.clauses.tree import AllOf, Clause, FilterClause, TextClause, WeightsClause

from .errors import an_object, check_keys, malformed, unsupported
from .filters import FilterReader, as_list, minimum_of, one_entry
from .mapping import IndexMapping

_TOGETHER = "the text fields of an index are searched together: name the text field too, or use multi_match"


class QueryReader:
    """Queries of one index as clauses.

    Args:
        encoder: the name of the index's learned encoder; None where words are its terms (bm25).

    Attributes:
        filters: reads what has no score; it knows which fields were not mapped.
        texts: all filter expressions and texts, for whoever limits their length.
    """

    def __init__(self, mapping: IndexMapping, encoder: str | None) -> None:
        self.filters = FilterReader(mapping)
        self.texts: list[str] = []
        self._mapping = mapping
        self._encoder = encoder
        self._kinds: dict[str, Callable[[Any], Clause]] = {
            "match": self._match,
            "multi_match": self._multi_match,
            "neural_sparse": self._neural_sparse,
            "bool": self._bool,
            "constant_score": self._constant_score,
            "match_none": lambda _: AllOf(minimum=1),
        }

    def read(self, query: Any, where: str = "query") -> Clause:
        """Return the clause that a query means.

        Raises:
            OpenSearchError: it is not supported, or cannot be read; the message names it. QueryError: a value is out of
            bounds.
        """
        kind, body = one_entry(query, where)
        if kind in self._kinds:
            return self._kinds[kind](body)
        if kind not in FilterReader.KINDS:
            raise unsupported(
                f"[{kind}] query",
                f"queries are {', '.join([*self._kinds, *FilterReader.KINDS[:6]])}, neural and hybrid",
            )
        rest, boost = _without_boost(kind, body)
        return self._filter({kind: rest}, boost)

    def expression(self, query: Any, where: str) -> str:
        """Return a query that only filters as an expression."""
        expression = self.filters.read(query, where)
        self.texts.append(expression)
        return expression

    def _filter(self, query: Any, boost: float) -> Clause:
        if query == {"match_all": {}}:
            return FilterClause(None, boost)
        return FilterClause(self.expression(query, "query"), boost)

    def _match(self, body: Any) -> Clause:
        name, options = one_entry(body, "match")
        options = options if isinstance(options, dict) else {"query": options}
        check_keys(options, ("query", "operator", "boost"), f"match.{name}")
        text, boost = options.get("query"), _boost(options)
        if not self._mapping.searched(name):  # as OpenSearch does for a field that is not analysed
            return FilterClause(self._equal(name, text), boost)
        if name != self._mapping.text:
            raise unsupported(f"[match] on [{name}] alone", _TOGETHER)
        return self._text(text, boost, options.get("operator", "or"))

    def _equal(self, name: str, value: Any) -> str:
        expression = self.filters.equal("match", name, [value])
        self.texts.append(expression)
        return expression

    def _text(self, text: Any, boost: float, operator: Any) -> TextClause:
        if not isinstance(text, str | int | float) or isinstance(text, bool):
            raise malformed(f"the text to match is {text!r}")
        if str(operator).lower() not in ("or", "and"):
            raise malformed(f"[operator] is {operator!r}", "it must be or, or and")
        self.texts.append(str(text))
        return TextClause(str(text), boost, every_term=str(operator).lower() == "and")

    def _multi_match(self, body: Any) -> Clause:
        options = an_object(body, "multi_match")
        check_keys(options, ("query", "fields", "operator", "type", "boost"), "multi_match")
        if options.get("type", "best_fields") not in ("best_fields", "cross_fields"):
            raise unsupported(f"[type: {options['type']}] of [multi_match]", "leave it out: fields are searched as one")
        fields = as_list(options.get("fields", ["*"]))
        for name in fields:
            bare, caret, weight = str(name).partition("^")
            if caret and weight not in ("1", "1.0"):
                raise unsupported(f"the weight of the field [{name}]", "the title and the text are one field")
            if bare != "*" and not self._mapping.searched(bare):
                raise unsupported(f"[multi_match] on [{bare}], which is not searched as text,")
        if not {"*", self._mapping.text} & {str(name).partition("^")[0] for name in fields}:
            raise unsupported(f"[multi_match] on {fields} alone", _TOGETHER)
        return self._text(options.get("query"), _boost(options), options.get("operator", "or"))

    def _neural_sparse(self, body: Any) -> Clause:
        name, options = one_entry(body, "neural_sparse")
        check_keys(
            an_object(options, name), ("query_text", "query_tokens", "model_id", "boost"), f"neural_sparse.{name}"
        )
        field = self._mapping.find(name)
        if name != self._mapping.text and (field is None or field.kind != "index"):
            raise unsupported(
                f"[neural_sparse] on [{name}]",
                f"name the text field, {self._mapping.text}, or map {name} as rank_features",
            )
        self.check_model(options.get("model_id"))
        boost = _boost(options)
        if ("query_text" in options) == ("query_tokens" in options):
            raise malformed("[neural_sparse] needs either [query_text] or [query_tokens]")
        if "query_tokens" in options:
            tokens = an_object(options["query_tokens"], "query_tokens")
            if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in tokens.values()):
                raise malformed("[query_tokens] must be weights by token")
            return WeightsClause(tokens, boost)
        if self._encoder is None:
            raise unsupported(
                "[neural_sparse] with [query_text] by an index of bm25",
                "use match, or make the index with a learned encoder: settings.index.lexhound.encoder",
            )
        return self._text(options["query_text"], boost, "or")

    def check_model(self, model: Any) -> None:
        """Refuse a model other than the index's own.

        Raises:
            OpenSearchError
        """
        if model is not None and model != self._encoder:
            raise unsupported(
                f"[model_id: {model}]", f"leave it out: the index has its own encoder, {self._encoder or 'bm25'}"
            )

    def _bool(self, body: Any) -> Clause:
        options = an_object(body, "bool")
        check_keys(options, ("must", "filter", "should", "must_not", "minimum_should_match", "boost"), "bool")
        parts = {
            key: tuple(self.read(each, f"bool.{key}") for each in as_list(options.get(key)))
            for key in ("must", "should", "filter", "must_not")
        }
        minimum = minimum_of(options.get("minimum_should_match"), len(parts["should"]))
        if not parts["should"]:
            minimum = None if minimum == 0 else minimum
        return AllOf(**parts, minimum=minimum, boost=_boost(options))

    def _constant_score(self, body: Any) -> Clause:
        options = an_object(body, "constant_score")
        check_keys(options, ("filter", "boost"), "constant_score")
        inner = self.read(options.get("filter"), "constant_score.filter")
        return AllOf(must=(FilterClause(None, _boost(options)),), filter=(inner,))


def without_scores(clause: Clause) -> bool:
    """Return whether all that matches has one score."""
    if isinstance(clause, AllOf):
        scored = any(not without_scores(each) for each in clause.must)
        return not scored and not clause.should
    return isinstance(clause, FilterClause)


def with_filter(clause: Clause, more: Clause) -> Clause:
    """Return a clause that matches only where another does, too."""
    if isinstance(clause, AllOf):
        return replace(clause, filter=(*clause.filter, more), minimum=clause.needed)
    return AllOf(must=(clause,), filter=(more,))


def _boost(options: dict[str, Any]) -> float:
    boost = options.get("boost", 1.0)
    if isinstance(boost, bool) or not isinstance(boost, int | float):
        raise malformed(f"[boost] is {boost!r}")
    return float(boost)


def _without_boost(kind: str, body: Any) -> tuple[Any, float]:
    """Return the body of a query that filters, and its boost, which stands beside or within the field."""
    body = an_object(body, kind)
    if "boost" in body:
        return {key: value for key, value in body.items() if key != "boost"}, _boost(body)
    if kind in ("term", "range") and len(body) == 1:
        name, inner = next(iter(body.items()))
        if isinstance(inner, dict) and "boost" in inner:
            return {name: {key: value for key, value in inner.items() if key != "boost"}}, _boost(inner)
    return body, 1.0
