"""The training loop of an autoencoder: draw texts, take their vectors apart, rebuild them, take a step.

The model is frozen, so each text's vector is computed once, before the first step, and kept on disk.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lexhound.encoders.errors import TrainingError
from lexhound.encoders.latent.autoencoder import Autoencoder
from lexhound.encoders.runtime.int16.kernels import available
from lexhound.training.checkpoint import read_state, write_state
from lexhound.training.log import TrainingLog
from lexhound.training.loop import BEST, STATE, Outcome, Watcher
from lexhound.training.losses import info_nce
from lexhound.training.recipe_file import same_run
from lexhound.training.schedule import warmup_linear

from .autoencoder import TrainableAutoencoder
from .recipe import LatentRecipe

Validate = Callable[[Autoencoder], dict[str, float]]
"""Returns measures of an autoencoder, by the name of the judged set."""

_COLLAPSED = 20  # steps in a row without a latent, after which nothing can come back


@dataclass(frozen=True, slots=True, eq=False)
class LatentTrainingSet:
    """Vectors of the frozen model.

    Attributes:
        documents: float32[documents, width]; queries: float32[queries, width].
        own: int64[queries], the row of each query's document.
    """

    documents: NDArray[np.float32]
    queries: NDArray[np.float32]
    own: NDArray[np.int64]

    def centre(self) -> NDArray[np.float32]:
        """Return the mean of the documents' vectors, float32[width]."""
        mean: NDArray[np.float32] = self.documents.mean(axis=0)
        return mean

    def drawn(self, random: np.random.Generator, batch: int, *, queries: bool) -> tuple[NDArray[np.float32], int]:
        """Return a step's vectors, queries before their documents, and how many queries; documents alone if not."""
        if not len(self.queries) or not queries:
            rows = random.choice(len(self.documents), min(batch, len(self.documents)), replace=False)
            return self.documents[rows], 0
        chosen = random.permutation(len(self.queries))
        _, first = np.unique(self.own[chosen], return_index=True)  # a document once, or it were its own negative
        chosen = chosen[np.sort(first)[:batch]]
        return np.concatenate([self.queries[chosen], self.documents[self.own[chosen]]]), len(chosen)


class TrainingVectors(Protocol):
    """What an autoencoder is trained on: a `LatentTrainingSet`, or the states of tokens."""

    def centre(self) -> NDArray[np.float32]: ...

    def drawn(self, random: np.random.Generator, batch: int, *, queries: bool) -> tuple[NDArray[np.float32], int]: ...


