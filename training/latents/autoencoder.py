"""A sparse autoencoder while it is trained, and its losses (Gao et al., "Scaling and evaluating sparse autoencoders",
2024, sections 2.3 and A.2; Wen et al., "Beyond Matryoshka", ICML 2025, section 3).

    z = W · (x - c) + b        x_k = Wᵀ · (the k largest of max(z, 0)) + c

Encoder and decoder share W, as in sentence-transformers' SparseAutoEncoder, whose losses these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lexhound.encoders.latent.autoencoder import Autoencoder

_EPSILON = 1e-5  # of layer norm


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of a step's loss, scalars.

    Attributes:
        rebuilt: mean squared error of what the k largest latents rebuild, for each k, in their order.
        wider: the same of four times as many as the largest k.
        auxiliary: of what the dead latents rebuild of the rest, by its variance.
        latents: float[n, latents], the largest k of each vector.
    """

    rebuilt: list[torch.Tensor]
    wider: torch.Tensor
    auxiliary: torch.Tensor
    latents: torch.Tensor


class TrainableAutoencoder(torch.nn.Module):
    """The weights of an autoencoder.

    Args:
        width: of a vector; count: of latents.
        centre: float32[width], where c begins: the mean of the vectors.
        normalise: whether vectors are brought to mean 0 and deviation 1 first, and back at the end.
        seed: of the directions that latents begin with.

    Attributes:
        idle: int64[count], for how many steps no vector had each latent.
    """

    idle: torch.Tensor

    def __init__(self, width: int, count: int, centre: NDArray[np.float32], *, normalise: bool, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(count, width, generator=generator)
        self.weight = torch.nn.Parameter(directions / directions.norm(dim=1, keepdim=True))
        self.bias = torch.nn.Parameter(torch.zeros(count))
        self.centre = torch.nn.Parameter(torch.from_numpy(centre.copy()))
        self.normalise = normalise
        self.register_buffer("idle", torch.zeros(count, dtype=torch.int64))

    def losses(self, vectors: torch.Tensor, ks: Sequence[int], auxiliary_k: int, dead_after: int) -> Losses:
        """Return the losses of float[n, width]; takes note of which latents were used.

        Args:
            ks: how many latents rebuild a vector, ascending.
            auxiliary_k: how many dead latents rebuild the rest; dead_after: steps without use after which one is dead.
        """
        inner, mean, deviation = self._prepared(vectors)
        z = (inner - self.centre) @ self.weight.T + self.bias
        count = z.shape[1]
        values, ids = z.topk(min(4 * ks[-1], count), dim=1)
        values = torch.relu(values)
        rebuilt = [self._decoded(values[:, :k], ids[:, :k]) * deviation + mean for k in ks]
        wider = self._decoded(values, ids) * deviation + mean
        self._note(values[:, : ks[-1]].detach(), ids[:, : ks[-1]])
        dead = self.idle > dead_after
        rest = vectors - (rebuilt[-1] - self.centre * deviation).detach()
        lost_values, lost_ids = (z * dead).topk(min(auxiliary_k, count), dim=1)
        found = self._decoded(torch.relu(lost_values), lost_ids) * deviation
        latents = torch.zeros_like(z).scatter(1, ids[:, : ks[-1]], values[:, : ks[-1]])
        return Losses(
            [torch.nn.functional.mse_loss(each, vectors) for each in rebuilt],
            torch.nn.functional.mse_loss(wider, vectors),
            _by_variance(found, rest),
            latents,
        )

    def _prepared(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return vectors as the encoder takes them, and what brings them back: mean and deviation, [n, 1]."""
        if not self.normalise:
            return vectors, torch.zeros(1), torch.ones(1)
        mean = vectors.mean(dim=1, keepdim=True)
        deviation = (vectors - mean).std(dim=1, keepdim=True)
        return (vectors - mean) / (deviation + _EPSILON), mean, deviation

    def _decoded(self, values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return what latents rebuild, float[n, width], of values and ids[n, k]."""
        if values.shape[1] * 4 < len(self.weight):
            rows = torch.nn.functional.embedding(ids, self.weight)
            return torch.einsum("nk,nkw->nw", values, rows) + self.centre
        dense = torch.zeros(len(ids), len(self.weight), dtype=values.dtype).scatter(1, ids, values)
        return dense @ self.weight + self.centre

    def _note(self, values: torch.Tensor, ids: torch.Tensor) -> None:
        if not self.training:
            return
        used = torch.zeros(len(self.idle), dtype=torch.bool)
        used[ids[values > _EPSILON]] = True
        self.idle.mul_(~used).add_(1)

    def frozen(self, k: int) -> Autoencoder:
        """Return the weights as encoders take them."""
        weight, bias, centre = (each.detach().numpy().copy() for each in (self.weight, self.bias, self.centre))
        return Autoencoder(weight, bias, centre, k, self.normalise)


def _by_variance(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error by the variance of what was wanted over the batch; plain where that is 0."""
    variance = (wanted - wanted.mean(dim=0)).square().mean()
    return torch.nn.functional.mse_loss(found, wanted) / torch.where(variance == 0, 1.0, variance)
