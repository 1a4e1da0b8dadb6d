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
from lexhound.index.spann.calibration import Calibration
from lexhound.index.spann.centroids import CentroidIndex
from lexhound.index.spann.clustering import has_faiss
from lexhound.index.spann.geometry import Geometry
from lexhound.index.spann.graph import Graph, GraphLinks
from lexhound.index.spann.options import SpannOptions
from lexhound.index.spann.rotation import Rotation
from lexhound.index.spann.storage import PAGE, PostingsFile

FORMAT = 2
"""1 where nothing is rotated, so that older versions read it."""
KIND = "spann"
CURRENT_FILE = "current.json"

# Earlier versions had other metrics and copies too, and could change an index after it was built.
_FIXED_OPTIONS = {"metric": "ip", "copy": "float32"}
_CHANGED = "was changed after it was built, by a version that could do so; build it again"


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Centroids, and where their postings lie."""

    centroids: CentroidIndex
    pages: NDArray[np.int64]
    """int64[c]: the first page of each posting."""
    capacities: NDArray[np.int64]
    """int64[c]: its pages."""
    counts: NDArray[np.int64]
    """int64[c]: its codes."""
    checksums: NDArray[np.uint32]
    """uint32[c]: CRC-32 of its codes."""
    n_rows: int
    starts: NDArray[np.int64] = field(init=False)
    """int64[c]: the byte of the file where each posting begins."""
    mean_count: float = field(init=False)
    """Codes in a posting, on average over those that have any."""

    def __post_init__(self) -> None:
        full = self.counts > 0
        object.__setattr__(self, "counts", frozen(self.counts))
        object.__setattr__(self, "starts", frozen(self.pages * PAGE))
        object.__setattr__(self, "mean_count", float(self.counts[full].mean()) if full.any() else 0.0)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        tables = (self.starts, self.pages, self.capacities, self.counts, self.checksums)
        return self.centroids.nbytes + sum(table.nbytes for table in tables)

    def check(self, directory: Path, code_bytes: int, postings: PostingsFile) -> None:
        """Raise CorruptFileError where the tables do not fit together, or the file of postings is too short."""
        source = directory / CURRENT_FILE
        sizes = {len(self.centroids), len(self.pages), len(self.capacities), len(self.counts), len(self.checksums)}
        if len(sizes) != 1:
            raise CorruptFileError(source, "names a state whose tables of postings differ in length")
        lengths = self.counts * code_bytes
        if (self.pages < 0).any() or (lengths > self.capacities * PAGE).any():
            raise CorruptFileError(source, "names a state with postings that are longer than their pages")
        end = int((self.starts + lengths)[self.counts > 0].max(initial=0))
        if end > postings.nbytes:
            raise CorruptFileError(postings.path, f"has {postings.nbytes} bytes where at least {end} were written")


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that an index was built with, and what was measured then."""

    options: SpannOptions
    geometry: Geometry
    calibration: Calibration
    rotation: Rotation | None = None

    @property
    def format(self) -> int:
        """The oldest format that can hold an index with these settings."""
        return 1 if self.rotation is None else FORMAT


def _state_path(directory: Path, number: int) -> Path:
    return directory / f"state-{number:06d}"


def _log_path(directory: Path, number: int) -> Path:
    """Return the path of the log of changes, which is empty: earlier versions do not open an index without it."""
    return directory / f"log-{number:06d}.bin"


