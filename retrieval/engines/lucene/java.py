"""Java and Anserini: where they are, whether they fit together, and one clear message where they do not.

Nothing of pyserini's own code is used, only the Anserini archive that its package brings, so none of its many
dependencies is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lexhound.retrieval.errors import MissingEngineError

INDEXER = "io.anserini.index.IndexCollection"
_INSTALL = "pip install 'lexhound[lucene]' && pip install --no-deps pyserini==0.25.0"
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
# A class file's version is that of the Java that reads it, plus this.
_CLASS_VERSION = 44


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that runs the Anserini archive.

    Attributes:
        command: the program; version: its major version.
        archive: Anserini's jar; anserini: its version.
    """

    command: str
    version: int
    archive: Path
    anserini: str


def find_java() -> Java:
    """Return the Java and the Anserini that are installed.

    Raises:
        MissingEngineError: one of them is missing, or they do not fit together; says which, and what to do.
    """
    archive = _archive()
    needed = _needed(archive)
    command = _command(needed)
    version = _version(command)
    if version < needed:
        where = f"JAVA_HOME, {os.environ['JAVA_HOME']}," if os.environ.get("JAVA_HOME") else f"the PATH, {command},"
        raise MissingEngineError(
            f"{archive.name} needs Java {needed} or later, and that of {where} is Java {version}",
            hint=f"set JAVA_HOME to the folder of a JDK {needed} or later",
        )
    name = archive.name.removeprefix("anserini-").removesuffix("-fatjar.jar")
    return Java(command, version, archive, name)


def _archive() -> Path:
    for package in ("pyserini", "jnius"):
        if find_spec(package) is None:
            raise MissingEngineError(
                f"the engine lucene needs {'pyserini' if package == 'pyserini' else 'pyjnius'}, which is not installed",
                hint=_INSTALL,
            )
    spec = find_spec("pyserini")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
    archives = sorted(
        jar for folder in folders for jar in (folder / "resources" / "jars").glob("anserini-*-fatjar.jar")
    )
    if not archives:
        raise MissingEngineError(
            "the pyserini that is installed has no Anserini archive (resources/jars/anserini-*-fatjar.jar)",
            where=str(folders[0]) if folders else None,
            hint=_INSTALL,
        )
    return archives[-1]


def _needed(archive: Path) -> int:
    """Return the Java version that an archive was compiled for, as its class files say."""
    try:
        with zipfile.ZipFile(archive) as jar, jar.open(INDEXER.replace(".", "/") + ".class") as compiled:
            head = compiled.read(8)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise MissingEngineError(
            f"the Anserini archive is damaged: {error}", where=str(archive), hint=f"install it again: {_INSTALL}"
        ) from error
    return int.from_bytes(head[6:8], "big") - _CLASS_VERSION


def _command(needed: int) -> str:
    home = os.environ.get("JAVA_HOME")
    if home:
        command = Path(home) / "bin" / "java"
        if not command.is_file():
            raise MissingEngineError(
                f"JAVA_HOME is {home}, and there is no bin/java in it",
                hint=f"set JAVA_HOME to the folder of a JDK {needed} or later, or unset it to use the java of the PATH",
            )
        return str(command)
    java = shutil.which("java")
    if java is None:
        raise MissingEngineError(
            "the engine lucene needs Java, and there is none: JAVA_HOME is not set and no java is on the PATH",
            hint=f"install a JDK {needed} or later (Debian: apt install openjdk-{max(needed, 17)}-jdk-headless)",
        )
    return java


def _version(command: str) -> int:
    try:
        done = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingEngineError(f"Java does not start: {error}", where=command, hint="install another JDK") from error
    match = _VERSION.search(done.stderr + done.stdout)
    if done.returncode or match is None:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise MissingEngineError(
            f"Java does not start: {output[0] if output else f'exit code {done.returncode}'}",
            where=command,
            hint="install another JDK, or set JAVA_HOME to one",
        )
    return int(match[1])
