"""The kernels of the fused head, where Triton is installed: in its interpreter, and compiled for GPUs.

It is an extra of its own (`gpu`), as its wheel has 290 MB. Both need a process of their own: whether Triton interprets
is settled when it is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lexhound.encoders.runtime import pooling

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed: the extra gpu")


@needs_triton
@pytest.mark.slow
def test_in_the_interpreter(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'pytest'}"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("interpreted_head.py"))],
        cwd=root,
        env=os.environ | {"TRITON_INTERPRET": "1", pooling.PATH_VARIABLE: ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-4000:]


# Everything that a GPU would compile when it first runs a kernel, save for the driver's part.
_COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lexhound.encoders.runtime import fused_head, triton_head as head_kernels

pointers = {"mask": "*i8", "ends": "*i32", "places": "*i32", "offsets": "*i64", "sources": "*i32"}
numbers = {"texts", "length", "width", "terms", "tokens", "stride"}
constants = {"HAS_BIAS": True, "WITH_PLACES": True, "PRECISION": "ieee", "WIDEN": False, "ENTRIES": 32,
             "ACTIVATION": "log1p_log1p_relu"}
for size, name in ((SIZE, "bf16" if SIZE == 2 else "fp32"),):
    blocks = fused_head.BLOCKS[size]
    sizes = {"ROWS": blocks.rows, "COLUMNS": blocks.columns, "INNER": blocks.inner}
    for kernel in ("largest", "summed", "slopes", "gather"):
        kernel = getattr(head_kernels, f"{kernel}_kernel")
        own = {"hidden", "weight", "bias", "table", "slopes"}
        signature, fixed, aligned = {}, {}, {}
        for place, argument in enumerate(kernel.arg_names):
            if argument.isupper():
                signature[argument], fixed[(place,)] = "constexpr", (constants | sizes)[argument]
                continue
            signature[argument] = pointers.get(argument) or (
                "i32" if argument in numbers else f"*{name}" if argument in own else "*fp32")
            if argument != "terms":
                aligned[(place,)] = [["tt.divisibility", 16]]
        source = ASTSource(fn=kernel, signature=signature, constexprs=fixed, attrs=aligned)
        options = {"num_warps": blocks.warps, "num_stages": blocks.stages}
        made = triton.compile(source, target=GPUTarget("cuda", CAPABILITY, 32), options=options)
        assert made.asm["cubin"]
        assert made.metadata.shared <= 96 * 1024, (kernel, made.metadata.shared)
"""


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize(("capability", "size"), [(80, 4), (90, 2)])
def test_compiles_for_gpus(capability: int, size: int, tmp_path: Path) -> None:
    script = tmp_path / "compile.py"
    script.write_text(_COMPILE.replace("CAPABILITY", str(capability)).replace("SIZE", str(size)), "utf-8")
    own = {"TRITON_CACHE_DIR": str(tmp_path / "cache"), "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, str(script)], env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-6000:]


def test_a_cpu_takes_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = torch.ones(1, 2, 3)
    assert pooling._kernels(hidden, "auto") is None
    monkeypatch.setenv(pooling.PATH_VARIABLE, "kernel")
    assert pooling._kernels(hidden, "auto") is None, "the variable is for GPUs"
    assert pooling._kernels(hidden, "plain") is None
