"""Files that are made once on a machine and read by every later process: machine code, screens.

They stand beside the source, in NUMBA_CACHE_DIR where that is set, or in the user's cache directory where the source
is read-only, as Numba's kernels do. Each begins with a digest of the rest: one that is damaged is made anew. Where none
can be written, every process makes its own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from lexhound.core.atomic_files import write_file

_MARK = 32  # bytes of the digest that a file begins with


@cache
def version() -> str:
    """Return a digest of all that these files are made from, but for a model's weights."""
    digest = hashlib.sha256(f"{llvmlite.__version__} {llvm.llvm_version_info}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:20]


def _places(name: str) -> Iterator[Path]:
    """Yield where a file may be, the best place first."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        yield Path(named) / name
        return
    yield Path(__file__).parent / "__pycache__" / name
    with suppress(RuntimeError):
        base = os.environ.get("XDG_CACHE_HOME")
        yield (Path(base) if base else Path.home() / ".cache") / "lexhound" / name


def read_kept(name: str) -> bytes | None:
    """Return what was kept under a name, if it is there whole."""
    for place in _places(name):
        with suppress(OSError):
            content = place.read_bytes()
            if hashlib.sha256(content[_MARK:]).digest() == content[:_MARK]:
                return content[_MARK:]
    return None


def keep(name: str, content: bytes, others: str, most: int = 1) -> None:
    """Write a file to the first place that can be written.

    Args:
        others: a pattern of the names of its kind, of which the `most` latest stay there.
    """
    for place in _places(name):
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_file(place, hashlib.sha256(content).digest() + content)
            older = (each for each in place.parent.glob(others) if each != place)
            for each in sorted(older, key=_written, reverse=True)[most - 1 :]:
                each.unlink(missing_ok=True)
            return


def _written(path: Path) -> float:
    """Return when a file was written; 0.0 of one that is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
