"""Schedules of rates and penalties over a run."""

from __future__ import annotations


def quadratic(step: int, ramp: int) -> float:
    """Return a penalty's share of its full weight at a step from 0: ((step + 1) / ramp)², at most 1 (Formal et al.,
    "SPLADE", SIGIR 2021, section 4.1)."""
    return min(1.0, ((step + 1) / max(1, ramp)) ** 2)


def warmup_linear(step: int, total: int, warmup: int, floor: float) -> float:
    """Return a learning rate's share of its full one at a step from 0: rising to 1 over `warmup` steps, then falling
    towards `floor` at step `total`."""
    if step < warmup:
        return (step + 1) / warmup
    remaining = (total - step) / max(1, total - warmup)
    return floor + (1 - floor) * max(0.0, min(1.0, remaining))
