"""Several processes: what they encode, that their gradients are those of one, and environments that make no sense."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from lexhound.encoders.errors import SettingsError, TrainingError
from lexhound.training.distributed import Distributed, device_of, distributed_from_environment
from lexhound.training.gradient_cache import cached_step


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(("rows", "size"), [(7, 2), (6, 3), (2, 3)])
def test_the_gradients_of_the_shares_sum_to_those_of_the_whole(rows: int, size: int, again: bool) -> None:
    """One process after the other, each given what the others would send."""
    torch.manual_seed(1)
    texts = list(torch.randn(rows, 4).unbind())
    encoder = torch.nn.Linear(4, 3)
    target = torch.randn(rows, rows)

    def encode(chunk: Sequence[torch.Tensor]) -> torch.Tensor:
        return encoder(torch.stack(list(chunk))).relu()

    def loss_of(encoded: torch.Tensor) -> torch.Tensor:
        return (encoded @ encoded.T - target).square().mean() + encoded.mean(dim=0).square().sum()

    loss_of(encode(texts)).backward()
    wanted = [weight.grad.clone() for weight in encoder.parameters() if weight.grad is not None]
    found = [torch.zeros_like(weight) for weight in encoder.parameters()]
    everything = encode(texts).detach()
    for rank in range(size):
        distributed = Distributed(rank, size)
        share = distributed.share(texts)

        def gather(parts: Sequence[torch.Tensor], rank: int = rank) -> tuple[torch.Tensor, slice]:
            own = slice(rank, None, size)
            whole = everything.clone()
            whole[own] = torch.cat([torch.empty(0, 3), *parts])
            return whole, own

        encoder.zero_grad()
        chunks = [share[place : place + 2] for place in range(0, len(share), 2)]
        loss, whole = cached_step(encode, chunks, loss_of, gather, again=again)
        torch.testing.assert_close(whole, everything)
        assert float(loss) == pytest.approx(float(loss_of(everything)))
        for total, weight in zip(found, encoder.parameters(), strict=True):
            total += torch.zeros_like(total) if weight.grad is None else weight.grad
    for total, gradient in zip(found, wanted, strict=True):
        torch.testing.assert_close(total, gradient)


def test_shares_are_everything_once() -> None:
    for size in (1, 2, 5):
        shares = [Distributed(rank, size).share(range(7)) for rank in range(size)]
        assert sorted(item for share in shares for item in share) == list(range(7))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_shares_nothing_with_anybody() -> None:
    distributed = Distributed()
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    distributed.sum_gradients([weight], [])
    distributed.align([weight])
    assert weight.grad.tolist() == [1.0, 1.0]
    assert distributed.gathering(3, 2, torch.device("cpu")) is None
    assert distributed.from_first("x") == "x"
    assert distributed.any(True)
    assert not distributed.any(False)
    assert distributed.first


def test_what_the_environment_says() -> None:
    assert distributed_from_environment({}) == Distributed(0, 1)
    assert distributed_from_environment({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "here"}) == Distributed(1, 2)
    for environment, said in (
        ({"RANK": "0", "WORLD_SIZE": "2"}, "not what torchrun sets"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "here"}, "RANK 2 and WORLD_SIZE 2"),
        ({"WORLD_SIZE": "two"}, "are no numbers"),
    ):
        with pytest.raises(TrainingError, match=said) as caught:
            distributed_from_environment(environment)
        assert caught.value.hint


def test_devices() -> None:
    assert device_of("cpu", Distributed(1, 4)) == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="no cuda device"):
            device_of("cuda", Distributed())
