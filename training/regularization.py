"""Penalties that keep vectors sparse, on the weights of a batch's documents, float[documents, terms].

A batch's size does not matter to any of them: each is a function of means over documents. They are sums over the
vocabulary; over a sample of it, `multiplier` says how many terms each column stands for.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

import torch

from lexhound.encoders.errors import SettingsError

Regulariser = Callable[..., torch.Tensor]
"""(weights, *, columns, multiplier) -> scalar; `columns` int64[terms] are the terms' ids."""

KINDS = ("flops", "idf-flops", "df-flops", "l1")


def flops(weights: torch.Tensor, multiplier: torch.Tensor | None = None) -> torch.Tensor:
    """Return sum over terms j of (mean over documents i of |w_ij|)²: a smooth stand-in for the expected number of
    products of two vectors (Paria et al., "Minimizing FLOPs to Learn Efficient Sparse Representations", ICLR 2020,
    section 4).
    """
    return _sum(weights.abs().mean(dim=0).square(), multiplier)


def effective_flops(weights: torch.Tensor, idf: torch.Tensor, multiplier: torch.Tensor | None = None) -> torch.Tensor:
    """Return the FLOPS of what a term adds to a score, u_ij = idf_j · w_ij: plain FLOPS of an encoder whose documents
    carry the whole weight. Frequent and rare terms are penalised alike, so the rare ones, of larger u, go first.
    """
    return flops(weights * idf, multiplier)


def idf_flops(weights: torch.Tensor, idf: torch.Tensor, multiplier: torch.Tensor | None = None) -> torch.Tensor:
    """Return the IDF-aware penalty in its explicit form, on u_ij = idf_j · w_ij: sum_j (mean_i u_ij / idf_j)².

    Geng et al. ("Towards Competitive Search Relevance For Inference-Free Learned Sparse Retrievers", SIGIR 2025) let
    idf enter the match instead: a score is sum_t idf_t · w_t(d) and FLOPS stays plain on w. The ranking gradient of w_j
    is then scaled by idf_j and the penalty's is not, so that terms of low idf are pruned first. Both forms are the same
    function of the document: idf_flops(idf · w, idf) = flops(w).

    Args:
        weights: u, float[documents, terms]. idf: float[terms]; a term of idf 0 adds nothing to scores or penalty.
    """
    positive = idf > 0
    scaled = torch.where(
        positive, weights / torch.where(positive, idf, torch.ones_like(idf)), torch.zeros_like(weights)
    )
    return flops(scaled, multiplier)


def df_flops(
    weights: torch.Tensor,
    frequency: torch.Tensor,
    multiplier: torch.Tensor | None = None,
    *,
    midpoint: float = 0.1,
    slope: float = 10.0,
) -> torch.Tensor:
    """Return sum_j (s(x_j) · mean_i w_ij)² with s(x) = 1 / (1 + (x^log_m(2) - 1)^slope), x_j the documents' share that
    use term j: s rises from 0 to 1 and is one half at the midpoint m. Terms that nearly every document uses cost most,
    as their posting lists are long. After Porco et al., "An Alternative to FLOPS Regularization to Effectively
    Productionize SPLADE-Doc", 2025, who take x from a larger sample than a batch.

    Args:
        frequency: float[terms], the share of documents with the term, without gradient.
    """
    power = math.log(2) / math.log(midpoint)
    exact = frequency if frequency.device.type == "mps" else frequency.double()  # which knows no doubles
    base = (exact.clamp(1e-6, 1.0) ** power - 1).clamp_min(0.0)
    scale = (1 / (1 + base**slope)).to(weights.dtype)
    return flops(weights * scale, multiplier)


def l1(weights: torch.Tensor, multiplier: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean over documents of the sum of weights."""
    return _sum(weights.abs().mean(dim=0), multiplier)


def build_regulariser(kind: str, *, idf: torch.Tensor, in_match: bool = True) -> Regulariser:
    """Return the penalty called `kind` on document weights w.

    Args:
        in_match: whether idf enters the match: the score is sum_t idf_t · w_t(d), so that "idf-flops" is plain FLOPS on
            w and "flops" is FLOPS on idf · w. Otherwise the score is sum_t q_t · w_t(d), "flops" is FLOPS on w, and
            "idf-flops" has its explicit form (see `idf_flops`).
        idf: float[vocabulary]; scaled to a mean of 1 over the terms that have one, so that the weight of a penalty
            means much the same for both kinds.

    Raises:
        SettingsError: there is no such penalty.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1, 0.0)[0]
        raise SettingsError(f"there is no regulariser {kind!r}", f"Did you mean {near!r}?")
    scaled = idf / idf[idf > 0].mean() if bool((idf > 0).any()) else idf

    def penalty(
        weights: torch.Tensor, *, columns: torch.Tensor, multiplier: torch.Tensor | None = None
    ) -> torch.Tensor:
        if kind == "idf-flops":
            return flops(weights, multiplier) if in_match else idf_flops(weights, scaled[columns], multiplier)
        if kind == "flops":
            return effective_flops(weights, scaled[columns], multiplier) if in_match else flops(weights, multiplier)
        if kind == "df-flops":
            return df_flops(weights, (weights.detach() > 0).float().mean(dim=0), multiplier)
        return l1(weights, multiplier)

    return penalty


def _sum(values: torch.Tensor, multiplier: torch.Tensor | None) -> torch.Tensor:
    return values.sum() if multiplier is None else (values * multiplier).sum()