class LatentTrainer:
    """One run, resumable from `folder`.

    Args:
        training: what it is trained on. recipe: how.
        folder: where the state, the best weights and the log are kept.
        validate: returns measures of the autoencoder; None for no validation.
        watcher: is told how it goes.
    """

    def __init__(
        self,
        training: TrainingVectors,
        recipe: LatentRecipe,
        folder: Path,
        *,
        validate: Validate | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.recipe, self.folder = recipe, folder
        self._training, self._validate, self._watcher = training, validate, watcher
        latents = recipe.latents
        self._ks = tuple(sorted(set(latents.k)))
        centre = training.centre()
        self.model = TrainableAutoencoder(
            len(centre), latents.count, centre, normalise=latents.normalise, seed=recipe.seed,
            in_integers=latents.of == "tokens" and available(),
        )  # fmt: skip
        self._optimiser = torch.optim.Adam(self.model.parameters(), lr=recipe.optimiser.rate)
        self._step = self._best_step = self._empty = self._worse = 0
        self._best = -math.inf
        self.log = TrainingLog(folder / "log.jsonl")

    def frozen(self) -> Autoencoder:
        """Return the weights as encoders take them."""
        return self.model.frozen(self._ks[-1])

    def run(self, stop: Callable[[], bool] | None = None, save_every: float = 120.0) -> Outcome:
        """Train to the end, from where an earlier run of the same recipe stopped.

        Args:
            stop: asked after every step; True saves the state and raises KeyboardInterrupt.
            save_every: seconds between two saved states.

        Raises:
            TrainingError: vectors have no latents any more, or a loss is not a number.
            KeyboardInterrupt: `stop` said so; what was done is saved.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        total, validation, saved = self.recipe.optimiser.steps, self.recipe.validation, time.monotonic()
        while self._step < total:
            started = time.perf_counter()
            record = self._take_step(total)
            self._step += 1
            record |= {"step": self._step, "seconds": time.perf_counter() - started}
            self.log.write(record)
            self._check(record)
            if self._watcher is not None:
                self._watcher.step(record, total)
            if self._validate is not None and (self._step % validation.every == 0 or self._step == total):
                self._look(self._validate)
                if validation.patience and self._worse >= validation.patience:
                    break
            if stop is not None and stop():
                self._save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > save_every:
                self._save()
                saved = time.monotonic()
        self._save()
        if self._validate is None:
            return Outcome(self._step, self._step, math.nan)
        tensors, _ = read_state(self.folder / BEST)
        self.model.load_state_dict(tensors)
        return Outcome(self._step, self._best_step, self._best)

    def _take_step(self, total: int) -> dict[str, float]:
        loss, optimiser = self.recipe.loss, self.recipe.optimiser
        rate = warmup_linear(self._step, total, max(1, round(optimiser.warmup * total)), optimiser.floor)
        for group in self._optimiser.param_groups:
            group["lr"] = optimiser.rate * rate
        random = np.random.default_rng((self.recipe.seed, self._step))  # the same vectors for a step's number
        vectors, queries = self._training.drawn(random, optimiser.batch, queries=loss.contrast > 0)
        parts = self.model.losses(
            torch.from_numpy(vectors), self._ks, loss.auxiliary_k if loss.auxiliary else 0, loss.dead_after,
            wider=loss.wider > 0,
        )  # fmt: skip
        rebuilt = torch.stack(parts.rebuilt).mean()
        total_loss = rebuilt + loss.wider * parts.wider + loss.auxiliary * parts.auxiliary
        record = {f"rebuilt {k}": float(each.detach()) for k, each in zip(self._ks, parts.rebuilt, strict=True)}
        if queries:
            latents = parts.latents()
            scores = latents[:queries] @ latents[queries:].T * loss.scale
            contrast = info_nce(scores, torch.arange(queries))
            total_loss = total_loss + loss.contrast * contrast
            record["contrast"] = float(contrast.detach())
        self._optimiser.zero_grad(set_to_none=True)
        total_loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), optimiser.clip)
        self._optimiser.step()
        return record | {
            "loss": float(total_loss.detach()), "wider": float(parts.wider.detach()),
            "auxiliary": float(parts.auxiliary.detach()), "gradient": float(norm),
            "active": float((parts.values > 0).sum(dim=1).float().mean()), "flops": parts.flops(),
            "dead": float((self.model.idle > loss.dead_after).sum()), "documents": float(len(vectors)),
        }  # fmt: skip

    def _check(self, record: dict[str, float]) -> None:
        if not math.isfinite(record["loss"]):
            raise TrainingError(f"the loss is {record['loss']} after {self._step} steps", "Lower the learning rate")
        self._empty = self._empty + 1 if record["active"] < 1 else 0
        if self._empty >= _COLLAPSED:
            raise TrainingError(
                f"vectors have had no latents for {_COLLAPSED} steps at step {self._step}", "Lower the learning rate"
            )

    def _look(self, validate: Validate) -> None:
        measures = validate(self.frozen())
        mean = sum(measures.values()) / max(1, len(measures))
        better = mean > self._best
        self._worse = 0 if better else self._worse + 1
        if better:
            self._best, self._best_step = mean, self._step
            write_state(self.folder / BEST, self.model.state_dict(), {"step": self._step, "mean": mean})
        self.log.write({"step": self._step, **{f"validation {name}": value for name, value in measures.items()}})
        if self._watcher is not None:
            self._watcher.validated(self._step, measures, better)

    def _save(self) -> None:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, weight in self.model.named_parameters():
            for part, value in self._optimiser.state.get(weight, {}).items():
                tensors[f"optimiser.{part}.{name}"] = torch.as_tensor(value)
        best = None if self._best == -math.inf else self._best
        values = {
            "recipe": self.recipe.as_dict(), "step": self._step, "best": best, "best_step": self._best_step,
            "worse": self._worse,
        }  # fmt: skip
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
        model = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        self.model.load_state_dict(model)
        for name, weight in self.model.named_parameters():
            names = {part: f"optimiser.{part}.{name}" for part in ("step", "exp_avg", "exp_avg_sq")}
            if all(full in tensors for full in names.values()):
                self._optimiser.state[weight] = {part: tensors[full] for part, full in names.items()}
        self._step, self._best_step, self._worse = values["step"], values["best_step"], values["worse"]
        self._best = -math.inf if values["best"] is None else values["best"]
        self.log.truncate(self._step)
