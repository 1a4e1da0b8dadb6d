"""From an encoder's name or stored identity to the field that a collection works with."""

from __future__ import annotations

from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary, Vocabulary
from lexhound.encoders.load import load_encoder
from lexhound.encoders.sparse.settings import LearnedSettings

from .sparse_field import LearnedField, LexicalField, SparseField


def identify(encoder: str, lexical: LexicalSettings | None, learned: LearnedSettings | None = None) -> EncoderIdentity:
    """Return the identity of an encoder given by name (`bm25`, a path, a hub name); loads a model to be sure it can be.

    Raises:
        EncoderError: the encoder cannot be loaded.
    """
    return open_named(encoder, lexical, learned)[0]


def open_named(
    encoder: str, lexical: LexicalSettings | None, learned: LearnedSettings | None, *, load_model: bool = True
) -> tuple[EncoderIdentity, LearnedField | None]:
    """Return the same, and the field with the loaded model; None for `bm25`, which needs a collection's terms.

    Unless `load_model`, a model of the document side alone is not loaded.
    """
    loaded = load_encoder(encoder, vocabulary=MemoryVocabulary(), lexical_settings=lexical, learned_settings=learned)
    if isinstance(loaded, LexicalEncoder):
        return loaded.identity, None
    if load_model:
        loaded.prepare()
    return loaded.identity, LearnedField(loaded)


def load_field(
    identity: EncoderIdentity,
    vocabulary: Vocabulary,
    *,
    like: SparseField | None = None,
    learned: LearnedSettings | None = None,
) -> SparseField:
    """Return the field of a stored identity; `like` is one of the same identity whose model may be shared.

    Of `learned` counts only what changes no vectors: device, precision, batches, trust.

    Raises:
        EncoderError: the encoder cannot be loaded, or its files make other vectors than they did. What concerns a
            model comes when that model is first used: a search of inference-free queries never loads one.
    """
    if isinstance(like, LearnedField):
        return like
    encoder = load_encoder(identity, vocabulary=vocabulary, learned_settings=learned)
    return LexicalField(encoder) if isinstance(encoder, LexicalEncoder) else LearnedField(encoder)
