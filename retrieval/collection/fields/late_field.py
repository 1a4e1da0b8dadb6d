"""Late interaction of a collection: the vectors of tokens that its sparse encoder's pass makes too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lexhound.encoders.errors import SettingsError
from lexhound.encoders.sparse.encoder import LearnedEncoder

from .document_vectors import DocumentVectors
from .sparse_field import LearnedField, SparseField

if TYPE_CHECKING:
    from lexhound.encoders.base import ShareDone
    from lexhound.encoders.late.vectors import QueryTokens

    from .dense_field import DenseField


class LateField:
    """What makes vectors of tokens, of documents and of queries. Safe to call from several threads.

    Raises:
        SettingsError: the encoder makes none.
    """

    def __init__(self, sparse: SparseField | None) -> None:
        encoder = sparse.encoder if isinstance(sparse, LearnedField) else None
        if not isinstance(encoder, LearnedEncoder):
            raise SettingsError(
                "bm25 makes no vectors of tokens for late interaction", "Leave them out, or take a learned encoder"
            )
        encoder.require_tokens()
        self._encoder = encoder

    def encode(
        self, texts: Sequence[str], dense: DenseField | None = None, progress: ShareDone | None = None
    ) -> DocumentVectors:
        """Return all vectors of texts: sparse, dense where there is such a field, and of tokens."""
        if dense is not None:
            return DocumentVectors(*dense.encode_with_tokens(self._encoder, texts, progress))
        sparse, _, tokens = self._encoder.encode_documents_with_tokens(texts, progress)
        return DocumentVectors(sparse, None, tokens)

    def query(self, text: str) -> QueryTokens:
        """Return a query's tokens: a pass of the model."""
        return self._encoder.query_tokens(text)
