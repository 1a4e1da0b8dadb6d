"""The objective of a training step, and what it measures on the way.

A query's score of a document is sum over its terms t of idf_t · w_t(d) (Geng et al., SIGIR 2025: idf enters the match),
divided by the query's total idf and multiplied by one learned number: raw scores of long queries are far sharper than
any teacher's, and distillation would shrink every weight to make up for it. The ranking of a query is unchanged.

The boosts of a document's exact terms, where the recipe asks for them, are part of its vector: constants to which the
model learns to add.

Where queries are read by the model too (`query.kind = "model"`, SPLADE), a step's queries pass through it beside the
documents, the score is sum over the vocabulary of w_t(q) · w_t(d), divided and multiplied likewise, and queries have a
FLOPS penalty of their own (Formal et al., "SPLADE: Sparse Lexical and Expansion Model", SIGIR 2021, section 3.2).

The fused score (`loss.hybrid`) is what a hybrid search ranks by: that score and the cosine of the query's and the
document's mean states, multiplied by a second learned number. Each side so learns what the other misses.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lexhound.training.data.examples import Step, TrainingSet
from lexhound.training.teachers.terms import term_shortfall

from .losses import info_nce, kl_divergence, margin_mse
from .model import TrainableEncoder
from .recipe import Recipe
from .regularization import build_regulariser, flops
from .sampled_vocabulary import Columns, ColumnSampler
from .schedule import quadratic

_SCALE = 20.0  # of normalised scores, at the start


class Objective:
    """The loss of one run, with the query table and the scale of scores, which may learn.

    Args:
        model: on the device on which everything is computed.
        training, recipe: what is trained on, and how.

    Attributes:
        sampler: draws each step's columns.
        reads_queries: whether the model makes the terms of queries.
        takes_queries: whether a step's queries pass through the model, for their terms or for their mean states.
    """

    def __init__(self, model: TrainableEncoder, training: TrainingSet, recipe: Recipe) -> None:
        self._model, self._training, self._recipe = model, training, recipe
        self._device = model.device
        self._idf = self._tensor(training.idf)
        # Through softplus a learned weight stays positive; its inverse starts it at idf.
        self._raw_table = torch.nn.Parameter(torch.log(torch.expm1(self._idf.clamp_min(1e-3))))
        self._learned = recipe.query.kind == "learned"
        self._log_scale = torch.nn.Parameter(torch.tensor(math.log(_SCALE), device=self._device))
        self._log_dense_scale = torch.nn.Parameter(torch.tensor(math.log(_SCALE), device=self._device))
        self.reads_queries = recipe.query.kind == "model"
        self.takes_queries = self.reads_queries or recipe.loss.hybrid > 0
        # A query of the model's may have any term, so there are no columns to leave out.
        frequent = model.vocabulary_size if self.reads_queries else recipe.sparsity.frequent
        self.sampler = ColumnSampler(model.terms, frequent, recipe.sparsity.sampled)
        self._regulariser = build_regulariser(recipe.sparsity.kind, idf=self._idf, in_match=not self.reads_queries)
        self._terms = self._tensor(model.terms)

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Return what learns beside the model: "scale", "dense_scale" of fused scores, "table" where the query table
        does.
        """
        learning = {"scale": self._log_scale}
        if self._recipe.loss.hybrid:
            learning["dense_scale"] = self._log_dense_scale
        return learning | ({"table": self._raw_table} if self._learned else {})

    def table(self) -> torch.Tensor:
        """Return the query encoder's weights, float32[vocabulary]."""
        return torch.nn.functional.softplus(self._raw_table) if self._learned else self._idf

    def loss(
        self,
        encoded: torch.Tensor,
        step: Step,
        number: int,
        token_ids: list[NDArray[np.int32]],
        terms: NDArray[np.int64],
        columns: Columns,
        record: dict[str, float],
    ) -> torch.Tensor:
        """Return the loss of a step, a scalar.

        Args:
            encoded: float[documents (and queries), columns + width]: logits and mean states, as the model makes them.
            number: of the step, from 0.
            token_ids: the documents' tokens; terms: int64, ascending, of the step's queries; columns: what was
                computed.
            record: takes the parts of the loss, and what is seen on the way.
        """
        documents = encoded[: len(token_ids)]
        logits, means = documents[:, : len(columns.terms)], documents[:, len(columns.terms) :]
        kept = self._terms[self._tensor(columns.terms)]
        weights = self._model.weights_of(logits) * kept
        boosts = self._boosts(token_ids, columns.terms)
        parts = []
        if self.reads_queries:
            queries = self._model.weights_of(encoded[len(token_ids) :, : len(columns.terms)]) * kept
            total = queries.detach().sum(dim=1, keepdim=True).clamp_min(1e-3)
            scores = queries @ (weights + boosts).T / total * self._log_scale.exp()
            parts.append(self._query_sparsity(queries, number, record))
        else:
            scores = self._scores(weights + boosts, step, terms, columns)
        fused = None
        if self._recipe.loss.hybrid:
            fused = scores + self._cosines(encoded[len(token_ids) :, len(columns.terms) :], means)
        parts += self._losses_of_scores(scores, fused, step, record)
        parts.append(self._sparsity(weights, columns, number, record))
        parts += self._losses_of_documents(logits, means, step, token_ids, columns, record)
        loss = torch.zeros((), device=self._device)
        for part in parts:
            loss = loss + part
        record["loss"] = float(loss.detach())
        return loss

    def _cosines(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return float32[queries, documents], the cosines of mean states, scaled."""
        units = [torch.nn.functional.normalize(side, dim=1) for side in (queries, documents)]
        return units[0] @ units[1].T * self._log_dense_scale.exp()

    def _losses_of_scores(
        self, scores: torch.Tensor, fused: torch.Tensor | None, step: Step, record: dict[str, float]
    ) -> list[torch.Tensor]:
        """Return the weighted losses of float32[queries, documents] beside what the teachers say and who answers.

        Args:
            scores, fused: of the terms alone, and with the mean states.
        """
        losses = self._recipe.loss
        parts = []
        taught = self._tensor(self._training.teach(step.queries, step.documents))
        known = ~taught.isnan()
        target = torch.nan_to_num(taught) * losses.scale
        if losses.kl:
            parts.append(_part("kl", losses.kl, kl_divergence(scores, target, mask=known), record))
        if fused is not None:
            parts.append(_part("hybrid", losses.hybrid, kl_divergence(fused, target, mask=known), record))
        if losses.margin_mse:
            value = margin_mse(scores, target, mask=known) / losses.scale
            parts.append(_part("margin_mse", losses.margin_mse, value, record))
        rows = np.flatnonzero(step.positive >= 0)
        if losses.info_nce and len(rows):
            answered, positive = self._tensor(rows), self._tensor(step.positive[rows])
            judged = taught[answered]
            allowed = ~(judged > judged.gather(1, positive[:, None]) - losses.false_negative)
            allowed.scatter_(1, positive[:, None], True)
            value = info_nce(scores[answered], positive, mask=allowed)
            parts.append(_part("info_nce", losses.info_nce, value, record))
        record["agreement"] = float((scores.detach().argmax(dim=1) == target.argmax(dim=1)).float().mean())
        return parts

    def _losses_of_documents(
        self,
        logits: torch.Tensor,
        means: torch.Tensor,
        step: Step,
        token_ids: list[NDArray[np.int32]],
        columns: Columns,
        record: dict[str, float],
    ) -> list[torch.Tensor]:
        """Return the weighted losses of documents alone: exact terms kept, dense vectors, terms that are taught."""
        recipe, training = self._recipe, self._training
        parts = []
        if recipe.loss.keep:
            parts.append(_part("keep", recipe.loss.keep, self.kept(logits, token_ids, columns), record))
        if recipe.model.dense and training.dense is not None:
            target = self._tensor(training.dense[step.documents])
            value = 1 - torch.nn.functional.cosine_similarity(means, target).mean()
            parts.append(_part("dense", recipe.model.dense, value, record))
        if recipe.loss.terms and training.term_teacher is not None and training.dense is not None:
            target = self._tensor(training.term_teacher.targets(training.dense[step.documents], columns.terms))
            value = term_shortfall(logits, target, self._tensor(columns.multiplier))
            parts.append(_part("terms", recipe.loss.terms, value, record))
        return parts

    def _boosts(self, token_ids: list[NDArray[np.int32]], columns: NDArray[np.int64]) -> torch.Tensor:
        """Return the boosts of exact terms, float32[documents, columns], or a scalar 0 where there is no boost."""
        boost = self._recipe.exact_terms.boost
        if boost is None:
            return torch.zeros((), device=self._device)
        boosts = np.zeros((len(token_ids), len(columns)), dtype=np.float32)
        for row, text_ids in enumerate(token_ids):
            exact, weights = boost.weights(text_ids)
            positions = np.searchsorted(columns, exact)
            known = (positions < len(columns)) & (columns[np.minimum(positions, len(columns) - 1)] == exact)
            boosts[row, positions[known]] = weights[known]
        return self._tensor(boosts)

    def _scores(self, weights: torch.Tensor, step: Step, terms: NDArray[np.int64], columns: Columns) -> torch.Tensor:
        """Return float32[queries, documents]."""
        presence = torch.zeros((len(step.queries), len(terms)))
        for row, query in enumerate(step.queries):
            presence[row, torch.from_numpy(np.searchsorted(terms, self._training.queries[query]))] = 1.0
        table = self.table()[self._tensor(terms)]
        weighted = presence.to(self._device) * table
        total = weighted.detach().sum(dim=1, keepdim=True).clamp_min(1e-3)
        raw = weighted @ weights[:, self._tensor(columns.positions(terms))].T
        return raw / total * self._log_scale.exp()

    def _sparsity(self, weights: torch.Tensor, columns: Columns, number: int, record: dict[str, float]) -> torch.Tensor:
        settings = self._recipe.sparsity
        multiplier = self._tensor(columns.multiplier)
        active = (weights.detach() > 0).float()
        means = weights.detach().mean(dim=0)
        self.sampler.observe(columns, means.cpu().numpy())
        record["active"] = float((active * multiplier).sum(dim=1).mean())
        record["flops"] = float((means**2 * multiplier).sum())
        value = self._regulariser(weights, columns=self._tensor(columns.terms), multiplier=multiplier)
        record["sparsity"] = float(value.detach())
        return value * settings.weight * self._ramped(number)

    def _query_sparsity(self, weights: torch.Tensor, number: int, record: dict[str, float]) -> torch.Tensor:
        """Return the penalty on queries, float32[queries, columns], which have all terms of the vocabulary for
        columns.
        """
        value = flops(weights)
        record["query_active"] = float((weights.detach() > 0).float().sum(dim=1).mean())
        record["query_flops"] = float(value.detach())
        return value * self._recipe.query.sparsity * self._ramped(number)

    def _ramped(self, number: int) -> float:
        """Return the share of a penalty's weight that this step has."""
        ramp = max(1, round(self._recipe.sparsity.ramp * self._recipe.optimiser.steps))
        return quadratic(number, ramp)

    def kept(self, logits: torch.Tensor, token_ids: list[NDArray[np.int32]], columns: Columns) -> torch.Tensor:
        """Return how far documents' own terms fall below the margin, weighted by idf: those that say most are kept
        first.
        """
        present = np.zeros((len(token_ids), len(columns.terms)), dtype=np.float32)
        for row, text_ids in enumerate(token_ids):
            present[row, np.isin(columns.terms, text_ids)] = 1.0
        weight = self._tensor(present) * (self._idf * self._terms)[self._tensor(columns.terms)]
        below = (self._recipe.loss.margin - logits).relu()
        return (weight * below).sum() / weight.sum().clamp_min(1e-6)


def _part(name: str, weight: float, value: torch.Tensor, record: dict[str, float]) -> torch.Tensor:
    """Return a loss by its weight, and note its value."""
    record[name] = float(value.detach())
    return weight * value
