"""SPLADE: sparse vectors from a masked language model's head.

    w_j = max over tokens i of  log(1 + relu(logit_ij))

Formal et al., "SPLADE v2: Sparse Lexical and Expansion Model for Information Retrieval" (2021), section 3.1, max
pooling. Documents and queries are encoded alike. As log(1 + relu(x)) never falls as x grows, the maximum is taken
over the logits first and the activation applied once a term.

The head is applied to a few tokens of one document at a time: nothing of the size batch × length × vocabulary exists.

Policies: texts longer than `max_length` tokens are cut there. Special tokens take part in the maximum, as they did in
training, but never become terms. A text without a token of its own has an empty vector.

A text's vector does not depend on its batch, up to float32 rounding: weights differ by less than 1e-4, and a term may
come or go only where its weight is less than that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .base import EncoderIdentity, QueryVector, Span, fingerprint_of
from .checkpoints import load_checkpoint, require_neural
from .errors import SettingsError

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_array

KIND = "splade"
DEVICES = ("auto", "cpu", "cuda", "mps")
# Tokens that the head is applied to at once: 64 × 30,522 float32 logits are 8 MB.
_HEAD_TOKENS = 64
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
# The settings that change vectors; the others only change how fast they come.
_IDENTIFYING = ("max_length", "top_k", "query_top_k")


@dataclass(frozen=True, slots=True)
class SpladeSettings:
    """Options of a SPLADE encoder.

    Attributes:
        max_length: longest input in tokens, special ones included; never more than the model's own limit. Time grows
            with it; 256 is what most models were trained at, 512 misses less of long documents.
        batch_size: texts a batch. More is faster on a GPU and takes more memory; on a CPU it hardly matters.
        top_k: keep only the heaviest terms of a document, None for all. Smaller indexes, a little less recall.
        query_top_k: the same for queries. Faster searches, a little less recall.
        device: "cpu", "cuda", "mps", or "auto" for the first of cuda, mps, cpu that is there.
    """

    max_length: int = 512
    batch_size: int = 32
    top_k: int | None = None
    query_top_k: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("max_length", 3), ("batch_size", 1), ("top_k", 1), ("query_top_k", 1)):
            value = getattr(self, name)
            if value is None and name.endswith("top_k"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SettingsError(f"{name} is {value!r}", f"It must be a whole number of at least {least}")
        if self.device not in DEVICES:
            raise SettingsError(f"device is {self.device!r}", f"It must be one of {', '.join(DEVICES)}")


class SpladeEncoder:
    """Encodes texts with a SPLADE-type checkpoint, a folder or a Hugging Face hub name.

    Safe to call from several threads. Raises CheckpointError, MissingExtraError (see `load_checkpoint`), or
    SettingsError where the device that was asked for is not there.
    """

    def __init__(self, checkpoint: str | Path, settings: SpladeSettings | None = None) -> None:
        self.settings = settings or SpladeSettings()
        require_neural()
        self.device = _device(self.settings.device)
        self._checkpoint = load_checkpoint(checkpoint, self.device)
        self.max_length = min(self.settings.max_length, self._checkpoint.max_length)
        self._tokenizer = self._checkpoint.tokenizer
        self._lock = Lock()  # a fast tokenizer keeps truncation as state that its calls change
        self._special = np.zeros(self._checkpoint.vocabulary_size, dtype=bool)
        self._special[list(self._tokenizer.all_special_ids)] = True
        self._special[len(self._tokenizer) :] = True  # outputs that only pad the head to a round width

    @property
    def identity(self) -> EncoderIdentity:
        """The checkpoint's files and the settings that change vectors."""
        settings = {name: value for name, value in asdict(self.settings).items() if name in _IDENTIFYING}
        values = {"kind": KIND, "version": 1, "files": self._checkpoint.files_hash, **settings}
        size = self._checkpoint.vocabulary_size
        return EncoderIdentity(KIND, self._checkpoint.name, fingerprint_of(values), size, settings)

    def encode_documents(self, texts: Sequence[str]) -> csr_array:
        """Return float32 vectors, len(texts) × vocabulary_size, indices sorted, weights > 0."""
        from scipy.sparse import csr_array

        vectors = self._encode(texts, self.settings.top_k)
        indptr = np.concatenate(([0], np.cumsum([len(terms) for terms, _ in vectors], dtype=np.int64)))
        terms = np.concatenate([np.empty(0, np.int32), *(terms for terms, _ in vectors)])
        weights = np.concatenate([np.empty(0, np.float32), *(weights for _, weights in vectors)])
        return csr_array((weights, terms, indptr), shape=(len(texts), self._checkpoint.vocabulary_size))

    def encode_query(self, text: str) -> QueryVector:
        """Return one query's int32 term ids, ascending, and float32 weights > 0."""
        return self.encode_queries([text])[0]

    def encode_queries(self, texts: Sequence[str]) -> list[QueryVector]:
        """Return each query's int32 term ids, ascending, and float32 weights > 0, in the order given."""
        return self._encode(texts, self.settings.query_top_k)

    def term_text(self, term_id: int) -> str:
        """Return a term as the tokenizer writes it (`flow`, `##ing`); raises IndexError for an unknown id."""
        if not 0 <= term_id < len(self._tokenizer):
            raise IndexError(f"no term has the id {term_id}")
        return str(self._tokenizer.convert_ids_to_tokens(int(term_id)))

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of terms written as `term_text` writes them; -1 for others and for special tokens."""
        known = self._ids_by_term
        return np.fromiter((known.get(term, -1) for term in terms), dtype=np.int32, count=len(terms))

    @cached_property
    def _ids_by_term(self) -> dict[str, int]:
        return {term: number for term, number in self._tokenizer.get_vocab().items() if not self._special[number]}

    def spans(self, text: str) -> list[Span]:
        """Return the stretches of the whole text that are tokens, each with its token's id."""
        with self._lock:
            encoded = self._tokenizer(
                _encodable(text), add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
            )
        pairs = zip(encoded["offset_mapping"], encoded["input_ids"], strict=True)
        return [(start, end, term) for (start, end), term in pairs if start < end and not self._special[term]]

    def _encode(self, texts: Sequence[str], top_k: int | None) -> list[QueryVector]:
        """Encode in batches of similar length, longest first (so that memory runs out at once or never)."""
        import torch

        ids = self._token_ids(texts)
        order = sorted(range(len(texts)), key=lambda row: -len(ids[row]))
        vectors: list[QueryVector | None] = [None] * len(texts)
        with torch.inference_mode():
            for start in range(0, len(order), self.settings.batch_size):
                rows = order[start : start + self.settings.batch_size]
                for row, logits in zip(rows, self._top_logits([ids[row] for row in rows]), strict=True):
                    vectors[row] = self._sparse(logits, ids[row], top_k)
        return [vector for vector in vectors if vector is not None]

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids, special tokens added, cut to `max_length`."""
        if not texts:
            return []
        with self._lock:
            encoded = self._tokenizer(
                [_encodable(text) for text in texts],
                truncation=True, max_length=self.max_length, padding=False, verbose=False,
                return_attention_mask=False, return_token_type_ids=False,
            )  # fmt: skip
        return list(encoded["input_ids"])

    def _top_logits(self, batch: list[list[int]]) -> Iterator[torch.Tensor]:
        """Yield, for each row of token ids, float32[vocabulary]: each term's largest logit over the row's tokens."""
        import torch

        longest = max(map(len, batch))
        padding = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([row + [padding] * (longest - len(row)) for row in batch], device=self.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch], device=self.device)
        if not longest:  # a tokenizer without special tokens, and nothing but empty texts
            yield from (torch.zeros(self._checkpoint.vocabulary_size) for _ in batch)
            return
        hidden = self._checkpoint.body(input_ids=ids, attention_mask=mask).last_hidden_state
        for position, row in enumerate(batch):
            top = torch.zeros(self._checkpoint.vocabulary_size, device=self.device)  # relu: nothing counts below 0
            for start in range(0, len(row), _HEAD_TOKENS):
                part = hidden[position : position + 1, start : min(start + _HEAD_TOKENS, len(row))]
                top = torch.maximum(top, self._checkpoint.head(inputs_embeds=part).logits[0].amax(dim=0))
            yield top

    def _sparse(self, logits: torch.Tensor, ids: list[int], top_k: int | None) -> QueryVector:
        """Return the activated weights of the terms that remain."""
        weights: NDArray[np.float32] = logits.log1p().cpu().numpy()
        weights[self._special] = 0.0
        if self._special[ids].all():
            weights[:] = 0.0
        terms = np.flatnonzero(weights > 0).astype(np.int32)
        if top_k is not None and len(terms) > top_k:
            heaviest = np.lexsort((terms, -weights[terms]))[:top_k]  # of equal weights the lower ids
            terms = np.sort(terms[heaviest])
        return terms, weights[terms]


def _device(name: str) -> torch.device:
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, present in there.items() if present)
    elif not there[name]:
        raise SettingsError(f"this machine has no {name} device that torch can use", 'Leave the device at "auto"')
    return torch.device(name)


def _encodable(text: str) -> Any:
    """Return the text with lone surrogates, which no tokenizer takes, replaced one for one."""
    return text if text.isascii() else _LONE_SURROGATES.sub("\ufffd", text)
