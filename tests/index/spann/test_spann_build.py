"""The parts that a clustered index is built from, each beside a plain twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from spann_collections import clustered, unit

from lexhound.index.errors import IndexStorageError
from lexhound.index.spann import ClusteredIndex, Effort, SpannOptions, build_clustered
from lexhound.index.spann.assignment import Graph, assign, limit_postings
from lexhound.index.spann.calibration import Calibration, Setting
from lexhound.index.spann.centroids import CentroidIndex
from lexhound.index.spann.clustering import faiss_threads, halves, hierarchical_centroids
from lexhound.index.spann.geometry import Geometry
from lexhound.index.spann.rotated_query import RotatedQuery
from lexhound.index.spann.rotation import Rotation


def squared(points: np.ndarray, other: np.ndarray) -> np.ndarray:
    return ((points[:, None].astype(np.float64) - other[None].astype(np.float64)) ** 2).sum(axis=2)


def closure(vector: np.ndarray, centroids: np.ndarray, options: SpannOptions) -> list[int]:
    """The relative-neighbourhood rule, word for word."""
    distances = np.sqrt(squared(vector[None], centroids)[0])
    taken: list[int] = []
    for one in np.argsort(distances, kind="stable")[: options.candidates].tolist():
        if len(taken) == options.replicas or distances[one] > options.closure_ratio * distances[:].min():
            break
        between = [float(np.sqrt(squared(centroids[one][None], centroids[other][None])[0, 0])) for other in taken]
        if all(options.rng_factor * apart >= distances[one] for apart in between):
            taken.append(one)
    return taken


def test_closure_assignment_follows_the_rule():
    vectors, centroids = clustered(200, 6), clustered(40, 6, seed=3)
    several = 0
    for options in (
        SpannOptions(closure_ratio=1.4, rng_factor=1),
        SpannOptions(replicas=2, rng_factor=0.7, closure_ratio=2),
    ):
        chosen = assign(CentroidIndex.of(centroids, Rotation(centroids.shape[1] - 1, 0)), centroids, vectors, options)
        for row, vector in zip(chosen.tolist(), vectors, strict=True):
            expected = closure(vector, centroids, options)
            assert row == expected + [-1] * (options.replicas - len(expected))
            several += len(expected) > 1
    assert several > 100


@settings(max_examples=examples(60), deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 60), st.just(2)), elements=st.sampled_from([0.0, 1.0, 3.0])),
    st.integers(2, 9),
)
def test_no_posting_is_longer_than_the_limit(vectors, limit):
    options = SpannOptions(replicas=3, closure_ratio=3)
    centroids = np.unique(vectors[:4], axis=0)
    chosen = assign(CentroidIndex.of(centroids, Rotation(centroids.shape[1] - 1, 0)), centroids, vectors, options)
    new, kept = limit_postings(centroids, vectors, chosen, limit)
    assert np.bincount(kept[kept >= 0]).max() <= limit
    assert (kept[:, 0] >= 0).all()  # nobody is lost
    assert kept.max() < len(new)
    for row in kept:
        there = row[row >= 0]
        assert len(set(there.tolist())) == len(there)
        assert (row[len(there) :] == -1).all()


@given(arrays(np.float32, st.tuples(st.integers(2, 30), st.just(2)), elements=st.sampled_from([0.0, 1.0, 5.0])))
def test_halves_are_never_empty_nor_far_from_equal(vectors):
    second = halves(vectors)
    least = max(1, int(0.3 * len(vectors)))
    assert least <= second.sum() <= len(vectors) - least


def test_halves_part_two_groups():
    groups = np.array([0, 1] * 10)
    vectors = clustered(20, 5, groups=1, spread=0.1) + 9 * groups[:, None].astype(np.float32)
    second = halves(vectors)
    assert second.tolist() in ((groups == 1).tolist(), (groups == 0).tolist())


def test_clusters_are_balanced_and_close():
    vectors = clustered(3000, 8)
    centroids = hierarchical_centroids(vectors, 15, most=10_000, seed=0)
    assert 150 <= len(centroids) <= 300
    nearest = squared(vectors, centroids)
    sizes = np.bincount(nearest.argmin(axis=1), minlength=len(centroids))
    assert sizes.max() < 5 * 15
    # Far better than as many vectors drawn by chance, which is what k-means is for.
    chance = squared(vectors, vectors[np.random.default_rng(0).choice(3000, len(centroids), replace=False)])
    assert nearest.min(axis=1).mean() < 0.85 * chance.min(axis=1).mean()
    assert len(hierarchical_centroids(vectors, 15, most=20, seed=0)) <= 20


@pytest.mark.parametrize("by_graph", [True, False])
def test_centroids_and_graph_find_the_nearest(by_graph):
    points, queries = clustered(600, 8), clustered(40, 8, seed=2)
    index = Graph(points, 16, 100) if by_graph else CentroidIndex.of(points, Rotation(7, 0))
    truth = squared(queries, points)
    for count, least in ((10, 0.95), (400, 0.95), (600, 0.95)):
        numbers, distances = index.nearest(queries, count)
        assert numbers.shape == (40, count)
        expected = np.argsort(truth, axis=1, kind="stable")[:, :count]
        same = [len(set(a) & set(b)) / count for a, b in zip(numbers.tolist(), expected.tolist(), strict=True)]
        assert np.mean(same) >= (least if by_graph else 1.0)
        assert (np.diff(distances, axis=1) >= 0).all()


def test_callers_keep_their_threads():
    import faiss

    before = faiss.omp_get_max_threads()
    with faiss_threads(before + 1):
        assert faiss.omp_get_max_threads() == before + 1
    assert faiss.omp_get_max_threads() == before


def test_two_builds_are_the_same_whatever_the_threads(tmp_path):
    vectors = clustered(800, 8)
    options = SpannOptions(calibration_queries=16, graph_from=32, vectors_per_centroid=10)
    for name, threads in (("a", 1), ("b", 3)):
        with faiss_threads(threads):
            build_clustered(tmp_path / name, vectors, options)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(names) >= 7
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_the_memory_budget_is_kept(tmp_path):
    vectors = unit(clustered(2000, 16))
    options = SpannOptions(
        calibration_queries=0, graph_from=16, memory_budget=15_000, vectors_per_centroid=10, posting_limit=118
    )
    index = build_clustered(tmp_path / "index", vectors, options)
    free = build_clustered(tmp_path / "free", vectors, replace(options, memory_budget=None))
    assert index.resident_bytes <= 15_000 < free.resident_bytes
    assert index.search(vectors[3], 5, effort=Effort(10)).rows[0] == 3
    with pytest.raises(ValueError, match="too small for 2,000 vectors"):
        build_clustered(tmp_path / "no", vectors, SpannOptions(memory_budget=1500))


def test_any_of_equal_rows_is_as_good_where_recall_is_measured(tmp_path):
    vectors = unit(np.concatenate([np.tile(clustered(1, 16), (1000, 1)), clustered(500, 16, seed=1)]))
    index = build_clustered(tmp_path / "index", vectors, SpannOptions(calibration_queries=80))
    measured = [setting.measured for setting in index.calibration.settings if setting.depth == 10]
    assert min(measured) > 0.8


def test_the_calibration_is_kept_in_the_header(tmp_path):
    vectors = clustered(500, 8)
    options = SpannOptions(calibration_queries=20, recall=0.9)
    index = build_clustered(tmp_path / "index", vectors, options, queries=clustered(50, 8, seed=4))
    settings_found = index.calibration.settings
    assert index.calibration.queries == 20
    assert {setting.depth for setting in settings_found} == {10, 100, 1000}
    assert all(0 < setting.measured <= 1 and setting.entries > 0 for setting in settings_found)
    assert ClusteredIndex.open(tmp_path / "index").calibration == index.calibration
    other = build_clustered(tmp_path / "other", vectors, options)
    assert other.calibration != index.calibration  # of queries of its own
    with pytest.raises(ValueError, match="as the vectors are"):
        build_clustered(tmp_path / "no", vectors, options, queries=clustered(5, 7))


def test_which_setting_answers():
    def setting(depth: int, target: float, postings: int) -> Setting:
        return Setting(depth, target, postings, 1.5, target, 1.0)

    calibration = Calibration(9, (setting(10, 0.9, 4), setting(10, 0.95, 8), setting(100, 0.9, 20)))
    assert calibration.effort(0.9, 3) == Effort(4, 1.5)
    assert calibration.effort(0.91, 10) == Effort(8, 1.5)
    assert calibration.effort(0.9, 11) == Effort(20, 1.5)
    assert calibration.effort(0.9, 250) == Effort(50)
    assert calibration.effort(0.99, 10) == Effort.everything()
    assert Calibration(0, ()).effort(0.9, 10) == Effort.everything()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"replicas": 0}, "replicas must be between 1 and 16"),
        ({"vectors_per_centroid": 500.0}, "vectors_per_centroid must be between"),
        ({"closure_ratio": 0.5}, "closure_ratio must be at least 1"),
        ({"recall": 0.0}, "recall must be above 0"),
        ({"memory_budget": 0}, "memory_budget must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpannOptions(**arguments)


def test_building_needs_a_directory_of_its_own(tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(IndexStorageError, match="is not an empty directory"):
        build_clustered(tmp_path, clustered(10, 4))
    assert (tmp_path / "kept.txt").read_text() == "mine"


def test_codes_of_centroids_lead_to_the_nearest():
    values = clustered(2000, 96, seed=3)
    geometry, rotation = Geometry.of(values), Rotation(96, 0)
    points = geometry.points(values)
    centroids = CentroidIndex.of(points, rotation)
    same = 0
    for query in clustered(20, 96, seed=4):
        turned = RotatedQuery.of(query, geometry, rotation)
        numbers = centroids.nearest_to(turned, 40)
        exact = ((points - geometry.query_points(query[None])) ** 2).sum(axis=1)
        same += len(set(numbers.tolist()) & set(np.argsort(exact, kind="stable")[:40].tolist()))
        assert sorted(centroids.nearest_to(turned, 3000).tolist()) == list(range(2000))
    assert same >= 0.85 * 20 * 40
