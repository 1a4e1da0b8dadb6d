"""`lexhound.json`: what a collection is, written at creation; only its format is raised once, with its first segment.

Everything that changes lives in the database; the manifest only says which format the directory has and which
encoder made its vectors.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from lexhound.core.atomic_files import write_file
from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.errors import IdentityError, SettingsError
from lexhound.retrieval.documents.passages import PassageSettings
from lexhound.retrieval.errors import CorruptCollectionError, NewerFormatError, NotACollectionError

from .dense_index import POLICIES

MANIFEST = "lexhound.json"
_CHECKSUM = "checksum"
FORMAT = 7
"""The newest. A collection is written in the oldest that can hold it, so that older versions read what they can: 1
without dense vectors, 2 where those are never clustered, 3 with others; 4 from the first segment on that this version
writes, as each has its own scale and average length; 5 where texts may be split or cut, which its database
tells; 6 with tenants; 7 with token vectors."""
PASSAGE_FORMAT, TENANT_FORMAT = 5, 6
"""That of the table of passages, and that of tenants."""
SEGMENT_FORMAT = 4
"""The least that a collection has once this version has written a segment."""


@dataclass(frozen=True, slots=True)
class DenseManifest:
    """Which model made a collection's dense vectors, how long they are, and how segments index them.

    Attributes:
        index: one of `dense_index.POLICIES`; collections of format 2 are `flat`.
    """

    encoder: EncoderIdentity
    width: int
    index: str = "flat"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The unchanging facts of a collection.

    Attributes:
        dense: None where it has no dense vectors.
        passages: how long texts are split; None where they are not.
        tenant_field: the field of the metadata that says whose a document is; None where all are everybody's.
        late: whether it has token vectors, for late interaction.
    """

    format: int
    created_by: str
    encoder: EncoderIdentity
    dense: DenseManifest | None = None
    passages: PassageSettings | None = None
    tenant_field: str | None = None
    late: bool = False

    @classmethod
    def new(
        cls,
        created_by: str,
        encoder: EncoderIdentity,
        dense: DenseManifest | None = None,
        passages: PassageSettings | None = None,
        tenant_field: str | None = None,
        *,
        late: bool = False,
    ) -> Manifest:
        """Return the manifest of a collection that is being made, in the oldest format that can hold it."""
        from lexhound.encoders.bm25.encoder import KIND as BM25  # takes time to load, and searches need none of it

        number = 1 if dense is None else 2 if dense.index == "flat" else 3
        if passages is not None or dense is not None or encoder.kind != BM25:
            number = PASSAGE_FORMAT
        number = FORMAT if late else number if tenant_field is None else TENANT_FORMAT
        return cls(number, created_by, encoder, dense, passages, tenant_field, late)

    @property
    def tells_passages(self) -> bool:
        """Whether the database has the table of passages."""
        return self.format >= PASSAGE_FORMAT

    def to_json(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "format": self.format,
            "created_by": self.created_by,
            "encoder": self.encoder.as_dict(),
        }
        if self.dense is not None:
            values["dense"] = {"encoder": self.dense.encoder.as_dict(), "width": self.dense.width}
            if self.format > 2:
                values["dense"]["index"] = self.dense.index
        if self.tells_passages:
            values["passages"] = None if self.passages is None else asdict(self.passages)
        if self.tenant_field is not None:
            values["tenant_field"] = self.tenant_field
        if self.late:
            values["late"] = True
        return values


def write_manifest(directory: Path, manifest: Manifest, name: str = MANIFEST) -> None:
    """Write the manifest durably; a reader sees all of it or none."""
    values = manifest.to_json()
    values[_CHECKSUM] = _checksum(values)
    write_file(directory / name, orjson.dumps(values, option=orjson.OPT_INDENT_2) + b"\n")


def raise_format(directory: Path) -> None:
    """Make a collection one whose segments have scales of their own, which earlier versions refuse, where it is not
    yet.
    """
    manifest = read_manifest(directory)
    if manifest.format < SEGMENT_FORMAT:
        write_manifest(directory, replace(manifest, format=SEGMENT_FORMAT))


def read_manifest(directory: Path, name: str = MANIFEST, newest: int = FORMAT) -> Manifest:
    """Read the manifest of a collection, of formats up to `newest`.

    Raises:
        NotACollectionError: the path does not exist, is no directory, or holds no manifest.
        CorruptCollectionError: the manifest is not what this program writes.
        NewerFormatError: a later version of Lexhound made the collection.
    """
    path = directory / name
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotACollectionError(
            f"not a collection: it has no {name}" if directory.exists() else "no such collection",
            where=str(directory),
            hint="make one with `Collection.create(path)`",
            cli_hint="make one with: lexhound index CORPUS --into DIRECTORY",
        ) from None
    try:
        data = orjson.loads(content)
        number = data["format"]
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"format number {number!r}")
        if number > newest:
            raise NewerFormatError(
                f"the collection has format {number}; this version of Lexhound reads formats up to {newest}",
                where=str(path),
                hint="upgrade Lexhound: pip install -U lexhound",
            )
        stored = data.pop(_CHECKSUM, None)  # earlier versions wrote none
        if stored is not None and stored != _checksum(data):
            raise ValueError("its checksum does not match")
        encoder = EncoderIdentity.from_dict(data["encoder"])
        tenant_field = data.get("tenant_field")
        if tenant_field is not None and (not isinstance(tenant_field, str) or not tenant_field):
            raise ValueError(f"the tenant field is {tenant_field!r}")
        dense, passages = _dense(data.get("dense")), passages_from(data.get("passages"))
        return Manifest(
            number, str(data["created_by"]), encoder, dense, passages, tenant_field, data.get("late") is True
        )
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError, IdentityError) as error:
        raise CorruptCollectionError(
            f"damaged: {error}",
            where=str(path),
            hint="restore the file from a backup or index the corpus again",
        ) from error


def _checksum(values: dict[str, Any]) -> str:
    """Return the checksum of all other values, in whatever order and form they stand."""
    return f"crc32:{zlib.crc32(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)):08x}"


def _dense(values: Any) -> DenseManifest | None:
    """Return what the manifest says of dense vectors; raises as reading any JSON of another shape does."""
    if values is None:
        return None
    width = values["width"]
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise ValueError(f"the width of dense vectors is {width!r}")
    index = values.get("index", "flat")
    if index not in POLICIES:
        raise ValueError(f"the index of dense vectors is {index!r}")
    return DenseManifest(EncoderIdentity.from_dict(values["encoder"]), width, index)


def passages_from(values: Any) -> PassageSettings | None:
    """Return what the manifest says of passages; raises as reading any JSON of another shape does."""
    if values is None:
        return None
    try:
        return PassageSettings(int(values["tokens"]), int(values["overlap"]), int(values.get("whole", 0)))
    except SettingsError as error:
        raise ValueError(error.message) from error
