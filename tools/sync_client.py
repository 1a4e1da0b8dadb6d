"""Write the synchronous client, `serve/client/client.py`, from the asynchronous one.

    python tools/sync_client.py [FILE]

FILE is written in its place where it is given. A test checks that what is in the repository is what this writes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from unasync import Rule, unasync_files

CLIENT = Path(__file__).resolve().parents[1] / "serve" / "client"
SOURCE = "async_client.py"
NAMES = {
    "AsyncClient": "Client",
    "AsyncDocuments": "Documents",
    "aclose": "close",
    "async_bodies": "bodies",
    "asyncio": "time",
}
TEXTS = {
    "The asynchronous client. `make client` writes the other one, `client.py`, from this file.": (
        f"The client that waits for each answer. `make client` writes this file from `{SOURCE}`: edit that one."
    ),
    "A client for asyncio.": "A client that waits for each answer; safe to use from several threads.",
}


def main(target: Path) -> None:
    """Write the client to `target`."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("async", "sync"):
            (Path(folder) / name).mkdir()
        shutil.copy(CLIENT / SOURCE, Path(folder) / "async" / SOURCE)
        unasync_files([f"{folder}/async/{SOURCE}"], [Rule(f"{folder}/async/", f"{folder}/sync/", NAMES)])
        source = (Path(folder) / "sync" / SOURCE).read_text(encoding="utf-8")
    for old, new in TEXTS.items():
        if old not in source:
            sys.exit(f"{CLIENT / SOURCE} does not hold {old!r}: correct TEXTS in {__file__}")
        source = source.replace(old, new)
    name = f"--stdin-filename={CLIENT / 'client.py'}"
    for command in (["check", "--quiet", "--fix", "--select=I,F811"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *command, name, "-"]
        source = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True).stdout
    target.write_text(source, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CLIENT / "client.py")
