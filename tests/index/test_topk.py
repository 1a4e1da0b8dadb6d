from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.index import TopK, merge_topk


def ranking(scores: dict[int, float], k: int) -> TopK:
    best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]
    return TopK(np.array([row for row, _ in best], np.int64), np.array([score for _, score in best], np.float64))


@given(
    st.lists(st.dictionaries(st.integers(0, 20), st.sampled_from([0.25, 0.5, 1.0])), max_size=4),
    st.integers(1, 30),
    st.booleans(),
)
def test_merging_equals_ranking_everything_at_once(parts, k, as_maps):
    everything: dict[int, float] = {}
    bases: list[int | np.ndarray] = []
    for i, part in enumerate(parts):
        # As maps, the rows of the parts interleave; as numbers, they follow each other.
        new = {row: row * len(parts) + i if as_maps else row + 100 * i for row in range(21)}
        bases.append(np.array(list(new.values()), np.int64) if as_maps else 100 * i)
        everything |= {new[row]: score for row, score in part.items()}
    merged = merge_topk([ranking(part, k) for part in parts], bases, k)
    expected = ranking(everything, k)
    assert merged.rows.tolist() == expected.rows.tolist()
    assert merged.scores.tolist() == expected.scores.tolist()
    assert merged.rows.dtype == np.int64


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="k must be at least 1"):
        merge_topk([], [], 0)
    with pytest.raises(ValueError, match="each ranking needs one"):
        merge_topk([TopK.empty()], [], 1)
