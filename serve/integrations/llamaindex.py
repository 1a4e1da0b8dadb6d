"""LlamaIndex: a retriever and a vector store over a collection, embedded or of a service.

>>> store = LexhoundVectorStore(where="notes.index", encoder="bm25")
>>> store.add([TextNode(id_="n1", text="heat flows from hot to cold", metadata={"year": 1987})])
['n1']
>>> LexhoundRetriever("notes.index").retrieve("heat")[0].node_id
'n1'
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from lexhound.core.extras import extra
from lexhound.core.suggestions import check_keywords
from lexhound.retrieval.collection.request import Fusion, SearchRequest
from lexhound.retrieval.collection.result import Hit
from lexhound.retrieval.documents.document import Document as Stored
from lexhound.retrieval.engines.protocol import Backend
from lexhound.retrieval.errors import QueryError

from .documents import metadata_of, stored_document
from .filters import among, different, equal, joined, negated, ordered
from .place import Place, open_place

with extra("llamaindex", "the LlamaIndex integration"):
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.bridge.pydantic import PrivateAttr, SecretStr
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node

ID = "lexhound_id"
"""The field of a found node's metadata that holds its id: LlamaIndex's fusion takes nodes of equal text and metadata
for one, and gives it either id. Models do not see the field, and it is not stored."""
KEPT, SOURCE = "_llamaindex", "_ref_doc_id"
"""The fields of stored metadata that keep the rest of a node, and the id of the document that it is a part of."""


def stored_node(node: BaseNode) -> Stored:
    """Return a node as the collection keeps it: its text, its metadata, and the rest of it in one field.

    Raises:
        InvalidDocumentError: its metadata holds what JSON has no form for.
    """
    rest: dict[str, Any] = node.model_dump(mode="json", exclude={"metadata", "embedding"})
    rest.pop("text", None)
    if isinstance(rest.get("text_resource"), dict):
        rest["text_resource"] = rest["text_resource"] | {"text": None, "embeddings": None}
    for name in _HIDDEN:
        rest[name] = [each for each in rest.get(name) or () if each != ID]
    metadata = {name: value for name, value in node.metadata.items() if name != ID}
    metadata[KEPT] = json.dumps(rest)
    if node.ref_doc_id is not None:
        metadata[SOURCE] = node.ref_doc_id
    return stored_document(node.node_id, node.get_content(metadata_mode=MetadataMode.NONE), metadata)


_HIDDEN = ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")


def given_node(stored: Stored | Hit, *, found: bool) -> BaseNode:
    """Return a node as LlamaIndex has it; one that was `found` has its id in its metadata."""
    metadata = metadata_of(stored)
    kept = metadata.pop(KEPT, None)
    metadata.pop(SOURCE, None)
    if kept is None:  # a document that LlamaIndex did not write
        node: BaseNode = TextNode(id_=stored.id, text=stored.text or "", metadata=metadata)
    else:
        rest = json.loads(kept) | {"metadata": metadata}
        written = {"_node_content": json.dumps(rest), "_node_type": rest.get("class_name")}
        node = metadata_dict_to_node(written, text=stored.text or "")
    if found:
        node.metadata[ID] = stored.id
        for name in _HIDDEN:
            setattr(node, name, [*getattr(node, name), ID])
    return node


class LexhoundRetriever(BaseRetriever):
    """Nodes of a collection for a question.

    Args:
        where: a directory, an address in another engine, the address of a service, or an open collection.
        collection, key: of a service, the collection's name and an API key.
        similarity_top_k: how many nodes at most.
        mode: `auto`, `lexical`, `sparse`, `dense` or `hybrid`.
        filters: an expression, or filters of LlamaIndex.
        fusion: of hybrid searches.
        allow_unknown_fields: let filters name fields that no document has.
    """

    def __init__(
        self,
        where: str | Path | Backend,
        *,
        collection: str | None = None,
        key: str | None = None,
        similarity_top_k: int = 4,
        mode: str = "auto",
        filters: str | MetadataFilters | None = None,
        fusion: Fusion | None = None,
        allow_unknown_fields: bool = False,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        self._place = open_place(where, collection=collection, key=key)
        self._request = SearchRequest(
            "",
            k=similarity_top_k,
            mode=mode,
            filter=expression_of(filters),
            fusion=fusion,
            allow_unknown_fields=allow_unknown_fields,
        )
        super().__init__(callback_manager=callback_manager)

    def close(self) -> None:
        """Close what was opened for it."""
        self._place.close()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._place.search(replace(self._request, query=query_bundle.query_str)).hits
        return [NodeWithScore(node=given_node(hit, found=True), score=float(hit.score)) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class LexhoundVectorStore(BasePydanticVectorStore):
    """A collection as a vector store; it makes its vectors itself, those of queries, too.

    An index over it wants an embedding model all the same: give `MockEmbedding(embed_dim=1)`, whose vectors are not
    used.

    Attributes:
        where: a directory, an address in another engine, the address of a service, or an open collection. A directory
            in which nothing is yet becomes a new collection.
        collection, key: of a service, the collection's name and an API key.
        encoder, dense: of a new collection; the usual ones unless given.
        mode: of queries of mode DEFAULT. SPARSE and TEXT_SEARCH search the index of terms, HYBRID and SEMANTIC_HYBRID
            both sides; `alpha` is the share of the dense side.
        allow_unknown_fields: let filters name fields that no document has.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    where: str | Path | Any
    collection: str | None = None
    key: SecretStr | None = None
    encoder: str | None = None
    dense: str | None = None
    mode: str = "auto"
    allow_unknown_fields: bool = False
    _place: Place = PrivateAttr()

    _MODES: ClassVar[Mapping[VectorStoreQueryMode, str]] = {
        VectorStoreQueryMode.SPARSE: "sparse",
        VectorStoreQueryMode.TEXT_SEARCH: "sparse",
        VectorStoreQueryMode.HYBRID: "hybrid",
        VectorStoreQueryMode.SEMANTIC_HYBRID: "hybrid",
    }

    def model_post_init(self, context: Any, /) -> None:
        """Open the collection, or make it."""
        super().model_post_init(context)
        key = None if self.key is None else self.key.get_secret_value()
        options = {"collection": self.collection, "encoder": self.encoder, "dense": self.dense}
        self._place = open_place(self.where, key=key, create=True, **options)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class, as LlamaIndex writes it."""
        return "LexhoundVectorStore"

    @property
    def client(self) -> Any:
        """The collection."""
        return self._place

    def close(self) -> None:
        """Close the collection, if it was opened here."""
        self._place.close()

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Insert nodes, or replace those with the same ids; durable and searchable when it returns. Returns the ids.

        Raises:
            InvalidDocumentError: one cannot be stored.
        """
        check_keywords("add", kwargs, ("nodes",))
        self._place.put([stored_node(node) for node in nodes])
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document."""
        check_keywords("delete", delete_kwargs, ("ref_doc_id",))
        self._place.delete_where(equal(SOURCE, ref_doc_id))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by their ids, by filters, or those of the ids that pass.

        Raises:
            ValueError: there is neither; `clear` deletes everything.
        """
        check_keywords("delete_nodes", delete_kwargs, ("node_ids", "filters"))
        chosen = _chosen(node_ids, filters)
        if chosen is None:
            raise ValueError("give node_ids or filters of what to delete; clear() deletes everything")
        self._place.delete_where(chosen)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes by their ids, by filters, or those of the ids that pass; all of them without either."""
        if node_ids is not None and filters is None:
            return [given_node(each, found=False) for each in self._place.get(node_ids)]
        return [given_node(each, found=False) for each in self._place.find(_chosen(node_ids, filters))]

    def clear(self) -> None:
        """Delete every node; the collection stays."""
        self._place.delete([each.id for each in self._place.find(None)])

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes of a query, best first, with their scores, larger for better ones.

        Args:
            kwargs: `fusion`, `recall`, `allow_unknown_fields` as of a search.

        Raises:
            QueryError: the query asks for what a collection does not have; says what.
        """
        check_keywords("a query", kwargs, ("fusion", "recall", "allow_unknown_fields"))
        hits = self._place.search(self._request(query, kwargs)).hits
        return VectorStoreQueryResult(
            nodes=[given_node(hit, found=True) for hit in hits],
            similarities=[float(hit.score) for hit in hits],
            ids=[hit.id for hit in hits],
        )

    def _request(self, query: VectorStoreQuery, options: Mapping[str, Any]) -> SearchRequest:
        if query.query_str is None:
            raise QueryError("the query has no text", hint="give query_str: the collection embeds it itself")
        if query.mode is not VectorStoreQueryMode.DEFAULT and query.mode not in self._MODES:
            known = ", ".join(each.name for each in (VectorStoreQueryMode.DEFAULT, *self._MODES))
            raise QueryError(f"queries of mode {query.mode.name} are not answered", hint=f"there are {known}")
        for name in ("output_fields", "mmr_threshold", "sparse_top_k"):
            if getattr(query, name) is not None:
                raise QueryError(f"{name} means nothing to a collection", hint="leave it out")
        mode = self._MODES.get(query.mode, self.mode)
        fusion = options.get("fusion") or (None if query.alpha is None else Fusion(dense_weight=float(query.alpha)))
        if fusion is not None and mode not in ("hybrid", "auto"):
            raise QueryError(f"alpha is for hybrid queries, and this is of mode {query.mode.name}", hint="leave it out")
        parts = [
            expression_of(query.filters),
            among("id", query.node_ids) if query.node_ids else None,  # an index gives an empty list, and means all
            among(SOURCE, query.doc_ids) if query.doc_ids else None,
        ]
        given = [each for each in parts if each is not None]
        top_k = query.hybrid_top_k if mode == "hybrid" and query.hybrid_top_k is not None else query.similarity_top_k
        return SearchRequest(
            query.query_str,
            k=top_k,
            mode=mode,
            fusion=fusion,
            filter=joined("and", given) if given else None,
            recall=options.get("recall"),
            # That no node is a part of a document is no mistake of the filters.
            allow_unknown_fields=options.get("allow_unknown_fields", self.allow_unknown_fields)
            or (query.filters is None and bool(given)),
        )

    # The same for asyncio

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Insert nodes, or replace those with the same ids."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes of a query."""
        return await asyncio.to_thread(self.query, query, **kwargs)


