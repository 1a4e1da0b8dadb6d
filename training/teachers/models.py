"""Teachers of texts and of pairs of texts: dense models, cross-encoders, sparse encoders.

A dense teacher scores a pair by the dot product of two unit vectors (Reimers & Gurevych, "Sentence-BERT", EMNLP 2019,
section 3); a cross-encoder reads the two together (Nogueira & Cho, "Passage Re-ranking with BERT", 2019, section 3).
Any sparse encoder of ours is a teacher too, by the dot product of its vectors (`scoring.VectorTeacher`), and so is
BM25, which knows its collection: `lexhound.training.data.bm25_pool`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import fingerprint_of
from lexhound.encoders.checkpoints.hub import files_hash, locate
from lexhound.encoders.checkpoints.loading import require_neural
from lexhound.encoders.checkpoints.modules import POOLINGS, stated_length
from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.runtime.backbone import Backbone
from lexhound.encoders.runtime.batching import in_batches
from lexhound.encoders.runtime.padding import attention, padded
from lexhound.encoders.settings import require_one_of, require_whole
from lexhound.encoders.text.subwords import encodable
from lexhound.encoders.text.token_reader import TokenReader

from .shards import Progress, in_shards

if TYPE_CHECKING:
    import torch

_VERSION = 1  # of how texts become scores: part of the name of every cached shard


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """Options of a teacher that runs a model.

    Attributes:
        max_length: longest input in tokens, special ones included; None for what the model's folder says.
        pooling: how a dense teacher's tokens become one vector, one of `POOLINGS`; None for what its folder says, and
            the mean where that says nothing.
        prompt: put before every text of a dense teacher; None for what its folder says of queries and of documents.
        batch_tokens: tokens a batch, padding included.
        device, precision: as of `lexhound.encoders.sparse.settings.LearnedSettings`.
    """

    max_length: int | None = None
    pooling: str | None = None
    prompt: str | None = None
    batch_tokens: int = 8192
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.max_length is not None:
            require_whole("a teacher's max_length", self.max_length, 3)
        require_whole("a teacher's batch_tokens", self.batch_tokens, 1)
        if self.pooling is not None:
            require_one_of("a teacher's pooling", self.pooling, POOLINGS)


class DenseTeacher:
    """A dense encoder (`lexhound.encoders.dense.encoder`) that keeps what it has read.

    Vectors are brought to unit length whether or not the folder says so. The model is loaded when something has to be
    computed, so texts whose vectors are all in the cache cost no model.

    Raises:
        CheckpointError, MissingExtraError: the folder is no such model, or cannot be read.
    """

    def __init__(self, folder: str | Path, settings: TeacherSettings | None = None) -> None:
        self.settings = settings or TeacherSettings()
        model_settings = self.settings
        prompt = model_settings.prompt
        self.encoder = DenseEncoder(
            folder,
            DenseSettings(
                model_settings.max_length,
                model_settings.pooling,
                True,
                prompt,
                prompt,
                model_settings.batch_tokens,
                model_settings.device,
                model_settings.precision,
            ),
        )

    @property
    def reader(self) -> TokenReader:
        """How it reads a text."""
        return self.encoder.document_reader()

    @property
    def width(self) -> int:
        """Length of the vectors, told by the model's settings alone."""
        return self.encoder.backbone.width

    def encode(
        self,
        texts: Sequence[str],
        *,
        queries: bool = False,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return float32[len(texts), width], rows of unit length.

        Args:
            queries: whether the texts are queries, which may have another prompt than documents.
            cache: folder in which the vectors are kept, in shards by content (see `in_shards`).
        """
        encode = self.encoder.encode_queries if queries else self.encoder.encode_documents
        key = self._key("query" if queries else "document")
        return in_shards(texts, encode, depends_on=key, cache=cache, progress=progress)

    def _key(self, role: str) -> str:
        encoder = self.encoder
        values = {
            "version": _VERSION, "kind": "dense", "files": files_hash(encoder.layout.transformer),
            "length": encoder.backbone.limit, "pooling": encoder.pooling, "prompt": encoder.prompt(role),
            "precision": encoder.backbone.states_precision(),
        }  # fmt: skip
        return fingerprint_of(values)


class CrossTeacher:
    """A cross-encoder: a sequence classifier with one output, which reads query and document together.

    Raises:
        CheckpointError, MissingExtraError: the folder is no such model, or cannot be read.
    """

    def __init__(self, folder: str | Path, settings: TeacherSettings | None = None) -> None:
        require_neural()
        self.settings = settings or TeacherSettings()
        self._root = locate(folder).folder

    def prepare(self) -> None:
        """Load the model, so that whatever is wrong with it is told now."""
        self._classifier()

    @property
    def reader(self) -> TokenReader:
        """How it reads a document, of which a query takes some tokens more."""
        inputs = self._model
        around = len(inputs.subwords.prefix) + len(inputs.subwords.suffix)
        return TokenReader(inputs.subwords, max(1, inputs.limit - around), around)

    def score(
        self, pairs: Sequence[tuple[str, str]], *, cache: Path | None = None, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return float32[len(pairs)]: the logit of each (query, document), cut to the limit at the longer of the two.

        Args:
            cache: folder in which the scores are kept, in shards by content (see `in_shards`).
        """
        return in_shards(pairs, self._score, depends_on=self._key, cache=cache, progress=progress)

    @cached_property
    def _key(self) -> str:
        _, dtype = self._model.where()
        values = {
            "version": _VERSION, "kind": "cross-encoder", "files": files_hash(self._root),
            "length": self._model.limit, "precision": str(dtype),
        }  # fmt: skip
        return fingerprint_of(values)

    @cached_property
    def _model(self) -> Backbone:
        settings = self.settings
        return Backbone(
            self._root,
            self._root,
            max_length=settings.max_length,
            device=settings.device,
            precision=settings.precision,
            stated=stated_length(self._root),
        )

    @cached_property
    def _tokenizer(self) -> Any:
        """The tokenizer, cutting pairs at the model's limit."""
        return self._model.subwords.for_pairs(self._model.limit)

    def _classifier(self) -> tuple[Any, torch.device]:
        model, device = self._model.load("AutoModelForSequenceClassification", "cross-encoder")
        outputs = int(model.config.num_labels)
        if outputs != 1:
            raise CheckpointError(
                f"{self._root} gives {outputs} values a pair", "A teacher must give one: the relevance of the document"
            )
        return model, device

    def _score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        import torch

        inputs = self._model
        model, device = self._classifier()
        typed = int(getattr(model.config, "type_vocab_size", 0)) > 1
        encoded = self._tokenizer.encode_batch([(encodable(query), encodable(text)) for query, text in pairs])
        rows = [(encoding.ids, encoding.type_ids) for encoding in encoded]

        def scores(batch: list[tuple[list[int], list[int]]]) -> list[float]:
            ids, mask = padded([token_ids for token_ids, _ in batch], inputs.padding, device)
            types, _ = padded([type_ids for _, type_ids in batch], 0, device)
            more = {"token_type_ids": types} if typed else {}
            logits = model(input_ids=ids, attention_mask=attention(mask), **more).logits
            return [float(value) for value in logits.float().reshape(-1).tolist()]

        all_scores = np.empty(len(rows), dtype=np.float32)
        with torch.inference_mode():
            for positions, batch in in_batches(scores, rows, [len(ids) for ids, _ in rows], self.settings.batch_tokens):
                all_scores[positions] = batch
        return all_scores
