"""Sign codes, their sums by tables, and the rotation before them, each beside a plain twin."""

from __future__ import annotations

import numpy as np
import pytest
from spann_collections import clustered, unit

from lexhound.index.jit import frozen, kernel
from lexhound.index.spann import block_instructions
from lexhound.index.spann.block_sums import BLOCK, block_sums, fill_tables, place_of
from lexhound.index.spann.kernels import estimate
from lexhound.index.spann.rotation import Rotation
from lexhound.index.spann.sign_codes import ERRORS, FACTORS, HEAD_BYTES, NO_ROW, SHIFTS, SignCodec

PLACES = [place_of(code) for code in range(BLOCK)]
WIDTHS = [1, 2, 7, 8, 9, 24, 33, 64, 100, 384]


@pytest.mark.parametrize("width", [*WIDTHS, 768])
def test_a_rotation_keeps_inner_products_and_spreads_what_one_value_holds(width):
    rotation = Rotation(width, 3)
    vectors = clustered(20, width)
    turned = rotation.rotated(vectors)
    np.testing.assert_allclose(turned @ turned.T, vectors @ vectors.T, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(Rotation(width, 3).rotated(vectors), turned)
    longer = np.hstack([vectors, np.full((20, 1), 9, np.float32)])  # what stands behind a vector does not count
    np.testing.assert_array_equal(rotation.rotated(longer), turned)
    if width >= 64:
        assert not np.allclose(Rotation(width, 4).rotated(vectors), turned, atol=0.1)
        spread = np.abs(rotation.rotated(np.eye(width, dtype=np.float32)))
        assert spread.max() < 8 / np.sqrt(width)


def signs_of(codes: np.ndarray, width: int) -> np.ndarray:
    """The signs of blocks, 1 or -1, code by code: [blocks, 32, width]."""
    bits = codes[:, HEAD_BYTES:].reshape(len(codes), -1, BLOCK)[:, :, PLACES]
    return 2.0 * np.unpackbits(bits.transpose(0, 2, 1), axis=2, bitorder="little")[:, :, :width] - 1


@kernel
def sums_of(codes, step, tables, sums):
    for i in range(len(sums)):
        block_sums(codes, i * step, tables, sums[i])


@kernel
def sums_by_loop(codes, step, tables, sums):
    for i in range(len(sums)):
        block_sums(codes, i * step + 0, tables, sums[i])


@pytest.mark.parametrize("width", [*WIDTHS, 1536, 4096])
def test_sums_are_the_same_with_and_without_wide_instructions(monkeypatch, width):
    rng = np.random.default_rng(width)
    size = -(-width // 8)
    codes = rng.integers(0, 256, (3, size, BLOCK)).astype(np.uint8)
    codes[2] = 255
    patterns = codes[:, :, PLACES].transpose(0, 2, 1)
    for query in (
        rng.normal(size=width),
        np.full(width, -3.0),
        np.where(np.arange(width) % 7, 0, 1e18),
        np.zeros(width),
    ):
        tables = np.empty((2 * size, 32), np.uint8)
        unit_of_sum, offset = fill_tables(frozen(query.astype(np.float32)), tables)
        low, high = tables[0::2, :16].astype(int), tables[1::2, :16].astype(int)
        places = np.arange(size)
        expected = low[places, patterns & 15].sum(axis=2) + high[places, patterns >> 4].sum(axis=2)
        assert expected.max() < 1 << 16
        for function in (sums_of, sums_by_loop):
            if function is sums_by_loop:
                monkeypatch.setattr(block_instructions, "_has_avx2", lambda: False)
            sums = np.empty((3, BLOCK), np.uint16)
            function(frozen(codes.reshape(-1)), size * BLOCK, frozen(tables), sums)
            monkeypatch.undo()
            np.testing.assert_array_equal(sums, expected)
        # What they stand for: within half a unit for each table.
        signs = 2.0 * np.unpackbits(patterns, axis=2, bitorder="little")[:, :, :width] - 1
        exact = signs @ query.astype(np.float32).astype(np.float64)
        assert np.abs(unit_of_sum * expected + offset - exact).max() <= 0.501 * unit_of_sum * 2 * size + 1e-5 * abs(
            offset
        )


def estimates(block: np.ndarray, query: np.ndarray, centre: np.ndarray, doubt: float) -> np.ndarray:
    """The upper bounds of the 32 codes of a block, by the kernel. query, centre: rotated."""
    tables = np.empty((2 * -(-len(query) // 8), 32), np.uint8)
    unit_of_sum, offset = fill_tables(frozen(query), tables)
    terms = (unit_of_sum, offset, float(query @ centre), doubt * float(np.linalg.norm(query - centre)))
    bounds = np.empty(BLOCK, np.float32)
    codes = frozen(block)
    estimate(codes, codes.view(np.float32), 0, frozen(tables), terms, np.empty(BLOCK, np.uint16), bounds)
    return bounds


@pytest.mark.parametrize("width", WIDTHS)
def test_codes_are_what_the_formulas_say(width):
    rotation, codec = Rotation(width, 0), SignCodec(width)
    counts = [5, 0, 40, 32]
    lists = np.repeat(np.arange(4), counts)
    vectors, centres = rotation.rotated(clustered(77, width)), rotation.rotated(clustered(4, width, seed=2))
    vectors[3] = centres[0]  # nothing is left of it
    blocks = codec.encode(np.arange(77) * 3, lists, vectors, centres)
    assert blocks.shape == (1 + 0 + 2 + 1, codec.block_bytes)
    assert codec.block_bytes == 32 * (16 + -(-width // 8))
    words, floats = blocks[:, :HEAD_BYTES].view(np.uint32), blocks[:, :HEAD_BYTES].view(np.float32)
    filled = np.concatenate([[True] * 5 + [False] * 27, [True] * 40 + [False] * 24, [True] * 32]).reshape(4, 32)
    assert words[:, :BLOCK][filled].tolist() == [3 * row for row in range(77)]
    assert (words[:, :BLOCK][~filled] == NO_ROW).all()
    assert (floats[:, SHIFTS : SHIFTS + BLOCK][~filled] == -np.inf).all()
    rest, signs = (vectors - centres[lists]).astype(np.float64), signs_of(blocks, width)[filled]
    assert (signs == np.where(rest > 0, 1, -1)).all()
    some = np.arange(77) != 3
    squares, products = (rest**2).sum(axis=1), (rest * signs).sum(axis=1)
    factors = np.where(some, squares / np.where(some, products, 1), 0)
    shifts = (centres[lists] * rest).sum(axis=1) - factors * (centres[lists] * signs).sum(axis=1)
    cosines = np.where(some, products / np.sqrt(np.where(some, squares, 1) * width), 1)
    errors = np.sqrt(squares * np.maximum(1 / cosines**2 - 1, 0) / max(1, width - 1))
    for place, expected in ((FACTORS, factors), (SHIFTS, shifts), (ERRORS, errors)):
        np.testing.assert_allclose(floats[:, place : place + BLOCK][filled], expected, rtol=1e-4, atol=1e-4)


def test_estimates_are_right_on_average_and_off_by_their_error():
    width = 384
    rotation, codec = Rotation(width, 0), SignCodec(width)
    vectors = unit(clustered(3200, width))
    centre = vectors.mean(axis=0)
    blocks = codec.encode(
        np.arange(3200), np.zeros(3200, np.int64), rotation.rotated(vectors), rotation.rotated(centre[None])
    )
    for query in unit(clustered(5, width, seed=8)):
        turned, middle = rotation.rotated(query[None])[0], rotation.rotated(centre[None])[0]
        plain = np.concatenate([estimates(block, turned, middle, 0.0) for block in blocks])
        above = np.concatenate([estimates(block, turned, middle, 1.9) for block in blocks])
        exact = vectors @ query
        errors = np.concatenate([block[:HEAD_BYTES].view(np.float32)[ERRORS : ERRORS + BLOCK] for block in blocks])
        usual = errors * np.linalg.norm(query - centre)
        np.testing.assert_allclose(above - plain, 1.9 * usual, rtol=1e-3)
        off = (plain - exact) / usual
        assert abs(off.mean()) < 0.1
        assert 0.9 < off.std() < 1.1
        assert (above >= exact).mean() > 0.95
