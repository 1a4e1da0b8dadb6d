"""Building in memory and on disk. This file also runs without the JIT and with bounds checks."""

from __future__ import annotations

import index_corpora
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexhound.index import IndexStorageError, InvertedIndex, Query, build_inverted
from lexhound.index.inverted import inversion, plain

ARRAYS = ("terms", "entry_starts", "entry_windows", "entry_ends", "entry_maxima", "rows", "impacts")


@given(index_corpora.corpora(), st.booleans(), st.integers(1, 5))
def test_postings_equal_the_oracle_in_memory_and_on_disk(tmp_path_factory, corpus, weighable, threads):
    csr = corpus.csr
    extra = {}
    if weighable:
        extra["frequencies"] = np.arange(csr.nnz).astype(np.uint8)
        extra["lengths"] = np.arange(csr.shape[0], dtype=np.uint32)
    memory = InvertedIndex.from_csr(csr, corpus.scale, window_bits=corpus.window_bits, **extra)
    directory = tmp_path_factory.mktemp("build") / "index"
    disk = build_inverted(directory, csr, scale=corpus.scale, window_bits=corpus.window_bits, threads=threads, **extra)
    expected = oracle.postings(oracle.impacts(corpus.weights, corpus.scale), corpus.window_bits)
    for index in (memory, disk, InvertedIndex.open(directory)):
        for name in ARRAYS:
            array = getattr(index.postings, name)
            assert array.tolist() == expected[name].tolist(), name
            assert not array.flags.writeable
        assert index.n_rows == csr.shape[0]
        assert index.n_postings == csr.nnz
        assert index.n_terms == len(expected["terms"])
        assert index.scale == oracle.exact_scale(corpus.scale)
        assert index.loss.count == csr.nnz
        assert index.loss == memory.loss
        if weighable:
            by_place = csr_array((np.arange(csr.nnz) + 1, csr.indices, csr.indptr), shape=csr.shape).tocsc()
            by_place.sort_indices()
            assert index.postings.frequencies.tolist() == ((by_place.data - 1) % 256).tolist()
            assert index.lengths.tolist() == list(range(csr.shape[0]))
        else:
            assert index.postings.frequencies is index.lengths is None
    assert memory.path is None
    assert disk.path == directory
    assert disk.nbytes == sum(file.stat().st_size for file in directory.iterdir())
    assert memory.nbytes > 0


@given(index_corpora.corpora(), st.booleans(), st.booleans())
def test_few_postings_are_sorted_as_the_kernels_place_them(corpus, weighable, is_bad):
    csr = corpus.csr.copy()
    rows = np.flatnonzero(np.diff(csr.indptr) > 1)
    if is_bad and len(rows):
        for row in rows[1:]:
            csr.indices[csr.indptr[row]] = csr.indices[csr.indptr[row] + 1]
    extra = {}
    if weighable:
        extra["frequencies"] = np.arange(csr.nnz).astype(np.uint8)
        extra["lengths"] = np.arange(csr.shape[0], dtype=np.uint32)
    found = []
    for loaded in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inversion, "are_few", lambda *_, loaded=loaded: not loaded)
            try:
                index = InvertedIndex.from_csr(csr, corpus.scale, window_bits=corpus.window_bits, **extra)
            except ValueError as error:
                found.append(str(error))
            else:
                arrays = [getattr(index.postings, name) for name in inversion.layout.ARRAYS]
                found.append(
                    [None if array is None else (array.dtype, array.tolist()) for array in arrays]
                    + [index.loss, index.scale, index.postings.n_rows]
                )
    assert found[0] == found[1]


def test_a_process_that_goes_on_loads_the_kernels(monkeypatch):
    monkeypatch.setattr(plain._Done, "postings", 0)
    monkeypatch.setattr(plain, "is_loaded", lambda kernel: kernel is len)
    assert not plain.are_few(1, len)
    assert [plain.are_few(1 << 19, max) for _ in range(3)] == [True, True, False]
    assert not plain.are_few((1 << 20) + 1, max)


def test_an_index_does_not_depend_on_the_number_of_threads(tmp_path):
    rng = np.random.default_rng(4)
    csr = index_corpora.to_csr(rng.random((1500, 40), np.float32) * (rng.random((1500, 40)) < 0.2))
    files = []
    for threads in (1, 2, 7):
        build_inverted(tmp_path / f"{threads}", csr, scale=0.01, window_bits=7, threads=threads)
        files.append({file.name: file.read_bytes() for file in (tmp_path / f"{threads}").iterdir()})
    assert files[0] == files[1] == files[2]
    with pytest.raises(ValueError, match="threads must be at least 1"):
        build_inverted(tmp_path / "none", csr, scale=0.01, threads=0)


@pytest.mark.parametrize("row", [3, 1200])
def test_the_first_bad_row_is_named_whichever_thread_finds_it(tmp_path, row):
    csr = csr_array((np.ones(3000, np.float32), np.tile(np.array([1, 2], np.int32), 1500), np.arange(1501) * 2))
    for bad in (row, 1400):
        csr.indices[2 * bad : 2 * bad + 2] = [2, 1]
    with pytest.raises(ValueError, match=f"the indices of row {row} must be ascending"):
        build_inverted(tmp_path / "bad", csr, scale=1.0, window_bits=6, threads=3)


