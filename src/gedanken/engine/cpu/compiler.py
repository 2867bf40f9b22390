"""Kernels in machine code: compiled by LLVM once, kept on disk as object files.

A file's name and head hold a digest of everything that its code depends on: processor, library versions, number type,
the text of the kernels. The head also says which kernel it is, and all of it has a checksum. A file that is damaged is
no error: the kernel is compiled again. One that somebody else could have written is not run, and a folder that takes no
files makes every start compile; either is told by a warning, once.

An interruption may come between any two lines here, and a signal handler may compile the same kernel meanwhile. So a
kernel counts from the moment that it stands in the Library's dictionary, complete, and the first one stays.
"""

import contextlib
import ctypes
import hashlib
import importlib
import json
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

from llvmlite import __version__ as llvmlite_version
from llvmlite import binding as llvm

from gedanken.caches import REMEDY, CacheError, cache_folder, read_entry, write_entry
from gedanken.checks import warn
from gedanken.engine.cpu.intrinsics import GEMM_TILE, YIELD_THREAD
from gedanken.engine.cpu.ir_text import Module
from gedanken.engine.cpu.machine import Machine
from gedanken.engine.cpu.tile import gemm_tile_ir
from gedanken.engine.cpu.translate import kernel_ir
from gedanken.processes.uncut import UNCUT, start_thread

Emitted = TypeVar("Emitted", bytes, str)

ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
FOLDER = "kernels"  # in the cache folder
NOT_TAKEN = "are not taken from the cache"
MICRO_KERNEL = "gemm_tile"  # that the others call by name
CHECKSUM = 32  # bytes of SHA-256


class Compiled(NamedTuple):
    """Machine code of a kernel: an object file, the name of its entry, and its parameters (name, type) in order."""

    code: bytes
    entry: str
    parameters: list[tuple[str, str]]


class Kernel(NamedTuple):
    """A loaded kernel: the address of its entry (arguments, task, scratch), the same to call, and its parameters.

    Its code is there as long as `engine` is. An interpreted one has the function `python` instead.
    """

    address: int
    entry: Callable[[int, int, int], None] | None
    parameters: list[tuple[str, str]]
    engine: Any = None
    python: Callable[..., None] | None = None


class Library:
    """All kernels for one machine and number type; each is compiled or loaded when it is first asked for.

    Args:
        machine: what to compile for.
        dtype: "float32" or "float64".
        precision: of products, for those who choose among the kernels: "full" is the number type's, or "bf16".
    """

    interpreter: Any = None  # who runs kernels that are not compiled

    def __init__(self, machine: Machine, dtype: str, precision: str = "full") -> None:
        self.machine, self.dtype, self.precision = machine, dtype, precision
        self._kernels: dict[str, Kernel] = {}
        self._troubles: list[tuple[str, str]] = []  # what cannot be done, and why not
        self._told: set[str] = set()
        self._digest = _digest(machine, dtype)
        self._real = {"float32": "float", "float64": "double"}[dtype]
        self._symbol = f"{GEMM_TILE}_{self._real}"
        with UNCUT:
            _yield_thread()
        with contextlib.suppress(RuntimeError):  # no more threads: whoever needs it compiles it
            start_thread(threading.Thread(target=self._get_ahead, name="gedanken-compiler", daemon=True))

    def kernel(self, name: str) -> Kernel:
        """Return the kernel `name`, "file.function" in the folder kernels/."""
        known = self._kernels.get(name)
        if known is None:
            compiled = self._found(name) or self._made(name)
            with UNCUT:
                llvm.add_symbol(self._symbol, self._micro_kernel().address)
                known = self._load(name, compiled)
            self._tell()
        return known

    def _micro_kernel(self) -> Kernel:
        """Return the micro-kernel, the largest piece of code. A thread gets it while kernels are translated."""
        with UNCUT:
            name = MICRO_KERNEL
            return self._kernels.get(name) or self._load(name, self._found(name) or self._made_micro_kernel())

    def _get_ahead(self) -> None:
        with contextlib.suppress(Exception):  # what is wrong is told to the thread that asks for a kernel
            self._micro_kernel()

    def _load(self, name: str, compiled: Compiled) -> Kernel:
        """Load a kernel, unless it was loaded meanwhile: programs may hold its address already."""
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine(self.machine))
        engine.add_object_file(llvm.ObjectFileRef.from_data(compiled.code))
        engine.finalize_object()
        address = engine.get_function_address(compiled.entry)
        return self._kernels.setdefault(name, Kernel(address, ENTRY(address), compiled.parameters, engine))

    def _made_micro_kernel(self) -> Compiled:
        code = self._code(gemm_tile_ir(self.machine, self._real, self._symbol))
        return self._kept(MICRO_KERNEL, Compiled(code, self._symbol, []))

    def _made(self, name: str) -> Compiled:
        module, entry = Module(self.machine, self.dtype), f"entry_{name.replace('.', '_')}"
        parameters = kernel_ir(module, kernel_function(name), entry)
        with UNCUT:  # another thread or process may have made it while this one waited
            return self._found(name) or self._kept(name, Compiled(self._code(module.text()), entry, parameters))

    def _code(self, ir: str) -> bytes:
        target = target_machine(self.machine)
        return optimised(ir, target, target.emit_object)

    # ------------------------------------------------------------------ files

    def _found(self, name: str) -> Compiled | None:
        try:
            return _unpacked(read_entry(self._file(name), FOLDER), name, self._digest)
        except CacheError as error:
            self._troubles.append((NOT_TAKEN, str(error)))
        except OSError:
            pass  # there is none; if that is for another reason, it cannot be kept either
        return None

    def _kept(self, name: str, compiled: Compiled) -> Compiled:
        try:
            write_entry(self._file(name), _packed(name, self._digest, compiled), FOLDER)
        except CacheError as error:
            self._troubles.append((NOT_TAKEN, str(error)))
        except OSError as error:
            self._troubles.append((f"cannot be kept in {cache_folder() / FOLDER}", str(error.strerror)))
        return compiled

    def _file(self, name: str) -> str:
        return f"{name}-{self._digest[:24]}.bin"

    def _tell(self) -> None:
        """Warn of what went wrong with files, each thing once, in a thread of the user's."""
        while self._troubles:
            what, why = self._troubles.pop()
            if what not in self._told:
                self._told.add(what)
                warn(
                    f"compiled kernels {what}: {why}; each start compiles them anew, which takes some seconds: {REMEDY}"
                )


