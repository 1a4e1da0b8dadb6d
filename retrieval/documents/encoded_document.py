"""Documents that bring their vector, made elsewhere by the collection's encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.retrieval.errors import InvalidDocumentError

from .document import Document, has_words

if TYPE_CHECKING:
    from lexhound.encoders.base import QueryVector


def is_wordless(document: Document) -> bool:
    """Return whether no query of words finds a document: it has none, and no vector that was made elsewhere."""
    return not isinstance(document, EncodedDocument) and not has_words(document)


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
