"""The average of weights over steps, which is better than any of its members."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lexhound.encoders.errors import SettingsError

_STEPS, _WEIGHT = "steps", "weight."


class ExponentialAverage:
    """The exponential moving average of named weights (Polyak & Juditsky, 1992; as Adam's, without bias at the start).

    Args:
        named: the weights, whose values are not taken yet.
        decay: how much of the average a step leaves, below 1.

    Raises:
        SettingsError: the decay is not from 0 to below 1.
    """

    def __init__(self, named: Mapping[str, torch.Tensor], decay: float) -> None:
        if not 0 <= decay < 1:
            raise SettingsError(f"the decay of an average is {decay}", "It must be from 0 to below 1")
        self._decay = decay
        self._steps = 0
        self._sums = {name: torch.zeros_like(weight, requires_grad=False) for name, weight in named.items()}

    @torch.no_grad()
    def update(self, named: Mapping[str, torch.Tensor]) -> None:
        """Take a step's weights in."""
        self._steps += 1
        for name, weight in named.items():
            self._sums[name].lerp_(weight.detach(), 1 - self._decay)

    @torch.no_grad()
    def copy_to(self, named: Mapping[str, torch.Tensor]) -> None:
        """Write the average into the weights; before the first step they stay as they are."""
        if self._steps == 0:
            return
        share = 1 - self._decay**self._steps
        for name, weight in named.items():
            weight.copy_(self._sums[name] / share)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return everything that `load_state_dict` needs."""
        copies = {f"{_WEIGHT}{name}": total.clone() for name, total in self._sums.items()}
        return {**copies, _STEPS: torch.tensor(self._steps)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a stored state."""
        self._steps = int(state[_STEPS])
        for name in self._sums:
            self._sums[name] = state[f"{_WEIGHT}{name}"].to(self._sums[name].device, copy=True)
