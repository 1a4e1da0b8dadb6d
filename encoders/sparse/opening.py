"""Opening the document encoder or the query encoder that a layout describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lexhound.encoders.base import QueryVector, ShareDone
from lexhound.encoders.checkpoints.hub import SURFACE_MATCH_FILE
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.text.subwords import TOKENIZER_FILES, Subwords

from .layout import EncoderLayout, Layout
from .settings import LearnedSettings

if TYPE_CHECKING:
    from lexhound.encoders.text.token_reader import TokenReader

    from .latent_terms import LatentModel


class TextEncoder(Protocol):
    """An encoder of documents or queries, whatever it is made of."""

    @property
    def vocabulary_size(self) -> int: ...

    @property
    def tokens_encoded(self) -> int: ...

    @property
    def reader(self) -> TokenReader: ...

    def encode(self, texts: Sequence[str], progress: ShareDone | None = None) -> list[QueryVector]: ...

    def encode_one(self, text: str) -> QueryVector: ...


@dataclass(slots=True)
class EncoderOpener:
    """What opens the encoders of a layout; a model that both run is loaded once.

    Args:
        layout: of the folder; settings: options of both encoders.
        documents: returns the document encoder, for queries whose latents its model makes.
    """

    layout: Layout
    settings: LearnedSettings
    documents: Callable[[], Any]
    _latent_models: dict[tuple[object, ...], LatentModel] = field(default_factory=dict, init=False)

    def open(self, layout: EncoderLayout, subwords: Subwords, *, query: bool) -> TextEncoder:
        """Return an encoder.

        Raises:
            CheckpointError, MissingExtraError, SettingsError: as of the classes of encoders.
        """
        root, settings = self.layout.root, self.settings
        if layout.kind == "table":
            return self._table(layout, subwords)
        if layout.kind == "regression":
            from .term_weighting import TermWeightingEncoder

            return TermWeightingEncoder(root, subwords, layout, settings)
        if layout.of_tokens:
            from .latent_terms import LatentTermsEncoder

            return LatentTermsEncoder(self._latent_model(layout), subwords, layout, settings, query=query)
        if layout.kind == "autoencoder":
            from .document_latents import DocumentLatentsEncoder

            return DocumentLatentsEncoder(self._latent_model(layout), subwords, layout, settings)
        return _open_language_model(root, subwords, layout, settings)

    def _table(self, layout: EncoderLayout, subwords: Subwords) -> TextEncoder:
        from .static import TokenTable, read_surface_match, read_weights

        folder = self.layout.root / layout.folder
        weights = read_weights(folder, layout.weights, subwords)
        ratios = read_surface_match(folder / SURFACE_MATCH_FILE, len(weights)) if layout.surface_match else None
        table = TokenTable(subwords, weights, layout, self.settings, ratios)
        if not layout.beside_words:
            return table
        from lexhound.encoders.latent.autoencoder import read_autoencoder

        from .latent_queries import WordsAndLatentsTable

        autoencoder = read_autoencoder(self.layout.root / (layout.latents or ""))
        return WordsAndLatentsTable(table, autoencoder, self.documents, subwords, layout)

    def _latent_model(self, layout: EncoderLayout) -> LatentModel:
        """Return the model of latents; one for documents and queries where they have the same files."""
        from .latent_terms import LatentModel

        key = (layout.folder, layout.latents, layout.max_length, layout.lower_case)
        if key not in self._latent_models:
            self._latent_models[key] = LatentModel(self.layout.root, layout, self.settings)
        return self._latent_models[key]


def open_subwords(layout: Layout, encoder: EncoderLayout) -> Subwords:
    """Open an encoder's tokenizer: of its own folder, or of the encoder's where that has none."""
    inner = layout.root / encoder.folder
    folder = inner if any((inner / name).is_file() for name in TOKENIZER_FILES) else layout.root
    return Subwords.open(folder, lower_case=encoder.lower_case)


def _open_language_model(
    root: Path, subwords: Subwords, layout: EncoderLayout, settings: LearnedSettings
) -> TextEncoder:
    """Return the encoder of a language model: without torch where the model and the device allow it."""
    from lexhound.encoders.runtime.bert.model import config_without_torch

    folder = root / layout.folder
    if not layout.echo and layout.adapter is None:
        config = config_without_torch(folder, settings.device, settings.precision)
        if config is not None:
            from .bert import BertEncoder

            return BertEncoder(root, subwords, layout, settings, config)
    if layout.beside_words:
        raise CheckpointError(
            f"{folder}: latents beside words are of models of BERT's form on a CPU", "Say device cpu, or leave them out"
        )
    from lexhound.encoders.checkpoints.loading import require_neural

    require_neural()
    from .transformer import LanguageModelEncoder

    return LanguageModelEncoder(root, subwords, layout, settings)
