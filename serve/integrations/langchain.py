"""LangChain: a retriever and a vector store over a collection, embedded or of a service.

>>> store = LexhoundVectorStore("notes.index", encoder="bm25")
>>> store.add_texts(["heat flows from hot to cold"], [{"year": 1987}], ids=["n1"])
['n1']
>>> store.similarity_search("heat", k=1, filter="year < 1990")[0].id
'n1'
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, PrivateAttr, SecretStr

from lexhound.core.extras import extra
from lexhound.core.suggestions import check_keywords
from lexhound.retrieval.collection.request import Fusion, SearchRequest
from lexhound.retrieval.collection.result import Hit
from lexhound.retrieval.documents.document import Document as Stored
from lexhound.retrieval.engines.protocol import Backend

from .documents import metadata_of, stored_document
from .filters import among, equal, from_mapping, joined, negated, ordered
from .place import Place, filled, open_place

with extra("langchain", "the LangChain integration"):
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.structured_query import (
        Comparator,
        Comparison,
        Operation,
        Operator,
        StructuredQuery,
        Visitor,
    )
    from langchain_core.vectorstores import VectorStore

SCORE = "score"

_SEARCHES = ("filter", "mode", "fusion", "recall", "allow_unknown_fields", "fill")


def given_document(stored: Stored | Hit) -> Document:
    """Return a document as LangChain has it."""
    return Document(page_content=stored.text or "", metadata=metadata_of(stored), id=stored.id)


def _search(place: Place, query: str, k: int, options: Mapping[str, Any]) -> list[Hit]:
    """Return the hits of a search; `options` as `_SEARCHES` names them.

    Raises:
        TypeError: one is unknown. QueryError: one is out of bounds.
    """
    check_keywords("a search", options, ("k", *_SEARCHES))
    given = {name: value for name, value in options.items() if value is not None}
    fill = given.pop("fill", False)
    request = SearchRequest(query, k=k, filter=from_mapping(given.pop("filter", None)), **given)
    result = place.search(request)
    return filled(place, request, result) if fill else list(result.hits)


class LexhoundRetriever(BaseRetriever):
    """Passages of a collection for a question.

    Attributes:
        where: a directory, an address in another engine, the address of a service, or an open collection.
        collection, key: of a service, the collection's name and an API key.
        k: how many documents; `invoke(query, k=3)` asks for another number, and so do the attributes that follow.
        mode: `auto`, `lexical`, `sparse`, `dense` or `hybrid`.
        filter: an expression, or a mapping (`filters.from_mapping`).
        fusion: of hybrid searches.
        allow_unknown_fields: let the filter name fields that no document has.
        with_score: put each document's score into its metadata, as `score`.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    where: str | Path | Any
    collection: str | None = None
    key: SecretStr | None = None
    k: int = 4
    mode: str = "auto"
    filter: str | dict[str, Any] | None = None
    fusion: Fusion | None = None
    allow_unknown_fields: bool = False
    with_score: bool = False
    _place: Place = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Open the collection."""
        super().model_post_init(context)
        key = None if self.key is None else self.key.get_secret_value()
        self._place = open_place(self.where, collection=self.collection, key=key)

    def close(self) -> None:
        """Close what was opened for it."""
        self._place.close()

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, **options: Any
    ) -> list[Document]:
        """Return the best documents; `options` take the place of the attributes."""
        own = {name: getattr(self, name) for name in ("mode", "filter", "fusion", "allow_unknown_fields")}
        hits = _search(self._place, query, self.k if k is None else k, own | options)
        documents = [given_document(hit) for hit in hits]
        if self.with_score:
            for document, hit in zip(documents, hits, strict=True):
                document.metadata[SCORE] = float(hit.score)
        return documents


class LexhoundVectorStore(VectorStore):
    """A collection as a vector store; it makes its vectors itself, so there are no embeddings to give.

    Args:
        where: a directory, an address in another engine, the address of a service, or an open collection. A directory
            in which nothing is yet becomes a new collection.
        collection, key: of a service, the collection's name and an API key.
        encoder, dense: of a new collection; the usual ones unless given.
        mode: of searches that name none.
        fill: add documents that have nothing in common with the query, with score 0, until there are `k`. For programs
            that take a store to be a list of everything, sorted; a search for passages wants none of it.
        allow_unknown_fields: let filters name fields that no document has.

    Searches take `filter` (an expression, or a mapping), `mode`, `fusion`, `recall`, `allow_unknown_fields` and `fill`
    as keywords. Scores are those of the mode, larger for better hits, and no similarities from 0 to 1.
    """

    def __init__(
        self,
        where: str | Path | Backend,
        *,
        collection: str | None = None,
        key: str | None = None,
        encoder: str | None = None,
        dense: str | None = None,
        mode: str = "auto",
        fill: bool = False,
        allow_unknown_fields: bool = False,
    ) -> None:
        self._place = open_place(where, collection=collection, key=key, create=True, encoder=encoder, dense=dense)
        self._options = {"mode": mode, "fill": fill, "allow_unknown_fields": allow_unknown_fields}

    @property
    def embeddings(self) -> Embeddings | None:
        """None: the collection's own encoders make the vectors."""
        return None

    def close(self) -> None:
        """Close the collection, if it was opened here."""
        self._place.close()

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Insert texts, or replace those with the same ids; durable and searchable when it returns. Returns the ids.

        Raises:
            ValueError: there are not as many metadatas or ids as texts. InvalidDocumentError: one cannot be stored.
        """
        check_keywords("add_texts", kwargs, ("texts", "metadatas", "ids"))
        given = list(texts)
        for name, values in (("metadatas", metadatas), ("ids", ids)):
            if values is not None and len(values) != len(given):
                raise ValueError(f"there are {len(given)} texts and {len(values)} {name}")
        chosen = [each or str(uuid.uuid4()) for each in ids or [""] * len(given)]
        metadata: Sequence[Mapping[str, Any]] = metadatas or [{}] * len(given)
        self._place.put([stored_document(*each) for each in zip(chosen, given, metadata, strict=True)])
        return chosen

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents by their ids; those that are not there are no error.

        Args:
            kwargs: `filter`, which may stand in place of ids.

        Raises:
            ValueError: there is neither, or both.
        """
        check_keywords("delete", kwargs, ("ids", "filter"))
        filter = from_mapping(kwargs.get("filter"))
        if (ids is None) == (filter is None):
            raise ValueError("give either ids or a filter of what to delete")
        if filter is not None:
            self._place.delete_where(filter)
        else:
            self._place.delete(ids or [])
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return those of the documents that are there, in the order of the ids."""
        return [given_document(each) for each in self._place.get(ids)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the best documents."""
        return [given_document(hit) for hit in self._hits(query, k, kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """Return the best documents with their scores."""
        return [(given_document(hit), float(hit.score)) for hit in self._hits(query, k, kwargs)]

    def _hits(self, query: str, k: int, options: Mapping[str, Any]) -> list[Hit]:
        return _search(self._place, query, k, self._options | dict(options))

    def _select_relevance_score_fn(self) -> Any:
        raise NotImplementedError(
            "scores of Lexhound are no similarities from 0 to 1; use similarity_search_with_score and compare them"
            " within one answer"
        )

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> LexhoundVectorStore:
        """Return a store with these texts; `kwargs` are the arguments of the class, `where` among them.

        Raises:
            ValueError: embeddings are given, which it has no use for.
        """
        if embedding is not None:
            raise ValueError("Lexhound makes its vectors itself: give embedding=None, and `dense` for a model of yours")
        store = cls(**kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store


class LexhoundTranslator(Visitor):
    """Filters of LangChain's self-query retriever as filters of Lexhound."""

    allowed_comparators = (
        Comparator.EQ,
        Comparator.NE,
        Comparator.GT,
        Comparator.GTE,
        Comparator.LT,
        Comparator.LTE,
        Comparator.IN,
        Comparator.NIN,
    )
    allowed_operators = (Operator.AND, Operator.OR, Operator.NOT)
    _SIGNS: ClassVar[Mapping[Comparator, str]] = {
        Comparator.GT: ">", Comparator.GTE: ">=", Comparator.LT: "<", Comparator.LTE: "<=",
    }  # fmt: skip

    def visit_operation(self, operation: Operation) -> str:
        """Return `and`, `or` or `not` of conditions."""
        self._validate_func(operation.operator)
        parts = [each.accept(self) for each in operation.arguments]
        if operation.operator is Operator.NOT:
            return negated(joined("and", parts))
        return joined(operation.operator.value, parts)

    def visit_comparison(self, comparison: Comparison) -> str:
        """Return one comparison."""
        self._validate_func(comparison.comparator)
        name, value = comparison.attribute, comparison.value
        if isinstance(value, dict) and "date" in value:  # as the parser of LangChain writes dates
            value = value["date"]
        match comparison.comparator:
            case Comparator.EQ:
                return equal(name, value)
            case Comparator.NE:
                return negated(equal(name, value))
            case Comparator.IN:
                return among(name, value)
            case Comparator.NIN:
                return negated(among(name, value))
            case sign:
                return ordered(name, self._SIGNS[sign], value)

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """Return the query, and the keywords of the search."""
        found = structured_query.filter
        return structured_query.query, {} if found is None else {"filter": found.accept(self)}
