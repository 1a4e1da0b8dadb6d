"""Options of dense vectors, modes and fusion that `index`, `search` and `eval` share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import as_text

if TYPE_CHECKING:
    from lexhound.encoders.dense.encoder import DenseSettings
    from lexhound.retrieval.collection.request import Fusion

DENSE_PANEL, FUSION_PANEL = "Dense vectors", "Dense and hybrid searches"


class DensePooling(StrEnum):
    """`lexhound.encoders.dense.layout.POOLINGS`, known without loading that room; so are the others."""

    MEAN = "mean"
    CLS = "cls"
    LASTTOKEN = "lasttoken"


class DenseIndex(StrEnum):
    """`lexhound.retrieval.collection.store.dense_index.POLICIES`."""

    AUTO = "auto"
    FLAT = "flat"
    SPANN = "spann"


class Mode(StrEnum):
    """`lexhound.retrieval.collection.request.MODES`."""

    AUTO = "auto"
    SPARSE = "sparse"
    DENSE = "dense"
    HYBRID = "hybrid"


class QueriesBy(StrEnum):
    """What makes the dense vectors of queries."""

    TABLE = "table"
    MODEL = "model"


class Method(StrEnum):
    """`lexhound.retrieval.collection.request.METHODS`."""

    MIN_MAX = "min-max"
    Z_SCORE = "z-score"
    RRF = "rrf"
    FIXED = "fixed"


def _option(panel: str, name: str, help: str, **more: Any) -> Any:
    return typer.Option(name, help=help, rich_help_panel=panel, **({"show_default": False} | more))


DenseOption = Annotated[
    str | None,
    _option(
        DENSE_PANEL,
        "--dense",
        "Keep dense vectors too: the path or hub name of a sentence-embedding model.",
        metavar="MODEL",
    ),
]
DenseMaxLength = Annotated[
    int | None,
    _option(
        DENSE_PANEL,
        "--dense-max-length",
        "Longest input of --dense in tokens.",
        metavar="N",
        show_default="as the model says",
    ),
]
DensePoolingOption = Annotated[
    DensePooling | None,
    _option(DENSE_PANEL, "--dense-pooling", "How tokens are pooled to one vector.", show_default="as the model says"),
]
DenseQueryPrompt = Annotated[
    str | None,
    _option(
        DENSE_PANEL,
        "--dense-query-prompt",
        "The text before every query.",
        metavar="TEXT",
        show_default="as the model says",
    ),
]
DenseDocumentPrompt = Annotated[
    str | None,
    _option(
        DENSE_PANEL,
        "--dense-document-prompt",
        "The text before every document.",
        metavar="TEXT",
        show_default="as the model says",
    ),
]

DenseIndexOption = Annotated[
    DenseIndex | None,
    _option(
        DENSE_PANEL,
        "--dense-index",
        "How vectors are indexed: flat compares all of them, spann reads clusters from disk, auto chooses by size.",
        show_default="auto",
    ),
]

ModeOption = Annotated[
    Mode,
    _option(
        FUSION_PANEL,
        "--mode",
        "sparse: by the inverted index; dense: by dense vectors; hybrid: by both; auto: hybrid where there are dense"
        " vectors, otherwise sparse.",
        show_default=True,
    ),
]
FusionOption = Annotated[
    Method | None,
    _option(FUSION_PANEL, "--fusion", "Hybrid searches: how two scores become one.", show_default="z-score"),
]
DenseWeight = Annotated[
    float | None,
    _option(FUSION_PANEL, "--dense-weight", "Hybrid searches: the weight of the dense score, 0 to 1.", metavar="SHARE"),
]
FusionDepth = Annotated[
    int | None,
    _option(FUSION_PANEL, "--fusion-depth", "Hybrid searches: candidates from each field.", metavar="N"),
]

DenseQueriesOption = Annotated[
    QueriesBy | None,
    _option(
        FUSION_PANEL,
        "--dense-queries",
        "What makes the dense vector of a query: the model, or the table that `lexhound fit-static-queries` made.",
        show_default="table where there is one",
    ),
]

# From settings to the options that give them.
_FLAGS = {
    "max_length": "--dense-max-length",
    "pooling": "--dense-pooling",
    "query_prompt": "--dense-query-prompt",
    "document_prompt": "--dense-document-prompt",
    "index": "--dense-index",
}
_RUNNING = ("precision", "device", "batch_tokens")


def dense_settings(dense: str | None, **options: object) -> DenseSettings | None:
    """Return the settings that the options give, by the names in `_FLAGS` and `_RUNNING`; None without a model.

    Raises:
        UsageError: one of `_FLAGS` was given without --dense.
        SettingsError: a value is out of its range; the message has the option's name.
    """
    given: dict[str, Any] = {
        name: value.value if isinstance(value, StrEnum) else as_text(value) if isinstance(value, str) else value
        for name, value in options.items()
        if value is not None
    }
    if dense is None:
        own = [_FLAGS[name] for name in given if name in _FLAGS]
        if own:
            from lexhound.serve.errors import UsageError

            raise UsageError(f"{', '.join(own)} belongs to --dense", hint="name its model: --dense MODEL")
        return None
    from lexhound.encoders.dense.encoder import DenseSettings
    from lexhound.encoders.errors import SettingsError

    given.pop("index", None)  # of the collection, not of the model
    try:
        return DenseSettings(**given)
    except SettingsError as error:
        name, _, rest = error.message.partition(" ")
        flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
        raise SettingsError(f"{flag} {rest}", error.hint) from error


def fusion_of(method: Method | None, dense_weight: float | None, depth: int | None) -> Fusion | None:
    """The fusion that the options ask for; None where none of them is given.

    Raises:
        QueryError: a value is out of its range.
    """
    given: dict[str, Any] = {"dense_weight": dense_weight, "depth": depth}
    given = {name: value for name, value in given.items() if value is not None}
    if method is not None:
        given["method"] = method.value
    if not given:
        return None
    from lexhound.retrieval.collection.request import Fusion

    return Fusion(**given)
