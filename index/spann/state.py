"""What a clustered index keeps in memory, as one immutable snapshot, and how it is saved.

A search works on the snapshot that it began with. A writer makes the next one and puts it in its place.
"""

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
from lexhound.index.array_files import (
    ArrayDirectory,
    ArrayDirectoryWriter,
    FileProblem,
    Pace,
    create_file,
    no_pace,
    verify_arrays,
)
from lexhound.index.errors import CorruptFileError, IndexStorageError, UnsupportedFormatError
from lexhound.index.jit import frozen

from .calibration import Calibration
from .centroids import Graph, GraphLinks, Router
from .clustering import has_faiss
from .geometry import Geometry
from .options import SpannOptions
from .rotation import Rotation
from .storage import PAGE, DataFile, VectorFile

FORMAT = 2
"""1 where nothing is turned, so that older versions read it."""
KIND = "spann"
CURRENT_FILE = "current.json"


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class State:
    """Centroids, the table of postings, and the rows that live."""

    router: Router
    pages: NDArray[np.int64]
    """int64[c]: the first page of each posting."""
    capacities: NDArray[np.int64]
    """int64[c]: its pages."""
    counts: NDArray[np.int64]
    """int64[c]: its entries, outdated ones included; 0 for a posting that is gone."""
    checksums: NDArray[np.uint32]
    """uint32[c]: CRC-32 of its entries."""
    versions: NDArray[np.uint16]
    """uint16[n]: the version of each row that counts: odd while it lives, even when it does not (0: never did)."""
    garbage: float
    """Entries that are outdated, about."""
    live: NDArray[np.bool_] = field(init=False)
    """bool[n]: the rows that live."""
    n_live: int = field(init=False)
    starts: NDArray[np.int64] = field(init=False)
    """int64[c]: the byte of the file where each posting begins."""
    end: int = field(init=False)
    """The byte of the file behind the pages of the last posting."""
    mean_count: float = field(init=False)
    """Entries in a posting, on average over those that have any."""

    def __post_init__(self) -> None:
        for name in ("counts", "versions"):  # what kernels read
            object.__setattr__(self, name, frozen(getattr(self, name)))
        full = self.counts > 0
        object.__setattr__(self, "starts", frozen(self.pages * PAGE))
        object.__setattr__(self, "end", int(((self.pages + self.capacities) * PAGE)[full].max(initial=0)))
        object.__setattr__(self, "mean_count", float(self.counts[full].mean()) if full.any() else 0.0)
        object.__setattr__(self, "live", (self.versions & 1).astype(np.bool_))
        object.__setattr__(self, "n_live", int(np.count_nonzero(self.live)))

    @property
    def nbytes(self) -> int:
        tables = (self.starts, self.pages, self.capacities, self.counts, self.checksums, self.versions, self.live)
        return self.router.nbytes + sum(table.nbytes for table in tables)

    def check(self, directory: Path, entry_bytes: int, postings: DataFile, vectors: VectorFile) -> None:
        """Raises CorruptFileError where the tables do not fit together, or the data files do not hold what they say."""
        home = directory / CURRENT_FILE
        sizes = {len(self.router), len(self.pages), len(self.capacities), len(self.counts), len(self.checksums)}
        if len(sizes) != 1:
            raise CorruptFileError(home, "names a state whose tables of postings differ in length")
        lengths = self.counts * entry_bytes
        if (self.pages < 0).any() or (lengths > self.capacities * PAGE).any():
            raise CorruptFileError(home, "names a state with postings that are longer than their pages")
        end = int((self.pages * PAGE + lengths)[self.counts > 0].max(initial=0))
        if end > postings.nbytes:
            raise CorruptFileError(postings.path, f"has {postings.nbytes} bytes where at least {end} were written")
        end = len(self.versions) * vectors.record_bytes
        if end > vectors.file.nbytes:
            raise CorruptFileError(
                vectors.file.path, f"has {vectors.file.nbytes} bytes where at least {end} were written"
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """What does not change in the life of an index, and what was measured when it was built."""

    options: SpannOptions
    geometry: Geometry
    calibration: Calibration
    rotation: Rotation | None = None

    @property
    def format(self) -> int:
        """The oldest format that can hold an index with these settings."""
        return 1 if self.rotation is None else FORMAT


def state_name(number: int) -> str:
    return f"state-{number:06d}"


def save_state(directory: Path, number: int, settings: Settings, state: State) -> None:
    """Write a state directory, synced; it counts only once `switch` names it."""
    router = state.router
    attributes: dict[str, Any] = {
        "options": asdict(settings.options),
        "dimension": settings.geometry.dimension,
        "radius": settings.geometry.radius,
        "calibration": settings.calibration.as_json(),
        "garbage": state.garbage,
    }
    with ArrayDirectoryWriter(directory / state_name(number), kind=KIND, format=settings.format) as writer:
        writer.write("centroids", router.all_centroids(), structure=True)
        writer.write("dead", router.dead.astype(np.uint8), structure=True)
        writer.write("pages", state.pages.astype(np.uint64), structure=True)
        writer.write("capacities", state.capacities.astype(np.uint32), structure=True)
        writer.write("counts", state.counts.astype(np.uint32), structure=True)
        writer.write("checksums", state.checksums, structure=True)
        writer.write("versions", state.versions, structure=True)
        if router.graph is not None:
            links = router.graph.links_of()
            writer.write("graph_levels", links.levels, structure=True)
            writer.write("graph_offsets", links.offsets, structure=True)
            writer.write("graph_neighbors", links.neighbors, structure=True)
            attributes["graph"] = {"entry_point": links.entry_point, "max_level": links.max_level}
        if settings.rotation is not None:
            writer.write("axes", settings.rotation.axes, structure=True)
            attributes["rotation"] = {"first": settings.rotation.first, "rest": settings.rotation.rest}
        writer.finish(attributes)


def load_state(directory: Path, number: int) -> tuple[Settings, State]:
    """Raises CorruptFileError, UnsupportedFormatError, IndexStorageError."""
    path = directory / state_name(number)
    try:
        stored = ArrayDirectory(path, kind=KIND, format=FORMAT)
    except FileNotFoundError:
        raise CorruptFileError(path, "is missing") from None
    attributes = stored.attributes
    try:
        options = SpannOptions(**attributes["options"])
        geometry = Geometry(options.metric, int(attributes["dimension"]), float(attributes["radius"]))
        calibration = Calibration.from_json(attributes["calibration"])
        centroids = np.array(stored.array("centroids"), np.float32)
        dead = np.array(stored.array("dead"), np.bool_)
        graph = None
        if "graph" in attributes and has_faiss():
            levels = np.array(stored.array("graph_levels"), np.int32)
            links = GraphLinks(
                levels,
                np.array(stored.array("graph_offsets"), np.uint64),
                np.array(stored.array("graph_neighbors"), np.int32),
                int(attributes["graph"]["entry_point"]),
                int(attributes["graph"]["max_level"]),
            )
            graph = Graph.load(centroids[: len(levels)], options.graph_links, options.graph_effort, links)
            centroids = centroids[len(levels) :].copy()
        if len(dead) != len(centroids) + (len(graph) if graph else 0):
            raise ValueError("its centroids and their marks differ in number")
        rotation = None
        if "rotation" in attributes:
            found = attributes["rotation"]
            axes = np.array(stored.array("axes"), np.float32)
            rotation = Rotation(axes, int(found["first"]), float(found["rest"]))
            if axes.shape != (geometry.dimension,) * 2 or not 0 < rotation.first <= geometry.dimension:
                raise ValueError("its axes do not fit its vectors")
        state = State(
            Router.of(geometry.routed_dimension, graph, centroids, dead, rotation),
            np.array(stored.array("pages"), np.int64),
            np.array(stored.array("capacities"), np.int64),
            np.array(stored.array("counts"), np.int64),
            np.array(stored.array("checksums"), np.uint32),
            np.array(stored.array("versions"), np.uint16),
            float(attributes["garbage"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(path, f"lacks what a clustered index needs: {error}") from error
    return Settings(options, geometry, calibration, rotation), state


def verify_state(directory: Path, number: int, pace: Pace = no_pace) -> Iterator[FileProblem]:
    """Read every byte of a state."""
    yield from verify_arrays(directory / state_name(number), kind=KIND, format=FORMAT, pace=pace)


def _current_text(number: int, form: int) -> bytes:
    body = {"checksum": "", "format": form, "kind": KIND, "state": number}
    crc = zlib.crc32(json.dumps(body, sort_keys=True).encode())
    return (json.dumps(body | {"checksum": f"crc32:{crc:08x}"}, sort_keys=True) + "\n").encode()


def switch(directory: Path, number: int, form: int) -> None:
    """Make a saved state, of a format, the one that counts, in one step."""
    path = directory / CURRENT_FILE
    unfinished = directory / (CURRENT_FILE + ".part")
    unfinished.unlink(missing_ok=True)
    with naming(unfinished), create_file(unfinished) as file:
        file.write(_current_text(number, form))
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_directory(directory)


def current_state(directory: Path) -> int:
    """The number of the state that counts.

    Raises FileNotFoundError, CorruptFileError, UnsupportedFormatError, IndexStorageError.
    """
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
        number, found, kind = body["state"], body["format"], body["kind"]
        if isinstance(found, int) and found > FORMAT:
            raise UnsupportedFormatError(path, found, FORMAT)
        intact = kind == KIND and text == _current_text(int(number), int(found))
    except (ValueError, TypeError, KeyError, RecursionError):
        intact = False
    if not intact:
        raise CorruptFileError(path, "does not hold what was written: its checksum does not match")
    return int(number)
