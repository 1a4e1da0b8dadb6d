"""Options of learned sparse encoders."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lexhound.encoders.runtime.device import DEVICES, PRECISIONS
from lexhound.encoders.runtime.pooling import ACTIVATIONS, POOLINGS
from lexhound.encoders.settings import EncoderSettings, require_flag, require_number, require_one_of, require_whole

LONG_TEXTS = ("truncate", "windows")
QUERY_IDFS = ("model", "collection")


@dataclass(frozen=True, slots=True)
class LearnedSettings(EncoderSettings):
    """Options of a learned encoder, for documents and queries.

    Attributes:
        max_length: longest input in tokens, special ones included; never more than the model's own limit. Time grows
            with it; 256 is what most models were trained at, 512 misses less of long documents.
        long_texts: what happens to a longer text. "truncate" leaves out what is beyond the limit; "windows" encodes
            it window by window, without overlap, and takes each term's largest weight: nothing is missed, and a text of
            n windows takes n times as long.
        top_k: keep only the heaviest terms of a document, None for as many as the checkpoint says, all where it says
            nothing. Smaller indexes, a little less recall.
        ratio: drop a document's terms lighter than this share of its heaviest one, 0 for none. Up to 0.1 is
            usually harmless and halves the vectors of models that were trained without much regularisation.
        query_top_k, query_ratio: the same for queries. Faster searches, a little less recall.
        query_idf: "collection" computes the weights of inference-free queries from the document frequencies of the
            collection that is searched (see `encoders.sparse.live_idf`), "model" takes those of the encoder's table;
            None believes the checkpoint. For encoders whose queries have a table of idf.
        pooling, activation: override what the checkpoint says of a masked-language-model or regression encoder (see
            `encoders.runtime.pooling`); None believes it. Needed where a bare checkpoint's authors used another.
        batch_tokens: tokens a batch, padding included. More is faster on a GPU and takes more memory; on a CPU it
            hardly matters.
        precision: "float32", "bfloat16", "int16", or "auto". On a CPU, "auto" is int16 for checkpoints of BERT's form
            wherever there is x86-64 with AVX2, also where bfloat16 is fast, so that vectors are the same on all of
            them, and float32 elsewhere. What runs through torch (a GPU, other checkpoints) takes bfloat16 where the
            hardware multiplies it, and otherwise float32.
        device: "cpu", "cuda", "mps", or "auto" for the first of cuda, mps, cpu that is there.
        trust_remote_code: run Python code that comes with a checkpoint, by whoever wrote it. Off unless asked for.
    """

    max_length: int = 512
    long_texts: str = "truncate"
    top_k: int | None = None
    ratio: float = 0.0
    query_top_k: int | None = None
    query_ratio: float = 0.0
    query_idf: str | None = None
    pooling: str | None = None
    activation: str | None = None
    batch_tokens: int = 4096
    precision: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False

    _RUNNING = frozenset({"batch_tokens", "device", "precision", "trust_remote_code"})

    def __post_init__(self) -> None:
        for name, least in (("max_length", 3), ("batch_tokens", 1), ("top_k", 1), ("query_top_k", 1)):
            if getattr(self, name) is not None or not name.endswith("top_k"):
                require_whole(name, getattr(self, name), least)
        below = math.nextafter(1, 0)
        for name in ("ratio", "query_ratio"):
            value = require_number(name, getattr(self, name), 0, below, "It must be a number from 0 to below 1")
            object.__setattr__(self, name, value)
        choices: dict[str, tuple[str, ...]] = {
            "long_texts": LONG_TEXTS, "device": DEVICES, "precision": PRECISIONS,
            "pooling": POOLINGS, "activation": ACTIVATIONS, "query_idf": QUERY_IDFS,
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) is not None or name in ("long_texts", "device", "precision"):
                require_one_of(name, getattr(self, name), allowed)
        require_flag("trust_remote_code", self.trust_remote_code)
