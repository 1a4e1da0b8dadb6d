"""Options of learned encoders that `index`, `encode` and `inspect` share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lexhound.encoders.sparse.settings import LearnedSettings

PANEL = "Learned encoders"


class LongTexts(StrEnum):
    """`lexhound.encoders.sparse.settings.LONG_TEXTS`, known without loading that room; so are the others."""

    TRUNCATE = "truncate"
    WINDOWS = "windows"


class QueryIdf(StrEnum):
    """`QUERY_IDFS`."""

    MODEL = "model"
    COLLECTION = "collection"


class Pooling(StrEnum):
    """`POOLINGS`."""

    MAX = "max"
    SUM = "sum"
    CLS = "cls"


class Activation(StrEnum):
    """`ACTIVATIONS`."""

    RELU = "relu"
    LOG1P_RELU = "log1p_relu"
    LOG1P_LOG1P_RELU = "log1p_log1p_relu"
    SQRT_RELU = "sqrt_relu"


class Precision(StrEnum):
    """`PRECISIONS`."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT16 = "int16"


class Device(StrEnum):
    """`DEVICES`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


def _option(name: str, default: str | bool, help: str, **more: Any) -> Any:
    return typer.Option(name, help=help, rich_help_panel=PANEL, show_default=default, **more)


QueryIdfOption = Annotated[
    QueryIdf | None,
    _option(
        "--query-idf",
        "as the checkpoint says",
        "Weights of inference-free queries: from the model or from the collection.",
    ),
]
TrustRemoteCode = Annotated[
    bool, _option("--trust-remote-code", False, "Run the Python code that comes with a checkpoint.")
]
StoredTrust = Annotated[
    bool,
    _option("--trust-remote-code", False, "Run the Python code that comes with the collection's encoder."),
]


def trusting(trust_remote_code: bool) -> LearnedSettings | None:
    """Return how the encoder of a stored collection runs: as always, unless its code may be run."""
    if not trust_remote_code:
        return None
    from lexhound.encoders.sparse.settings import LearnedSettings

    return LearnedSettings(trust_remote_code=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedOptions:
    """How a learned encoder makes vectors, and what it computes with; None for what the checkpoint says."""

    max_length: Annotated[int | None, _option("--max-length", "512", "Longest input in tokens.", metavar="N")] = None
    long_texts: Annotated[
        LongTexts | None,
        _option("--long-texts", "truncate", "Cut longer texts, or encode all of them in windows."),
    ] = None
    top_k: Annotated[
        int | None, _option("--top-k", "all", "Keep only this many terms of a document, the heaviest.", metavar="N")
    ] = None
    prune_ratio: Annotated[
        float | None,
        _option("--prune-ratio", "0", "Drop terms of a document below this share of its heaviest.", metavar="SHARE"),
    ] = None
    query_top_k: Annotated[int | None, _option("--query-top-k", "all", "As --top-k, for queries.", metavar="N")] = None
    query_prune_ratio: Annotated[
        float | None, _option("--query-prune-ratio", "0", "As --prune-ratio, for queries.", metavar="SHARE")
    ] = None
    pooling: Annotated[Pooling | None, _option("--pooling", "as the checkpoint says", "How tokens are pooled.")] = None
    activation: Annotated[
        Activation | None, _option("--activation", "as the checkpoint says", "The function from a logit to a weight.")
    ] = None
    precision: Annotated[
        Precision | None,
        _option("--precision", "auto", "Number format; auto: int16 on a CPU with AVX2, else by the machine."),
    ] = None
    device: Annotated[
        Device | None,
        _option("--device", "auto", "Where to compute; auto: cuda or mps if available, otherwise the cpu."),
    ] = None
    batch_tokens: Annotated[
        int | None, _option("--batch-tokens", "4096", "Tokens in a batch, padding included.", metavar="N")
    ] = None
    trust_remote_code: TrustRemoteCode = False

    def settings(self, encoder: str, *, query_idf: QueryIdf | None = None) -> LearnedSettings | None:
        """Return the encoder's settings; None for `bm25`.

        Raises:
            UsageError: one of the options was given for `bm25`.
            SettingsError: a value is out of its range; the message has the option's name.
        """
        values = {
            "max_length": self.max_length,
            "long_texts": self.long_texts,
            "top_k": self.top_k,
            "ratio": self.prune_ratio,
            "query_top_k": self.query_top_k,
            "query_ratio": self.query_prune_ratio,
            "query_idf": query_idf,
            "pooling": self.pooling,
            "activation": self.activation,
            "precision": self.precision,
            "device": self.device,
            "batch_tokens": self.batch_tokens,
            "trust_remote_code": self.trust_remote_code,
        }
        chosen: dict[str, Any] = {
            name: value.value if isinstance(value, StrEnum) else value
            for name, value in values.items()
            if value is not None and value is not False
        }
        if encoder == "bm25":
            if chosen:
                from lexhound.serve.errors import UsageError

                names = ", ".join(_flag(name) for name in chosen)
                raise UsageError(f"{names} belongs to learned encoders, not to bm25", hint="leave it out")
            return None
        from lexhound.encoders.errors import SettingsError
        from lexhound.encoders.sparse.settings import LearnedSettings

        try:
            return LearnedSettings(**chosen)
        except SettingsError as error:
            name, _, rest = error.message.partition(" ")
            raise SettingsError(f"{_flag(name) if name in values else name} {rest}", error.hint) from error


def _flag(setting: str) -> str:
    """Return the option that gives a setting."""
    return "--" + {"ratio": "prune-ratio", "query_ratio": "query-prune-ratio"}.get(setting, setting.replace("_", "-"))
