"""Small inputs that once gave wrong answers: each is a folder with a README and a script that exits 0 when it is right.

They lie beside the checkout, as the test collections do, and are run as a user would: by the installed command.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command import environment

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "cases"
CASES = sorted(script.parent.name for script in FOLDER.glob("*/run.sh"))


def test_cases_are_found_where_test_collections_are(shared_data: Path) -> None:
    assert shared_data.is_dir()
    assert CASES


@pytest.mark.parametrize("case", CASES)
def test_case_is_answered_rightly(case: str) -> None:
    settings = environment(LEXHOUND=str(Path(sys.executable).with_name("lexhound")))
    settings.pop("LEXHOUND_ENCODER", None)  # a case names its encoder, or means the usual one
    done = subprocess.run(
        ["bash", FOLDER / case / "run.sh"], capture_output=True, text=True, env=settings, timeout=580, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
