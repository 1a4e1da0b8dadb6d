"""Documents that match a tree of clauses, in the order of their insertion."""

from __future__ import annotations

from lexhound.retrieval.collection.encoders import CollectionEncoders
from lexhound.retrieval.collection.query.search import list_matching
from lexhound.retrieval.collection.reader import CollectionReader
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.documents.document import Document

from .tree import Clause


class ListingCollection:
    """The part of a collection that goes through its documents."""

    _encoders: CollectionEncoders

    @property
    def _asked(self) -> CollectionReader:
        """What answers; raises where the question cannot be answered by anybody."""
        raise NotImplementedError

    def listed(self, clause: Clause, limit: int, *, after: int = 0) -> list[tuple[int, Document]]:
        """Return documents that match a tree of clauses in the order of their insertion, with the number of each.

        Args:
            after: the number of a document; those after it. A document that is replaced comes last again.

        Raises:
            QueryError, FilterSyntaxError, UnknownFieldError: as for `search`.
        """
        request = SearchRequest(clause)
        encoders = self._encoders.of_queries(request)
        return self._asked.read(lambda snapshot: list_matching(snapshot, encoders, request, after, limit))
