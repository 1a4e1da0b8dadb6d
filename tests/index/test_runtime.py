"""Corpora of real size, threads, the compiler, and what an import drags in."""

from __future__ import annotations

import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import index_corpora
import numpy as np
import oracle
import pytest
from scipy.sparse import csr_array

from lexhound.index import InvertedIndex, Query, build_inverted, compiling, read_ahead, warm, warming
from lexhound.index.array_files import ArrayDirectory
from lexhound.index.inverted import accumulator, traversal
from lexhound.index.inverted.traversal import search_windows
from lexhound.index.jit import kernel


@pytest.fixture(scope="module")
def wide() -> tuple[csr_array, InvertedIndex]:
    """Zipf-distributed terms over more rows than two windows hold, in the index's own window size."""
    rng = np.random.default_rng(3)
    n_rows, n_terms = 80_000, 500
    chance = 1 / np.arange(1, n_terms + 1) ** 1.2
    terms = rng.choice(n_terms, size=n_rows * 8, p=chance / chance.sum())
    matrix = csr_array(
        (np.ones(len(terms), np.float32), (np.repeat(np.arange(n_rows), 8), terms)), shape=(n_rows, n_terms)
    )
    matrix.sum_duplicates()
    matrix.data = rng.choice(np.array([0.25, 0.5, 1.0], np.float32), size=matrix.nnz)
    return matrix, InvertedIndex.from_csr(matrix, 1 / 255)


def query_of(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    terms = np.sort(rng.choice(520, size=size, replace=False)).astype(np.int32)
    return terms, rng.choice(np.array([0.3, 1.0, 2.0], np.float32), size=size)


def test_rows_over_several_full_windows_equal_the_oracle(wide):
    matrix, index = wide
    rng = np.random.default_rng(4)
    for _ in range(20):
        terms, weights = query_of(rng, int(rng.integers(1, 12)))
        known = terms[terms < matrix.shape[1]]
        columns = matrix[:, known].toarray()
        scores = oracle.scores(columns, 1 / 255, [*range(len(known)), *[10**6] * (len(terms) - len(known))], weights)
        for allowed in (None, rng.random(matrix.shape[0]) < 0.001, np.arange(matrix.shape[0]) > 70_000):
            for k in (1, 10, 2000):
                found = index.search(Query.from_weights(terms, weights), k, allowed=allowed)
                candidates = np.flatnonzero((scores > 0) if allowed is None else (scores > 0) & allowed)
                expected = candidates[np.lexsort((candidates, -scores[candidates]))][:k]
                assert found.rows.tolist() == expected.tolist()
                assert found.scores.tolist() == scores[expected].tolist()


def test_many_threads_at_once_give_what_one_gives(wide):
    _, index = wide
    rng = np.random.default_rng(5)
    queries = [Query.from_weights(*query_of(rng, 5)) for _ in range(200)]
    alone = [(top.rows.tolist(), top.scores.tolist()) for top in index.search_many(queries, 10, threads=1)]
    for threads in (2, 8, None):
        together = index.search_many(queries, 10, threads=threads)
        assert [(top.rows.tolist(), top.scores.tolist()) for top in together] == alone
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: index.search(query, 10), queries))
    assert [(top.rows.tolist(), top.scores.tolist()) for top in found] == alone


def test_one_compiled_kernel_serves_memory_and_disk(wide, tmp_path):
    matrix, memory = wide
    warm()
    compiled = len(search_windows.compiled.signatures)
    disk = build_inverted(tmp_path / "index", matrix, scale=1 / 255)
    query = Query.from_weights(np.array([3, 5], np.int32), np.array([1, 2], np.float32))
    mask = np.ones(matrix.shape[0], np.bool_)
    for index in (memory, disk):
        index.search(query, 10)
        index.search(query, 10, allowed=mask)
        index.search_many([query], 10)
    assert len(search_windows.compiled.signatures) == compiled
    # The phases of a long kernel are compiled as parts of it and not once more by themselves.
    for phase in (traversal._search_window, accumulator.offer_scanned):
        assert phase.compiled.targetoptions["inline"] == "always"
        assert phase.compiled.signatures == []


def test_kernels_work_where_no_cache_can_be_written(monkeypatch):
    compile_kernel = compiling.numba.njit

    def njit(*, cache, **flags):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_kernel(**flags)

    monkeypatch.setattr(compiling.numba, "njit", njit)

    def double(numbers):
        for i in range(len(numbers)):
            numbers[i] *= 2

    numbers = np.arange(3)
    kernel(double)(numbers)
    assert numbers.tolist() == [0, 2, 4]


