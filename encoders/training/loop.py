"""The training loop: draw a step, encode its documents, compare with the teachers, take a step, and look from time to
time how good the model has become.

A query's score of a document is sum over its terms t of idf_t · w_t(d) (Geng et al., SIGIR 2025: idf enters the match),
divided by the query's total idf and multiplied by one learned number: raw scores of long queries are far sharper than
any teacher's, and distillation would shrink every weight to make up for it. The ranking of a query is unchanged.

Where queries are read by the model too (`query.kind = "model"`, SPLADE), a step's queries pass through it beside the
documents, the score is sum over the vocabulary of w_t(q) · w_t(d), divided and multiplied likewise, and queries have a
FLOPS penalty of their own (Formal et al., "SPLADE: Sparse Lexical and Expansion Model", SIGIR 2021, section 3.2).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..errors import TrainingError
from .averaging import ExponentialAverage
from .columns import Columns, ColumnSampler
from .examples import Step, TrainingSet, draw_step
from .gradient_cache import cached_step
from .log import TrainingLog
from .losses import info_nce, kl_divergence, margin_mse
from .model import TrainableEncoder
from .optimiser import make_optimiser, set_rate
from .recipe import Recipe, same_run
from .schedule import quadratic, warmup_linear
from .sparsity import build_regulariser, flops
from .state import read_state, write_state
from .term_teacher import TermTeacher, term_shortfall

STATE, BEST = "state.safetensors", "best.safetensors"
_SCALE = 20.0  # of normalised scores, at the start
_COLLAPSED = 20  # steps in a row without a term, after which nothing can come back: no weight has a gradient
_SURVEYED = 128  # documents encoded over the whole vocabulary before the first step
_EXPLODED = 0.2  # share of the vocabulary that a document uses; such an index is larger than the text

Validate = Callable[[Callable[[list[str], int], csr_array], NDArray[np.float32]], dict[str, float]]


class Watcher(Protocol):
    """What a run tells while it goes."""

    def step(self, record: dict[str, float], total: int) -> None:
        """After every step."""

    def validated(self, step: int, measures: dict[str, float], best: bool) -> None:
        """After every validation."""

    def notice(self, message: str) -> None:
        """Something a person should know: sparsity that explodes, an early stop."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        steps: how many were taken, those before an interruption included.
        best_step, best: the step whose weights are kept, and its mean validation measure; the last step and NaN
            without validation.
    """

    steps: int
    best_step: int
    best: float


class Trainer:
    """One run, resumable from `folder`.

    Args:
        model: to be trained, in place; at the end it holds the best weights.
        training: what it is trained on.
        recipe: how.
        folder: where the state, the best weights and the log are kept.
        validate: returns measures of a model given as a function from texts to vectors, and of its query table; None
            for no validation.
        watcher: is told how it goes.
        dense: float32[documents, width], the first dense teacher's vectors; None where there is no dense teacher.
        terms: what that teacher thinks of words, where the recipe asks for it.
    """

    def __init__(
        self,
        model: TrainableEncoder,
        training: TrainingSet,
        recipe: Recipe,
        folder: Path,
        *,
        validate: Validate | None = None,
        watcher: Watcher | None = None,
        dense: NDArray[np.float32] | None = None,
        terms: TermTeacher | None = None,
    ) -> None:
        self.model, self.training, self.recipe, self.folder = model, training, recipe, folder
        self._validate, self._watcher, self._dense, self._taught_terms = validate, watcher, dense, terms
        idf = torch.from_numpy(training.idf)
        # Through softplus a learned weight stays positive; its inverse starts it at idf.
        self._raw_table = torch.nn.Parameter(torch.log(torch.expm1(idf.clamp_min(1e-3))))
        self._idf = idf
        self._learned = recipe.query.kind == "learned"
        self._log_scale = torch.nn.Parameter(torch.tensor(math.log(_SCALE)))
        table = self._raw_table if self._learned else None
        self._optimiser = make_optimiser(model, recipe.optimiser, table, recipe.query.learning_rate, self._log_scale)
        self._reads_queries = recipe.query.kind == "model"
        # A query of the model's may have any term, so there are no columns to leave out.
        frequent = model.vocabulary_size if self._reads_queries else recipe.sparsity.frequent
        self._sampler = ColumnSampler(model.terms, frequent, recipe.sparsity.sampled)
        self._regulariser = build_regulariser(recipe.sparsity.kind, idf=idf, in_match=not self._reads_queries)
        self._terms = torch.from_numpy(model.terms)
        decay = recipe.optimiser.average
        self._average = ExponentialAverage(self._named(), decay) if decay > 0 else None
        self._step = 0
        self._empty_steps = 0
        self._best, self._best_step, self._worse = -math.inf, 0, 0
        self.log = TrainingLog(folder / "log.jsonl")

    @property
    def step(self) -> int:
        """How many steps have been taken."""
        return self._step

    def table(self) -> NDArray[np.float32]:
        """Return the query side's weights, float32[vocabulary]."""
        return self._table().detach().numpy().copy()

    def run(self, stop: Callable[[], bool] | None = None, save_every: float = 120.0) -> Outcome:
        """Train to the end, from where an earlier run of the same recipe stopped.

        Args:
            stop: asked after every step; True saves the state and raises KeyboardInterrupt.
            save_every: seconds between two saved states.

        Raises:
            TrainingError: the vectors have become empty, or a loss is no number.
            KeyboardInterrupt: `stop` said so; what was done is saved.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        if self._step == 0:
            self._see_usage()
        total = self.recipe.optimiser.steps
        validation = self.recipe.validation
        saved = time.monotonic()
        while self._step < total:
            started = time.perf_counter()
            record = self._take_step(draw_step(self.training, self.recipe.optimiser, self.recipe.seed, self._step))
            self._step += 1
            record |= {"step": self._step, "seconds": time.perf_counter() - started}
            self.log.write(record)
            self._check(record)
            if self._watcher is not None:
                self._watcher.step(record, total)
            if self._validate is not None and (self._step % validation.every == 0 or self._step == total):
                self._look()
                if validation.patience and self._worse >= validation.patience:
                    self._notice(f"no better for {self._worse} validations: stopped after {self._step} steps")
                    break
            if stop is not None and stop():
                self._save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > save_every:
                self._save()
                saved = time.monotonic()
        self._save()
        return self._finish()

    def _see_usage(self) -> None:
        """Let the sampler know from the start which terms are used most."""
        places = np.linspace(0, len(self.training.documents) - 1, min(_SURVEYED, len(self.training.documents)))
        vectors = self.model.encode([self.training.documents[int(place)] for place in places])
        self._sampler.usage = (vectors.sum(axis=0) / len(places)).astype(np.float32)

    def _table(self) -> torch.Tensor:
        return torch.nn.functional.softplus(self._raw_table) if self._learned else self._idf

    def _named(self) -> dict[str, torch.nn.Parameter]:
        """Every weight that learns, by name."""
        named = {f"model.{name}": value for name, value in self.model.network.named_parameters() if value.requires_grad}
        named["scale"] = self._log_scale
        if self._learned:
            named["table"] = self._raw_table
        return named

    def _take_step(self, step: Step) -> dict[str, float]:
        recipe = self.recipe
        set_rate(
            self._optimiser,
            warmup_linear(
                self._step,
                recipe.optimiser.steps,
                max(1, round(recipe.optimiser.warmup * recipe.optimiser.steps)),
                recipe.optimiser.floor,
            ),
        )
        terms = np.unique(np.concatenate([self.training.queries[query] for query in step.queries])).astype(np.int64)
        columns = self._sampler.draw(terms, recipe.seed, self._step)
        chosen = torch.from_numpy(columns.terms)
        pieces = [self.training.documents[document] for document in step.documents]
        read = [self.training.query_pieces[query] for query in step.queries] if self._reads_queries else []
        record: dict[str, float] = {}

        def encode(chunk: list[NDArray[np.int32]]) -> torch.Tensor:
            logits, means = self.model.logits_and_means(chunk, chosen)
            return torch.cat([logits, means], dim=1)

        def loss_of(encoded: torch.Tensor) -> torch.Tensor:
            return self._loss(encoded, step, pieces, terms, columns, record)

        self._optimiser.zero_grad(set_to_none=True)
        parts = recipe.optimiser.accumulate
        if parts > 1:
            bounds = np.linspace(0, len(pieces) + len(read), parts + 1).astype(int)
            chunks = [(pieces + read)[a:b] for a, b in pairwise(bounds.tolist()) if b > a]
            cached_step(encode, chunks, loss_of)
        else:
            loss_of(encode(pieces + read)).backward()  # type: ignore[no-untyped-call]
        learning = [weight for group in self._optimiser.param_groups for weight in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(learning, recipe.optimiser.clip)
        self._optimiser.step()
        if self._average is not None:
            self._average.update(self._named())
        record |= {"gradient": float(norm), "documents": len(pieces), "queries": len(step.queries)}
        record["tokens"] = float(sum(map(len, pieces + read)))
        return record

    def _loss(
        self,
        encoded: torch.Tensor,
        step: Step,
        pieces: list[NDArray[np.int32]],
        terms: NDArray[np.int64],
        columns: Columns,
        record: dict[str, float],
    ) -> torch.Tensor:
        recipe = self.recipe
        logits, means = encoded[:, : len(columns.terms)], encoded[:, len(columns.terms) :]
        chosen = torch.from_numpy(columns.terms)
        weights = self.model.weights_of(logits) * self._terms[chosen]
        loss = torch.zeros(())
        if self._reads_queries:
            asked = weights[len(pieces) :]
            logits, means, weights = logits[: len(pieces)], means[: len(pieces)], weights[: len(pieces)]
            total = asked.detach().sum(dim=1, keepdim=True).clamp_min(1e-3)
            scores = asked @ weights.T / total * self._log_scale.exp()
            loss = loss + self._query_sparsity(asked, record)
        else:
            scores = self._scores(weights, step, terms, columns)
        taught = torch.from_numpy(self.training.teach(step.queries, step.documents))
        known = ~taught.isnan()
        target = torch.nan_to_num(taught) * recipe.loss.scale
        if recipe.loss.kl:
            part = kl_divergence(scores, target, mask=known)
            loss = loss + recipe.loss.kl * part
            record["kl"] = float(part.detach())
        if recipe.loss.margin_mse:
            part = margin_mse(scores, target, mask=known) / recipe.loss.scale
            loss = loss + recipe.loss.margin_mse * part
            record["margin_mse"] = float(part.detach())
        rows = np.flatnonzero(step.positive >= 0)
        if recipe.loss.info_nce and len(rows):
            positive = torch.from_numpy(step.positive[rows])
            own = taught[rows].gather(1, positive[:, None])
            allowed = ~(taught[rows] > own - recipe.loss.false_negative)
            allowed.scatter_(1, positive[:, None], True)
            part = info_nce(scores[rows], positive, mask=allowed)
            loss = loss + recipe.loss.info_nce * part
            record["info_nce"] = float(part.detach())
        loss = loss + self._sparsity(weights, columns, record)
        if recipe.loss.keep:
            part = self._kept(logits, pieces, columns)
            loss = loss + recipe.loss.keep * part
            record["keep"] = float(part.detach())
        if recipe.model.dense and self._dense is not None:
            wanted = torch.from_numpy(self._dense[step.documents])
            part = 1 - torch.nn.functional.cosine_similarity(means, wanted).mean()
            loss = loss + recipe.model.dense * part
            record["dense"] = float(part.detach())
        if recipe.loss.terms and self._taught_terms is not None and self._dense is not None:
            wanted = torch.from_numpy(self._taught_terms.targets(self._dense[step.documents], columns.terms))
            part = term_shortfall(logits, wanted, torch.from_numpy(columns.multiplier))
            loss = loss + recipe.loss.terms * part
            record["terms"] = float(part.detach())
        record["loss"] = float(loss.detach())
        record["agreement"] = float((scores.detach().argmax(dim=1) == target.argmax(dim=1)).float().mean())
        return loss

    def _scores(self, weights: torch.Tensor, step: Step, terms: NDArray[np.int64], columns: Columns) -> torch.Tensor:
        """Return float32[queries, documents]."""
        presence = torch.zeros((len(step.queries), len(terms)))
        for row, query in enumerate(step.queries):
            presence[row, torch.from_numpy(np.searchsorted(terms, self.training.queries[query]))] = 1.0
        table = self._table()[torch.from_numpy(terms)]
        weighted = presence * table
        total = weighted.detach().sum(dim=1, keepdim=True).clamp_min(1e-3)
        raw = weighted @ weights[:, torch.from_numpy(columns.places(terms))].T
        return raw / total * self._log_scale.exp()

    def _sparsity(self, weights: torch.Tensor, columns: Columns, record: dict[str, float]) -> torch.Tensor:
        settings = self.recipe.sparsity
        multiplier = torch.from_numpy(columns.multiplier)
        active = (weights.detach() > 0).float()
        means = weights.detach().mean(dim=0)
        self._sampler.observe(columns, means.numpy())
        record["active"] = float((active * multiplier).sum(dim=1).mean())
        record["flops"] = float((means**2 * multiplier).sum())
        penalised = weights
        if settings.free_terms:
            over = (active * multiplier).sum(dim=1, keepdim=True) > settings.free_terms
            penalised = weights * over
        value = self._regulariser(penalised, columns=torch.from_numpy(columns.terms), multiplier=multiplier)
        record["sparsity"] = float(value.detach())
        return value * settings.weight * self._ramped()

    def _query_sparsity(self, weights: torch.Tensor, record: dict[str, float]) -> torch.Tensor:
        """The penalty on queries, float32[queries, columns], which have all terms of the vocabulary for columns."""
        value = flops(weights)
        record["query_active"] = float((weights.detach() > 0).float().sum(dim=1).mean())
        record["query_flops"] = float(value.detach())
        return value * self.recipe.query.sparsity * self._ramped()

    def _ramped(self) -> float:
        """The share of a penalty's weight that this step has."""
        ramp = max(1, round(self.recipe.sparsity.ramp * self.recipe.optimiser.steps))
        return quadratic(self._step, ramp)

    def _kept(self, logits: torch.Tensor, pieces: list[NDArray[np.int32]], columns: Columns) -> torch.Tensor:
        """How far documents' own terms fall below the margin, weighted by idf: those that say most are kept first."""
        present = np.zeros((len(pieces), len(columns.terms)), dtype=np.float32)
        for row, piece in enumerate(pieces):
            present[row, np.isin(columns.terms, piece)] = 1.0
        weight = torch.from_numpy(present) * (self._idf * self._terms)[torch.from_numpy(columns.terms)]
        below = (self.recipe.loss.margin - logits).relu()
        return (weight * below).sum() / weight.sum().clamp_min(1e-6)

    def _check(self, record: dict[str, float]) -> None:
        if not math.isfinite(record["loss"]):
            raise TrainingError(
                f"the loss is {record['loss']} after {self._step} steps", "Lower the learning rates, or clip harder"
            )
        who = "documents" if record["active"] < 1 else "queries" if record.get("query_active", 1) < 1 else None
        self._empty_steps = 0 if who is None else self._empty_steps + 1
        if self._empty_steps >= _COLLAPSED:
            penalty = "query.sparsity" if who == "queries" else "sparsity.weight"
            raise TrainingError(
                f"{who} have had no terms for {_COLLAPSED} steps: the sparsity has collapsed at step {self._step}",
                f"Lower {penalty} or the learning rates, lengthen sparsity.ramp, or raise loss.keep",
            )
        if record["active"] > _EXPLODED * len(self.model.terms) and self._step % 50 == 0:
            self._notice(
                f"documents have {record['active']:,.0f} terms each after {self._step} steps; raise sparsity.weight"
            )

    def _look(self) -> None:
        if self._validate is None:
            return
        with self._averaged():

            def encode(texts: list[str], max_length: int) -> csr_array:
                return self.model.encode(self.model.token_ids(texts, max_length))

            measures = self._validate(encode, self.table())
            mean = sum(measures.values()) / max(1, len(measures))
            better = mean > self._best
            if better:
                self._best, self._best_step, self._worse = mean, self._step, 0
                write_state(self.folder / BEST, self._weights(), {"step": self._step, "mean": mean})
            else:
                self._worse += 1
        self.log.write({"step": self._step, **{f"validation {name}": value for name, value in measures.items()}})
        if self._watcher is not None:
            self._watcher.validated(self._step, measures, better)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Weights are the averaged ones inside."""
        named = self._named()
        learning = {name: weight.detach().clone() for name, weight in named.items()}
        if self._average is not None:
            self._average.copy_to(named)
        try:
            with torch.no_grad():
                yield
        finally:
            with torch.no_grad():
                for name, weight in named.items():
                    weight.copy_(learning[name])

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in self._named().items()}

    def _save(self) -> None:
        tensors = dict(self._weights())
        for name, weight in self._named().items():
            for part, value in self._optimiser.state.get(weight, {}).items():
                tensors[f"optimiser.{part}.{name}"] = torch.as_tensor(value)
        if self._average is not None:
            tensors |= {f"average.{name}": value for name, value in self._average.state_dict().items()}
        tensors["usage"] = torch.from_numpy(self._sampler.usage.copy())
        values = {
            "recipe": self.recipe.as_dict(),
            "step": self._step,
            "best": None if self._best == -math.inf else self._best,
            "best_step": self._best_step,
            "worse": self._worse,
        }
        write_state(self.folder / STATE, tensors, values)

    def _resume(self) -> None:
        path = self.folder / STATE
        if not path.is_file():
            self.log.truncate(0)
            return
        tensors, values = read_state(path)
        if not same_run(self.recipe, values["recipe"]):
            raise TrainingError(
                f"{self.folder} holds a run of another recipe", "Give the recipe it was started with, or another folder"
            )
        with torch.no_grad():
            for name, weight in self._named().items():
                weight.copy_(tensors[name])
                # Each optimiser has parts of its own.
                ending = f".{name}"
                state = {
                    key.removeprefix("optimiser.").removesuffix(ending): value
                    for key, value in tensors.items()
                    if key.startswith("optimiser.") and key.endswith(ending) and key.count(".") == 1 + ending.count(".")
                }
                if state:
                    self._optimiser.state[weight] = state
        if self._average is not None:
            prefix = "average."
            self._average.load_state_dict(
                {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
            )
        self._sampler.usage = tensors["usage"].numpy().copy()
        self._step, self._best_step, self._worse = values["step"], values["best_step"], values["worse"]
        self._best = -math.inf if values["best"] is None else values["best"]
        self.log.truncate(self._step)

    def _finish(self) -> Outcome:
        if self._validate is not None and (self.folder / BEST).is_file():
            tensors, _ = read_state(self.folder / BEST)
            with torch.no_grad():
                for name, weight in self._named().items():
                    weight.copy_(tensors[name])
            return Outcome(self._step, self._best_step, self._best)
        if self._average is not None:
            self._average.copy_to(self._named())
        return Outcome(self._step, self._step, math.nan)

    def _notice(self, message: str) -> None:
        if self._watcher is not None:
            self._watcher.notice(message)
