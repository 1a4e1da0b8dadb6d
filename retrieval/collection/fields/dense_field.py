"""The dense side of a collection: a sentence-embedding model as a collection uses it.

Nothing of the model is looked for before it is needed: a collection opens, and is searched in mode `sparse`, wherever
its folder has gone and whatever is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import part_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexhound.encoders.base import DocumentReader, EncoderIdentity, ShareDone, SparseEncoder
    from lexhound.encoders.dense.encoder import DenseEncoder
    from lexhound.encoders.dense.settings import DenseSettings
    from lexhound.encoders.late.vectors import TokenVectors
    from lexhound.encoders.sparse.encoder import LearnedEncoder

BATCH_DOCUMENTS = 256
"""Documents encoded and acknowledged together, at most."""

WARMING = "a"
"""A query that every model has a token for, for loading what searches need before the first comes."""


class DenseQueries(Protocol):
    """What a search asks of the dense field: a model (`DenseField`), or a table in its place (`static_queries`)."""

    def query(self, text: str) -> NDArray[np.float32]:
        """Return float32[width]; zeros stand for no vector, of a text without a token."""
        ...

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def cuts_query(self, text: str) -> bool:
        """Return whether a part of a query is not read."""
        ...


class DenseField:
    """A dense encoder, opened when it is first used. Safe to call from several threads.

    Attributes:
        identity: what the collection stores of it; width: length of its vectors.
    """

    def __init__(self, identity: EncoderIdentity, width: int, encoder: DenseEncoder | None = None) -> None:
        self.identity = identity
        self.width = width
        self._encoder = encoder
        self._lock = RLock()
        self._shared: bool | None = None  # whether the sparse side's model is this one; asked once

    @classmethod
    def named(cls, model: str, settings: DenseSettings | None = None) -> DenseField:
        """Return the side of a model given by its path or hub name; loads it to be sure that it can be.

        Raises:
            EncoderError: it cannot be loaded.
        """
        from lexhound.encoders.dense.encoder import DenseEncoder

        encoder = DenseEncoder(model, settings)
        encoder.prepare()
        return cls(encoder.identity, encoder.width, encoder)

    @property
    def encoder(self) -> DenseEncoder:
        """The encoder.

        Raises:
            EncoderError: the model cannot be found, or its files make other vectors than they did.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = _reopened(self.identity)
            return self._encoder

    def document_reader(self) -> DocumentReader:
        """Return how the model reads a document; opens its tokenizer."""
        return self.encoder.document_reader()

    @property
    def tokens_encoded(self) -> int:
        """How many tokens the model has read since this was made."""
        return 0 if self._encoder is None else self._encoder.tokens_encoded

    def encode(self, texts: Sequence[str], progress: ShareDone | None = None) -> NDArray[np.float32]:
        """Return documents' vectors: float32[len(texts), width]; zeros stand for none, of a text without a token."""
        return self._checked(self.encoder.encode_documents(texts, progress))

    def encode_with(
        self, sparse: SparseEncoder, texts: Sequence[str], progress: ShareDone | None = None
    ) -> tuple[csr_array, NDArray[np.float32]]:
        """Return documents' sparse vectors by another encoder and dense ones by this, of one pass where both are one
        model.
        """
        from lexhound.encoders.shared_backbone import encode_both
        from lexhound.encoders.sparse.encoder import LearnedEncoder

        if isinstance(sparse, LearnedEncoder) and self.shares_a_pass(sparse):
            vectors, dense = encode_both(sparse, self.encoder, texts, progress)
            return vectors, self._checked(dense)
        vectors = sparse.encode_documents(texts, part_of(progress, 0.0, 0.5))
        return vectors, self.encode(texts, part_of(progress, 0.5, 1.0))

    def encode_with_tokens(
        self, sparse: LearnedEncoder, texts: Sequence[str], progress: ShareDone | None = None
    ) -> tuple[csr_array, NDArray[np.float32], list[TokenVectors]]:
        """Return the same, and the vectors of each text's tokens, which the sparse encoder's pass makes too."""
        from lexhound.encoders.shared_backbone import dense_of_means

        shared = self.shares_a_pass(sparse)
        vectors, means, tokens = sparse.encode_documents_with_tokens(texts, progress if shared else None)
        if shared:
            return vectors, self._checked(dense_of_means(self.encoder, means)), tokens
        return vectors, self.encode(texts, progress), tokens

    def shares_a_pass(self, sparse: LearnedEncoder) -> bool:
        """Return whether one pass makes another encoder's sparse vectors and this one's dense ones. Loads models."""
        from lexhound.encoders.shared_backbone import shares_a_pass

        if self._shared is None:
            self._shared = shares_a_pass(sparse, self.encoder)
        return self._shared

    def query(self, text: str) -> NDArray[np.float32]:
        """Return a query's vector: float32[width]."""
        vector: NDArray[np.float32] = self.queries([text])[0]
        return vector

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return queries' vectors: float32[len(texts), width]."""
        return self._checked(self.encoder.encode_queries(texts))

    def cuts_query(self, text: str) -> bool:
        """Return whether a part of a query is not read."""
        return self.encoder.query_reader().cuts(text)

    def _checked(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Refuse what a model with damaged weights makes: a value that is not a number would be in every ranking."""
        if not np.isfinite(vectors).all():
            from lexhound.encoders.errors import EncoderError

            raise EncoderError(
                f"{self.identity.name} made a vector with a value that is not finite",
                "Its weights are damaged, or the precision does not suffice: try another device or float32",
            )
        return vectors


def _reopened(identity: EncoderIdentity) -> DenseEncoder:
    from lexhound.encoders.dense.encoder import DenseEncoder
    from lexhound.encoders.dense.settings import DenseSettings
    from lexhound.encoders.errors import IdentityError

    options: dict[str, Any] = dict(identity.settings)
    try:
        settings = DenseSettings().running(options)
    except TypeError as error:
        raise IdentityError(f"the settings of {identity.name} cannot be read: {error}", "Upgrade lexhound") from error
    return DenseEncoder(identity.name, settings, identity=identity)
