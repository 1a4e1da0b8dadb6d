"""Shell completion, as bash itself asks for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from command import COMMAND, environment

pytestmark = pytest.mark.process

SCRIPT = """
source <(lexhound --show-completion bash)
complete() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _lexhound_completion lexhound
    echo "${COMPREPLY[@]}"
}
complete lexhound sea
complete lexhound search my.index heat --fil
complete lexhound keys re
complete lexhound search my
complete lexhound index a.jsonl --on-error s
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    command = tmp_path / "lexhound"
    command.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    command.chmod(0o755)
    changed = environment()
    done = subprocess.run(
        ["bash", "--norc", "-c", SCRIPT],
        env=changed | {"PATH": f"{tmp_path}:{changed['PATH']}", "SHELL": "/bin/bash"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.splitlines() == ["search", "--filter", "revoke", "", "stop skip"], done
