"""Dense encoders: a text becomes one vector of fixed width, compared by inner product.

A transformer's hidden states are pooled, and brought to unit length where the model says so. Poolings: the mean over
the tokens (Reimers & Gurevych, "Sentence-BERT", EMNLP 2019, section 3), the [CLS] token (Karpukhin et al., "Dense
Passage Retrieval", EMNLP 2020, section 3), the last token of a decoder (Wang et al., "Improving Text Embeddings with
Large Language Models", ACL 2024, section 3).

A vector does not depend on the batch, its neighbours or the number of threads, up to rounding: in float32 its values
differ by less than 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import EncoderIdentity, ShareDone, fingerprint_of
from lexhound.encoders.checkpoints.hub import Located, locate
from lexhound.encoders.checkpoints.modules import ST_CONFIG
from lexhound.encoders.errors import CheckpointError, IdentityError
from lexhound.encoders.libraries import AGAIN, TOKENIZERS, require_same, version_of
from lexhound.encoders.runtime.backbone import Backbone
from lexhound.encoders.runtime.batching import in_batches
from lexhound.encoders.runtime.token_pooling import means_of, starts_of, unit
from lexhound.encoders.text.token_reader import TokenReader

from .layout import DenseLayout, read_dense_layout
from .settings import DenseSettings

KIND = "dense"
ROLES = ("query", "document")
_VERSION = 1  # of how settings and files become vectors: part of every fingerprint


class DenseEncoder:
    """A dense encoder with a sentence-embedding model, a folder or a Hugging Face hub name. Safe to call from several
    threads. The model is loaded when it is first used, or by `prepare`.

    Args:
        checkpoint: the folder or hub name: of sentence-transformers, or a plain transformer.
        settings: options that override what the folder says.
        identity: what a collection stored; the model's files are compared with it before they are first used.

    Raises:
        CheckpointError, MissingExtraError: see `locate` and `read_dense_layout`; from the methods: the model cannot be
            loaded.
        IdentityError: from the methods: the files are not those that made the stored vectors.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        settings: DenseSettings | None = None,
        *,
        identity: EncoderIdentity | None = None,
    ) -> None:
        self.settings = settings or DenseSettings()
        self.tokens_encoded = 0
        self._located: Located = locate(checkpoint)
        self._layout: DenseLayout = read_dense_layout(self._located.folder)
        self._stored = identity
        self._lock = RLock()
        self._opened: Backbone | None = None
        if identity is None:
            self._check_similarity()

    @cached_property
    def identity(self) -> EncoderIdentity:
        """Files, and all that says how they make vectors."""
        if self._stored is not None:
            return self._stored
        backbone = self.backbone
        subwords = backbone.subwords
        parts = {"model": self._layout.hash(), "vocabulary": subwords.vocabulary_hash, "tokens": subwords.tokens_digest}
        name, revision = self._located.name, self._located.revision
        fingerprint = self._fingerprint(self._layout, backbone, parts)
        settings, libraries = self.settings.identifying(), {TOKENIZERS: version_of(TOKENIZERS)}
        return EncoderIdentity(KIND, name, fingerprint, None, settings, revision, parts, libraries)

    def _fingerprint(self, layout: DenseLayout, backbone: Backbone, parts: Mapping[str, str]) -> str:
        query, document = (backbone.limit_of(length) for length in (layout.query_length, layout.document_length))
        values = {
            "version": _VERSION, **parts, "pooling": self.settings.pooling or layout.pooling,
            "normalise": self._normalised(layout), "prompts": [self._prompt(layout, role) for role in ROLES],
            "pool_prompt": layout.pool_prompt, "length": document, "lower_case": layout.lower_case,
        }  # fmt: skip
        if query != document:
            values["query_length"] = query
        if layout.dimensions is not None:
            values |= {"dimensions": layout.dimensions, "unit_before": layout.unit_before}
        return fingerprint_of(values)

    @property
    def layout(self) -> DenseLayout:
        """What the folder says; of a stored identity, as it was read when that was made."""
        if self._stored is not None:
            _ = self.backbone
        return self._layout

    @property
    def pooling(self) -> str:
        """How tokens become a vector."""
        return self.settings.pooling or self.layout.pooling

    @property
    def normalise(self) -> bool:
        """Whether vectors are of unit length."""
        return self._normalised(self.layout)

    def _normalised(self, layout: DenseLayout) -> bool:
        return layout.normalise if self.settings.normalise is None else self.settings.normalise

    @property
    def width(self) -> int:
        """Length of the vectors."""
        width = self.backbone.width
        return min(width, self.layout.dimensions or width)

    @property
    def backbone(self) -> Backbone:
        """Tokenizer and model, opened when first asked for.

        Raises:
            IdentityError: the files, or the tokens that the library makes with them, are no longer those that made the
                stored vectors.
        """
        with self._lock:
            if self._opened is None:
                stored, layout, settings = self._stored, self._layout, self.settings
                if stored is not None and stored.parts.get("model") != layout.hash():
                    raise _changed(stored, "files have")
                backbone = Backbone(
                    layout.transformer, layout.root,
                    max_length=settings.max_length, device=settings.device, precision=settings.precision,
                    stated=layout.document_length, lower_case=layout.lower_case,
                )  # fmt: skip
                if stored is not None:
                    now = {"tokens": backbone.subwords.tokens_digest}
                    require_same(stored, now, {"tokens": (TOKENIZERS, "tokens")}, AGAIN)
                    self._layout = self._as_stored(stored, backbone)
                self._opened = backbone
            return self._opened

    def _as_stored(self, stored: EncoderIdentity, backbone: Backbone) -> DenseLayout:
        """Return how the folder was read for the stored vectors: as it is now, or as earlier versions did."""
        for layout in (self._layout, self._layout.before):
            if layout is not None and self._fingerprint(layout, backbone, stored.parts) == stored.fingerprint:
                return layout
        raise _changed(stored, "description has")

    def limit(self, role: str) -> int:
        """Return the longest input of the side "query" or "document" in tokens, special ones included."""
        layout = self.layout
        return self.backbone.limit_of(layout.query_length if role == "query" else layout.document_length)

    def document_reader(self) -> TokenReader:
        """Return how the model reads a document."""
        return self._reader("document")

    def query_reader(self) -> TokenReader:
        """Return how the model reads a query."""
        return self._reader("query")

    def _reader(self, role: str) -> TokenReader:
        subwords, prompt = self.backbone.subwords, self.prompt(role)
        around = len(subwords.prefix) + len(subwords.suffix) + (len(subwords.ids(prompt)) if prompt else 0)
        return TokenReader(subwords, self.limit(role) - around, around)

    def prompt(self, role: str) -> str:
        """Return what is put before every text of the side "query" or "document"."""
        return self._prompt(self.layout, role)

    def _prompt(self, layout: DenseLayout, role: str) -> str:
        configured = self.settings.query_prompt if role == "query" else self.settings.document_prompt
        stated = layout.query_prompt if role == "query" else layout.document_prompt
        return stated if configured is None else configured

    def prepare(self) -> None:
        """Load the model, so that whatever is wrong with it is told now."""
        self.backbone.prepare()

    def encode_documents(self, texts: Sequence[str], progress: ShareDone | None = None) -> NDArray[np.float32]:
        """Return float32[len(texts), width], C-contiguous; zeros, which are no vector, for a text without a token."""
        return self._encode(texts, "document", progress)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32[len(texts), width], C-contiguous; zeros, which are no vector, for a text without a token."""
        return self._encode(texts, "query")

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """Return one query's vector, float32[width]."""
        vector: NDArray[np.float32] = self.encode_queries([text])[0]
        return vector

    def _encode(self, texts: Sequence[str], role: str, progress: ShareDone | None = None) -> NDArray[np.float32]:
        backbone = self.backbone
        prompt = self.prompt(role)
        prefix, suffix = backbone.subwords.prefix, backbone.subwords.suffix
        room = self.limit(role) - len(prefix) - len(suffix)
        unprompted = backbone.subwords.ids_of(texts, room)
        prompted = backbone.subwords.ids_of([prompt + text for text in texts], room) if prompt else unprompted
        nonempty = [position for position, ids in enumerate(unprompted) if not backbone.subwords.says_nothing(ids)]
        rows = [[*prefix, *prompted[position][:room], *suffix] for position in nonempty]
        start = self._passed_over(prompt)

        def vectors(batch: list[list[int]]) -> list[NDArray[np.float32]]:
            lengths = [len(row) for row in batch]
            return list(self._finished(self._pool(backbone.states(batch), lengths, start)))

        result = np.zeros((len(texts), self.width), dtype=np.float32)
        lengths = [len(row) for row in rows]
        for positions, batch in in_batches(vectors, rows, lengths, self.settings.batch_tokens, progress):
            result[[nonempty[position] for position in positions]] = batch
            with self._lock:
                self.tokens_encoded += sum(lengths[position] for position in positions)
        return result

    def _finished(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return vectors cut to the layout's dimensions and brought to unit length, as it asks."""
        if self.layout.dimensions is not None:
            vectors = unit(vectors) if self.layout.unit_before else vectors
            vectors = vectors[:, : self.layout.dimensions]
        return unit(vectors) if self.normalise else vectors

    def _check_similarity(self) -> None:
        """Refuse a model whose vectors are compared otherwise than is done here, unless the settings say how."""
        similarity = self._layout.similarity
        if similarity is not None and self.settings.normalise is None:
            raise CheckpointError(
                f"{self._layout.root / ST_CONFIG}: similarity_fn_name is {similarity!r}, and dense vectors are "
                "compared by inner product here",
                "Where that will do, write cosine or dot there",
            )

    def _passed_over(self, prompt: str) -> int:
        """Return how many tokens at the start of every text the pooling leaves out."""
        if self.layout.pool_prompt or not prompt:
            return 0
        subwords = self.backbone.subwords
        return len(subwords.prefix) + len(subwords.ids(prompt))

    def _pool(self, states: NDArray[np.float32], lengths: list[int], start: int) -> NDArray[np.float32]:
        """Return float32[texts, width] of the texts' tokens, float32[tokens, width], the first `start` left out."""
        starts, lasts = starts_of(lengths), np.array(lengths) - 1
        if self.pooling in ("lasttoken", "cls"):
            offsets = lasts if self.pooling == "lasttoken" else np.minimum(start, lasts)
            chosen: NDArray[np.float32] = states[starts + offsets]
            return chosen
        if not start:
            return means_of(states, lengths)
        pooled = np.zeros((len(lengths), states.shape[1]), dtype=np.float32)
        for number, (first, length) in enumerate(zip(starts, lengths, strict=True)):
            if length > start:
                pooled[number] = states[first + start : first + length].mean(axis=0)
        return pooled


def _changed(identity: EncoderIdentity, what: str) -> IdentityError:
    return IdentityError(
        f"{identity.name} is no longer the model whose vectors are stored: its {what} changed",
        "Restore its files, or index the documents again",
    )
