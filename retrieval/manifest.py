"""`lexhound.json`: what a collection is, written once at creation and never changed.

Everything that changes lives in the database; the manifest only says which format the directory has and which
encoder made its vectors.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..encoders.base import EncoderIdentity
from ..encoders.errors import IdentityError
from .errors import CorruptCollectionError, NewerFormatError, NotACollectionError

MANIFEST = "lexhound.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The unchanging facts of a collection."""

    format: int
    created_by: str
    encoder: EncoderIdentity

    def to_json(self) -> dict[str, Any]:
        return {"format": self.format, "created_by": self.created_by, "encoder": self.encoder.as_dict()}


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest durably; a reader sees all of it or none."""
    temporary = directory / f".{MANIFEST}.tmp"
    with temporary.open("wb") as file:
        file.write(orjson.dumps(manifest.to_json(), option=orjson.OPT_INDENT_2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / MANIFEST)


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a collection.

    Raises:
        NotACollectionError: the path does not exist, is no directory, or holds no manifest.
        CorruptCollectionError: the manifest is not what this program writes.
        NewerFormatError: a later version of Lexhound made the collection.
    """
    path = directory / MANIFEST
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotACollectionError(
            f"not a collection: it has no {MANIFEST}" if directory.exists() else "no such collection",
            where=str(directory),
            hint="make one with: lexhound index CORPUS --into DIRECTORY",
        ) from None
    try:
        data = orjson.loads(content)
        number = data["format"]
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"format number {number!r}")
        if number > FORMAT:
            raise NewerFormatError(
                f"the collection has format {number}; this version of Lexhound reads formats up to {FORMAT}",
                where=str(path),
                hint="upgrade Lexhound: pip install -U lexhound",
            )
        return Manifest(number, str(data["created_by"]), EncoderIdentity.from_dict(data["encoder"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IdentityError) as error:
        raise CorruptCollectionError(
            f"damaged: {error}",
            where=str(path),
            hint="restore the file from a backup or index the corpus again",
        ) from error
