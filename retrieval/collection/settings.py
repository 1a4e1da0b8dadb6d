"""What a new collection is made with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from lexhound.core.suggestions import check_keywords

if TYPE_CHECKING:
    from lexhound.encoders.bm25.settings import LexicalSettings
    from lexhound.encoders.dense.settings import DenseSettings
    from lexhound.encoders.sparse.settings import LearnedSettings
    from lexhound.retrieval.documents.passages import PassageSettings

    from .default_encoders import ChosenEncoders


class SettingsKeywords(TypedDict, total=False):
    """The attributes of `CollectionSettings`, for those who write them as keywords."""

    encoder: str | None
    lexical: LexicalSettings | None
    learned: LearnedSettings | None
    dense: str | None
    dense_settings: DenseSettings | None
    dense_index: str
    passages: str | None
    tenant_field: str | None
    late: bool


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """The encoders of a collection, and how it indexes dense vectors.

    Attributes:
        encoder: `bm25`, or the path or hub name of a checkpoint; None for the default (`default_encoders`).
        lexical: settings of the `bm25` encoder.
        learned: settings of a checkpoint. Those that change vectors are stored; the others (device, precision, batches,
            trust) hold for the open collection alone.
        dense: the path or hub name of a sentence-embedding model, for dense vectors beside the inverted index; "none"
            for no dense vectors; None for those of the default encoder's own pass, and none beside a named encoder.
        dense_settings: its settings.
        dense_index: how segments index dense vectors: `auto` (clustered where they are many), `flat` or `spann`.
        passages: how long texts are split into passages, each with vectors of its own: tokens of the model and their
            overlap, such as `256/32`; `none`: not, and what a model does not read is left out. None for
            `passages.DEFAULT` of the texts that are longer than the model reads with a learned encoder that cuts
            texts, and for `none` with bm25.
        tenant_field: the field of the metadata that says whose a document is, so that everything is asked of one tenant
            (docs/tenants.md); None where documents are everybody's.
        late: keep vectors of tokens too, for reranking by late interaction (`rerank="late"`): of an encoder whose
            documents are read by a masked language model and whose queries have a table of idf.
    """

    encoder: str | None = None
    lexical: LexicalSettings | None = None
    learned: LearnedSettings | None = None
    dense: str | None = None
    dense_settings: DenseSettings | None = None
    dense_index: str = "auto"
    passages: str | None = None
    tenant_field: str | None = None
    late: bool = False

    @classmethod
    def of(cls, settings: CollectionSettings | None, keywords: SettingsKeywords) -> CollectionSettings:
        """Return the settings that a caller gives; keywords take the place of attributes.

        Raises:
            TypeError: there is no such keyword.
        """
        check_keywords("a collection", keywords, SettingsKeywords.__annotations__)
        return replace(settings or cls(), **keywords)

    def choose(self, *, keeps_dense: bool = True) -> ChosenEncoders:
        """Return the encoders, defaults filled in; raises as `choose_encoders` does."""
        from .default_encoders import choose_encoders

        return choose_encoders(
            self.encoder, self.dense, has_lexical_options=self.lexical is not None, keeps_dense=keeps_dense
        )

    def dense_field_settings(self) -> DenseSettings | None:
        """Return the dense model's settings: of one that nobody named, those that let both share a pass."""
        if self.dense_settings is not None or self.learned is None or self.dense is not None:
            return self.dense_settings
        from lexhound.encoders.dense.settings import DenseSettings
        from lexhound.encoders.sparse.settings import LearnedSettings

        learned = self.learned
        limit = None if learned.max_length == LearnedSettings().max_length else learned.max_length
        return DenseSettings(limit, device=learned.device, precision=learned.precision)

    def passage_settings(self, *, lexical: bool) -> PassageSettings | None:
        """Return how long texts are split; None where they are not. `lexical`: the encoder is bm25.

        Raises:
            SettingsError: `passages` means nothing.
        """
        from lexhound.encoders.sparse.settings import LearnedSettings
        from lexhound.retrieval.documents.passages import DEFAULT, LEAST_TOKENS, PassageSettings, parse_passages

        if self.passages is not None:
            return parse_passages(self.passages)
        if lexical or (self.learned is not None and self.learned.long_texts != "truncate"):
            return None
        usual = parse_passages(DEFAULT)
        limit = LearnedSettings().max_length if self.learned is None else self.learned.max_length
        if usual is None:
            return None
        tokens = max(min(limit, usual.tokens), LEAST_TOKENS)
        return PassageSettings(tokens, min(usual.overlap, tokens // 2), limit)
