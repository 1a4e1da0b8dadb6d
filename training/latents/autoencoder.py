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

from lexhound.encoders.latent.autoencoder import Autoencoder, LatentActivations

_EPSILON = 1e-5  # of layer norm


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of a step's loss, scalars.

    Attributes:
        rebuilt: mean squared error of what the k largest latents rebuild, for each k, in their order.
        wider: the same of four times as many as the largest k; 0 where nobody asks for it.
        auxiliary: of what the dead latents rebuild of the rest, by its variance; 0 where nobody asks for it.
        values: float[n, k], the largest k latents of each vector, 0 where there are fewer; ids: int64[n, k].
        count: how many latents there are.
    """

    rebuilt: list[torch.Tensor]
    wider: torch.Tensor
    auxiliary: torch.Tensor
    values: torch.Tensor
    ids: torch.Tensor
    count: int

    def latents(self) -> torch.Tensor:
        """Return the largest k of each vector, float[n, count]."""
        dense = torch.zeros(len(self.values), self.count, dtype=self.values.dtype)
        return dense.scatter(1, self.ids, self.values)

    def flops(self) -> float:
        """Return the mean number of multiplications of two vectors' product: Σ_j (Σ_i |z_ij| / n)² of these."""
        totals = torch.zeros(self.count).index_add(0, self.ids.flatten(), self.values.detach().flatten())
        return float((totals / len(self.values)).square().sum())


class TrainableAutoencoder(torch.nn.Module):
    """The weights of an autoencoder.

    Args:
        width: of a vector; count: of latents.
        centre: float32[width], where c begins: the mean of the vectors.
        normalise: whether vectors are brought to mean 0 and deviation 1 first, and back at the end.
        seed: of the directions that latents begin with.
        in_integers: find the largest latents by products of 16-bit integers, where no auxiliary loss needs all.

    Attributes:
        idle: int64[count], for how many steps no vector had each latent.
    """

    idle: torch.Tensor

    def __init__(
        self,
        width: int,
        count: int,
        centre: NDArray[np.float32],
        *,
        normalise: bool,
        seed: int,
        in_integers: bool = False,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(count, width, generator=generator)
        self.weight = torch.nn.Parameter(directions / directions.norm(dim=1, keepdim=True))
        self.bias = torch.nn.Parameter(torch.zeros(count))
        self.centre = torch.nn.Parameter(torch.from_numpy(centre.copy()))
        self.normalise = normalise
        self.in_integers = in_integers
        self.register_buffer("idle", torch.zeros(count, dtype=torch.int64))

    def losses(
        self, vectors: torch.Tensor, ks: Sequence[int], auxiliary_k: int, dead_after: int, *, wider: bool = True
    ) -> Losses:
        """Return the losses of float[n, width]; takes note of which latents were used.

        All latents are computed to find the largest. Gradients go through those alone, which are computed again.

        Args:
            ks: how many latents rebuild a vector, ascending.
            auxiliary_k: how many dead latents rebuild the rest, 0 for none; dead_after: steps without use after which
                one is dead.
            wider: whether four times as many latents are to rebuild it, too.
        """
        inner, mean, deviation = self._prepared(vectors)
        centred = inner - self.centre
        count = len(self.weight)
        most = min((4 if wider else 1) * ks[-1], count)
        with torch.no_grad():
            if self.in_integers and not auxiliary_k:
                ids = self._largest_in_integers(centred, most)
            else:
                z = torch.addmm(self.bias, centred, self.weight.T)
                ids = z.topk(most, dim=1).indices
        values = self._chosen(centred, ids)
        rebuilt = [self._decoded(values[:, :k], ids[:, :k]) * deviation + mean for k in ks]
        self._note(values[:, : ks[-1]].detach(), ids[:, : ks[-1]])
        none = torch.zeros(())
        wide = torch.nn.functional.mse_loss(self._decoded(values, ids) * deviation + mean, vectors) if wider else none
        auxiliary = none
        if auxiliary_k:
            rest = vectors - (rebuilt[-1] - self.centre * deviation).detach()
            lost_ids = (z * (self.idle > dead_after)).topk(min(auxiliary_k, count), dim=1).indices
            lost = self._chosen(centred, lost_ids) * (self.idle > dead_after)[lost_ids]
            auxiliary = _by_variance(self._decoded(lost, lost_ids) * deviation, rest)
        largest = ks[-1]
        return Losses(
            [torch.nn.functional.mse_loss(each, vectors) for each in rebuilt],
            wide,
            auxiliary,
            values[:, :largest],
            ids[:, :largest],
            count,
        )

    def _largest_in_integers(self, centred: torch.Tensor, k: int) -> torch.Tensor:
        """Return int64[n, k], the k largest latents by products of 16-bit integers, some twice as fast as float32's.

        Of what is as large as makes no difference to these, another one may be taken. Where fewer than k are above 0,
        the rest are such as are not.
        """
        weight, bias = self.weight.detach().numpy(), self.bias.detach().numpy()
        model = Autoencoder(weight, bias, np.zeros(weight.shape[1], np.float32), k)
        rows, columns, _ = LatentActivations(model, integers=True).largest_of(
            centred.numpy(), k, torch.get_num_threads()
        )
        counts = np.bincount(rows, minlength=len(centred))
        ids = np.empty((len(centred), k), np.int64)
        ids[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = columns
        for row in np.flatnonzero(counts < k).tolist():
            found = ids[row, : counts[row]]
            ids[row, counts[row] :] = np.setdiff1d(np.arange(k), found)[: k - counts[row]]
        return torch.from_numpy(ids)

    def _chosen(self, centred: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return max(z, 0) of some latents of each vector, float[n, k]."""
        if self._dense_is_less(ids.shape[1]):
            return torch.relu(torch.addmm(self.bias, centred, self.weight.T).gather(1, ids))
        rows = torch.nn.functional.embedding(ids, self.weight)
        return torch.relu(torch.einsum("nkw,nw->nk", rows, centred) + self.bias[ids])

    def _dense_is_less(self, k: int) -> bool:
        """Return whether all latents of a vector take less memory than the directions of k of them."""
        count, width = self.weight.shape
        return k * width > count

    def _prepared(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return vectors as the encoder takes them, and what brings them back: mean and deviation, [n, 1]."""
        if not self.normalise:
            return vectors, torch.zeros(1), torch.ones(1)
        mean = vectors.mean(dim=1, keepdim=True)
        deviation = (vectors - mean).std(dim=1, keepdim=True)
        return (vectors - mean) / (deviation + _EPSILON), mean, deviation

    def _decoded(self, values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return what latents rebuild, float[n, width], of values and ids[n, k]."""
        if not self._dense_is_less(ids.shape[1]):
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