def kernel_function(name: str) -> FunctionType:
    """Return the Python function of the kernel `name`, "file.function" in the folder kernels/."""
    file, function = name.split(".")
    with UNCUT:  # a fork during an import would leave the module locked
        found: FunctionType = getattr(importlib.import_module(f"gedanken.engine.cpu.kernels.{file}"), function)
    return found


def optimised(ir: str, target: Any, emit: Callable[[Any], Emitted]) -> Emitted:
    """Return what `emit`, the target's emit_object or emit_assembly, makes of a module's IR."""
    module = llvm.parse_assembly(ir, llvm.create_context())
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = True
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    return emit(module)


def _packed(name: str, digest: str, compiled: Compiled) -> bytes:
    head = {"kernel": name, "of": digest, "entry": compiled.entry, "parameters": compiled.parameters}
    whole = json.dumps(head).encode() + b"\n" + compiled.code
    return hashlib.sha256(whole).digest() + whole


def _unpacked(content: bytes, name: str, digest: str) -> Compiled | None:
    """Return what `_packed` wrote, or None if a bit of it has changed or it is another kernel's."""
    checksum, whole = content[:CHECKSUM], content[CHECKSUM:]
    if hashlib.sha256(whole).digest() != checksum:
        return None
    line, _, code = whole.partition(b"\n")
    head = json.loads(line)
    if (head["kernel"], head["of"]) != (name, digest):
        return None
    return Compiled(code, head["entry"], [(word, kind) for word, kind in head["parameters"]])


def _digest(machine: Machine, dtype: str) -> str:
    folder = Path(__file__).parent
    names = ("compiler", "expressions", "intrinsics", "ir_text", "record", "tile", "tile_unit", "translate")
    sources = [folder / f"{name}.py" for name in names]
    texts = [path.read_bytes() for path in [*sources, *sorted(folder.glob("kernels/*.py"))]]
    versions = [llvmlite_version, llvm.llvm_version_info, sys.platform]
    whole = repr((machine, dtype, versions)).encode() + b"".join(texts)
    return hashlib.sha256(whole).hexdigest()


def target_machine(machine: Machine) -> Any:
    """Return what LLVM compiles for."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=machine.cpu, features=machine.features, opt=3)


@cache
def _yield_thread() -> Callable[..., Any]:
    """Make the system's call for letting another thread run known to kernels."""
    system: Any = ctypes  # names differ by platform
    function = system.WinDLL("kernel32").SwitchToThread if os.name == "nt" else ctypes.CDLL(None).sched_yield
    address = ctypes.cast(function, ctypes.c_void_p).value
    llvm.add_symbol(YIELD_THREAD, address)
    return function


@cache
def library(machine: Machine, dtype: str, precision: str = "full") -> Library:
    """Return the kernels of this process: they are code, and nothing in them changes."""
    return Library(machine, dtype, precision)
