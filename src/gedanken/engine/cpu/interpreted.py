"""Kernels run as the Python that they are: GEDANKEN_KERNELS=python, for a debugger, `print` and a check of every bound.

The names of `language.py` get a meaning here, and kernels see these instead. It is thousands
of times as slow as machine code and gives the same numbers up to rounding. Reading or writing outside an array or
outside a task's scratch memory is a `KernelError`; scratch memory begins as NaN, so what is read before it was written
shows.
"""

import builtins
import ctypes
import inspect
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from gedanken.engine.cpu import language
from gedanken.engine.cpu.compiler import Kernel, Library, kernel_function
from gedanken.engine.cpu.ir_text import Module
from gedanken.engine.cpu.machine import Machine
from gedanken.engine.cpu.record import gathered
from gedanken.engine.cpu.translate import parameters_of
from gedanken.errors import KernelError
from gedanken.types import Array

STORED = {"Bytes": "uint8", "UInt16s": "uint16", "Int32s": "int32", "Ints": "int64", "Bf16s": "uint16"}
TILE = (16, 64)  # rows and bytes of a tile
_EXCHANGING = threading.Lock()


class Pointer:
    """A place in a block of memory, and how its elements are read: what `at`, `x[i]` and the conversions work on."""

    def __init__(self, block: Array, offset: int, kind: str, real: str) -> None:
        self.block, self.offset, self.kind, self.real = block, offset, kind, real
        self.dtype = np.dtype(STORED.get(kind, real))

    def to(self, kind: str) -> "Pointer":
        return Pointer(self.block, self.offset, kind, self.real)

    def at(self, index: int) -> "Pointer":
        return Pointer(self.block, self.offset + int(index) * self.dtype.itemsize, self.kind, self.real)

    def elements(self, first: int, last: int) -> Array:
        """Return the elements from `first` to before `last`, the memory itself."""
        size = self.dtype.itemsize
        begin, end = self.offset + first * size, self.offset + last * size
        if begin < 0 or end > self.block.size:
            raise KernelError(
                f"elements {first} to {last - 1} of a pointer lie outside of its memory: bytes {begin} to {end} of "
                f"{self.block.size}"
            )
        return self.block[begin:end].view(self.dtype)

    def __getitem__(self, index: int) -> Any:
        value = self.elements(index, index + 1)[0]
        if self.kind == "Bf16s":
            return (np.uint32(value) << np.uint32(16)).view(np.float32)
        return value if self.kind == "Reals" else int(value)

    def __setitem__(self, index: int, value: Any) -> None:
        place = self.elements(index, index + 1)
        if self.kind == "Bf16s":
            place[0] = rounded(np.array([value], np.float32))[0]
        elif self.kind == "Reals":
            place[0] = value
        else:
            bits = 8 * self.dtype.itemsize
            wrapped = int(value) & ((1 << bits) - 1)
            place[0] = np.uint64(wrapped).astype(self.dtype)

    def gathered(self, places: Array) -> Array:
        """Return the elements at many places."""
        if not places.size:
            return np.zeros(places.shape, self.dtype)
        first, last = int(places.min()), int(places.max())
        return self.elements(first, last + 1)[places - first]


def rounded(values: Array) -> Array:
    """Return float32 as bf16: the upper half of the bits, rounded to the nearest, ties to even; NaN stays NaN."""
    bits = values.view(np.uint32)
    more = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    chosen = np.where(np.isnan(values), bits | np.uint32(0x400000), more)
    return (chosen >> np.uint32(16)).astype(np.uint16)


def memory_of(array: Array, kind: str, real: str) -> Pointer:
    """Return a pointer to a C-contiguous array."""
    assert array.flags.c_contiguous
    return Pointer(array.reshape(-1).view(np.uint8), 0, kind, real)


