"""`export.json`: what an export holds, for people and for reading it back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.errors import IdentityError
from lexhound.retrieval.collection.store.dense_index import POLICIES
from lexhound.retrieval.collection.store.manifest import DenseManifest, passages_from
from lexhound.retrieval.documents.passages import PassageSettings
from lexhound.retrieval.errors import ExportError
from lexhound.retrieval.tenants.keys import check_field

HEADER = "export.json"
VERSION = 1
FORMATS = ("anserini", "opensearch", "qdrant", "ciff", "parquet")
IMPACTS, FREQUENCIES = "impacts", "term frequencies"


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """The facts of an export.

    Attributes:
        format: one of FORMATS; created_by: the version that wrote it.
        documents, postings: how many live documents, and non-zero values of their sparse vectors.
        encoder: of the sparse vectors; dense: of the dense ones, None where there are none.
        values: what the numbers of the sparse vectors are, `impacts` or `term frequencies`.
        scale: the weight of an impact of 1; relative_error, largest_error: what rounding to impacts had cost; clipped:
            how many weights lost their tail.
        average_length: mean words a document, as the weights of BM25 use it; None for other encoders.
        files: names of the data files, in order.
        rows: of the data: one a document, or one a passage of it.
        passages: how long texts are split, None where they are not.
        tenant_field: the field that says whose a document is; ids are then keys (`tenants.keys`). None without tenants.
    """

    format: str
    created_by: str
    documents: int
    postings: int
    encoder: EncoderIdentity
    dense: DenseManifest | None
    values: str
    scale: float
    relative_error: float
    largest_error: float
    average_length: float | None
    clipped: int = 0
    files: tuple[str, ...] = field(default=())
    rows: int = 0
    passages: PassageSettings | None = None
    tenant_field: str | None = None

    def to_json(self) -> bytes:
        """Return the file's content."""
        dense = None
        if self.dense is not None:
            dense = {"encoder": self.dense.encoder.as_dict(), "width": self.dense.width, "index": self.dense.index}
        values = {
            "lexhound_export": VERSION,
            "format": self.format,
            "created_by": self.created_by,
            "documents": self.documents,
            "postings": self.postings,
            "encoder": self.encoder.as_dict(),
            "dense": dense,
            "quantisation": {
                "values": self.values,
                "bits": 8,
                "scale": self.scale,
                "relative_error": self.relative_error,
                "largest_error": self.largest_error,
                "clipped": self.clipped,
            },
            "average_length": self.average_length,
            "files": list(self.files),
            "rows": self.rows,
            "passages": None if self.passages is None else asdict(self.passages),
        }
        if self.tenant_field is not None:
            values["tenant_field"] = self.tenant_field
        return orjson.dumps(values, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_header(folder: Path) -> ExportHeader:
    """Return what an export says of itself.

    Raises:
        ExportError: the folder is no export, one of a later version, or its header is damaged.
    """
    path = folder / HEADER
    try:
        data = orjson.loads(path.read_bytes())
        version = data["lexhound_export"]
        if isinstance(version, int) and version > VERSION:
            raise ExportError(
                f"a later version of Lexhound wrote this export (version {version})",
                where=str(path),
                hint="upgrade Lexhound: pip install -U lexhound",
            )
        return _parsed(data)
    except (FileNotFoundError, NotADirectoryError):
        raise ExportError(
            f"not an export: it has no {HEADER}", where=str(folder), hint="make one with: lexhound export DIR --out OUT"
        ) from None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IdentityError) as error:
        raise ExportError(f"damaged: {error}", where=str(path), hint="export the collection again") from error


def _parsed(data: Any) -> ExportHeader:
    quantisation, dense = data["quantisation"], data["dense"]
    side = None
    if dense is not None:
        if dense["index"] not in POLICIES:
            raise ValueError(f"the index of dense vectors is {dense['index']!r}")
        side = DenseManifest(EncoderIdentity.from_dict(dense["encoder"]), int(dense["width"]), dense["index"])
    if data["format"] not in FORMATS:
        raise ValueError(f"the format is {data['format']!r}")
    return ExportHeader(
        format=data["format"],
        created_by=str(data["created_by"]),
        documents=int(data["documents"]),
        postings=int(data["postings"]),
        encoder=EncoderIdentity.from_dict(data["encoder"]),
        dense=side,
        values=str(quantisation["values"]),
        scale=float(quantisation["scale"]),
        relative_error=float(quantisation["relative_error"]),
        largest_error=float(quantisation["largest_error"]),
        average_length=None if data["average_length"] is None else float(data["average_length"]),
        clipped=int(quantisation.get("clipped", 0)),
        files=tuple(str(name) for name in data["files"]),
        rows=int(data.get("rows", data["documents"])),
        passages=passages_from(data.get("passages")),
        tenant_field=None if data.get("tenant_field") is None else check_field(data["tenant_field"]),
    )
