"""The integer kernels against NumPy twins of the same order, to the bit, on every path and processor that can run
here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexhound.encoders.errors import SettingsError
from lexhound.encoders.runtime.int16 import kernels, machine_code, paths
from lexhound.encoders.runtime.int16.linear import products
from lexhound.encoders.runtime.int16.machine_code import Kernels
from lexhound.encoders.runtime.int16.packing import filled, packed, rounded_rows, unpacked
from lexhound.encoders.runtime.int16.rows import COLUMN_NORM, ROW_NORM, TINY
from lexhound.encoders.runtime.int16.tiles import COLUMNS, ROWS

pytestmark = pytest.mark.skipif(not kernels.available(), reason="the kernels need AVX2")

Floats = np.ndarray

# Narrow vectors, old and new processors of two makers: what LLVM makes of the same instructions for each.
VARIANTS = ("avx2 haswell", "avx2 znver2", "avx2 skylake", "avx2 x86-64-v3 +prefer-128-bit")


def variants() -> list[paths.Path]:
    """Return every path that runs here, and other processors' code that this one runs."""
    found = [path for path in paths.PATHS.values() if paths.runs_here(path)]
    for named in VARIANTS:
        path, processor, *features = named.split()
        own = replace(paths.PATHS[path], name=named.replace(" ", "-"), processor=processor, features=",".join(features))
        if paths.runs_here(own):
            found.append(own)
    return found


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "machine-code"))


# Twins


def fused(a: Floats, b: Floats, c: Floats) -> Floats:
    """a · b + c of float32, rounded once: the sum in float64 is rounded to odd, so that rounding it again does no
    harm."""
    product, more = a.astype(np.float64) * b.astype(np.float64), np.asarray(c, np.float64)
    total = product + more
    part = total - product
    error = (product - (total - part)) + (more - part)
    even = total.view(np.int64) & 1 == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where((error != 0) & even, np.nextafter(total, toward), total).astype(np.float32)


def in_lanes(values: Floats) -> Floats:
    """float32[n, width] as [n, steps, COLUMNS]."""
    return values.reshape(len(values), -1, COLUMNS)


def folded(lanes: Floats) -> Floats:
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]


def sum_of_squares(values: Floats, start: float) -> Floats:
    total = np.full((len(values), COLUMNS), start, np.float32)
    for step in in_lanes(values).transpose(1, 0, 2):
        total = fused(step, step, total)
    return folded(total)


def twin_quantised(values: Floats) -> tuple[np.ndarray, Floats]:
    factor = np.float32(ROW_NORM) / np.sqrt(sum_of_squares(values, np.float32(TINY / COLUMNS)))
    return np.rint(values * factor[:, None]).astype(np.int16), np.float32(1) / factor


def twin_normalised(values: Floats, gain: Floats, shift: Floats, epsilon: float) -> Floats:
    share = np.float32(1) / np.float32(values.shape[1])
    total = np.zeros((len(values), COLUMNS), np.float32)
    for step in in_lanes(values).transpose(1, 0, 2):
        total += step
    off = values - (folded(total) * share)[:, None]
    variance = fused(sum_of_squares(off, 0.0), share, np.float32(epsilon))
    return fused(off * (np.float32(1) / np.sqrt(variance))[:, None], gain, shift)


def twin_product(rows: np.ndarray, scales: Floats, weight: Floats, bias: Floats) -> Floats:
    integers, column_scales = rounded_rows(weight, COLUMN_NORM)
    sums = (rows.astype(np.int64) @ integers.astype(np.int64).T).astype(np.float32)
    return fused(sums, scales[:, None] * column_scales, np.broadcast_to(bias, sums.shape))


def case(seed: int, rows: int, width: int, terms: int) -> tuple[Floats, Floats, Floats]:
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((filled(rows), width)).astype(np.float32)
    values *= 10 ** generator.uniform(-3, 3, (len(values), 1)).astype(np.float32)
    values[generator.integers(0, rows)] = 0
    weight = generator.standard_normal((terms, width)).astype(np.float32)
    weight[generator.integers(0, terms)] = 0
    return values, weight, generator.standard_normal(terms).astype(np.float32)


