"""Whether the difference of two systems over the same queries is more than chance.

All tests are of paired differences d_i = b_i - a_i, one for each judged query. See Smucker, Allan and
Carterette, "A Comparison of Statistical Significance Tests for Information Retrieval Evaluation"
(CIKM 2007), for the three of them side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lexhound.core.progress import Pace, no_pace

Array = npt.NDArray[np.float64]

# Rows of a block of permutations or resamples: bounds the memory to a few tens of megabytes.
BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


def paired_t_test(differences: npt.ArrayLike) -> float:
    """Return the two-sided p-value of Student's t-test for the hypothesis that the mean difference is 0.

    t = mean(d) / (s / sqrt(n)) with n - 1 degrees of freedom. 1 when all differences are 0; 0 when they
    are all the same other number; 1 with fewer than two queries (nothing can be said).
    """
    from scipy.special import stdtr

    values = _as_differences(differences)
    count = len(values)
    if count < 2 or not values.any():
        return 1.0
    deviation = float(values.std(ddof=1))
    if deviation == 0.0:
        return 0.0
    statistic = float(values.mean()) / (deviation / np.sqrt(count))
    return float(min(1.0, 2.0 * stdtr(count - 1, -abs(statistic))))


def randomisation_test(
    differences: npt.ArrayLike, *, permutations: int = 10_000, seed: int = 0, pace: Pace = no_pace
) -> float:
    """Return the two-sided p-value of Fisher's randomisation test on the mean difference.

    If the systems differ by chance only, then each difference could as well have the other sign. The sign
    of every query is drawn at random, `permutations` times, and p is the share of draws whose mean is at
    least as far from 0 as the one observed, the observed one counted among them: (1 + hits) / (1 + draws)
    (Phipson and Smyth 2010), so p is never 0 and the test never rejects more often than it says.

    Sums that differ from the observed one by rounding only count as equal to it. `pace` is told of draws.
    """
    values = _as_differences(differences)
    values = values[values != 0.0]  # a zero stays zero whatever its sign
    if len(values) == 0:
        pace(permutations)
        return 1.0
    observed = abs(float(values.sum()))
    threshold = observed - 1e-12 * float(np.abs(values).sum())
    generator = np.random.default_rng(seed)
    hits = 0
    for rows in _blocks(permutations, len(values)):
        flipped = _random_bits(generator, rows, len(values))
        # Flipping the sign of d takes 2 d from the sum: sum - 2 * (flips @ d).
        sums = values.sum() - 2.0 * (flipped @ values)
        hits += int(np.count_nonzero(np.abs(sums) >= threshold))
        pace(rows)
    return (1 + hits) / (1 + permutations)


def bootstrap_interval(
    differences: npt.ArrayLike,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
    pace: Pace = no_pace,
) -> Interval:
    """Return the percentile bootstrap interval of the mean difference (Efron 1979; Sakai, SIGIR 2006).

    Queries are drawn with replacement, `resamples` times; the interval holds the middle `confidence` of
    the means of the draws. `pace` is told of draws.
    """
    values = _as_differences(differences)
    if len(values) == 0:
        return Interval(0.0, 0.0)
    generator = np.random.default_rng(seed)
    means = np.empty(0, np.float64)
    for rows in _blocks(resamples, len(values)):
        drawn = generator.integers(0, len(values), size=(rows, len(values)), dtype=np.int32)
        means = np.append(means, values[drawn].mean(axis=1))
        pace(rows)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's step-down method (1979), in the given order.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below the one before.
    Rejecting where the adjusted value is at most alpha keeps the chance of any false rejection at alpha.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    highest = 0.0
    for position, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (count - position) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def wins_ties_losses(differences: npt.ArrayLike, *, tolerance: float = 1e-9) -> tuple[int, int, int]:
    """Return in how many queries the second system is better, equal (to within `tolerance`) and worse."""
    values = _as_differences(differences)
    wins = int(np.count_nonzero(values > tolerance))
    losses = int(np.count_nonzero(values < -tolerance))
    return wins, len(values) - wins - losses, losses


def _as_differences(differences: npt.ArrayLike) -> Array:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("differences must be a list of finite numbers, one for each query")
    return values


def _blocks(rows: int, columns: int) -> list[int]:
    size = max(1, BLOCK_ELEMENTS // columns)
    return [min(size, rows - start) for start in range(0, rows, size)]


def _random_bits(generator: np.random.Generator, rows: int, columns: int) -> Array:
    """Return rows x columns of 0.0 and 1.0: a row takes whole 32-bit words, so all sizes of blocks draw alike."""
    width = 4 * -(-columns // 32)
    drawn = np.frombuffer(generator.bytes(rows * width), dtype=np.uint8).reshape(rows, width)
    return np.unpackbits(drawn, axis=1, count=columns).astype(np.float64)
