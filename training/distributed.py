"""Several processes that train one model together, one a device, as torchrun starts them.

Data parallelism in which the loss is that of the whole batch: each process encodes every n-th text of a step, all get
all representations, and each sends the gradient of the loss through its own, as gradient caching does with parts.
The sum of the processes' gradients is the gradient of one process that encodes everything, whatever their number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch

from lexhound.encoders.errors import TrainingError
from lexhound.encoders.runtime.device import choose_device

from .gradient_cache import Gather

_PATIENCE = timedelta(days=7)  # others wait while the first reads the data, asks the teachers, and validates

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Distributed:
    """The processes of a run; by default this one alone, for which everything here does nothing.

    Attributes:
        rank: number of this process, from 0; size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return what this process encodes of a batch: every n-th, perhaps nothing."""
        return list(items[self.rank :: self.size])

    def gathering(self, rows: int, width: int, device: torch.device) -> Gather | None:
        """Return how to make float32[rows, width] of all shares, in the order of the batch; None for one process."""
        if self.size == 1:
            return None
        most = -(-rows // self.size)

        def gather(parts: Sequence[torch.Tensor]) -> tuple[torch.Tensor, slice]:
            padded_rows = torch.zeros((most, width), device=device)
            done = 0
            for part in parts:
                padded_rows[done : done + len(part)] = part
                done += len(part)
            every = [torch.empty_like(padded_rows) for _ in range(self.size)]
            torch.distributed.all_gather(every, padded_rows)
            all_rows = torch.stack(every, dim=1).reshape(-1, width)[:rows].contiguous()
            return all_rows, slice(self.rank, None, self.size)

        return gather

    def sum_gradients(self, shared: Sequence[torch.nn.Parameter], complete: Sequence[torch.nn.Parameter]) -> None:
        """Make gradients those of the whole batch, to the last bit alike in every process.

        Args:
            shared: weights of which each process knows its own texts' part.
            complete: those whose gradients every process has already.
        """
        if self.size == 1:
            return
        for weight in complete:
            if weight.grad is not None:
                weight.grad /= self.size
        weights = [*shared, *complete]
        # A weight without any gradient stays so: an optimiser would let a gradient of 0 decay.
        used = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int32)
        used = used.to(weights[0].device)
        torch.distributed.all_reduce(used, torch.distributed.ReduceOp.MAX)
        learning = [weight for weight, has_gradient in zip(weights, used.tolist(), strict=True) if has_gradient]
        for weight in learning:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        flat = torch.cat([weight.grad.reshape(-1) for weight in learning if weight.grad is not None])
        torch.distributed.all_reduce(flat)
        done = 0
        for weight in learning:
            weight.grad = flat[done : done + weight.numel()].reshape(weight.shape).clone()
            done += weight.numel()

    def align(self, weights: Sequence[torch.Tensor]) -> None:
        """Give every process the first one's weights, in place."""
        if self.size > 1:
            for weight in weights:
                torch.distributed.broadcast(weight, 0)

    def from_first(self, value: Item) -> Item:
        """Return what the first process has."""
        if self.size == 1:
            return value
        objects: list[Any] = [value]
        torch.distributed.broadcast_object_list(objects, 0)
        item: Item = objects[0]
        return item

    def any(self, flag: bool) -> bool:
        """Return whether any process says so."""
        if self.size == 1:
            return flag
        flags: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(flags, flag)
        return any(flags)


def distributed_from_environment(environment: Mapping[str, str] = os.environ) -> Distributed:
    """Return what the environment says of the processes, as torchrun sets it.

    Raises:
        TrainingError: its variables are not numbers that fit.
    """
    names = ("RANK", "WORLD_SIZE")
    try:
        rank, size = (int(environment.get(name, default)) for name, default in zip(names, ("0", "1"), strict=True))
    except ValueError as error:
        raise TrainingError(
            f"RANK and WORLD_SIZE of the environment are no numbers: {error}", "Start the run with torchrun"
        ) from error
    if not 0 <= rank < size or (size > 1 and "MASTER_ADDR" not in environment):
        raise TrainingError(
            f"the environment has RANK {rank} and WORLD_SIZE {size}, but not what torchrun sets beside them",
            "Start the run with torchrun, or unset WORLD_SIZE",
        )
    return Distributed(rank, size)


def device_of(name: str, distributed: Distributed) -> torch.device:
    """Return this process's device: with several on GPUs, one for each.

    Raises:
        SettingsError: there is no such device.
        TrainingError: there are more processes than GPUs.
    """
    device = choose_device(name)
    if distributed.size == 1 or device.type == "cpu":
        return device
    position = int(os.environ.get("LOCAL_RANK", distributed.rank))
    device_count = torch.cuda.device_count() if device.type == "cuda" else 1
    if position >= device_count:
        raise TrainingError(
            f"there are more processes than {device.type} devices: {device_count}",
            "Lower --nproc-per-node, or use --device cpu",
        )
    return torch.device(device.type, position)


def join(distributed: Distributed, device: torch.device) -> None:
    """Meet the other processes, and wait for those that are not there yet."""
    if distributed.size == 1:
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    torch.distributed.barrier()


def leave(distributed: Distributed) -> None:
    """Part from the other processes, in good order."""
    if distributed.size > 1 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
