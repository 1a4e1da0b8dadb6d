"""From an encoder's name or stored identity to the representation that a collection works with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from ..encoders.base import EncoderIdentity
from ..encoders.lexical import KIND as BM25
from ..encoders.lexical import LexicalEncoder, LexicalSettings
from ..encoders.vocabulary import MemoryVocabulary, Vocabulary
from .errors import CorruptCollectionError
from .representation import LearnedRepresentation, LexicalRepresentation, Representation

try:
    VERSION = version("lexhound")
except PackageNotFoundError:  # run from a source tree that is not installed
    VERSION = "0"


def identify(encoder: str, lexical: LexicalSettings | None) -> EncoderIdentity:
    """The identity of an encoder given by name (`bm25`, a path, a hub name); loads a model to be sure it can be.

    Raises:
        EncoderError: the encoder cannot be loaded.
    """
    if encoder == BM25:
        return LexicalEncoder(lexical or LexicalSettings(), MemoryVocabulary()).identity
    from ..encoders.load import load_encoder

    return load_encoder(encoder).identity


def load_representation(
    identity: EncoderIdentity, vocabulary: Vocabulary, *, like: Representation | None = None
) -> Representation:
    """The representation of a stored identity; `like` is one of the same identity whose model may be shared.

    Raises:
        EncoderError: the encoder cannot be loaded.
        CorruptCollectionError: the encoder found under the stored name makes other vectors than the collection holds.
    """
    if identity.kind == BM25:
        return LexicalRepresentation(LexicalEncoder(LexicalSettings(**identity.settings), vocabulary))
    if like is not None:
        return like
    from ..encoders.load import load_encoder

    encoder = load_encoder(identity)
    if not encoder.identity.same_vectors(identity):
        raise CorruptCollectionError(
            f"the encoder {identity.name!r} is not the one that made this collection's vectors: its files have changed",
            hint="put the original checkpoint back, or index the corpus again",
        )
    return LearnedRepresentation(encoder)