def test_term_ids_take_16_bits_where_they_fit(tmp_path):
    for vocabulary, term, size in ((70_000, 65_535, 2), (70_000, 65_536, 4), (2**31 - 1, 2**31 - 2, 4)):
        weights = csr_array(
            (np.ones(1, np.float32), np.array([term], np.int32), np.array([0, 1, 1], np.int32)), shape=(2, vocabulary)
        )
        if vocabulary > 100_000:
            with pytest.raises(ValueError, match="vocabulary"):
                build_inverted(tmp_path / "too-wide", csr_array((1, 2**31), dtype=np.float32), scale=1.0)
            continue
        index = build_inverted(tmp_path / f"{term}", weights, scale=1.0)
        assert (tmp_path / f"{term}" / "terms.bin").stat().st_size == size
        query = Query.from_weights(np.array([term], np.int32), np.ones(1, np.float32))
        assert index.search(query, 1).rows.tolist() == [0]
        assert index.document_frequencies(np.array([term, term - 1, term % 65_536 - 1], np.int32)).tolist() == [1, 0, 0]


@pytest.mark.slow
def test_wide_offsets_give_the_same_results(tmp_path, monkeypatch):
    dense = np.tile(np.array([[0.25, 0, 1], [0, 0.5, 1]], np.float32), (40, 1))
    csr = index_corpora.to_csr(dense)
    narrow = InvertedIndex.from_csr(csr, 0.01, window_bits=4)
    monkeypatch.setattr(inversion, "_WIDE", 1)
    wide = build_inverted(tmp_path / "wide", csr, scale=0.01, window_bits=4)
    assert wide.postings.entry_ends.dtype == wide.postings.entry_starts.dtype == np.uint64
    assert narrow.postings.entry_ends.dtype == np.uint32
    query = Query.from_weights(np.arange(3, dtype=np.int32), np.array([1, 2, 0.5], np.float32))
    live = np.arange(80) % 3 > 0
    assert wide.search(query, 50, allowed=live).rows.tolist() == narrow.search(query, 50, allowed=live).rows.tolist()
    for mask in (None, live):
        expected = narrow.document_frequencies(query.terms, mask).tolist()
        assert wide.document_frequencies(query.terms, mask).tolist() == expected
    assert wide.contributions(5, query).tolist() == narrow.contributions(5, query).tolist()


def test_wide_column_indices_are_accepted_and_checked():
    csr = index_corpora.to_csr(np.eye(3, dtype=np.float32))
    csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    assert InvertedIndex.from_csr(csr, 1.0).n_postings == 3
    csr.indices[1] = 2**32 + 1
    with pytest.raises(ValueError, match="column indices outside"):
        InvertedIndex.from_csr(csr, 1.0)


@pytest.mark.parametrize(
    ("indices", "data", "message"),
    [
        ([0, 2, 1], [1, 1, 1], "row 0 must be ascending"),
        ([0, 1, 1], [1, 1, 1], "row 0 must be ascending"),
        ([0, 1, 3], [1, 1, 1], "column indices outside"),
        ([-1, 1, 2], [1, 1, 1], "column indices outside"),
        ([0, 1, 2], [1, 0, 1], "positive and finite: entry 1"),
        ([0, 1, 2], [1, 1, np.nan], "positive and finite: entry 2"),
    ],
)
def test_vectors_that_break_the_rules_are_refused(tmp_path, indices, data, message):
    csr = index_corpora.to_csr(np.ones((1, 3), np.float32))
    csr.indices[:] = indices
    csr.data[:] = data
    with pytest.raises(ValueError, match=message):
        build_inverted(tmp_path / "index", csr, scale=1.0)
    assert not (tmp_path / "index").exists()


def test_options_that_do_not_fit_are_refused(tmp_path):
    csr = index_corpora.to_csr(np.ones((4, 3), np.float32))
    for extra, message in (
        ({"frequencies": np.ones(3, np.uint8)}, r"frequencies must be uint8\[12\]"),
        ({"frequencies": np.ones(12, np.int32)}, r"frequencies must be uint8\[12\]"),
        ({"lengths": np.ones(4, np.int64)}, r"lengths must be uint32\[4\]"),
        ({"window_bits": 17}, "window_bits must be"),
        ({"scale": -1.0}, "impact scale"),
    ):
        with pytest.raises(ValueError, match=message):
            build_inverted(tmp_path / "index", csr, **({"scale": 1.0} | extra))
    tall = csr_array((2**16 + 1, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="at most 65536 rows"):
        build_inverted(tmp_path / "index", tall, scale=1.0, window_bits=0)
    assert not (tmp_path / "index").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(IndexStorageError, match="is not empty"):
        build_inverted(tmp_path / "full", csr, scale=1.0)
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["something"]
