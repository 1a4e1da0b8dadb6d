"""Documents that bring their vector, made elsewhere by the collection's encoder; and the encoding of all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.collection.fields.field import LearnedRepresentation, Representation
from lexhound.retrieval.errors import InvalidDocumentError

from .document import Document

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexhound.encoders.base import QueryVector
    from lexhound.retrieval.collection.fields.dense_field import DenseSide


class EncodedDocument(Document):
    """A document with its vector, which is stored as it is; the text is kept, and may be empty.

    Weights of special tokens, which are no terms, are left out where it is stored.

    Attributes:
        terms: int32[n], term ids of the collection's encoder, ascending and unique; weights: float32[n], finite and
            above 0. That they are of the collection's encoder is for the caller to know.

    Raises InvalidDocumentError, which names the rule.
    """

    __slots__ = ("terms", "weights")

    terms: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __init__(self, document: Document, vector: QueryVector) -> None:
        """Args: a document, and its vector: terms and weights."""
        for name in ("id", "text", "title", "metadata"):
            object.__setattr__(self, name, getattr(document, name))
        terms, weights = vector
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "weights", weights)
        if terms.dtype != np.int32 or weights.dtype != np.float32 or terms.shape != weights.shape or terms.ndim != 1:
            raise InvalidDocumentError(
                f"the vector of {self.id!r} is not int32[n] terms and float32[n] weights", hint="Convert the arrays."
            )
        if len(terms) and (int(terms[0]) < 0 or bool((np.diff(terms) <= 0).any())):
            raise InvalidDocumentError(
                f"the terms of the vector of {self.id!r} are not ascending, unique and 0 or more", hint="Sort them."
            )
        if not bool((np.isfinite(weights) & (weights > 0)).all()):
            raise InvalidDocumentError(
                f"a weight of the vector of {self.id!r} is not finite and above 0",
                hint="Leave terms without weight out.",
            )


def vectors_of(
    representation: Representation, dense: DenseSide | None, documents: Sequence[Document]
) -> tuple[csr_array, NDArray[np.float32] | None]:
    """The vectors of documents, sparse and, where the collection has them, dense; of one pass where that can be.

    Raises:
        InvalidDocumentError: a document brings a vector that is none of the collection's encoder. EncoderError.
    """
    texts = [document.encoded_text for document in documents]
    if any(isinstance(document, EncodedDocument) for document in documents):
        sparse = _given(representation, documents)
        return sparse, None if dense is None else dense.encode(texts)
    if dense is None:
        return representation.encode(texts), None
    if isinstance(representation, LearnedRepresentation):
        return dense.encode_with(representation.encoder, texts)
    return representation.encode(texts), dense.encode(texts)


def _given(representation: Representation, documents: Sequence[Document]) -> csr_array:
    """The sparse vectors of documents of which some bring theirs."""
    from lexhound.encoders.vector_files import stacked

    if not isinstance(representation, LearnedRepresentation):
        raise InvalidDocumentError(
            f"{documents[0].id!r} brings a vector, and the collection's encoder, bm25, counts words",
            hint="Give it as a text, or use a collection of a learned encoder.",
        )
    size = representation.identity.vocabulary_size or 1
    plain = [document.encoded_text for document in documents if not isinstance(document, EncodedDocument)]
    made = representation.encode(plain) if plain else None
    special = np.array(sorted(representation.special_tokens.values()), np.int32)
    row = 0
    vectors: list[QueryVector] = []
    for document in documents:
        if isinstance(document, EncodedDocument):
            if len(document.terms) and int(document.terms[-1]) >= size:
                raise InvalidDocumentError(
                    f"the vector of {document.id!r} has the term {int(document.terms[-1])}, the encoder has {size}",
                    hint="Give vectors of the collection's encoder.",
                )
            kept = ~np.isin(document.terms, special)
            vectors.append((document.terms[kept], document.weights[kept]))
        elif made is not None:
            place = slice(int(made.indptr[row]), int(made.indptr[row + 1]))
            vectors.append((made.indices[place].astype(np.int32), made.data[place].astype(np.float32)))
            row += 1
    return stacked(vectors, size)
