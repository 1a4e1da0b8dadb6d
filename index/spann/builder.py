"""Building a clustered index: centroids, assignment, calibration, and the files."""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import naming, sync_directory
from lexhound.core.progress import OnStep, Stage
from lexhound.index.array_files import create_file, write_all
from lexhound.index.dense.flat import FlatIndex
from lexhound.index.errors import IndexStorageError
from lexhound.index.spann.assignment import Graph, assign, limit_postings
from lexhound.index.spann.block_sums import BLOCK
from lexhound.index.spann.centroids import CentroidIndex
from lexhound.index.spann.clustering import hierarchical_centroids
from lexhound.index.spann.geometry import Geometry
from lexhound.index.spann.measurement import calibrate
from lexhound.index.spann.options import SpannOptions
from lexhound.index.spann.rotation import Rotation
from lexhound.index.spann.search import Searcher
from lexhound.index.spann.sign_codes import SignCodec
from lexhound.index.spann.storage import POSTINGS_FILE, VECTORS_FILE, PostingsFile, VectorsFile, write_vectors
from lexhound.index.spann.tables import Settings, Tables, save_tables

_WRITE_CODES = 1 << 15


def build_files(
    path: Path,
    vectors: NDArray[np.float32],
    options: SpannOptions,
    queries: NDArray[np.float32] | None,
    progress: OnStep | None = None,
) -> None:
    """Write a whole index of checked vectors into a new or empty directory; a failure leaves nothing behind."""
    is_new = not path.exists()
    if is_new:
        path.mkdir()
    elif not path.is_dir() or any(path.iterdir()):
        raise IndexStorageError(
            f"{path}: is not an empty directory", path=path, hint="an index is written into a new directory"
        )
    try:
        _write(path, vectors, options, queries, progress)
    except BaseException:
        with contextlib.suppress(OSError):
            for entry in path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            if is_new:
                path.rmdir()
        raise


def _write(
    path: Path,
    vectors: NDArray[np.float32],
    options: SpannOptions,
    queries: NDArray[np.float32] | None,
    progress: OnStep | None,
) -> None:
    geometry = Geometry.of(vectors)
    rotation = Rotation(geometry.dimension, options.seed)
    centroids, assigned = _clusters(geometry.points(vectors), options, rotation, progress)
    Stage(progress, "writing vectors")
    write_vectors(path / VECTORS_FILE, vectors)
    tables = _write_postings(path / POSTINGS_FILE, centroids, assigned, vectors)
    Stage(progress, "calibrating")
    written = VectorsFile(path / VECTORS_FILE, *vectors.shape)
    flat = FlatIndex(written.vectors, largest_norm=geometry.radius)
    searcher = Searcher(geometry, tables, PostingsFile(path / POSTINGS_FILE), written)
    calibration = calibrate(searcher, flat, assigned, queries, options)
    save_tables(path, Settings(options, geometry, calibration, len(vectors)), tables)
    sync_directory(path.parent)


def _clusters(
    points: NDArray[np.float32], options: SpannOptions, rotation: Rotation, progress: OnStep | None
) -> tuple[CentroidIndex, NDArray[np.int64]]:
    most = most_centroids(options, rotation, len(points))
    means = hierarchical_centroids(
        points, options.vectors_per_centroid, most=most, seed=options.seed, progress=progress
    )
    index = Graph(means, options.graph_links, options.graph_effort) if len(means) >= options.graph_from else None
    pace = Stage(progress, "assigning", len(points), "vectors").add
    assigned = assign(index or CentroidIndex.of(means, rotation), means, points, options, pace)
    limited, assigned = limit_postings(means, points, assigned, options.posting_limit)
    return CentroidIndex.of(limited, rotation), assigned


def most_centroids(options: SpannOptions, rotation: Rotation, n_vectors: int) -> int:
    """Return how many centroids the memory budget allows.

    Raises ValueError where it is too small for the collection.
    """
    if options.memory_budget is None:
        return max(1, n_vectors)
    # Vector and its code, and the table of postings.
    each = 4 * (rotation.dimension + 1) + SignCodec(rotation.dimension).block_bytes // BLOCK
    each += 40
    fixed = rotation.nbytes + 4 * rotation.dimension
    most = (options.memory_budget - fixed) // each
    least = max(1, -(-n_vectors // (options.posting_limit // 2)))
    if most < least:
        raise ValueError(
            f"a memory budget of {options.memory_budget:,} bytes is too small for {n_vectors:,} vectors: "
            f"it takes at least {fixed + each * least:,}, or longer postings"
        )
    return int(most)


def _write_postings(
    path: Path, centroids: CentroidIndex, assigned: NDArray[np.int64], vectors: NDArray[np.float32]
) -> Tables:
    """Write the postings, one behind the other, in the order of their centroids."""
    rotation = centroids.rotation
    codec = SignCodec(rotation.dimension)
    order = np.argsort(assigned, axis=None, kind="stable")
    order = order[np.count_nonzero(assigned < 0) :]
    counts = np.bincount(assigned.reshape(-1)[order], minlength=len(centroids)).astype(np.int64)
    sizes = -(-counts // BLOCK) * codec.block_bytes
    checksums = np.zeros(len(counts), np.uint32)
    ends, stops = np.cumsum(counts), np.cumsum(sizes)
    first = 0
    with naming(path), create_file(path) as file:
        while first < len(counts):
            # As many postings as make a good write; always one.
            begin = ends[first] - counts[first]
            last = max(first + 1, int(np.searchsorted(ends, begin + _WRITE_CODES, side="right")))
            rows = order[begin : ends[last - 1]] // assigned.shape[1]
            lists = np.repeat(np.arange(last - first), counts[first:last])
            centres = rotation.rotated(centroids.points[first:last])
            data = codec.encode(rows, lists, rotation.rotated(vectors[rows]), centres).reshape(-1)
            start = stops[first] - sizes[first]
            for number in range(first, last):
                part = data[stops[number] - sizes[number] - start : stops[number] - start]
                checksums[number] = zlib.crc32(part)  # type: ignore[arg-type]
            write_all(file, data)
            first = last
        os.fsync(file.fileno())
    return Tables(centroids, counts, checksums)
