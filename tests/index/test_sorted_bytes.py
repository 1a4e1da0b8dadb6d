"""Where the texts with one beginning stand among sorted ones: the kernel as its twin in Python, and as a plain look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.index import sorted_bytes
from lexhound.index.sorted_bytes import find_beginning

NAMES = st.text("ab/%é日0", min_size=1, max_size=4).map(lambda name: name.replace("%", "%25").replace("/", "%2F"))


def packed(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([len(each) for each in encoded]).astype(np.uint64)


@given(st.lists(st.tuples(NAMES, st.integers(0, 99)), max_size=40), NAMES)
def test_a_run_is_what_begins_alike(pairs: list[tuple[str, int]], name: str) -> None:
    texts = [f"{owner}/{number}" for owner, number in sorted(pairs)]
    data, ends = packed(texts)
    prefix = f"{name}/"
    first, stop = find_beginning(data, ends, prefix.encode())
    assert (first, stop) == sorted_bytes._find_plain(data, ends, prefix.encode())
    assert texts[first:stop] == [text for text in texts if text.startswith(prefix)]
    assert first == stop or 0 <= first < stop <= len(texts)


def test_damaged_ends_lead_nowhere() -> None:
    data, _ = packed(["a/1", "b/2", "c/3"])
    for ends in ([2**62, 6, 9], [3, 2**63 - 1, 2**63 - 1], [2**64 - 1] * 3):
        first, stop = find_beginning(data, np.array(ends, np.uint64), b"b/")
        assert 0 <= first <= stop <= 3


class Counted:
    """An array that counts how often a value of it is looked at."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.looks = values, 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: int) -> int:
        self.looks += 1
        return int(self.values[at])


@pytest.mark.parametrize("owners", [10, 1_000, 20_000])
def test_a_search_looks_at_few_texts(owners: int) -> None:
    data, ends = packed([f"t{owner:06d}/{number}" for owner in range(owners) for number in range(3)])
    counted = Counted(ends)
    assert sorted_bytes._find_plain(data, counted, b"t000007/") == (21, 24)  # type: ignore[arg-type]
    assert counted.looks <= 2 * math.ceil(math.log2(3 * owners) + 1)
