"""From what a person or a stored collection names to an encoder that is ready to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lexhound.encoders.bm25 import encoder as lexical
from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import Vocabulary
from lexhound.encoders.sparse.layout import FAMILIES
from lexhound.encoders.sparse.settings import LearnedSettings

from .base import EncoderIdentity
from .errors import IdentityError, SettingsError, UnknownEncoderError

if TYPE_CHECKING:
    from lexhound.encoders.sparse.encoder import LearnedEncoder


def load_encoder(
    spec: str | Path | EncoderIdentity,
    *,
    vocabulary: Vocabulary | None = None,
    lexical_settings: LexicalSettings | None = None,
    learned_settings: LearnedSettings | None = None,
) -> LexicalEncoder | LearnedEncoder:
    """Return the encoder that `spec` names.

    A checkpoint's models are loaded when they are first used, or by `LearnedEncoder.prepare`.

    Args:
        spec: "bm25"; or the folder or hub name of a checkpoint (docs/encoders.md lists the kinds); or an identity that
            a collection stored, whose settings then hold (of `learned_settings` only those that change no vectors).
        vocabulary: the terms that "bm25" looks up and grows; it cannot do without.
        lexical_settings: options of "bm25".
        learned_settings: options of a checkpoint.

    Raises:
        UnknownEncoderError: the name is empty, or the identity's family is unknown to this version.
        CheckpointError, MissingExtraError: see `LearnedEncoder`.
        IdentityError: what was found under the identity's name would make other vectors than those stored.
        SettingsError: an option is out of its range, or "bm25" was given no vocabulary.
    """
    if isinstance(spec, EncoderIdentity):
        return _load_identity(spec, vocabulary, learned_settings or LearnedSettings())
    if not str(spec).strip():
        raise UnknownEncoderError("the encoder has no name", f'Give "{lexical.KIND}", a folder, or a hub name')
    if spec == lexical.KIND:
        return _lexical(lexical_settings or LexicalSettings(), vocabulary)
    from lexhound.encoders.sparse.encoder import LearnedEncoder

    return LearnedEncoder(spec, learned_settings)


def _load_identity(
    identity: EncoderIdentity, vocabulary: Vocabulary | None, running: LearnedSettings
) -> LexicalEncoder | LearnedEncoder:
    try:
        if identity.kind in FAMILIES:
            from lexhound.encoders.sparse.encoder import LearnedEncoder

            settings = running.running(dict(identity.settings))
            return LearnedEncoder(identity.name, settings, identity=identity)
        if identity.kind == lexical.KIND:
            return _lexical(LexicalSettings(**identity.settings), vocabulary, identity)
    except TypeError as error:
        raise IdentityError(f"the settings of {identity.name} cannot be read: {error}", "Upgrade lexhound") from error
    raise UnknownEncoderError(
        f"this version knows no encoders of the kind {identity.kind!r}", "A later version made them: upgrade lexhound"
    )


def _lexical(
    settings: LexicalSettings, vocabulary: Vocabulary | None, stored: EncoderIdentity | None = None
) -> LexicalEncoder:
    if vocabulary is None:
        raise SettingsError(f'"{lexical.KIND}" was given no vocabulary', "Pass `vocabulary`, the collection's terms")
    return LexicalEncoder(settings, vocabulary, stored)