def test_a_changed_module_makes_the_kernels_of_its_folder_compile_anew(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("stamped_inner", "stamped_outer")
    (tmp_path / "stamped_outer.py").write_text(
        "import stamped_inner\nfrom lexhound.index.jit import kernel\n\n\n"
        "@kernel\ndef outer(x):\n    return stamped_inner.inner(x) + 1\n"
    )
    for factor in (2, 30):
        (tmp_path / "stamped_inner.py").write_text(
            f"from lexhound.index.jit import kernel\n\n\n@kernel\ndef inner(x):\n    return {factor} * x\n"
        )
        compiling._folder_stamp.cache_clear()
        importlib.invalidate_caches()
        assert importlib.import_module("stamped_outer").outer(5) == 5 * factor + 1
        for name in names:
            monkeypatch.delitem(sys.modules, name)
    assert list(tmp_path.rglob("stamped_outer.outer*.nbc"))  # it was cached


AHEAD = """
import gc
import sys
from pathlib import Path
import numpy as np
from lexhound.index import MergePart, Query, build_inverted, merge_inverted
from lexhound.index.ahead import compile_ahead
from lexhound.index.dense.flat import FlatIndex
from lexhound.index.inverted.calibration import calibrate
from lexhound.index.inverted.scales import stored_ranges
from lexhound.index.jit import Kernel
from scipy.sparse import random as random_matrix

def versions():
    found = [each for each in gc.get_objects() if isinstance(each, Kernel) and each.is_loaded]
    return {each.function.__module__ + "." + each.function.__name__: len(each.compiled.signatures) for each in found}

for _, compile_kernels in compile_ahead():
    compile_kernels()
before = versions()
path, rng = Path(sys.argv[1]), np.random.default_rng(0)
rows = random_matrix(3000, 50, 0.1, format="csr", random_state=0, dtype=np.float32)
weighed = {"frequencies": np.ones(rows.nnz, np.uint8), "lengths": np.ones(3000, np.uint32)}
for name, extra in {"plain": {}, "weighed": weighed}.items():
    index = build_inverted(path / name, rows, scale=0.01, threads=2, **extra)
    new_rows = np.where(np.arange(3000) % 2, np.arange(3000), -1)
    merged = merge_inverted(path / (name + "merged"), [MergePart(index, new_rows)], 3000, scale=0.01)
    calibrate(merged)
    stored_ranges(merged)
    query = Query.from_weights(np.array([3, 4], np.int32), np.ones(2, np.float32))
    live = rng.random(3000) < 0.5
    for mask in (None, live):
        merged.search(query, 10, allowed=mask)
        merged.search(query, 10, allowed=mask, bound_factor=0.5)
        merged.search_many([query, query], 10, allowed=mask)
        merged.document_frequencies(query.terms, mask)
    merged.contributions(1, query)
    flat = FlatIndex.from_vectors(rng.normal(size=(3000, 16)).astype(np.float32))
    for mask in (None, live):
        flat.search(np.ones(16, np.float32), 10, allowed=mask)
        flat.search_many(np.ones((3, 16), np.float32), 10, allowed=mask)
print(sorted(set(versions().items()) - set(before.items())))
"""


def test_after_compiling_ahead_nothing_is_compiled(tmp_path):
    command = [sys.executable, "-c", AHEAD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stdout + done.stderr


SEARCH = """
import sys
import numpy as np
from lexhound.index import InvertedIndex, Query, warm
warm()
index = InvertedIndex.open(sys.argv[1])
assert len(index.search(Query.from_weights(np.array([3], np.int32), np.array([1], np.float32)), 5)) == 5
# Numba itself imports scipy.linalg when it first loads a kernel; we need no part of scipy for a search.
print(sorted({"scipy.sparse", "torch", "transformers"} & set(sys.modules)))
"""


def test_a_search_imports_nothing_heavy(wide, tmp_path):
    build_inverted(tmp_path / "index", wide[0], scale=1 / 255)
    command = [sys.executable, "-c", SEARCH, str(tmp_path / "index")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_files_are_read_ahead_until_they_fill_half_of_the_memory(tmp_path, monkeypatch):
    weights = index_corpora.to_csr(np.ones((5, 3), np.float32))
    built = [build_inverted(tmp_path / name, weights, scale=1.0) for name in "abc"]
    read = []
    monkeypatch.setattr(ArrayDirectory, "read_ahead", lambda self: read.append(self.path.name))
    read_ahead(built)
    assert read == ["a", "b", "c"]
    monkeypatch.setattr(warming, "memory_size", lambda: 5 * built[0].nbytes)
    read.clear()
    read_ahead(built)
    assert read == ["a", "b"]
    read_ahead([InvertedIndex.from_csr(weights, 1.0)])
    monkeypatch.undo()
    (tmp_path / "b" / "rows.bin").unlink()  # as when a merge has taken its place
    read_ahead(built)
