"""The tests of the kernels again, as plain Python and with bounds checks.

Compiled code reads past the end of an array without a word; with checks it raises. Without the JIT the kernels run as
the Python they are written in, where NumPy warns of an overflow that compiled code would hide (warnings are errors).
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FILES = (
    "inverted/test_search.py",
    "inverted/test_builder.py",
    "inverted/test_merge.py",
    "inverted/test_scales.py",
    "spann/test_spann_kernels.py",
)


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_kernels_in_another_mode(root, tmp_path, variable):
    # Numba's cache does not tell code with bounds checks from code without: this run gets its own.
    environment = os.environ | {variable: "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'pytest'}"]
    done = subprocess.run(
        [*command, *(str(root / "tests" / "index" / name) for name in FILES)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
