"""Screens are kept on disk: counted are the fits that processes need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lexhound.encoders.runtime.int16 import kept_files, kernels
from lexhound.encoders.runtime.int16 import screen as screen_module
from lexhound.encoders.runtime.int16 import screen_choice as choice_module
from lexhound.encoders.runtime.int16.head import MaximumHead

pytestmark = pytest.mark.skipif(not kernels.available(), reason="the kernels need AVX2")

WIDTH, TERMS = 96, 1237


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the screens that this test keeps, and finds; at this size one is worth while only so."""
    really = kept_files._places

    def places(name: str) -> Iterator[Path]:
        return iter([tmp_path / "kept" / name]) if name.startswith("screen-") else really(name)

    monkeypatch.setattr(kept_files, "_places", places)
    monkeypatch.setattr(screen_module, "_PAIR", 10)
    return tmp_path / "kept"


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many states each fit was of."""
    counted: list[int] = []

    def fitted(samples: np.ndarray, *terms: object) -> screen_module.Screen | None:
        counted.append(len(samples))
        return screen_module.fitted(samples, *terms)  # type: ignore[arg-type]

    monkeypatch.setattr(choice_module, "fitted", fitted)
    return counted


def head_case(seed: int) -> tuple[np.ndarray, list[int], np.ndarray, np.ndarray]:
    """States and weights that vary along few directions, as those of trained models do."""
    draw = np.random.default_rng(seed)
    spread = np.exp(-np.arange(WIDTH) / 12).astype(np.float32)
    lengths = draw.integers(1, 60, 40)
    states = draw.standard_normal((lengths.sum(), WIDTH)).astype(np.float32) * spread + 0.3
    weight = draw.standard_normal((TERMS, WIDTH)).astype(np.float32)
    bias = (draw.standard_normal(TERMS) - 9 - weight @ np.full(WIDTH, 0.3)).astype(np.float32)
    return states, lengths.tolist(), weight, bias


def rows_of(head: MaximumHead, states: np.ndarray, lengths: list[int]) -> np.ndarray:
    found = head.largest(states, lengths)
    assert found is not None
    rows = np.zeros((len(found), TERMS), np.float32)
    for row, (terms, logits) in zip(rows, found, strict=True):
        row[terms] = logits
    return rows


@pytest.mark.parametrize("whole", [True, False])
def test_a_screen_is_fitted_once_on_a_machine(fits: list[int], kept: Path, whole: bool) -> None:
    states, lengths, weight, bias = head_case(6)
    first = rows_of(MaximumHead(weight, bias, whole=whole), states, lengths)
    assert len(fits) == len(list(kept.iterdir())) == 1
    later = MaximumHead(weight, bias, whole=whole)
    for _ in range(3):
        np.testing.assert_array_equal(rows_of(later, states, lengths), first)
    assert later.choice.screen is not None
    assert later.choice.settled
    assert len(fits) == 1
    MaximumHead(weight, bias + np.float32(1), whole=whole).largest(states, lengths)  # other terms
    MaximumHead(weight * np.float32(0.5), bias, whole=whole).largest(states, lengths)
    assert len(fits) == len(list(kept.iterdir())) == 3


def test_few_states_are_screened_by_what_was_kept(fits: list[int]) -> None:
    states, lengths, weight, bias = head_case(6)
    MaximumHead(weight, bias, whole=True).largest(states, lengths)
    later = MaximumHead(weight, bias, whole=True)
    some = int(np.searchsorted(np.cumsum(lengths), choice_module.LOOK)) + 1
    found = rows_of(later, states[: sum(lengths[:some])], lengths[:some])
    assert later.choice.screen is not None
    assert not later.choice.settled
    np.testing.assert_array_equal(found, rows_of(later, states, lengths)[:some])
    assert len(fits) == 1


def test_a_damaged_screen_is_fitted_anew_and_one_that_cannot_be_kept_is_used(
    fits: list[int], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, lengths, weight, bias = head_case(6)
    expected = rows_of(MaximumHead(weight, bias, whole=True), states, lengths)
    (file,) = kept.iterdir()
    content = file.read_bytes()
    for damaged in (content[:-1] + bytes([content[-1] ^ 1]), content[:1000], b""):
        file.write_bytes(damaged)
        np.testing.assert_array_equal(rows_of(MaximumHead(weight, bias, whole=True), states, lengths), expected)
        assert kept_files.read_kept(file.name) is not None
    assert len(fits) == 4
    monkeypatch.setattr(kept_files, "_places", lambda name: iter([file / "no folder" / name]))
    head = MaximumHead(weight, bias, whole=True)
    np.testing.assert_array_equal(rows_of(head, states, lengths), expected)
    assert head.choice.screen is not None
    assert len(fits) == 5


def test_a_screen_that_lets_more_through_with_other_texts_is_fitted_anew(fits: list[int], kept: Path) -> None:
    states, lengths, weight, bias = head_case(6)
    narrow = states * (np.arange(WIDTH) < 3).astype(np.float32) + np.float32(0.3) * (np.arange(WIDTH) >= 3)
    MaximumHead(weight, bias, whole=True).largest(narrow.astype(np.float32), lengths)
    (before,) = (file.read_bytes() for file in kept.iterdir())
    assert len(fits) == 1
    head, unscreened = MaximumHead(weight, bias, whole=True), MaximumHead(weight, bias, whole=True)
    unscreened.choice.settled = True
    expected = rows_of(unscreened, states, lengths)
    for _ in range(2):
        np.testing.assert_array_equal(rows_of(head, states, lengths), expected)
    assert len(fits) == 2
    assert head.choice.settled
    (after,) = (file.read_bytes() for file in kept.iterdir())
    assert after != before


def test_what_is_read_is_what_was_fitted(kept: Path) -> None:
    states, lengths, weight, bias = head_case(2)
    head = MaximumHead(weight, bias, whole=True)
    head.largest(states, lengths)
    fitted = head.choice.screen
    assert fitted is not None
    read = screen_module.stored_screen(fitted.stored())
    assert read is not None
    for one, other in zip(
        (*fitted.directions, fitted.exact, fitted.columns), (*read.directions, read.exact, read.columns), strict=True
    ):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert (fitted.cuts, fitted.constant, fitted.share) == (read.cuts, read.constant, read.share)


def test_old_screens_go(kept: Path) -> None:
    for number in range(12):
        kept_files.keep(f"screen-{number}.npz", bytes([number]), "screen-*.npz", most=3)
    assert len(list(kept.iterdir())) == 3
    assert kept_files.read_kept("screen-11.npz") == bytes([11])
