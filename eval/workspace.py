"""Where the parts of an evaluation are kept, so that an interrupted one goes on and nothing is done twice.

    <folder>/digests.json           sums of the data files, valid while size and time stay the same
    <folder>/rankings/<key>/        run.trec.zst and part.json (cost): one system on one data set
    <folder>/scores/<key>.json      measures of one ranking
    <folder>/checks/<key>.json      judged documents that a corpus lacks
    <folder>/indexes/<key>/         indexes that systems built

A key is a fingerprint of everything that the content depends on: the bytes of the data files, the
system's settings, the depth, our version and code. So a change of any of them makes another key, and
nothing is ever out of date. Every file is written aside and renamed: it is whole or it is not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from lexhound.eval.datasets.dataset import Dataset

from .errors import DatasetError
from .files import digest_file, write_bytes
from .serialise import to_json, to_json_bytes

FORMAT = 2


class Workspace:
    """A folder of finished parts. Several processes may share one: they at worst do a part twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._digests_file = folder / "digests.json"
        digests = self.read("digests.json")
        self._digests: dict[str, Any] = digests if isinstance(digests, dict) else {}

    def path(self, name: str) -> Path:
        """Return where something of that name is or will be."""
        return self.folder / name

    def read(self, name: str) -> Any:
        """Return the JSON under a name; None when there is none, or when it cannot be read (it is then made anew)."""
        try:
            return orjson.loads((self.folder / name).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None

    def write(self, name: str, value: Any) -> None:
        """Store JSON under a name.

        Raises:
            DatasetError: the folder cannot be written.
        """
        try:
            write_bytes(self.folder / name, to_json_bytes(value))
        except OSError as error:
            raise DatasetError(
                f"{self.folder}: cannot be written: {error}", "Choose another working folder (--work)."
            ) from error

    def digest(self, path: Path) -> str:
        """Return the sum of a file's bytes, read again only when its size or time has changed."""
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        known = self._digests.get(str(path.resolve()))
        if isinstance(known, dict) and known.get("stamp") == stamp:
            return str(known["digest"])
        digest = digest_file(path)
        self._digests[str(path.resolve())] = {"stamp": stamp, "digest": digest}
        self.write("digests.json", self._digests)
        return digest

    def dataset_key(self, dataset: Dataset) -> dict[str, Any]:
        """Return what identifies a data set: its name, split and the sums of its files, wherever they lie."""
        return {
            "name": dataset.name,
            "split": dataset.split,
            "files": {path.name: self.digest(path) for path in dataset.files},
        }


def fingerprint(values: Mapping[str, Any]) -> str:
    """Return 32 hexadecimal digits that stand for JSON values, whatever the order of their keys."""
    text = orjson.dumps(to_json(values), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def our_version() -> str:
    """Return Lexhound's version as installed."""
    try:
        return version("lexhound")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


@cache
def code_digest() -> str:
    """Return a fingerprint of the modules that rankings depend on: a development version changes without its number."""
    from lexhound import encoders, index, retrieval

    digest = hashlib.blake2b(digest_size=16)
    for room in (encoders, index, retrieval):
        folder = Path(str(room.__file__)).parent
        for module in sorted(folder.rglob("*.py")):
            digest.update(f"{room.__name__}/{module.relative_to(folder).as_posix()}\0".encode())
            digest.update(module.read_bytes())
    return digest.hexdigest()
