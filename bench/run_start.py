"""What commands cost that do little: a search from the shell, and indexing some documents, with and without a cache.

    python bench/run_start.py                                  # the Cranfield sample
    python bench/run_start.py --tree OTHER --encoders bm25      # the same commands of another working tree

Each command is a process of its own, from its start to its exit. "Cold" means that nothing is compiled: the cache of
kernels and machine code is empty; "warm" that the process before left it full. Collections are in the page cache, and
Python has its bytecode. Processor seconds are the least, wall seconds the median.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from common.machine import describe_machine
from common.processes import ProcessCost, run_process

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "cranfield"
QUESTIONS = ("heat", "boundary layer transition", "what is the flow around a blunt body at high speed")


@dataclass(frozen=True)
class Runs:
    """The processes of one command with one state of the cache."""

    costs: tuple[ProcessCost, ...]

    def __str__(self) -> str:
        return (
            f"{min(cost.cpu_seconds for cost in self.costs):.2f} | {median(cost.seconds for cost in self.costs):.2f}"
            f" | {max(cost.peak_bytes for cost in self.costs) / 2**20:.0f}"
        )


class Commands:
    """`lexhound` of a working tree, with caches of its own below a folder."""

    def __init__(self, tree: Path | None, folder: Path) -> None:
        self._environment = {} if tree is None else {"PYTHONPATH": str(tree / "src")}
        self._folder = folder
        self._caches = 0

    def run(self, *arguments: str, cold: bool = False) -> ProcessCost:
        """Run a command; `cold` with an empty cache, otherwise with that of the command before."""
        self._caches += cold
        cache = self._folder / f"cache-{self._caches}"
        variables = {"NUMBA_CACHE_DIR": str(cache), "LEXHOUND_ENCODER": "", "PYTHONDONTWRITEBYTECODE": ""}
        return run_process([sys.executable, "-m", "lexhound", *arguments], environment=self._environment | variables)


def measured(commands: Commands, command: list[list[str]], rounds: int) -> tuple[Runs, Runs]:
    """Run one command of several in turn, cold and then warm; the first, which is not counted, writes bytecode."""
    commands.run(*command[0])
    turns = [command[number % len(command)] for number in range(rounds)]
    cold = Runs(tuple(commands.run(*arguments, cold=True) for arguments in turns))
    return cold, Runs(tuple(commands.run(*arguments) for arguments in turns))


def report(commands: Commands, folder: Path, encoders: list[str], rounds: int, documents: int) -> None:
    """Print a line a command."""
    few = folder / "few.jsonl"
    lines = (SAMPLE / "corpus.jsonl").read_bytes().splitlines(keepends=True)
    few.write_bytes(b"".join(lines[:documents]))
    print("| command | cold: CPU s | wall s | MiB | warm: CPU s | wall s | MiB |")
    print("|---|---|---|---|---|---|---|")
    for encoder in encoders:
        corpus = SAMPLE if encoder == "bm25" else few
        index = folder / f"{encoder}.index"
        making = ["index", str(corpus), "--into", str(index)]
        if encoder != "default":
            making += ["--encoder", encoder]
        commands.run(*making)
        making.append("--overwrite")
        name = "1,400 abstracts" if encoder == "bm25" else f"{documents} abstracts"
        searches = [["search", str(index), question] for question in QUESTIONS]
        for words, command in ((f"search, {encoder}", searches), (f"index {name}, {encoder}", [making])):
            cold, warm = measured(commands, command, rounds)
            print(f"| {words} | {cold} | {warm} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, help="another working tree, whose src/lexhound is run")
    parser.add_argument(
        "--encoders", nargs="+", help="names; `default` is what index takes by itself", default=["bm25", "default"]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=32, help="how many abstracts a learned encoder indexes")
    arguments = parser.parse_args()
    machine = describe_machine()
    print(f"{machine['processor']}, {machine['cores']} cores, load {os.getloadavg()[0]:.1f}\n")
    with TemporaryDirectory(prefix="lexhound-") as folder:
        commands = Commands(arguments.tree, Path(folder))
        report(commands, Path(folder), arguments.encoders, arguments.rounds, arguments.documents)


if __name__ == "__main__":
    main()
