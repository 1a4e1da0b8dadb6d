"""What the kinds of training have in common on the command line: reading, progress, stopping."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

from .output import tell
from .progress import State, counted

if TYPE_CHECKING:
    from lexhound.encoders.text.token_reader import TokenReader
    from lexhound.eval.validation import ValidationSet
    from lexhound.training.data.pool import Pool
    from lexhound.training.latents.recipe import LatentRecipe
    from lexhound.training.recipe import Recipe


def read_data(recipe: Recipe | LatentRecipe, say: Callable[[str], None]) -> tuple[list[ValidationSet], Pool]:
    """Return the judged sets and the texts of a recipe."""
    from lexhound.eval.validation import open_validation_set
    from lexhound.training.data.pool import read_pool

    validation = recipe.validation
    sets = [
        open_validation_set(_set_path(recipe, name), validation.documents, validation.queries, recipe.seed)
        for name in validation.sets
    ]
    pool = read_pool(recipe)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in pool.counts().items())
    remainder = f"; {pool.left_out:,} left out" if pool.left_out else ""
    queries = f", {len(pool.queries):,} queries ({kinds})" if kinds else ""
    say(f"{counted(len(pool.documents))}{queries}{remainder}")
    return sets, pool


def tell_cut_sets(sets: Sequence[ValidationSet], reader: TokenReader, setting: str, say: Callable[[str], None]) -> None:
    """Tell how many documents of judged sets are longer than is read of them."""
    from lexhound.training.data.cut_texts import cut_notice

    for each in sets:
        notice = cut_notice(reader, each.documents, f"documents of {each.name} are", setting)
        if notice is not None:
            say(notice)


def tell_texts(show: Callable[[State], None], stage: str, done: int, total: int) -> None:
    """Show how many texts of a stage are done."""
    show(State(stage, done, fraction=done / max(1, total), unit="texts"))


def _set_path(recipe: Recipe | LatentRecipe, name: str) -> str:
    folder, colon, split = name.rpartition(":")
    return f"{recipe.path(folder)}{colon}{split}" if recipe.path(folder).is_dir() else name


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Event]:
    """Turn the first Ctrl-C, or the first order to end, into a wish to stop: the step is finished and its state saved.
    The second one stops."""
    stop = Event()

    def ask(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, before[number])
        say("stopping after this step")

    # torchrun passes Ctrl-C on as an order to end.
    before = {int(number): signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Watcher:
    """The display of a run's course."""

    def __init__(self, show: Callable[[State], None]) -> None:
        self._show = show
        self._best = ""

    def step(self, record: dict[str, float], total: int) -> None:
        step = int(record["step"])
        figures = f"loss {record['loss']:.3f}, {record['active']:.0f} terms, FLOPS {record['flops']:.2f}{self._best}"
        self._show(State(f"training ({figures})", step, fraction=step / total, unit="steps"))

    def validated(self, step: int, measures: dict[str, float], best: bool) -> None:
        mean = sum(measures.values()) / len(measures)
        figures = ", ".join(f"{name} {value:.4f}" for name, value in measures.items())
        tell(f"step {step}: {figures}; mean {mean:.4f}{' (best)' if best else ''}")
        if best:
            self._best = f", best {mean:.4f}"

    def notice(self, message: str) -> None:
        tell(f"note: {message}")