# Products and rows


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 50), st.integers(0, 10**6))
def test_products_and_rows_are_those_of_their_twins_to_the_bit(rows: int, steps: int, terms: int, seed: int) -> None:
    values, weight, bias = case(seed, rows, steps * COLUMNS, terms)
    whole, scales = kernels.quantised(values)
    expected_whole, expected_scales = twin_quantised(values)
    np.testing.assert_array_equal(whole, expected_whole)
    np.testing.assert_array_equal(scales, expected_scales)
    columns = packed(weight, bias)
    found = np.zeros((len(values), len(columns[1])), np.float32)
    kernels.added(whole, scales, columns, found)
    expected = twin_product(whole, scales, weight, bias)
    np.testing.assert_array_equal(found[:, :terms], expected)
    owners = np.sort(np.random.default_rng(seed).integers(0, 3, len(values)))
    largest = np.zeros((3, len(columns[1])), np.float32)
    kernels.maxima(whole, scales, columns, owners, largest)
    for text in range(3):
        own = expected[owners == text]
        np.testing.assert_array_equal(largest[text, :terms], np.maximum(own.max(axis=0, initial=0), 0))
    np.testing.assert_array_equal(unpacked(columns)[:terms], np.multiply(*_exact(weight)))


def _exact(weight: Floats) -> tuple[np.ndarray, Floats]:
    integers, scales = rounded_rows(weight, COLUMN_NORM)
    return integers, scales[:, None]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 10**6))
def test_layer_norm_is_its_twin_to_the_bit(rows: int, steps: int, seed: int) -> None:
    values, weight, _ = case(seed, rows, steps * COLUMNS, 2)
    expected = twin_normalised(values, weight[0], weight[1], 1e-12)
    kernels.normalised(values, weight[0], weight[1], 1e-12)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("width", [COLUMNS, 384, 4096])
@pytest.mark.parametrize("sign", [1, -1])
def test_no_sum_leaves_32_bits(width: int, sign: int) -> None:
    """Where a row and a column point the same way, the sum is as large as it can be."""
    values = np.ones((ROWS, width), np.float32)
    values[1, 1:] = 1e-3
    whole, scales = kernels.quantised(values)
    assert np.linalg.norm(whole.astype(float), axis=1).max() <= ROW_NORM + np.sqrt(width) / 2
    out = np.zeros((ROWS, COLUMNS), np.float32)
    kernels.added(whole, scales, packed(sign * values, None), out)
    expected = sign * values @ values.T
    np.testing.assert_allclose(out[:, : len(values)], expected, atol=1e-3 * np.abs(expected).max())


def test_gelu_is_its_formula() -> None:
    from scipy.special import ndtr

    x = np.concatenate([np.linspace(-12, 12, 4001), [0.0, -200.0, 200.0, 3.93, -3.93, 5.6, -5.6]]).astype(np.float32)
    ones, scales = np.ones((ROWS, COLUMNS), np.int16), np.zeros(ROWS, np.float32)
    columns = packed(np.zeros((len(x), COLUMNS), np.float32), x)
    found = kernels.activated(ones, scales, columns)
    expected = x * ndtr(x.astype(np.float64))
    np.testing.assert_allclose(found[0, : len(x)], expected, atol=1e-6, rtol=2e-7)


# Attention


