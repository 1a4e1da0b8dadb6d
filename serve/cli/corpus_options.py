"""Options of a corpus that `index`, `add` and `encode` share: how it is read, and what a bad row does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import as_text
from .rejects import RejectList

if TYPE_CHECKING:
    from lexhound.retrieval.corpus import Corpus
    from lexhound.retrieval.engines.address import Address


class CorpusFormat(StrEnum):
    """`lexhound.retrieval.corpus.FORMATS`, known without loading that room."""

    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    ARROW = "arrow"
    FOLDER = "folder"


class OnError(StrEnum):
    """What a bad row does to an ingest job."""

    STOP = "stop"
    SKIP = "skip"


Vectors = Annotated[
    bool,
    typer.Option(
        "--vectors",
        help="Rows bring vectors of the encoder, as `encode` writes them: JSON Lines with id and vector, or .npz.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusOptions:
    """The format of a corpus and the names of its fields."""

    format: Annotated[
        CorpusFormat | None,
        typer.Option(help="The format, if the name does not tell it.", show_default=False),
    ] = None
    id_field: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The field that holds ids, if not id, _id or docid.", show_default=False),
    ] = None
    text_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The field that holds texts, if not text, contents or body.", show_default=False
        ),
    ] = None
    title_field: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The field that holds titles, if not title.", show_default=False),
    ] = None

    @property
    def format_name(self) -> str | None:
        """The format as the library names it; None where the name of the file tells it."""
        return None if self.format is None else self.format.value

    def open(self, source: str, *, vectors: bool = False) -> Corpus:
        """Return the corpus that `source` names."""
        from lexhound.retrieval.corpus import open_corpus, open_vectors

        return (open_vectors if vectors else open_corpus)(
            source,
            format=self.format_name,
            id_field=self.id_field,
            text_field=self.text_field,
            title_field=self.title_field,
        )

    def identity(self, source: str, *, vectors: bool = False, tenant: str | None = None) -> str:
        """Return what makes an ingest job the same when it is started again.

        That is the corpus, wherever it is named from, and how it is read.
        """
        import orjson

        names = (self.id_field, self.text_field, self.title_field)
        values: dict[str, object] = {
            "corpus": "standard input" if source == "-" else as_text(str(Path(source).resolve())),
            "format": self.format_name,
            "fields": [None if name is None else as_text(name) for name in names],
        }
        if vectors:
            values["vectors"] = True
        if tenant is not None:
            values["tenant"] = as_text(tenant)
        return orjson.dumps(values).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRowOptions:
    """What a bad row does, and where skipped rows are listed."""

    on_error: Annotated[
        OnError,
        typer.Option("--on-error", help="At a bad row: stop (the next attempt continues there) or skip it."),
    ] = OnError.STOP
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --on-error skip: the list of bad rows, as JSON Lines.",
            show_default="DIR.rejects.jsonl",
        ),
    ] = None

    @property
    def skip(self) -> bool:
        """Whether bad rows are skipped."""
        return self.on_error is OnError.SKIP

    def check(self) -> None:
        """Raise UsageError where a list is asked for and rows are not skipped."""
        if self.rejects is not None and not self.skip:
            from lexhound.serve.errors import UsageError

            raise UsageError("--rejects is for bad rows that are skipped", hint="give --on-error skip with it")

    def reject_list(self, beside: Path) -> RejectList:
        """Return the list of bad rows; it lies beside a path unless --rejects names another place."""
        self.check()
        return RejectList(self.rejects or beside.parent / f"{beside.name or 'collection'}.rejects.jsonl")


def beside(address: Address) -> Path:
    """Return the path beside which a list of bad rows lies: the collection's, or one in the current folder."""
    if address.path is None:
        return Path(address.name)
    return address.path if address.is_native else address.path.with_name(address.name or address.path.name)
