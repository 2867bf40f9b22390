"""Kernels in machine code: compiled by LLVM once, kept on disk as object files.

A file's name holds a digest of everything that its code depends on: processor, library versions, number type, the
text of the kernels. The file has its own checksum; one that is damaged or cannot be read or written is no error: the
kernel is compiled (again).
"""

import contextlib
import ctypes
import hashlib
import importlib
import json
import os
import sys
import threading
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from llvmlite import __version__ as llvmlite_version
from llvmlite import binding as llvm

from gedanken.engine.cpu.ir_text import Module
from gedanken.engine.cpu.machine import Machine
from gedanken.engine.cpu.tile import product_ir
from gedanken.engine.cpu.translate import kernel_ir
from gedanken.engine.cpu.words import GIVE_WAY, PRODUCT
from gedanken.files import cache_folder, replace_file

Emitted = TypeVar("Emitted", bytes, str)

ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)


class Compiled(NamedTuple):
    """Machine code of a kernel: an object file, the name of its entry, and its parameters (name, type) in order."""

    code: bytes
    entry: str
    parameters: list[tuple[str, str]]


class Kernel(NamedTuple):
    """A loaded kernel: the address of its entry (arguments, task, scratch), the same to call, and its parameters."""

    address: int
    entry: Callable[[int, int, int], None]
    parameters: list[tuple[str, str]]


class Library:
    """All kernels for one machine and number type; each is compiled or loaded when it is first asked for.

    Args:
        machine: what to compile for.
        dtype: "float32" or "float64".
        precision: of products, for those who choose among the kernels: "full" is the number type's, or "bf16".
    """

    def __init__(self, machine: Machine, dtype: str, precision: str = "full") -> None:
        self.machine, self.dtype, self.precision = machine, dtype, precision
        self._lock = threading.Lock()
        self._kernels: dict[str, Kernel] = {}
        self._target = target_machine(machine)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self._target)
        self._digest = _digest(machine, dtype)
        self._real = {"float32": "float", "float64": "double"}[dtype]
        _give_way()
        self._product: int | None = None
        self._early: Compiled | None = None
        self._ahead = threading.Thread(target=self._compile_ahead, name="gedanken-compiler", daemon=True)
        self._ahead.start()

    def kernel(self, name: str) -> Kernel:
        """Return the kernel `name`, "file.function" in the folder kernels/."""
        with self._lock:
            if name not in self._kernels:
                self._kernels[name] = self._load(self._found(name) or self._made(name))
            return self._kernels[name]

    def _load(self, compiled: Compiled) -> Kernel:
        self._load_product()
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(compiled.code))
        self._engine.finalize_object()
        address = self._engine.get_function_address(compiled.entry)
        return Kernel(address, ENTRY(address), compiled.parameters)

    def _load_product(self) -> None:
        """Load the micro-kernel that other kernels call by name."""
        if self._product is None:
            self._product = 0  # so that loading it does not look for itself
            self._ahead.join()
            # A process that was forked meanwhile has no such thread, and compiles for itself.
            self._product = self._load(self._early or self._found_product(self._target)).address
            llvm.add_symbol(f"{PRODUCT}_{self._real}", self._product)

    def _compile_ahead(self) -> None:
        """Get the micro-kernel, the largest piece of code, while kernels are translated: LLVM lets Python go on."""
        self._early = self._found_product(target_machine(self.machine))

    def _found_product(self, target: Any) -> Compiled:
        symbol = f"{PRODUCT}_{self._real}"
        if found := self._found("product"):
            return found
        code = optimised(product_ir(self.machine, self._real, symbol), target, target.emit_object)
        return self._kept("product", Compiled(code, symbol, []))

    def _made(self, name: str) -> Compiled:
        file, function = name.split(".")
        kernel = getattr(importlib.import_module(f"gedanken.engine.cpu.kernels.{file}"), function)
        module, entry = Module(self.machine, self.dtype), f"entry_{file}_{function}"
        parameters = kernel_ir(module, kernel, entry)
        code = optimised(module.text(), self._target, self._target.emit_object)
        return self._kept(name, Compiled(code, entry, parameters))

    # ------------------------------------------------------------------ files

    def _path(self, name: str) -> Path:
        return cache_folder() / "kernels" / f"{name}-{self._digest}.bin"

    def _found(self, name: str) -> Compiled | None:
        try:
            whole = self._path(name).read_bytes()
        except OSError:
            return None
        return _unpacked(whole)

    def _kept(self, name: str, compiled: Compiled) -> Compiled:
        with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
            replace_file(str(self._path(name)), _packed(compiled))
        return compiled


def optimised(ir: str, target: Any, emit: Callable[[Any], Emitted]) -> Emitted:
    """Return what `emit`, the target's emit_object or emit_assembly, makes of a module's IR."""
    module = llvm.parse_assembly(ir, llvm.create_context())
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = True
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    return emit(module)


def _packed(compiled: Compiled) -> bytes:
    head = {
        "entry": compiled.entry,
        "parameters": compiled.parameters,
    }
    whole = json.dumps(head).encode() + b"\n" + compiled.code
    return zlib.crc32(whole).to_bytes(4, "little") + whole


def _unpacked(content: bytes) -> Compiled | None:
    """Return what `_packed` wrote, or None if a bit of it has changed."""
    if zlib.crc32(content[4:]) != int.from_bytes(content[:4], "little") or len(content) < 8:
        return None
    line, _, code = content[4:].partition(b"\n")
    head = json.loads(line)
    return Compiled(code, head["entry"], [(name, kind) for name, kind in head["parameters"]])


def _digest(machine: Machine, dtype: str) -> str:
    folder = Path(__file__).parent
    names = ("compiler.py", "ir_text.py", "tile.py", "tile_unit.py", "translate.py", "words.py")
    sources = [folder / name for name in names]
    texts = [path.read_bytes() for path in [*sources, *sorted(folder.glob("kernels/*.py"))]]
    versions = [llvmlite_version, llvm.llvm_version_info, sys.platform]
    whole = repr((machine, dtype, versions)).encode() + b"".join(texts)
    return hashlib.sha256(whole).hexdigest()[:24]


def target_machine(machine: Machine) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=machine.cpu, features=machine.features, opt=3)


@cache
def _give_way() -> Callable[..., Any]:
    """Make the system's call for letting another thread run known to kernels."""
    system: Any = ctypes  # names differ by platform
    function = system.WinDLL("kernel32").SwitchToThread if os.name == "nt" else ctypes.CDLL(None).sched_yield
    address = ctypes.cast(function, ctypes.c_void_p).value
    llvm.add_symbol(GIVE_WAY, address)
    return function


@cache
def library(machine: Machine, dtype: str, precision: str = "full") -> Library:
    """Return the kernels of this process: they are code, and nothing in them changes."""
    return Library(machine, dtype, precision)