def twin_attended(states: Floats, lengths: list[int], heads: int) -> Floats:
    width = states.shape[1] // 3
    out, start = np.zeros((len(states), width)), 0
    for length in lengths:
        rows = slice(start, start + length)
        start += length
        for first in range(0, width, width // heads):
            query, key, value = (
                states[rows, part * width + first :][:, : width // heads].astype(np.float64) for part in range(3)
            )
            scores = query @ key.T
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[rows, first : first + width // heads] = weights @ value / weights.sum(axis=1, keepdims=True)
    return out


def attended(states: Floats, lengths: list[int], heads: int) -> Floats:
    beyond = 24
    width, rows = states.shape[1] // 3, len(states)
    panels = np.full((3 * width // COLUMNS, rows + beyond, COLUMNS), np.nan, np.float32)  # what is beyond is not used
    panels[:, :rows] = states.reshape(rows, -1, COLUMNS).transpose(1, 0, 2)
    longest = -(-max(lengths) // COLUMNS) * COLUMNS
    keys, shares = (np.full(size, np.nan, np.float32) for size in (longest * width // heads, longest * beyond))
    out = np.full((rows + beyond, width), np.nan, np.float32)
    starts = np.cumsum([0, *lengths])
    size = width // heads // COLUMNS
    kernels.attended(panels, starts, len(lengths), rows + beyond, size, heads, keys, shares, out)
    return out[:rows]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 70), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 10**6)
)
def test_attention_is_its_formula_and_knows_no_neighbours(
    lengths: list[int], heads: int, panels: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    width = heads * panels * COLUMNS
    states = generator.standard_normal((sum(lengths), 3 * width)).astype(np.float32) * np.float32(2)
    found = attended(states, lengths, heads)
    np.testing.assert_allclose(found, twin_attended(states, lengths, heads), atol=2e-4)
    start = 0
    for length in lengths:
        alone = attended(states[start : start + length], [length], heads)
        np.testing.assert_array_equal(alone, found[start : start + length])
        start += length


# Paths


def everything(seed: int) -> Iterator[np.ndarray]:
    """Yield the results of every kernel."""
    values, weight, bias = case(seed, 61, 96, 203)
    whole, scales = kernels.quantised(values)
    yield from (whole, scales)
    columns = packed(weight, bias)
    out = np.zeros((len(values), len(columns[1])), np.float32)
    kernels.added(whole, scales, columns, out)
    yield out
    yield kernels.activated(whole, scales, columns)
    kernels.normalised(values, weight[0], weight[1], 1e-5)
    yield values
    yield attended(np.random.default_rng(seed).standard_normal((77, 192)).astype(np.float32), [30, 1, 46], 2)
    owners = np.minimum(np.arange(len(values)) // 9, 6)
    largest = np.zeros((7, len(columns[1])), np.float32)
    kernels.maxima(whole, scales, columns, owners, largest)
    yield largest
    yield np.concatenate(list(products(values[:50], columns, 203)), axis=1)
    leading = kernels.bounding(values, 44, (44, 50, 60), 2.0)
    yield leading
    bound = kernels.Bound(leading, packed(weight[:, :48], None)[0], 0)
    integers, column_scales = rounded_rows(weight, COLUMN_NORM)
    for factors in ((whole, scales, integers, column_scales, bias), (values, weight, bias)):
        largest = np.zeros((7, len(columns[1])), np.float32)
        yield np.array(kernels.screened(bound, factors, 203, owners, largest, 1.0))
        yield largest


@pytest.mark.parametrize("path", variants(), ids=lambda path: path.name)
def test_every_path_and_processor_gives_the_same_bits(path: paths.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(everything(1))
    monkeypatch.setattr(kernels, "chosen", lambda: path)
    for number, (one, other) in enumerate(zip(everything(1), expected, strict=True)):
        np.testing.assert_array_equal(one, other, err_msg=str(number))


@pytest.mark.parametrize("path", paths.PATHS.values(), ids=lambda path: path.name)
def test_each_path_is_made_of_its_instructions(path: paths.Path) -> None:
    """Also where this processor cannot run them: the loop of a tile multiplies as many rows as the path says."""
    text = machine_code.assembly(path)
    register, multiplying = ("%zmm", 1) if path.bits == 512 else ("%ymm", 2)
    blocks = [block.split("\n\tj")[0] for block in text.split("\n.LBB")]  # up to the jump back
    loops = [block.splitlines() for block in blocks if "prefetcht0" in block and register in block]
    used, unused = ("vpdpwssd", "vpmaddwd") if path.fused else ("vpmaddwd", "vpdpwssd")
    counts = {sum(used in line for line in loop) for loop in loops}
    assert {height * multiplying for height in path.heights} <= counts
    assert not any(unused in line for loop in loops for line in loop)
    assert not any("(%rsp)" in line and register in line for loop in loops for line in loop), "sums that left registers"
    assert ("%zmm" in text) == (path.bits == 512)


def test_the_environment_names_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.VARIABLE, "avx2")
    assert paths.chosen() == paths.PATHS["avx2"]
    monkeypatch.setenv(paths.VARIABLE, "none")
    assert paths.chosen() is None
    assert not kernels.available()
    kernels.compile_kernels()
    monkeypatch.setenv(paths.VARIABLE, "neon")
    with pytest.raises(SettingsError, match="LEXHOUND_KERNELS is 'neon'"):
        paths.chosen()
    monkeypatch.setitem(paths.PATHS, "other", replace(paths.PATHS["avx2"], name="other", needs=("sse2", "made-up")))
    monkeypatch.setenv(paths.VARIABLE, "other")
    with pytest.raises(SettingsError, match="this processor lacks sse2, made-up"):
        paths.chosen()


# Machine code on disk


def test_machine_code_is_kept_and_what_is_damaged_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    path = paths.PATHS["avx2"]
    assert Kernels(path).compiled > 0
    (file,) = (tmp_path / "cache").iterdir()
    assert Kernels(path).compiled == 0
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert Kernels(path).compiled > 0
    assert file.read_bytes()[:32] == content[:32]
    old = file.with_name("int16-avx2-older.o")
    old.write_bytes(b"x")
    file.unlink()
    Kernels(path)
    assert list((tmp_path / "cache").iterdir()) == [file]


def test_where_nothing_can_be_written_kernels_work_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert Kernels(paths.PATHS["avx2"]).compiled > 0
