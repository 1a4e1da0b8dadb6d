"""The tables of a clustered index in memory, and their storage: an array directory that `current.json` names."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import naming, sync_directory
from lexhound.core.progress import Pace, no_pace
from lexhound.index.array_files import (
    ArrayDirectory,
    ArrayDirectoryWriter,
    FileProblem,
    create_file,
    write_all,
)
from lexhound.index.array_verification import verify_arrays
from lexhound.index.errors import CorruptFileError, IndexStorageError, UnsupportedFormatError
from lexhound.index.jit import frozen
from lexhound.index.spann.block_sums import BLOCK
from lexhound.index.spann.calibration import Calibration
from lexhound.index.spann.centroids import CentroidIndex
from lexhound.index.spann.geometry import Geometry
from lexhound.index.spann.options import SpannOptions
from lexhound.index.spann.rotation import Rotation
from lexhound.index.spann.sign_codes import SignCodec
from lexhound.index.spann.storage import PostingsFile

FORMAT = 3
"""Formats 1 and 2 had 8-bit codes in their postings, which this version does not read: it compares all rows."""
KIND = "spann"
CURRENT_FILE = "current.json"

# Earlier versions had other metrics and copies too, and could change an index after it was built.
_FIXED_OPTIONS = {"metric": "ip", "copy": "float32"}
_CHANGED = "was changed after it was built, by a version that could do so; build it again"


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Centroids, and where their postings lie."""

    centroids: CentroidIndex
    counts: NDArray[np.int64]
    """int64[c]: the codes of each posting."""
    checksums: NDArray[np.uint32]
    """uint32[c]: CRC-32 of its blocks."""
    starts: NDArray[np.int64] = field(init=False)
    """int64[c]: the byte of the file where each posting begins."""
    ends: NDArray[np.int64] = field(init=False)
    """int64[c]: the byte behind it."""

    def __post_init__(self) -> None:
        block_bytes = SignCodec(self.centroids.rotation.dimension).block_bytes
        ends = np.cumsum(-(-self.counts // BLOCK) * block_bytes)
        object.__setattr__(self, "counts", frozen(self.counts))
        object.__setattr__(self, "ends", frozen(ends))
        object.__setattr__(self, "starts", frozen(np.concatenate([ends[:0], [0], ends[:-1]])[: len(ends)]))

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        tables = (self.starts, self.ends, self.counts, self.checksums)
        return self.centroids.nbytes + sum(table.nbytes for table in tables)

    def check(self, directory: Path, postings: PostingsFile) -> None:
        """Raise CorruptFileError where the tables do not fit together, or the file of postings is too short."""
        source = directory / CURRENT_FILE
        if len({len(self.centroids), len(self.counts), len(self.checksums)}) != 1:
            raise CorruptFileError(source, "names a state whose tables of postings differ in length")
        end = int(self.ends[-1]) if len(self.ends) else 0
        if end > postings.nbytes:
            raise CorruptFileError(postings.path, f"has {postings.nbytes} bytes where at least {end} were written")


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that an index was built with, and what was measured then."""

    options: SpannOptions
    geometry: Geometry
    calibration: Calibration
    n_rows: int


def _state_path(directory: Path, number: int) -> Path:
    return directory / f"state-{number:06d}"


def save_tables(directory: Path, settings: Settings, tables: Tables) -> None:
    """Write settings and tables, and `current.json` last, which makes the index whole."""
    centroids = tables.centroids
    attributes: dict[str, Any] = {
        "options": asdict(settings.options),
        "dimension": settings.geometry.dimension,
        "radius": settings.geometry.radius,
        "calibration": settings.calibration.as_json(),
        "n_rows": settings.n_rows,
    }
    with ArrayDirectoryWriter(_state_path(directory, 1), kind=KIND, format=FORMAT) as writer:
        writer.write("centroids", centroids.points, structure=True)
        writer.write("counts", tables.counts.astype(np.uint32), structure=True)
        writer.write("checksums", tables.checksums, structure=True)
        writer.finish(attributes)
    unfinished = directory / (CURRENT_FILE + ".part")
    with naming(unfinished), create_file(unfinished) as file:
        write_all(file, _current_text(1, FORMAT))
        os.fsync(file.fileno())
    unfinished.replace(directory / CURRENT_FILE)
    sync_directory(directory)


def load_tables(directory: Path) -> tuple[Settings, Tables | None]:
    """Read settings and tables; without tables where another version wrote postings that this one does not read.

    Raises FileNotFoundError, CorruptFileError, UnsupportedFormatError, IndexStorageError.
    """
    number = _current_state(directory)
    path = _state_path(directory, number)
    try:
        stored = ArrayDirectory(path, kind=KIND, format=FORMAT)
    except FileNotFoundError:
        raise CorruptFileError(path, "is missing") from None
    try:
        if "codec" in stored.attributes["options"]:
            return _former_settings(directory, number, stored), None
        attributes = stored.attributes
        geometry = Geometry(int(attributes["dimension"]), float(attributes["radius"]))
        options = SpannOptions(**attributes["options"])
        settings = Settings(
            options, geometry, Calibration.from_json(attributes["calibration"]), int(attributes["n_rows"])
        )
        tables = Tables(
            _centroids(stored, settings),
            np.array(stored.array("counts"), np.int64),
            np.array(stored.array("checksums"), np.uint32),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(path, f"lacks what a clustered index needs: {error}") from error
    return settings, tables


def _former_settings(directory: Path, number: int, stored: ArrayDirectory) -> Settings:
    """Return the settings of an index of format 1 or 2, whose vectors this version reads, and nothing else."""
    log = directory / f"log-{number:06d}.bin"
    if log.exists() and log.stat().st_size:
        raise CorruptFileError(log, _CHANGED)
    options = dict(stored.attributes["options"])
    fixed = {name: options.pop(name) for name in _FIXED_OPTIONS}
    if fixed != _FIXED_OPTIONS:
        raise ValueError(f"this version reads indexes of inner products with a float32 copy, not {fixed}")
    versions = np.asarray(stored.array("versions"))
    if stored.array("dead").any() or not (versions == 1).all():
        raise CorruptFileError(stored.path, _CHANGED)
    options.pop("codec")
    geometry = Geometry(int(stored.attributes["dimension"]), float(stored.attributes["radius"]))
    return Settings(SpannOptions(**options), geometry, Calibration(0, ()), len(versions))


def _centroids(stored: ArrayDirectory, settings: Settings) -> CentroidIndex:
    points = np.array(stored.array("centroids"), np.float32)
    if points.shape[1:] != (settings.geometry.centroid_dimension,):
        raise ValueError("its centroids do not fit its vectors")
    return CentroidIndex.of(points, Rotation(settings.geometry.dimension, settings.options.seed))


def verify_tables(directory: Path, pace: Pace = no_pace) -> Iterator[FileProblem]:
    """Read every byte of the stored tables; yield what is wrong with which file."""
    try:
        number = _current_state(directory)
    except FileNotFoundError:
        yield FileProblem(directory, "there is no such directory")
    except CorruptFileError as error:
        yield FileProblem(error.path or directory, error.problem)
    except UnsupportedFormatError as error:
        yield FileProblem(directory / CURRENT_FILE, f"format {error.found} is newer than this version reads")
    except IndexStorageError as error:
        yield FileProblem(error.path or directory, error.message)
    else:
        yield from verify_arrays(_state_path(directory, number), kind=KIND, format=FORMAT, pace=pace)


def _current_text(number: int, form: int) -> bytes:
    body = {"checksum": "", "format": form, "kind": KIND, "state": number}
    crc = zlib.crc32(json.dumps(body, sort_keys=True).encode())
    return (json.dumps(body | {"checksum": f"crc32:{crc:08x}"}, sort_keys=True) + "\n").encode()


def _current_state(directory: Path) -> int:
    """Return the number of the state that `current.json` names; raises what `load_tables` raises."""
    path = directory / CURRENT_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        if not directory.is_dir():
            raise FileNotFoundError(2, "there is no index directory", str(directory)) from None
        raise CorruptFileError(path, "is missing, so this index was never finished or has lost it") from None
    except NotADirectoryError:
        raise IndexStorageError(f"{directory}: is not a directory", path=directory) from None
    try:
        body = json.loads(text)
        number, version, kind = body["state"], body["format"], body["kind"]
        if isinstance(version, int) and version > FORMAT:
            raise UnsupportedFormatError(path, version, FORMAT)
        intact = kind == KIND and text == _current_text(int(number), int(version))
    except (ValueError, TypeError, KeyError, RecursionError):
        intact = False
    if not intact:
        raise CorruptFileError(path, "does not hold what was written: its checksum does not match")
    return int(number)
