"""Losses of a student's scores against a teacher's, or against the document that is known to answer.

All take float[queries, candidates] and return the mean over queries, a scalar. `mask` is bool[queries, candidates],
True where a candidate counts (all by default); queries without one count nothing.
"""

from __future__ import annotations

import torch

_NONE = -1e9  # a logit whose exponential is 0


def kl_divergence(
    student: torch.Tensor, teacher: torch.Tensor, *, temperature: float = 1.0, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return KL(softmax(teacher / T) ‖ softmax(student / T)) over the candidates (Hinton et al., 2015, section 2).

    0 where the two distributions are the same; adding a constant to a query's scores changes nothing.
    """
    mask = _all(student) if mask is None else mask
    teacher_logs = torch.log_softmax((teacher.detach() / temperature).masked_fill(~mask, _NONE), dim=1)
    student_logs = torch.log_softmax((student / temperature).masked_fill(~mask, _NONE), dim=1)
    parts = (teacher_logs.exp() * (teacher_logs - student_logs)).masked_fill(~mask, 0.0)
    return _mean(parts.sum(dim=1), mask.any(dim=1))


def margin_mse(
    student: torch.Tensor,
    teacher: torch.Tensor,
    *,
    positive: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean squared difference of margins between the positive and each other candidate (Hofstätter et al.,
    "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation", 2020, section 3.1).

    Args:
        positive: int64[queries], its column; the teacher's best by default.
    """
    mask = _all(student) if mask is None else mask
    teacher = teacher.detach()
    if positive is None:
        positive = teacher.masked_fill(~mask, _NONE).argmax(dim=1)
    column = positive.unsqueeze(1)
    others = mask.clone().scatter_(1, column, False)
    difference = (student.gather(1, column) - student) - (teacher.gather(1, column) - teacher)
    squares = difference.masked_fill(~others, 0.0).square().sum(dim=1) / others.sum(dim=1).clamp_min(1)
    return _mean(squares, others.any(dim=1))


def info_nce(
    scores: torch.Tensor, positive: torch.Tensor, *, temperature: float = 1.0, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the cross entropy of the positive among the candidates (van den Oord et al., 2018, section 2.3).

    Args:
        positive: int64[queries], its column, which counts whatever `mask` says. Candidates that may well be answers
            themselves are to be masked.
    """
    column = positive.unsqueeze(1)
    mask = (_all(scores) if mask is None else mask).clone().scatter_(1, column, True)
    logits = torch.log_softmax((scores / temperature).masked_fill(~mask, _NONE), dim=1)
    return _mean(-logits.gather(1, column).squeeze(1), mask.any(dim=1))


def _all(scores: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(scores, dtype=torch.bool)


def _mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the mean over the queries that count; 0, with a gradient of 0, where none does."""
    return (values * counted).sum() / counted.sum().clamp_min(1)