class PythonIntrinsics:
    """What the names of the language are in Python, for one machine and number type."""

    def __init__(self, machine: Machine, dtype: str) -> None:
        self.dtype = dtype
        self.type = np.dtype(dtype).type
        self.tiles = np.zeros((8, *TILE), np.uint8)
        self.names = {name: getattr(language, name) for name in vars(language) if not name.startswith("_")}
        self.names |= Module(machine, dtype).constants
        self.names |= {
            name.removeprefix("intrinsic_"): getattr(self, name) for name in dir(self) if name.startswith("intrinsic_")
        }

    # Conversions and numbers.

    def intrinsic_real(self, value: Any) -> Any:
        return self.type(value)

    def intrinsic_integer(self, value: Any) -> int:
        return int(value)

    def intrinsic_byte(self, value: Any) -> int:
        return int(value) & 0xFF

    def intrinsic_uint16(self, value: Any) -> int:
        return int(value) & 0xFFFF

    def intrinsic_times(self, left: Any, right: Any) -> Any:
        return self.type(left) * self.type(right)

    def intrinsic_sqrt(self, value: Any) -> Any:
        return np.sqrt(self.type(value))

    def intrinsic_exp2i(self, power: Any) -> Any:
        # Machine code gives any number for what has no exponent; whole vectors have such behind their ends.
        return self.type(2.0 ** int(power)) if abs(power) < 1023 else self.type(np.nan)

    def intrinsic_exponent(self, value: Any) -> Any:
        kind, bias, shift = (np.uint32, 127, 23) if self.dtype == "float32" else (np.uint64, 1023, 52)
        bits = int(np.array(value, self.dtype).view(kind))
        return self.type((bits >> shift & 2 * bias + 1) - bias)

    def intrinsic_multiply_high(self, left: int, right: int) -> int:
        return (_unsigned(left) * _unsigned(right)) >> 64

    def intrinsic_multiply_low(self, left: int, right: int) -> int:
        return _unsigned(_unsigned(left) * _unsigned(right))

    def intrinsic_lanes(self, count: int) -> range:
        return range(int(count))

    # Memory.

    def intrinsic_at(self, pointer: Pointer, index: int) -> Pointer:
        return pointer.at(index)

    def intrinsic_ints(self, pointer: Pointer) -> Pointer:
        return pointer.to("Ints")

    def intrinsic_uint16s(self, pointer: Pointer) -> Pointer:
        return pointer.to("UInt16s")

    def intrinsic_bf16s(self, pointer: Pointer) -> Pointer:
        return pointer.to("Bf16s")

    def intrinsic_bytes_of(self, pointer: Pointer) -> Pointer:
        return pointer.to("Bytes")

    def intrinsic_exchange(self, pointer: Pointer, index: int, seen: Any, value: Any) -> int:
        with _EXCHANGING:
            same = self.type(pointer[index]).tobytes() == self.type(seen).tobytes()
            if same:
                pointer[index] = value
            return int(same)

    def intrinsic_atomic_swap(self, pointer: Pointer, index: int, value: int) -> int:
        with _EXCHANGING:
            before = int(pointer[index])
            pointer[index] = value
            return before

    def intrinsic_atomic_claim(self, pointer: Pointer, index: int, value: int) -> int:
        with _EXCHANGING:
            free = int(pointer[index]) == 0
            if free:
                pointer[index] = value
            return int(free)

    def intrinsic_atomic_add(self, pointer: Pointer, index: int, amount: int) -> int:
        with _EXCHANGING:
            before = int(pointer[index])
            pointer[index] = before + amount
            return before

    def intrinsic_atomic_load(self, pointer: Pointer, index: int) -> int:
        return int(pointer[index])

    def intrinsic_yield_thread(self) -> None:
        time.sleep(0)

    def intrinsic_pause(self) -> None:
        pass

    def intrinsic_prefetch(self, pointer: Pointer, index: int) -> None:
        pass

    def intrinsic_local_reals(self, count: int) -> Pointer:
        return memory_of(np.full(count, np.nan, self.dtype), "Reals", self.dtype)

    def intrinsic_local_bf16s(self, count: int) -> Pointer:
        return memory_of(np.full(count, 0x7FC0, np.uint16), "Bf16s", self.dtype)

    def intrinsic_transpose(self, source: Pointer, source_pitch: int, target: Pointer, target_pitch: int) -> None:
        lanes = int(self.names["vector_lanes"])
        for row in range(lanes):
            for column in range(lanes):
                target[column * target_pitch + row] = source[row * source_pitch + column]

    # Products, see `tile.py` and `tile_unit.py`.

    def intrinsic_gemm_tile(self, m: int, n: int, x: language.Tile) -> None:
        rows, columns, inner, tap = np.arange(m), np.arange(n), np.arange(x.depth), np.arange(x.taps)
        start = x.offsets.gathered(tap)
        left = x.a.gathered(start[:, None, None] + rows[None, :, None] * x.sm + inner[None, None, :] * x.sk)
        right = x.b.gathered(tap[:, None, None] * x.sb + inner[None, :, None] * x.ldb + columns[None, None, :])
        total = np.einsum("tmk,tkn->mn", left, right, dtype="float64", casting="same_kind")
        total += x.i.gathered(rows[:, None] * x.ldi + columns[None, :])
        for row in rows.tolist():
            x.c.elements(row * x.ldc, row * x.ldc + n)[:] = total[row]

    def intrinsic_tile_load(self, tile: int, source: Pointer, pitch: int) -> None:
        wide = TILE[1] // source.dtype.itemsize
        for row in range(TILE[0]):
            self.tiles[tile, row] = source.elements(row * pitch, row * pitch + wide).view(np.uint8)

    def intrinsic_tile_store(self, tile: int, target: Pointer, pitch: int) -> None:
        wide = TILE[1] // target.dtype.itemsize
        for row in range(TILE[0]):
            target.elements(row * pitch, row * pitch + wide)[:] = self.tiles[tile, row].view(target.dtype)

    def intrinsic_tile_dot(self, sums: int, left: int, right: int) -> None:
        a, b = (
            (self.tiles[tile].view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
            for tile in (left, right)
        )
        pairs = b.reshape(16, 16, 2).transpose(0, 2, 1).reshape(32, 16)
        self.tiles[sums].view(np.float32)[...] += (a.astype("float64") @ pairs).astype(np.float32)


def _unsigned(value: int) -> int:
    return int(value) & ((1 << 64) - 1)


class Interpreter:
    """The kernels of one machine and number type as Python functions."""

    def __init__(self, machine: Machine, dtype: str) -> None:
        self.dtype = dtype
        self._names = PythonIntrinsics(machine, dtype).names
        self._builtins = {**vars(builtins), "range": upward, "round": np.rint}
        self._spaces: dict[str, dict[str, Any]] = {}

    def kernel(self, kernel: FunctionType) -> Callable[..., None]:
        """Return a kernel that takes records as machine code does, as its parameters `parameters_of`."""
        kinds, function = [p.annotation for p in inspect.signature(kernel).parameters.values()], self.function(kernel)

        def entered(*given: Any) -> None:
            values = iter(given)
            function(*(gathered(kind, values) for kind in kinds))

        return entered

    def function(self, kernel: FunctionType) -> Callable[..., None]:
        """Return a kernel or helper whose names from the language have a meaning."""
        return FunctionType(kernel.__code__, self._space(kernel.__module__), kernel.__name__, kernel.__defaults__)

    def _space(self, module: str) -> dict[str, Any]:
        """Return the names that functions of a module see."""
        if module not in self._spaces:
            space = self._spaces[module] = {"__builtins__": self._builtins, "__name__": module}
            for name, value in vars(sys.modules[module]).items():
                if name in self._names:
                    space[name] = self._names[name]
                elif not name.startswith("__"):
                    space[name] = self.function(value) if isinstance(value, FunctionType) else value
        return self._spaces[module]

    def run(self, kernel: Callable[..., None], tasks: int, scratch: int, arguments: Sequence[Any]) -> None:
        """Call a kernel of this interpreter for each task, with so many numbers of eight bytes as scratch memory."""
        with np.errstate(all="ignore"):
            for task in range(tasks):
                room = memory_of(np.full(2 * scratch, np.nan, np.float32), "Reals", self.dtype)
                kernel(task, room, *arguments)

    def memory(self, address: int, nbytes: int, kind: str) -> Pointer:
        """Return a pointer to memory of which only the address is known."""
        held = (ctypes.c_uint8 * nbytes).from_address(address)
        return Pointer(np.ctypeslib.as_array(held), 0, kind, self.dtype)

    def argument(self, kind: str, value: Any) -> Any:
        """Return a kernel's argument: a pointer to an array, or a number."""
        if isinstance(value, np.ndarray):
            return memory_of(value, kind, self.dtype)
        if isinstance(value, Pointer):
            return value
        return np.dtype(self.dtype).type(value) if kind == "Real" else int(value)


class InterpretedLibrary(Library):
    """All kernels for one machine and number type, none of them compiled."""

    def __init__(self, machine: Machine, dtype: str, precision: str = "full") -> None:
        self.machine, self.dtype, self.precision = machine, dtype, precision
        self.interpreter = Interpreter(machine, dtype)

    def kernel(self, name: str) -> Kernel:
        function = kernel_function(name)
        return Kernel(0, None, parameters_of(function)[2:], python=self.interpreter.kernel(function))


def upward(*bounds: int) -> range:
    """Return range(*bounds), whose step must be positive: machine code counts upwards only."""
    if len(bounds) == 3 and bounds[2] <= 0:
        raise KernelError(f"a range goes upwards: its step is positive, got {bounds[2]}")
    return range(*map(int, bounds))
