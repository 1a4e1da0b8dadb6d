"""Building a clustered index: centroids, assignment, calibration, and the files."""

from __future__ import annotations

import contextlib
import shutil
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import sync_directory
from lexhound.index.errors import IndexStorageError

from .assignment import assign, limited
from .centroids import Router
from .clustering import hierarchical_centroids
from .codec import EntryFormat
from .geometry import Geometry
from .lock import LOCK_FILE
from .log import create_log
from .measurement import calibrate
from .options import SpannOptions
from .rotation import Rotation
from .search import Searcher
from .state import Settings, State, save_state, switch
from .storage import PAGE, POSTINGS_FILE, VECTORS_FILE, DataFile, VectorFile, create

_WRITE_ENTRIES = 1 << 15


def build_files(
    path: Path,
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    options: SpannOptions,
    geometry: Geometry,
    queries: NDArray[np.float32] | None,
) -> None:
    """Write a whole index of prepared vectors into a new or empty directory; nothing is left after a failure."""
    made = not path.exists()
    if made:
        path.mkdir()
    elif not path.is_dir() or any(path.iterdir()):
        raise IndexStorageError(
            f"{path}: is not an empty directory", path=path, hint="an index is written into a new directory"
        )
    try:
        _write(path, vectors, rows, options, geometry, queries)
    except BaseException:
        with contextlib.suppress(OSError):
            for entry in path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            if made:
                path.rmdir()
        raise


def _write(
    path: Path,
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    options: SpannOptions,
    geometry: Geometry,
    queries: NDArray[np.float32] | None,
) -> None:
    for name in (POSTINGS_FILE, VECTORS_FILE):
        create(path / name)
    copy = VectorFile(path / VECTORS_FILE, geometry.dimension, options.copy, writable=True)
    vectors = copy.rounded(vectors)
    routed = geometry.routed(vectors)
    rotation = Rotation.of(vectors, options.seed) if options.codec == "int8" else None
    router, chosen = _clusters(routed, rows, options, geometry, rotation)
    versions = np.zeros(int(rows.max(initial=-1)) + 1, np.uint16)
    versions[rows] = 1
    copy.file.extend(len(versions) * copy.record_bytes)
    order = np.argsort(rows)
    for start in range(0, len(rows), _WRITE_ENTRIES):
        part = order[start : start + _WRITE_ENTRIES]
        copy.write(rows[part], vectors[part])
    copy.file.sync()
    entries = EntryFormat(options.codec, geometry.dimension, rotation)
    postings = DataFile(path / POSTINGS_FILE, writable=True)
    state = _write_postings(postings, entries, router, chosen, rows, vectors, versions)
    postings.sync()
    searcher = Searcher(geometry, entries, postings, copy)
    calibration = calibrate(searcher, state, options, vectors, rows, chosen, queries)
    settings = Settings(options, geometry, calibration, rotation)
    save_state(path, 1, settings, state)
    create_log(path, 1)
    create(path / LOCK_FILE)
    switch(path, 1, settings.format)
    sync_directory(path.parent)


def _clusters(
    routed: NDArray[np.float32],
    rows: NDArray[np.int64],
    options: SpannOptions,
    geometry: Geometry,
    rotation: Rotation | None,
) -> tuple[Router, NDArray[np.int64]]:
    most = most_centroids(options, geometry, int(rows.max(initial=-1)) + 1, len(rows), rotation)
    centroids = hierarchical_centroids(routed, options.vectors_per_centroid, most=most, seed=options.seed)

    def router_of(points: NDArray[np.float32]) -> Router:
        return Router.build(
            points,
            graph_from=options.graph_from,
            links=options.graph_links,
            effort=options.graph_effort,
            rotation=rotation,
        )

    router = router_of(centroids)
    chosen = assign(router, routed, options)
    new, chosen = limited(centroids, routed, chosen, options.posting_limit)
    return (router if new is centroids else router_of(new)), chosen


def most_centroids(
    options: SpannOptions, geometry: Geometry, n_rows: int, n_vectors: int, rotation: Rotation | None = None
) -> int:
    """How many centroids the memory budget allows. Raises ValueError where it is too small for the collection."""
    if options.memory_budget is None:
        return max(1, n_vectors)
    # Vector and its codes, links of the lowest level and a little above, table of postings.
    each = 5 * geometry.routed_dimension + int(8.5 * options.graph_links) + 20 + 32
    fixed = 3 * n_rows + (0 if rotation is None else rotation.nbytes)
    most = (options.memory_budget - fixed) // each
    least = -(-n_vectors // (options.posting_limit // 2))
    if most < max(1, least):
        raise ValueError(
            f"a memory budget of {options.memory_budget:,} bytes is too small for {n_vectors:,} vectors: "
            f"it takes at least {fixed + each * max(1, least):,}, or longer postings"
        )
    return int(most)


def _write_postings(
    file: DataFile,
    entries: EntryFormat,
    router: Router,
    chosen: NDArray[np.int64],
    rows: NDArray[np.int64],
    vectors: NDArray[np.float32],
    versions: NDArray[np.uint16],
) -> State:
    order = np.argsort(chosen, axis=None, kind="stable")
    order = order[np.count_nonzero(chosen < 0) :]
    counts = np.bincount(chosen.reshape(-1)[order], minlength=len(router)).astype(np.int64)
    capacities = -(-counts * entries.entry_bytes // PAGE)
    pages = np.cumsum(capacities) - capacities
    checksums = np.zeros(len(counts), np.uint32)
    ends = np.cumsum(counts)
    file.extend(int(capacities.sum()) * PAGE)
    first = 0
    while first < len(counts):
        # As many postings as make a good write; always one.
        begin = ends[first] - counts[first]
        last = max(first + 1, int(np.searchsorted(ends, begin + _WRITE_ENTRIES, side="right")))
        members = order[begin : ends[last - 1]] // chosen.shape[1]
        encoded = entries.encode(rows[members], versions[rows[members]], vectors[members])
        block = np.zeros(int(capacities[first:last].sum()) * PAGE, np.uint8)
        for number in range(first, last):
            data = encoded[ends[number] - counts[number] - begin : ends[number] - begin].reshape(-1)
            place = int(pages[number] - pages[first]) * PAGE
            block[place : place + len(data)] = data
            checksums[number] = zlib.crc32(data)  # type: ignore[arg-type]
        file.write(block, int(pages[first]) * PAGE)
        first = last
    return State(router, pages, capacities, counts, checksums, versions, 0.0)


def remove_unfinished(path: Path, keep: int) -> None:
    """Remove states and logs that do not count; what a crash left."""
    for entry in path.iterdir():
        stem = entry.name.removesuffix(".bin")
        kind, _, number = stem.partition("-")
        if kind in ("state", "log") and number.isdigit() and int(number) != keep:
            with contextlib.suppress(OSError):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
