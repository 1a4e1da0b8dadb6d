"""The kernels as machine code: compiled once for each path and kept on disk.

Where none can be kept (`kept_files` says where that is), every process compiles anew, in about a second.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from lexhound.core.compilation import compiling

from .kept_files import keep, read_kept, version
from .paths import Path
from .transformer_kernel import write_all

_USUAL = 2  # seconds that compiling takes


class Kernels:
    """The functions of one path, by name.

    Args:
        path: whose instructions they are made of.

    Attributes:
        compiled: seconds that compiling took, 0 where the machine code was found on disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.compiled = 0.0
        machine = target_machine(path)
        name = f"int16-{path.name}-{version()}.o"
        found = read_kept(name)
        if found is None:
            compiling("kernels of encoders", _USUAL)
            started = time.perf_counter()
            found = machine.emit_object(_optimised(path, machine))
            self.compiled = time.perf_counter() - started
            keep(name, found, f"int16-{path.name}-*.o")
        empty = llvm.parse_assembly("")
        empty.triple = llvm.get_process_triple()
        self._engine = llvm.create_mcjit_compiler(empty, machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(found))
        self._engine.finalize_object()

    def function(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        """Return a function of C types; other threads run while it does."""
        address = self._engine.get_function_address(name)
        if not address:
            raise KeyError(name)
        found: Callable[..., Any] = ctypes.CFUNCTYPE(result, *arguments)(address)
        return found


@cache
def _initialised() -> None:
    # Newer versions of LLVM's binding do the first by themselves, and say so by an error.
    with suppress(RuntimeError):
        llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def target_machine(path: Path) -> Any:
    """Return what makes machine code of a path, on any machine of this architecture."""
    _initialised()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    # Else LLVM makes two instructions of each that multiplies and adds, for a latency that a tile hides anyway.
    kept = ",+fast-dpwssd" if path.fused and llvm.llvm_version_info[0] >= 17 else ""
    return target.create_target_machine(cpu=path.processor, features=path.features + kept, opt=3, codemodel="default")


def instructions(path: Path) -> str:
    """Return a path's kernels as instructions of LLVM."""
    module = ir.Module("lexhound")
    module.triple = llvm.get_process_triple()
    write_all(module, path)
    return str(module)


def assembly(path: Path) -> str:
    """Return a path's kernels as the processor's instructions, in text; compiles, whatever this processor is."""
    machine = target_machine(path)
    text: str = machine.emit_assembly(_optimised(path, machine))
    return text


def _optimised(path: Path, machine: Any) -> Any:
    _initialised()
    module = llvm.parse_assembly(instructions(path))
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module
