"""The fused head's Triton kernels beside the plain path and all logits at once, forward and backward, on a GPU.

    python bench/run_head.py                   # 64 texts of 256 tokens, 30,522 and 250,002 terms, bfloat16 and float32
    python bench/run_head.py --interpret       # a small check of values and gradients on a CPU: no times

Hidden states, decoder and lengths are random. "all logits" is the formula as it stands; where its logits do not fit
into the device's memory, it has no line. Times are medians after two runs that are not counted; memory is the largest
that PyTorch had allocated beyond the inputs. Distances are those of the plain path's vectors and gradients in float32
from the same rounded numbers, as shares of their length.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VOCABULARIES = (30_522, 250_002)
WAYS = ("kernel", "plain", "all logits")


@dataclass(frozen=True)
class Case:
    """What is measured."""

    texts: int
    tokens: int
    width: int
    terms: int
    pooling: str
    dtype: str


@dataclass(frozen=True)
class Line:
    """One way's figures: milliseconds, MB, distances from the plain path in float32."""

    case: Case
    way: str
    forward_ms: float
    backward_ms: float
    forward_mb: float
    both_mb: float
    values: float
    gradients: float


def inputs(case: Case, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Hidden states, mask, decoder and bias; about a tenth of the terms of a text are active."""
    import torch

    dtype = getattr(torch, case.dtype)
    generator = torch.Generator().manual_seed(7)
    hidden = torch.randn(case.texts, case.tokens, case.width, generator=generator)
    weight = torch.randn(case.terms, case.width, generator=generator) / case.width**0.5
    lengths = torch.randint(case.tokens // 2, case.tokens + 1, (case.texts, 1), generator=generator)
    mask = torch.arange(case.tokens) < lengths
    bias = torch.full((case.terms,), -3.5)
    return hidden.to(device, dtype), mask.to(device), weight.to(device, dtype), bias.to(device, dtype)


def run(case: Case, way: str, parts: tuple[torch.Tensor, ...]) -> Callable[[], torch.Tensor]:
    """What encodes in this way; to be called again and again."""
    from lexhound.encoders.runtime.pooling import pooled, pooled_reference

    hidden, mask, weight, bias = parts
    if way == "all logits":
        return lambda: pooled_reference(hidden, mask, weight, bias, pooling=case.pooling, activation="log1p_relu")
    return lambda: pooled(hidden, mask, weight, bias, pooling=case.pooling, activation="log1p_relu", path=way)


def results(case: Case, way: str, parts: tuple[torch.Tensor, ...], gradient: torch.Tensor) -> list[torch.Tensor]:
    """Vectors, and the gradients of hidden states, decoder and bias."""
    own = [part.detach().requires_grad_(part.is_floating_point()) for part in parts]
    vectors = run(case, way, tuple(own))()
    vectors.backward(gradient)
    found = [vectors.detach(), own[0].grad, own[2].grad, own[3].grad]
    return [part for part in found if part is not None]


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """|one - other| / |other|."""
    return float((one.float() - other.float()).norm() / other.float().norm())


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of some work on the device, after two runs."""
    import torch

    times = []
    for _ in range(repeats + 2):
        torch.cuda.synchronize()
        started = perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(perf_counter() - started)
    return median(times[2:])


def peak(work: Callable[[], object]) -> float:
    """MB allocated at most, beyond what there was."""
    import torch

    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return float(torch.cuda.max_memory_allocated() - before) / 2**20


def measure(case: Case, repeats: int) -> list[Line]:
    """All ways, one after the other."""
    import torch

    device = torch.device("cuda")
    parts = inputs(case, device)
    gradient = torch.randn(case.texts, case.terms, generator=torch.Generator().manual_seed(8)).to(device)
    exact = results(
        case, "plain", tuple(part.float() if part.is_floating_point() else part for part in parts), gradient
    )
    lines = []
    for way in WAYS:
        try:
            found = results(case, way, parts, gradient)
            values = distance(found[0], exact[0])
            gradients = max(distance(one, other) for one, other in zip(found[1:], exact[1:], strict=True))
            del found
            with torch.inference_mode():
                forward = run(case, way, parts)
                forward_time, forward_memory = seconds(forward, repeats), peak(forward)
            both = lambda way=way: results(case, way, parts, gradient)  # noqa: E731
            both_time, both_memory = seconds(both, repeats), peak(both)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            continue
        backward = both_time - forward_time
        lines.append(
            Line(case, way, forward_time * 1e3, backward * 1e3, forward_memory, both_memory, values, gradients)
        )
    return lines


def interpret() -> None:
    """Compare kernels and plain path where there is no GPU, by Triton's interpreter."""
    import torch

    cpu = torch.device("cpu")
    for pooling in ("max", "sum"):
        for dtype in ("float32", "bfloat16"):
            case = Case(3, 40, 48, 200, pooling, dtype)
            parts = inputs(case, cpu)
            gradient = torch.randn(case.texts, case.terms, generator=torch.Generator().manual_seed(8))
            wide = tuple(part.float() if part.is_floating_point() else part for part in parts)
            exact, found = results(case, "plain", wide, gradient), results(case, "kernel", parts, gradient)
            far = [distance(one, other) for one, other in zip(found, exact, strict=True)]
            told = ", ".join(f"{name} {value:.1e}" for name, value in zip(("vectors", "h", "E", "b"), far, strict=True))
            print(f"{pooling} {dtype:<9} distance of {told}")
            if max(far) > (1e-5 if dtype == "float32" else 1e-2):
                raise SystemExit("the kernels differ from the plain path")


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interpret", action="store_true", help="a small check on a CPU instead")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--width", type=int, default=384, help="of the hidden states: 384 is MiniLM's, 768 BERT's")
    parser.add_argument("--terms", type=int, nargs="+", default=VOCABULARIES)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path, default=None, help="also write the figures to this file")
    given = parser.parse_args()
    if given.interpret:
        os.environ["TRITON_INTERPRET"] = "1"
    try:
        import torch
        import triton
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error.name} is not installed: pip install -e '.[gpu]'") from error
    if given.interpret:
        interpret()
        return
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device: --interpret compares small cases on a CPU")
    properties = torch.cuda.get_device_properties(0)
    print(
        f"{properties.name}, {properties.total_memory / 2**30:.0f} GB, torch {torch.__version__}, {triton.__version__=}"
    )
    print(f"{given.texts} texts of up to {given.tokens} tokens, width {given.width}; medians of {given.repeats} runs")
    print(f"{'':<32}{'forward':>11}{'backward':>12}{'forward':>13}{'both':>13}   distance of values, gradients")
    found = []
    for terms in given.terms:
        for pooling in ("max", "sum"):
            for dtype in ("bfloat16", "float32"):
                case = Case(given.texts, given.tokens, given.width, terms, pooling, dtype)
                print(f"{terms:,} terms, {pooling}, {dtype}")
                for line in measure(case, given.repeats):
                    found.append(line)
                    times = f"{line.forward_ms:>8.2f} ms{line.backward_ms:>9.2f} ms"
                    memory = f"{line.forward_mb:>10,.0f} MB{line.both_mb:>10,.0f} MB"
                    print(f"    {line.way:<28}{times}{memory}   {line.values:.1e}, {line.gradients:.1e}")
    if given.json:
        given.json.write_text(json.dumps([asdict(line) for line in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
