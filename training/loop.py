"""The training loop: draw a step, encode its documents, compare with the teachers (`objective`), take a step, and look
from time to time how good the model has become.

Several processes (`distributed`) draw the same steps; each encodes its share of a step's texts, every one computes the
loss of all, and the gradients of the shares are summed: the weights are those of one process, to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.encoders.errors import TrainingError
from lexhound.training.data.examples import Step, TrainingSet, draw_step

from .averaging import ExponentialAverage
from .checkpoint import read_state, write_state
from .distributed import Distributed
from .gradient_cache import cached_step
from .log import TrainingLog
from .model import TrainableEncoder
from .objective import Objective
from .optimizer import make_optimiser, set_rate
from .recipe import Recipe
from .recipe_file import same_run
from .schedule import warmup_linear

STATE, BEST = "state.safetensors", "best.safetensors"
_COLLAPSED = 20  # steps in a row without a term, after which nothing can come back: no weight has a gradient
_SURVEYED = 128  # documents encoded over the whole vocabulary before the first step
_EXPLODED = 0.2  # share of the vocabulary that a document uses; such an index is larger than the text

Encode = Callable[[list[str], int], tuple[csr_array, NDArray[np.float32]]]
"""Texts and the most tokens of each to read -> their vectors and mean states (`TrainableEncoder.encode_with_means`)."""

Validate = Callable[[Encode, NDArray[np.float32]], dict[str, float]]


class Watcher(Protocol):
    """A listener to what a run tells while it goes."""

    def step(self, record: dict[str, float], total: int) -> None:
        """Handle the end of a step."""

    def validated(self, step: int, measures: dict[str, float], best: bool) -> None:
        """Handle the end of a validation."""

    def notice(self, message: str) -> None:
        """Tell what a person should know: sparsity that explodes, an early stop."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run.

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
        ranks: the processes that train together, which must have the same training set; this one alone by default.
            Only the first of them writes, validates and tells.
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
        distributed: Distributed | None = None,
    ) -> None:
        self.model, self.training, self.recipe, self.folder = model, training, recipe, folder
        self._validate, self._watcher = validate, watcher
        self._distributed = distributed or Distributed()
        self._writes = self._distributed.first
        self._objective = Objective(model, training, recipe)
        objective_parameters = self._objective.parameters()
        self._optimiser = make_optimiser(
            model,
            recipe.optimiser,
            objective_parameters.get("table"),
            recipe.query.learning_rate,
            [objective_parameters[name] for name in ("scale", "dense_scale") if name in objective_parameters],
        )
        self._sampler = self._objective.sampler
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
        """Return the query encoder's weights, float32[vocabulary]."""
        return self._objective.table().detach().cpu().numpy().copy()

    def run(self, stop: Callable[[], bool] | None = None, save_every: float = 120.0) -> Outcome:
        """Train to the end, from where an earlier run of the same recipe stopped.

        Args:
            stop: asked after every step; True saves the state and raises KeyboardInterrupt.
            save_every: seconds between two saved states.

        Raises:
            TrainingError: the vectors have become empty, or a loss is not a number.
            KeyboardInterrupt: `stop` said so; what was done is saved.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        training = self.training
        seeds, candidates, named_counts = self._distributed.from_first(
            (training.seeds, training.candidates, training.given)
        )
        self.training = replace(training, seeds=seeds, candidates=candidates, given=named_counts)
        if self._step == 0:
            self._see_usage()
        self._distributed.align([weight.detach() for weight in self._named().values()])
        total = self.recipe.optimiser.steps
        validation = self.recipe.validation
        saved = time.monotonic()
        while self._step < total:
            started = time.perf_counter()
            record = self._take_step(draw_step(self.training, self.recipe.optimiser, self.recipe.seed, self._step))
            self._step += 1
            record |= {"step": self._step, "seconds": time.perf_counter() - started}
            if self._writes:
                self.log.write(record)
            self._check(record)
            if self._watcher is not None and self._writes:
                self._watcher.step(record, total)
            if self._validate is not None and (self._step % validation.every == 0 or self._step == total):
                self._look()
                if validation.patience and self._worse >= validation.patience:
                    self._notice(f"no better for {self._worse} validations: stopped after {self._step} steps")
                    break
            if self._distributed.any(stop is not None and stop()):
                self._save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > save_every:
                self._save()
                saved = time.monotonic()
        self._save()
        return self._finish()

    def _see_usage(self) -> None:
        """Let the sampler know from the start which terms are used most."""
        positions = np.linspace(0, len(self.training.documents) - 1, min(_SURVEYED, len(self.training.documents)))
        vectors = self.model.encode([self.training.documents[int(position)] for position in positions])
        self._sampler.usage = (vectors.sum(axis=0) / len(positions)).astype(np.float32)

    def _named(self) -> dict[str, torch.nn.Parameter]:
        """Return every weight that learns, by name."""
        named = {f"model.{name}": value for name, value in self.model.network.named_parameters() if value.requires_grad}
        return named | self._objective.parameters()

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
        # A usage that differs in its last bit might draw other columns.
        self._sampler.usage = self._distributed.from_first(self._sampler.usage)
        columns = self._sampler.draw(terms, recipe.seed, self._step)
        chosen = torch.from_numpy(columns.terms).to(self.model.device)
        token_ids = [self.training.documents[document] for document in step.documents]
        query_token_ids = (
            [self.training.query_token_ids[query] for query in step.queries] if self._objective.takes_queries else []
        )
        record: dict[str, float] = {}

        def encode(chunk: list[NDArray[np.int32]]) -> torch.Tensor:
            logits, means = self.model.logits_and_means(chunk, chosen)
            return torch.cat([logits, means], dim=1)

        def loss_of(encoded: torch.Tensor) -> torch.Tensor:
            return self._objective.loss(encoded, step, self._step, token_ids, terms, columns, record)

        self._optimiser.zero_grad(set_to_none=True)
        parts = recipe.optimiser.accumulate
        share = self._distributed.share(token_ids + query_token_ids)
        gather = self._distributed.gathering(
            len(token_ids + query_token_ids), len(columns.terms) + self.model.width, self.model.device
        )
        if parts > 1 or gather is not None:
            bounds = np.linspace(0, len(share), parts + 1).astype(int)
            chunks = [share[a:b] for a, b in pairwise(bounds.tolist()) if b > a]
            cached_step(encode, chunks, loss_of, gather, again=parts > 1)
        else:
            loss_of(encode(share)).backward()  # type: ignore[no-untyped-call]
        self._distributed.sum_gradients(
            list(self.model.network.parameters()), list(self._objective.parameters().values())
        )
        learning = [weight for group in self._optimiser.param_groups for weight in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(learning, recipe.optimiser.clip)
        self._optimiser.step()
        if self._average is not None:
            self._average.update(self._named())
        record |= {"gradient": float(norm), "documents": len(token_ids), "queries": len(step.queries)}
        record["tokens"] = float(sum(map(len, token_ids + query_token_ids)))
        return record

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
        if self._writes:
            self._validate_and_keep(self._validate)
        self._best, self._best_step, self._worse = self._distributed.from_first(
            (self._best, self._best_step, self._worse)
        )

    def _validate_and_keep(self, validate: Validate) -> None:
        with self._averaged():

            def encode(texts: list[str], max_length: int) -> tuple[csr_array, NDArray[np.float32]]:
                return self.model.encode_with_means(self.model.token_ids(texts, max_length))

            measures = validate(encode, self.table())
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
        """Make the weights the averaged ones inside."""
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
        if not self._writes:
            return
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
            if self._writes:
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
                    self._optimiser.state[weight] = {part: self._placed(value, weight) for part, value in state.items()}
        if self._average is not None:
            prefix = "average."
            self._average.load_state_dict(
                {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
            )
        self._sampler.usage = tensors["usage"].numpy().copy()
        self._step, self._best_step, self._worse = values["step"], values["best_step"], values["worse"]
        self._best = -math.inf if values["best"] is None else values["best"]
        if self._writes:
            self.log.truncate(self._step)

    def _placed(self, value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return where an optimiser looks for a part of its state: counts of steps stay on the CPU, but for fused
        ones.
        """
        return value.to(weight.device) if value.ndim or self._optimiser.defaults.get("fused") else value

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
        if self._watcher is not None and self._writes:
            self._watcher.notice(message)