def save_tables(directory: Path, settings: Settings, tables: Tables) -> None:
    """Write settings and tables, and `current.json` last, which makes the index whole."""
    centroids = tables.centroids
    attributes: dict[str, Any] = {
        "options": _FIXED_OPTIONS | asdict(settings.options),
        "dimension": settings.geometry.dimension,
        "radius": settings.geometry.radius,
        "calibration": settings.calibration.as_json(),
        "garbage": 0.0,
    }
    with ArrayDirectoryWriter(_state_path(directory, 1), kind=KIND, format=settings.format) as writer:
        writer.write("centroids", centroids.points, structure=True)
        writer.write("dead", np.zeros(len(centroids), np.uint8), structure=True)
        writer.write("pages", tables.pages.astype(np.uint64), structure=True)
        writer.write("capacities", tables.capacities.astype(np.uint32), structure=True)
        writer.write("counts", tables.counts.astype(np.uint32), structure=True)
        writer.write("checksums", tables.checksums, structure=True)
        writer.write("versions", np.ones(tables.n_rows, np.uint16), structure=True)
        if centroids.graph is not None:
            links = centroids.graph.links()
            writer.write("graph_levels", links.levels, structure=True)
            writer.write("graph_offsets", links.offsets, structure=True)
            writer.write("graph_neighbors", links.neighbors, structure=True)
            attributes["graph"] = {"entry_point": links.entry_point, "max_level": links.max_level}
        if settings.rotation is not None:
            writer.write("axes", settings.rotation.axes, structure=True)
            attributes["rotation"] = {"first": settings.rotation.first, "rest": settings.rotation.rest}
        writer.finish(attributes)
    create_file(_log_path(directory, 1)).close()
    unfinished = directory / (CURRENT_FILE + ".part")
    with naming(unfinished), create_file(unfinished) as file:
        write_all(file, _current_text(1, settings.format))
        os.fsync(file.fileno())
    unfinished.replace(directory / CURRENT_FILE)
    sync_directory(directory)


def load_tables(directory: Path) -> tuple[Settings, Tables]:
    """Read settings and tables.

    Raises FileNotFoundError, CorruptFileError, UnsupportedFormatError, IndexStorageError.
    """
    number = _current_state(directory)
    log = _log_path(directory, number)
    if log.exists() and log.stat().st_size:
        raise CorruptFileError(log, _CHANGED)
    path = _state_path(directory, number)
    try:
        stored = ArrayDirectory(path, kind=KIND, format=FORMAT)
    except FileNotFoundError:
        raise CorruptFileError(path, "is missing") from None
    try:
        settings = _settings(stored)
        versions = np.asarray(stored.array("versions"))
        if stored.array("dead").any() or not (versions == 1).all():
            raise CorruptFileError(path, _CHANGED)
        tables = Tables(
            _centroids(stored, settings),
            np.array(stored.array("pages"), np.int64),
            np.array(stored.array("capacities"), np.int64),
            np.array(stored.array("counts"), np.int64),
            np.array(stored.array("checksums"), np.uint32),
            len(versions),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(path, f"lacks what a clustered index needs: {error}") from error
    return settings, tables


def _settings(stored: ArrayDirectory) -> Settings:
    attributes = stored.attributes
    options = dict(attributes["options"])
    fixed = {name: options.pop(name) for name in _FIXED_OPTIONS}
    if fixed != _FIXED_OPTIONS:
        raise ValueError(f"this version reads indexes of inner products with a float32 copy, not {fixed}")
    geometry = Geometry(int(attributes["dimension"]), float(attributes["radius"]))
    rotation = None
    if "rotation" in attributes:
        axes = np.array(stored.array("axes"), np.float32)
        rotation = Rotation(axes, int(attributes["rotation"]["first"]), float(attributes["rotation"]["rest"]))
        if axes.shape != (geometry.dimension,) * 2 or not 0 < rotation.first <= geometry.dimension:
            raise ValueError("its axes do not fit its vectors")
    return Settings(SpannOptions(**options), geometry, Calibration.from_json(attributes["calibration"]), rotation)


def _centroids(stored: ArrayDirectory, settings: Settings) -> CentroidIndex:
    points = np.array(stored.array("centroids"), np.float32)
    options, attributes = settings.options, stored.attributes
    if points.shape[1:] != (settings.geometry.centroid_dimension,):
        raise ValueError("its centroids do not fit its vectors")
    graph = None
    if "graph" in attributes and has_faiss():
        links = GraphLinks(
            np.array(stored.array("graph_levels"), np.int32),
            np.array(stored.array("graph_offsets"), np.uint64),
            np.array(stored.array("graph_neighbors"), np.int32),
            int(attributes["graph"]["entry_point"]),
            int(attributes["graph"]["max_level"]),
        )
        if len(links.levels) != len(points):
            raise ValueError("its graph does not hold its centroids")
        graph = Graph.load(points, options.graph_links, options.graph_effort, links)
    return CentroidIndex.of(points, graph, settings.rotation)


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
