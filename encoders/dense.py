"""Dense encoders: a text becomes one vector of fixed width, compared by inner product.

A transformer's hidden states are pooled, and brought to unit length where the model says so. Poolings: the mean over
the tokens (Reimers & Gurevych, "Sentence-BERT", EMNLP 2019, section 3), the [CLS] token (Karpukhin et al., "Dense
Passage Retrieval", EMNLP 2020, section 3), the last token of a decoder (Wang et al., "Improving Text Embeddings with
Large Language Models", ACL 2024, section 3).

A vector does not depend on the batch, its neighbours or the number of threads, up to rounding: in float32 its values
differ by less than 1e-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import EncoderIdentity, fingerprint_of
from .batches import by_length, halving
from .bodies import Body, attention, padded
from .checkpoints import require_neural
from .dense_layout import POOLINGS, DenseLayout, read_dense_layout
from .errors import IdentityError, SettingsError
from .hub import Located, locate
from .settings import DEVICES, PRECISIONS

KIND = "dense"
_VERSION = 1  # of how settings and files become vectors: part of every fingerprint
# These only say how fast vectors come; the others say what they are.
_RUNNING = frozenset({"batch_tokens", "device", "precision"})


@dataclass(frozen=True, slots=True)
class DenseSettings:
    """Options of a dense encoder; None believes what the model's folder says.

    Attributes:
        max_length: longest input in tokens, special ones included; never more than the model's own limit. What is
            beyond it is left out.
        pooling: "mean", "cls" or "lasttoken".
        normalise: bring vectors to unit length, so that inner products are cosines.
        query_prompt, document_prompt: put before every text of that side ("query: " and "passage: " for some models).
        batch_tokens: tokens a batch, padding included.
        device, precision: as of `lexhound.encoders.settings.LearnedSettings`; vectors are float32 in any case.
    """

    max_length: int | None = None
    pooling: str | None = None
    normalise: bool | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    batch_tokens: int = 8192
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("max_length", 3), ("batch_tokens", 1)):
            value = getattr(self, name)
            if value is None and name == "max_length":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SettingsError(f"{name} is {value!r}", f"It must be a whole number of at least {least}")
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise SettingsError(f"pooling is {self.pooling!r}", f"It must be one of {', '.join(POOLINGS)}")
        if self.normalise is not None and not isinstance(self.normalise, bool):
            raise SettingsError(f"normalise is {self.normalise!r}", "It must be true or false")
        for name in ("query_prompt", "document_prompt"):
            if not isinstance(getattr(self, name), str | None):
                raise SettingsError(f"{name} is {getattr(self, name)!r}", "It must be a text")
        for name, allowed in (("device", DEVICES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise SettingsError(f"{name} is {getattr(self, name)!r}", f"It must be one of {', '.join(allowed)}")

    def identifying(self) -> dict[str, Any]:
        """Return the settings that change vectors, those at their defaults left out."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in _RUNNING and getattr(self, field.name) != field.default
        }

    def running(self, identifying: dict[str, Any]) -> DenseSettings:
        """Return settings that make the vectors `identifying` says, the way these run.

        Raises:
            TypeError: `identifying` names a setting that there is not.
        """
        own = {name: value for name, value in asdict(self).items() if name in _RUNNING}
        return DenseSettings(**{**identifying, **own})


