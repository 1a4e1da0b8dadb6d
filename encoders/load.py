"""From what a person or a stored collection names to an encoder that is ready to use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from . import lexical, splade
from .base import EncoderIdentity
from .errors import IdentityError, SettingsError, UnknownEncoderError
from .lexical import LexicalEncoder, LexicalSettings
from .splade import SpladeEncoder, SpladeSettings
from .vocabulary import Vocabulary


def load_encoder(
    spec: str | Path | EncoderIdentity,
    *,
    vocabulary: Vocabulary | None = None,
    lexical_settings: LexicalSettings | None = None,
    splade_settings: SpladeSettings | None = None,
) -> LexicalEncoder | SpladeEncoder:
    """Return the encoder that `spec` names.

    Args:
        spec: "bm25"; or the folder or hub name of a masked-language-model checkpoint; or an identity that a
            collection stored, whose settings then hold (of `splade_settings` only batch size and device count).
        vocabulary: the terms that "bm25" looks up and grows; it cannot do without.
        lexical_settings: options of "bm25".
        splade_settings: options of a checkpoint.

    Raises:
        UnknownEncoderError: the name is empty, or the identity's family is unknown to this version.
        CheckpointError: see `load_checkpoint`.
        IdentityError: what was found under the identity's name would make other vectors than those stored.
        MissingExtraError: a checkpoint, and torch or transformers is not installed.
        SettingsError: an option is out of its range, or "bm25" was given no vocabulary.
    """
    if isinstance(spec, EncoderIdentity):
        return _load_identity(spec, vocabulary, splade_settings or SpladeSettings())
    if not str(spec).strip():
        raise UnknownEncoderError("the encoder has no name", f'Give "{lexical.KIND}", a folder, or a hub name')
    if spec == lexical.KIND:
        return _lexical(lexical_settings or LexicalSettings(), vocabulary)
    return SpladeEncoder(spec, splade_settings)


def _load_identity(
    identity: EncoderIdentity, vocabulary: Vocabulary | None, running: SpladeSettings
) -> LexicalEncoder | SpladeEncoder:
    encoder: LexicalEncoder | SpladeEncoder
    if identity.kind not in (lexical.KIND, splade.KIND):
        raise UnknownEncoderError(
            f"this version knows no encoders of the kind {identity.kind!r}",
            "A later version made them: upgrade lexhound",
        )
    try:
        if identity.kind == lexical.KIND:
            encoder = _lexical(LexicalSettings(**identity.settings), vocabulary)
        else:
            encoder = SpladeEncoder(identity.name, SpladeSettings(**{**asdict(running), **identity.settings}))
    except TypeError as error:
        raise IdentityError(f"the settings of {identity.name} cannot be read: {error}", "Upgrade lexhound") from error
    if not encoder.identity.same_vectors(identity):
        raise IdentityError(
            f"{identity.name} is no longer the encoder whose vectors are stored: its fingerprint was "
            f"{identity.fingerprint} and is {encoder.identity.fingerprint}",
            "Bring back the files it had, or index the documents again",
        )
    return encoder


def _lexical(settings: LexicalSettings, vocabulary: Vocabulary | None) -> LexicalEncoder:
    if vocabulary is None:
        raise SettingsError(f'"{lexical.KIND}" was given no vocabulary', "Pass `vocabulary`, the collection's terms")
    return LexicalEncoder(settings, vocabulary)
