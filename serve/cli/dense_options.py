"""Options of dense vectors, modes and fusion that `index`, `search` and `eval` share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .learned_options import LearnedOptions
from .options import as_text

if TYPE_CHECKING:
    from lexhound.encoders.dense.settings import DenseSettings
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
    LEXICAL = "lexical"
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


ModeOption = Annotated[
    Mode,
    _option(
        FUSION_PANEL,
        "--mode",
        "lexical: by BM25; sparse: by a learned encoder's index; dense: by dense vectors; hybrid: by both; auto: hybrid"
        " where there are dense vectors, otherwise the index.",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseOptions:
    """The dense model of a collection and how its vectors are indexed; None for what the model says."""

    dense: Annotated[
        str | None,
        _option(
            DENSE_PANEL,
            "--dense",
            "Dense vectors too: the path or hub name of a sentence-embedding model, or none.",
            metavar="MODEL",
            show_default="of the default encoder's own pass; with --encoder none",
        ),
    ] = None
    dense_max_length: Annotated[
        int | None,
        _option(
            DENSE_PANEL,
            "--dense-max-length",
            "Longest input of --dense in tokens.",
            metavar="N",
            show_default="as the model says",
        ),
    ] = None
    dense_pooling: Annotated[
        DensePooling | None,
        _option(
            DENSE_PANEL, "--dense-pooling", "How tokens are pooled to one vector.", show_default="as the model says"
        ),
    ] = None
    dense_query_prompt: Annotated[
        str | None,
        _option(
            DENSE_PANEL,
            "--dense-query-prompt",
            "The text before every query.",
            metavar="TEXT",
            show_default="as the model says",
        ),
    ] = None
    dense_document_prompt: Annotated[
        str | None,
        _option(
            DENSE_PANEL,
            "--dense-document-prompt",
            "The text before every document.",
            metavar="TEXT",
            show_default="as the model says",
        ),
    ] = None
    dense_index: Annotated[
        DenseIndex | None,
        _option(
            DENSE_PANEL,
            "--dense-index",
            "How vectors are indexed: flat compares all of them, spann reads clusters from disk, auto chooses by size.",
            show_default="auto",
        ),
    ] = None

    @property
    def model(self) -> str | None:
        """The model's path or name; None without dense vectors."""
        return None if self.dense is None else as_text(self.dense)

    @property
    def index_policy(self) -> str:
        """How vectors are indexed."""
        return (self.dense_index or DenseIndex.AUTO).value

    def settings(self, learned: LearnedOptions, model: str | None) -> DenseSettings | None:
        """Return the model's settings, with what both encoders compute with; None without a model.

        Raises:
            UsageError: an option of the model was given, and the collection has no dense vectors.
            SettingsError: a value is out of its range; the message has the option's name.
        """
        values = {
            "max_length": self.dense_max_length or (learned.max_length if self.dense is None else None),
            "pooling": self.dense_pooling,
            "query_prompt": self.dense_query_prompt,
            "document_prompt": self.dense_document_prompt,
        }
        if model is None:
            given = values | {"max_length": self.dense_max_length}
            alone = [f"--dense-{name.replace('_', '-')}" for name, value in given.items() if value is not None]
            alone += ["--dense-index"] if self.dense_index is not None else []
            if alone:
                from lexhound.serve.errors import UsageError

                raise UsageError(f"{', '.join(alone)} belongs to --dense", hint="name its model: --dense MODEL")
            return None
        from lexhound.encoders.dense.settings import DenseSettings
        from lexhound.encoders.errors import SettingsError

        shared = {"precision": learned.precision, "device": learned.device, "batch_tokens": learned.batch_tokens}
        chosen: dict[str, Any] = {
            name: value.value if isinstance(value, StrEnum) else as_text(value) if isinstance(value, str) else value
            for name, value in (values | shared).items()
            if value is not None
        }
        try:
            return DenseSettings(**chosen)
        except SettingsError as error:
            name, _, rest = error.message.partition(" ")
            prefix = "--dense-" if name in values else "--"
            raise SettingsError(f"{prefix}{name.replace('_', '-')} {rest}", error.hint) from error


def fusion_of(method: Method | None, dense_weight: float | None, depth: int | None) -> Fusion | None:
    """Return the fusion that the options ask for; None where none of them is given.

    Raises:
        QueryError: a value is out of its range.
    """
    values: dict[str, Any] = {"dense_weight": dense_weight, "depth": depth}
    values = {name: value for name, value in values.items() if value is not None}
    if method is not None:
        values["method"] = method.value
    if not values:
        return None
    from lexhound.retrieval.collection.request import Fusion

    return Fusion(**values)
