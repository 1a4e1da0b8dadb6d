"""A learned sparse encoder: a document encoder and a query encoder over one vocabulary, each loaded when it is first
used.

So a search with an inference-free encoder reads a tokenizer and a table, and never loads the document encoder's model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import EncoderIdentity, LiveStatistics, QueryVector, ShareDone, Span, fingerprint_of
from lexhound.encoders.checkpoints.hub import Located, locate
from lexhound.encoders.errors import CheckpointError, IdentityError, SettingsError
from lexhound.encoders.late.vectors import QueryTokens, TokenVectors, kept_vectors, quantised, query_tokens
from lexhound.encoders.libraries import AGAIN, TOKENIZERS, require_same, version_of
from lexhound.encoders.text.subwords import Subwords
from lexhound.encoders.vector_files import stacked

from .folders import read_layout
from .layout import EncoderLayout, Layout
from .live_idf import PRIOR, live_idf
from .opening import EncoderOpener, TextEncoder, open_subwords
from .pruning import prune_words
from .settings import LearnedSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexhound.encoders.latent.names import LatentNames, WordsAndLatents
    from lexhound.encoders.text.token_reader import TokenReader

    from .latent_queries import WordsAndLatentsTable
    from .model_encoder import VocabularyEncoder
    from .static import TokenTable

_VERSION = 2  # of how settings and files become vectors: part of every fingerprint


class LearnedEncoder:
    """An encoder of texts with a checkpoint, a folder or a Hugging Face hub name. Safe to call from several threads.

    Args:
        checkpoint: the folder or hub name.
        settings: options of both encoders.
        identity: what a collection stored; each encoder's files are compared with it when that encoder is first used,
            and nothing else is read before.

    Raises:
        CheckpointError, MissingExtraError: see `locate`, `read_layout` and `Subwords.open`; and from the methods, when
            a encoder is first used, see `open_masked_lm`, `load_language_model`,
            `read_regression_layers` and `read_weights`.
        IdentityError: from the methods: the files are not those that made the stored vectors.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        settings: LearnedSettings | None = None,
        *,
        identity: EncoderIdentity | None = None,
    ) -> None:
        self.settings = settings or LearnedSettings()
        self._located: Located = locate(checkpoint)
        self.layout: Layout = read_layout(self._located.folder)
        self._stored = identity
        self._lock = RLock()
        self._encoders: dict[str, TextEncoder] = {}
        if identity is not None:
            self.layout = self._as_stored(identity)
        self._opener = EncoderOpener(self.layout, self.settings, lambda: self._encoder("document"))
        if self.layout.query.kind == "table":  # cheap, and then errors come when the encoder is opened
            self._encoder("query")

    @cached_property
    def identity(self) -> EncoderIdentity:
        """Files, vocabulary, and the settings that change vectors."""
        if self._stored is not None:
            return self._stored
        document, query = (encoder.hash(self.layout.root) for encoder in (self.layout.document, self.layout.query))
        parts = {"vocabulary": self._query_subwords.vocabulary_hash, "document": document, "query": query}
        parts |= {f"{encoder}_tokens": self.subwords(encoder).tokens_digest for encoder in ("document", "query")}
        settings = self.settings.identifying()
        size = self._encoder("query").vocabulary_size
        kind, name, revision = self.layout.family, self._located.name, self._located.revision
        fingerprint = _fingerprint(self.layout, settings, parts)
        libraries = {TOKENIZERS: version_of(TOKENIZERS)}
        return EncoderIdentity(kind, name, fingerprint, size, settings, revision, parts, libraries)

    def _as_stored(self, identity: EncoderIdentity) -> Layout:
        """Return how the folder was read for the stored vectors: as it is now, or as earlier versions did."""
        if identity.kind != self.layout.family:
            raise _changed(identity, "kind")
        settings = self.settings.identifying()
        for layout in (self.layout, self.layout.before):
            if layout is not None and _fingerprint(layout, settings, identity.parts) == identity.fingerprint:
                return layout
        raise _changed(identity, "description")

    def prepare(self) -> None:
        """Load both encoders, so that whatever is wrong with either is told now.

        Raises:
            CheckpointError: also where the two encoders are of different vocabularies.
        """
        document, query = self._encoder("document"), self._encoder("query")
        _ = self._prior
        if self._document_subwords.vocabulary_hash != self._query_subwords.vocabulary_hash or (
            document.vocabulary_size != query.vocabulary_size
        ):
            raise CheckpointError(
                f"{self.layout.root}: documents are encoded over {document.vocabulary_size} terms and queries over "
                f"{query.vocabulary_size} others",
                "Both encoders must have the same tokenizer, and a weight or output for each of its tokens",
            )

    @property
    def tokens_encoded(self) -> int:
        """How many tokens the models have read so far, special tokens included; for telling speed."""
        return sum(
            encoder.tokens_encoded for encoder in {id(encoder): encoder for encoder in self._encoders.values()}.values()
        )

    def encode_documents(self, texts: Sequence[str], progress: ShareDone | None = None) -> csr_array:
        """Return float32 vectors, len(texts) × vocabulary_size, indices sorted, weights > 0."""
        encoder = self._encoder("document")
        return stacked([self._document(vector) for vector in encoder.encode(texts, progress)], encoder.vocabulary_size)

    def encode_documents_with_means(
        self, texts: Sequence[str], progress: ShareDone | None = None
    ) -> tuple[csr_array, NDArray[np.float32]]:
        """Return what `encode_documents` does, and the mean state of each text's tokens, float32[texts, width].

        For encoders that `lexhound.encoders.shared_backbone` finds fit for it.
        """
        encoder = self._encoder("document")
        vectors: list[QueryVector]
        means: NDArray[np.float32]
        vectors, means = encoder.encode_with_means(texts, progress)  # type: ignore[attr-defined]
        return stacked([self._document(vector) for vector in vectors], encoder.vocabulary_size), means

    def encode_documents_with_tokens(
        self, texts: Sequence[str], progress: ShareDone | None = None
    ) -> tuple[csr_array, NDArray[np.float32], list[TokenVectors]]:
        """Return what `encode_documents_with_means` does, and the vectors of each text's tokens; of one pass.

        Raises:
            SettingsError: it makes none (`require_tokens`).
        """
        idf = self.require_tokens()
        encoder: VocabularyEncoder = self._encoder("document")  # type: ignore[assignment]
        vectors, means, kept = encoder.encode_with_states(
            texts, lambda tokens, states: kept_vectors(tokens, states, idf), progress
        )
        none = quantised(np.empty((0, encoder.width), np.float32))
        sparse = stacked([self._document(vector) for vector in vectors], encoder.vocabulary_size)
        return sparse, means, [none if own is None else own for own in kept]

    def query_tokens(self, text: str) -> QueryTokens:
        """Return the tokens of a query as late interaction takes them: a pass of the document encoder's model.

        Raises:
            SettingsError: it makes none (`require_tokens`).
        """
        idf = self.require_tokens()
        encoder: VocabularyEncoder = self._encoder("document")  # type: ignore[assignment]
        _, _, (own,) = encoder.encode_with_states([text], lambda tokens, states: query_tokens(tokens, states, idf))
        return own or query_tokens(np.empty(0, np.int64), np.empty((0, encoder.width), np.float32), idf)

    def require_tokens(self) -> NDArray[np.float32]:
        """Return the idf of each token, float32[vocabulary], of an encoder that makes vectors of tokens.

        Raises:
            SettingsError: its documents are not read by a masked language model, or its queries have no table of idf.
        """
        document, query = self.layout.document, self.layout.query
        if document.kind != "mlm" or document.echo or document.prompt or self.settings.long_texts != "truncate":
            reason = "its documents are not read in one pass of a masked language model"
        elif query.kind != "table" or query.weights is None:
            reason = "its queries have no table of idf"
        else:
            table: TokenTable = self._encoder("query")  # type: ignore[assignment]
            return table.weights
        raise SettingsError(
            f"{self._located.name} makes no vectors of tokens for late interaction: {reason}",
            "Leave them out, or take another encoder, such as lexhound-mini",
        )

    def _document(self, vector: QueryVector) -> QueryVector:
        top_k = self.settings.top_k or self.layout.document.top_k
        return prune_words(*vector, self._words, top_k, self.settings.ratio)

    @cached_property
    def _words(self) -> int | None:
        """How many terms are words, where latents follow them."""
        if not self.layout.query.beside_words:
            return None
        encoder: WordsAndLatentsTable = self._encoder("query")  # type: ignore[assignment]
        return encoder.words

    def document_reader(self) -> TokenReader:
        """Return how its model reads a document. Loads the model."""
        return self._encoder("document").reader

    def query_reader(self) -> TokenReader:
        """Return how a query is read. Loads what encodes queries."""
        return self._encoder("query").reader

    def longest_document(self) -> int:
        """Return how many tokens of a document its model reads, special ones included. Loads the model."""
        longest: int = self._encoder("document").max_length  # type: ignore[attr-defined]
        return longest

    def encode_query(self, text: str, statistics: LiveStatistics | None = None) -> QueryVector:
        """Return one query's int32 term ids, ascending, and float32 weights > 0.

        Args:
            statistics: of the collection that is searched, for encoders whose query weights follow it; without them
                they weigh what their table says.
        """
        return self._query(self._encoder("query").encode_one(text), statistics)

    def encode_queries(self, texts: Sequence[str], statistics: LiveStatistics | None = None) -> list[QueryVector]:
        """Return each query's int32 term ids, ascending, and float32 weights > 0, in the order given."""
        return [self._query(vector, statistics) for vector in self._encoder("query").encode(texts)]

    def _query(self, vector: QueryVector, statistics: LiveStatistics | None) -> QueryVector:
        terms, weights = vector
        if statistics is not None and self._prior and len(terms):
            encoder: TokenTable = self._encoder("query")  # type: ignore[assignment]
            table, frequencies = encoder.weights[terms], statistics.document_frequencies(terms)
            if encoder.surface_match is not None:
                frequencies = frequencies * encoder.surface_match[terms].astype(np.float64)
            is_word = terms < (len(encoder.weights) if self._words is None else self._words)
            priors = np.where(is_word, self._prior, self.layout.query.latent_prior or self._prior)
            live = live_idf(table, frequencies, statistics.n_documents, priors)
            weights = weights * (live / table)
            useful = weights > 0
            if self.layout.query.common:
                common = is_word & (live <= -math.log(self.layout.query.common))
                if (is_word & ~common).any():
                    useful &= ~common
            terms, weights = terms[useful], weights[useful]
        top_k = self.settings.query_top_k or self.layout.query.query_top_k
        return prune_words(terms, weights, self._words, top_k, self.settings.query_ratio)

    @cached_property
    def _prior(self) -> int:
        """How many documents the query table counts for beside a collection's; 0 where it stands as it is."""
        source, layout = self.settings.query_idf, self.layout.query
        has_idf = bool(layout.prior) if layout.of_tokens else layout.kind == "table" and layout.weights is not None
        if source == "collection" and not has_idf:
            raise CheckpointError(
                f"{self._located.name} has no table of idf weights on its query encoder, which query_idf asks for",
                "Leave query_idf out",
            )
        if source == "model":
            return 0
        return layout.prior or (PRIOR if source == "collection" else 0)

    def term_text(self, term_id: int) -> str:
        """Return a term as the tokenizer writes it (`flow`, `##ing`); raises IndexError for an unknown id."""
        return self._terms.text(term_id)

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of terms written as `term_text` writes them; -1 for others and for special tokens."""
        return self._terms.lookup(terms)

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """The tokens that are never terms ([CLS], [UNK], ...), as the tokenizer writes them, with their ids."""
        return self._terms.special_tokens

    def spans(self, text: str) -> list[Span]:
        """Return the stretches of the whole text that are tokens, each with its token's id."""
        return self._terms.spans(text)

    @cached_property
    def _terms(self) -> Subwords | LatentNames | WordsAndLatents:
        """What says how terms are written."""
        query = self.layout.query
        if query.latents is None:
            return self._query_subwords
        from lexhound.encoders.latent.names import LatentNames, WordsAndLatents, read_words

        count = self._encoder("query").vocabulary_size - (self._words or 0)
        latents = LatentNames(count, read_words(self.layout.root / query.latents, count))
        return latents if self._words is None else WordsAndLatents(self._query_subwords, self._words, latents)

    def subwords(self, encoder: str) -> Subwords:
        """Return the tokens of the "document" or the "query" encoder."""
        return self._document_subwords if encoder == "document" else self._query_subwords

    @cached_property
    def _query_subwords(self) -> Subwords:
        return open_subwords(self.layout, self.layout.query)

    @cached_property
    def _document_subwords(self) -> Subwords:
        document, query = self.layout.document, self.layout.query
        if (document.folder, document.lower_case) == (query.folder, query.lower_case):
            return self._query_subwords
        return open_subwords(self.layout, self.layout.document)

    def _encoder(self, name: str) -> TextEncoder:
        encoder = self._encoders.get(name)
        if encoder is not None:
            return encoder
        with self._lock:
            if name not in self._encoders:
                self._encoders[name] = self._open(name)
            return self._encoders[name]

    def _open(self, name: str) -> TextEncoder:
        layout: EncoderLayout = getattr(self.layout, name)
        if self.layout.document == self.layout.query and self._encoders and not layout.of_tokens:
            return next(iter(self._encoders.values()))
        subwords = self.subwords(name)
        if self._stored is not None and self._stored.parts.get(name) != layout.hash(self.layout.root):
            raise _changed(self._stored, name)
        if self._stored is not None:
            part = f"{name}_tokens"
            require_same(self._stored, {part: subwords.tokens_digest}, {part: (TOKENIZERS, "tokens")}, AGAIN)
        return self._opener.open(layout, subwords, query=name == "query")


def _changed(identity: EncoderIdentity, part: str) -> IdentityError:
    return IdentityError(
        f"{identity.name} is no longer the encoder whose vectors are stored: its {part} has changed",
        "Restore its files, or index the documents again",
    )


def _fingerprint(layout: Layout, settings: dict[str, Any], parts: Mapping[str, str]) -> str:
    layouts = [encoder.as_dict() for encoder in (layout.document, layout.query)]
    return fingerprint_of({"version": _VERSION, **settings, **parts, "sides": layouts})
