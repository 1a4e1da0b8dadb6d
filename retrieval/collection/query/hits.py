"""From ranked documents to hits as a request wants them: fields, snippet, explanation. The same for every engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.request import METADATA_FIELD, SearchRequest
from lexhound.retrieval.collection.result import Contribution, Hit, Share, shared_contributions
from lexhound.retrieval.documents.document import JSON, Document
from lexhound.retrieval.documents.passages import Passage, encoded_text
from lexhound.retrieval.documents.snippet import make_snippet

from .encoding import EncodedQuery

Terms: TypeAlias = frozenset[int] | None

# Of a document, looked through for its own terms: encoders read less of it.
_OWN_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class HitMaker:
    """The maker of the hits of one request."""

    request: SearchRequest
    field: SparseField
    query: EncodedQuery

    def make(
        self,
        rank: int,
        score: float,
        document: Document,
        explain: Callable[[Terms], tuple[Contribution, ...]],
        shares: tuple[Share, ...] | None,
        passage: Passage | None = None,
    ) -> Hit:
        """Return one hit; `passage` is the one that stands for a document that is split.

        `explain` gives what terms gave to the sparse side's score, and is called where asked for, with the terms of the
        document's own words.
        """
        request = self.request
        contributions = None
        if request.explain:
            contributions = explain(self._own_terms(document, passage)) if len(self.query.sparse) else ()
            if shares is not None:
                contributions = shared_contributions(contributions, shares)
        snippet = None
        if request.highlight:
            text = (document if passage is None else passage).text[: request.snippet_characters]
            terms = self.query.terms
            snippet = make_snippet(text, self.field.highlights(text, terms), terms)
        return Hit(
            rank,
            document.id,
            score,
            title=document.title if "title" in request.fields else None,
            text=document.text if "text" in request.fields else None,
            metadata=self._metadata(document),
            snippet=snippet,
            contributions=contributions,
            shares=shares,
            passage=passage,
        )

    def contribution(
        self, term: int, query_weight: float, document_weight: float, score: float, own: Terms
    ) -> Contribution:
        """Return what one term gave, under its name; `own` are the terms of the document's words."""
        typed = self.query.typed
        return Contribution(
            self.field.term_text(term),
            query_weight,
            document_weight,
            score,
            typed=typed is None or term in typed,
            in_text=own is None or term in own,
            synonym_of=self.query.stands_for.get(term),
        )

    def _own_terms(self, document: Document, passage: Passage | None) -> Terms:
        """Return the terms of a document's own words, of a split one those of its title and the passage; None where no
        encoder adds others, or there are no words to tell from: documents may bring vectors without a text.
        """
        text = encoded_text(document, passage)[:_OWN_CHARACTERS]
        if self.field.frequencies or not text.strip():
            return None
        return self.field.typed_terms(text)

    def _metadata(self, document: Document) -> Mapping[str, JSON] | None:
        fields = self.request.fields
        if "metadata" in fields:
            return document.metadata
        names = [name.removeprefix(METADATA_FIELD) for name in fields if name.startswith(METADATA_FIELD)]
        if not names:
            return None
        return {name: document.metadata[name] for name in names if name in document.metadata}


def sort_contributions(contributions: list[Contribution]) -> tuple[Contribution, ...]:
    """Return them largest first, equal ones by their terms."""
    return tuple(sorted(contributions, key=lambda each: (-each.score, each.term)))
