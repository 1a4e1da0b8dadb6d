"""`lexhound warm`: what is compiled once a machine, compiled ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

from lexhound.core.compilation import on_compiling
from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import Json
from lexhound.serve.cli.output import Output
from lexhound.serve.cli.progress import duration, reporter


def warm(json: Json = False) -> None:
    """Compile ahead what is compiled once a machine: kernels of all kinds.

    Without it, each command compiles what it needs when it first needs it, and says so.

    Example:
        lexhound warm --json
    """
    output = Output(json=json)
    steps: list[dict[str, object]] = []
    with stoppable(lambda: ("what was compiled is kept", "the same command goes on from there")):
        for what, run in _steps():
            told: list[str] = []
            on_compiling(lambda name, _, told=told: told.append(name))  # type: ignore[misc]
            started = perf_counter()
            with reporter(f"compiling the {what}"):
                run()
            seconds = perf_counter() - started
            steps.append({"what": what, "compiled": bool(told), "seconds": seconds})
            if not json:
                output.line(f"{what}: ", f"compiled in {duration(seconds)}" if told else "ready")
    if json:
        output.document({"steps": steps, "seconds": sum(float(str(step["seconds"])) for step in steps)})


def _steps() -> Iterator[tuple[str, Callable[[], None]]]:
    from lexhound.encoders.runtime.int16.kernels import compile_kernels
    from lexhound.index.ahead import compile_ahead

    yield "kernels of encoders", compile_kernels
    yield from compile_ahead()