class DenseEncoder:
    """Encodes texts with a sentence-embedding model, a folder or a Hugging Face hub name. Safe to call from several
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
        self.layout: DenseLayout = read_dense_layout(self._located.folder)
        self._stored = identity
        self._lock = RLock()
        self._opened: Body | None = None

    @cached_property
    def identity(self) -> EncoderIdentity:
        """Files, and all that says how they make vectors."""
        if self._stored is not None:
            return self._stored
        parts = {"model": self.layout.hash(), "vocabulary": self.body.subwords.vocabulary_hash}
        values = {
            "version": _VERSION, **parts, "pooling": self.pooling, "normalise": self.normalise,
            "prompts": [self.prompt("query"), self.prompt("document")], "pool_prompt": self.layout.pool_prompt,
            "length": self.body.limit, "lower_case": self.layout.lower_case,
        }  # fmt: skip
        name, revision = self._located.name, self._located.revision
        return EncoderIdentity(KIND, name, fingerprint_of(values), None, self.settings.identifying(), revision, parts)

    @property
    def pooling(self) -> str:
        """How tokens become a vector."""
        return self.settings.pooling or self.layout.pooling

    @property
    def normalise(self) -> bool:
        """Whether vectors are of unit length."""
        return self.layout.normalise if self.settings.normalise is None else self.settings.normalise

    @property
    def width(self) -> int:
        """Length of the vectors. Loads the model."""
        return int(self._model()[0].config.hidden_size)

    @property
    def body(self) -> Body:
        """Tokenizer and model, opened when first asked for.

        Raises:
            IdentityError: the files have changed since the stored vectors were made.
        """
        with self._lock:
            if self._opened is None:
                require_neural()
                if self._stored is not None and self._stored.parts.get("model") != self.layout.hash():
                    raise IdentityError(
                        f"{self._stored.name} is no longer the model whose vectors are stored: its files have changed",
                        "Bring back the files it had, or index the documents again",
                    )
                settings = self.settings
                self._opened = Body(
                    self.layout.transformer, self.layout.root,
                    max_length=settings.max_length, device=settings.device, precision=settings.precision,
                )  # fmt: skip
            return self._opened

    def prompt(self, side: str) -> str:
        """What is put before every text of the side "query" or "document"."""
        given = self.settings.query_prompt if side == "query" else self.settings.document_prompt
        told = self.layout.query_prompt if side == "query" else self.layout.document_prompt
        return told if given is None else given

    def prepare(self) -> None:
        """Load the model, so that whatever is wrong with it is told now."""
        self._model()

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32[len(texts), width], C-contiguous."""
        return self._encode(texts, self.prompt("document"))

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32[len(texts), width], C-contiguous."""
        return self._encode(texts, self.prompt("query"))

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """Return one query's vector, float32[width]."""
        vector: NDArray[np.float32] = self.encode_queries([text])[0]
        return vector

    def _model(self) -> tuple[Any, Any]:
        return self.body.load("AutoModel", "model", ignored="pooler.")

    def _encode(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        import torch

        body = self.body
        model, device = self._model()
        prefix, suffix = body.subwords.prefix, body.subwords.suffix
        room = body.limit - len(prefix) - len(suffix)
        whole = [prompt + text for text in texts]
        if self.layout.lower_case:
            whole = [text.lower() for text in whole]
        rows = [[*prefix, *ids[:room], *suffix] for ids in body.subwords.ids_of(whole)]
        hidden_from = self._passed_over(prompt)

        def vectors(batch: list[list[int]]) -> list[NDArray[np.float32]]:
            ids, mask = padded(batch, body.padding, device)
            hidden = model(input_ids=ids, attention_mask=attention(mask)).last_hidden_state.float()
            pooled = self._pool(hidden, mask, hidden_from)
            if self.normalise:
                pooled = torch.nn.functional.normalize(pooled, dim=-1)
            return list(pooled.cpu().numpy())

        found = np.zeros((len(rows), int(model.config.hidden_size)), dtype=np.float32)
        lengths = [len(row) for row in rows]
        with torch.inference_mode():
            for places in by_length(lengths, self.settings.batch_tokens):
                found[places] = halving(vectors, [rows[place] for place in places])
        with self._lock:
            self.tokens_encoded += sum(lengths)
        return found

    def _passed_over(self, prompt: str) -> int:
        """How many tokens at the start of every text the pooling leaves out."""
        if self.layout.pool_prompt or not prompt:
            return 0
        subwords = self.body.subwords
        return len(subwords.prefix) + len(subwords.ids(prompt))

    def _pool(self, hidden: Any, mask: Any, start: int) -> Any:
        """float[n, longest, width] and bool[n, longest] -> float[n, width]."""
        import torch

        if self.pooling == "lasttoken":
            last = mask.sum(1) - 1
            return hidden[torch.arange(len(hidden), device=hidden.device), last]
        if self.pooling == "cls":
            return hidden[:, min(start, hidden.shape[1] - 1)]
        if start:
            mask = mask.clone()
            mask[:, :start] = False
        return (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