def _chosen(node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> str | None:
    """Return the filter that the nodes pass which are meant; None for all."""
    parts = [None if node_ids is None else among("id", list(node_ids)), expression_of(filters)]
    given = [each for each in parts if each is not None]
    return joined("and", given) if given else None


_CONDITIONS: Mapping[FilterOperator, Callable[[str, Any], str]] = {
    FilterOperator.EQ: equal,
    FilterOperator.NE: different,
    FilterOperator.GT: lambda name, value: ordered(name, ">", value),
    FilterOperator.GTE: lambda name, value: ordered(name, ">=", value),
    FilterOperator.LT: lambda name, value: ordered(name, "<", value),
    FilterOperator.LTE: lambda name, value: ordered(name, "<=", value),
    FilterOperator.IN: among,
    FilterOperator.ANY: among,
    FilterOperator.NIN: lambda name, values: negated(among(name, values)),
    FilterOperator.ALL: lambda name, values: joined("and", [equal(name, each) for each in values]),
    FilterOperator.CONTAINS: equal,
    FilterOperator.IS_EMPTY: lambda name, _: joined("or", [equal(name, None), equal(name, "")]),
}


def expression_of(filters: str | MetadataFilters | None) -> str | None:
    """Return filters as an expression; None where there are none.

    Raises:
        QueryError: one means nothing to a collection; says which.
    """
    if filters is None or isinstance(filters, str):
        return filters or None
    return _joined(filters) if filters.filters else None


def _joined(filters: MetadataFilters) -> str:
    parts = [_condition(each) if isinstance(each, MetadataFilter) else _joined(each) for each in filters.filters]
    match filters.condition:
        case FilterCondition.OR:
            return joined("or", parts)
        case FilterCondition.NOT:  # none of them
            return negated(joined("or", parts))
    return joined("and", parts)


def _condition(given: MetadataFilter) -> str:
    if given.operator not in _CONDITIONS:
        raise QueryError(
            f"the filter of {given.key!r} has the operator {given.operator.value!r}",
            hint=f"there are {', '.join(each.value for each in _CONDITIONS)}; texts are what the query searches",
        )
    return _CONDITIONS[given.operator](given.key, given.value)
