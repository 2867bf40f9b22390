"""Programs: what the kernels do for one batch size, and the memory that they do it in.

A `Program` is built instruction by instruction. Its buffers share one block of memory: two that are never needed at
the same time may lie in the same place. An instruction's arguments stand in slots of eight bytes; a `Variable` is a
slot that is filled anew before every run.
Where ranks share a mini-batch, a program pauses for what they say to each other.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gedanken.engine.cpu.compiler import Kernel, Library
from gedanken.engine.cpu.record import Record, flattened
from gedanken.engine.cpu.threads import Pool, aligned
from gedanken.types import Array, Shape

LINE = 64  # bytes; buffers begin on cache lines


@dataclass(eq=False)
class Variable:
    """A number or address that is given before every run."""

    slots: list[tuple[Array, int]] = field(default_factory=list)
    value: float = 0

    def set(self, value: float) -> None:
        self.value = value
        for array, place in self.slots:
            array[place] = value


@dataclass(eq=False)
class Buffer:
    """Memory for an array; where it lies is known when the program is complete.

    Args:
        shape, dtype: of the array.
        base: the buffer whose memory this one is, in another shape.
        address: for memory that is not the program's: where it is, told before every run.
    """

    shape: Shape
    dtype: np.dtype[Any]
    base: "Buffer | None" = None
    address: "Variable | None" = None
    first: int = -1
    last: int = -1
    place: int = 0

    def point_to(self, array: Array) -> None:
        """Say where the memory of an input is for the next run."""
        assert self.address
        self.address.set(array.__array_interface__["data"][0])  # several times as fast as array.ctypes.data

    @property
    def root(self) -> "Buffer":
        return self.base.root if self.base else self

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


Argument = int | float | Buffer | Variable | Array


class _Instruction(NamedTuple):
    """One call of a kernel for each of some tasks, with `scratch` numbers of memory and arguments (type, value)."""

    kernel: Kernel
    tasks: int
    scratch: int
    arguments: list[tuple[str, Argument]]


class _Run(NamedTuple):
    """Instructions `start` to `end` - 1, where their code is, and what the host does behind them."""

    start: int
    end: int
    code: int
    work: Callable[[], None] | None


class Program:
    """Instructions in parts that are run one by one, such as a forward and a backward pass.

    Args:
        library: where kernels come from.
        pool: who runs them.
    """

    def __init__(self, library: Library, pool: Pool) -> None:
        self.library, self.pool = library, pool
        self._rows: list[_Instruction] = []
        self._cuts = [0]
        self._pauses: list[tuple[int, Callable[[], None]]] = []
        self._scratch = 0
        self._buffers: list[Buffer] = []
        self._held: list[Array] = []
        self.memory: Array = np.empty(0, np.uint8)

    # ------------------------------------------------------------------ building

    def buffer(self, shape: Shape, dtype: Any = None) -> Buffer:
        """Return memory for an array; its first values are anything."""
        made = Buffer(shape, np.dtype(self.library.dtype if dtype is None else dtype))
        self._buffers.append(made)
        return made

    def input(self, shape: Shape, dtype: Any = None) -> Buffer:
        """Return a buffer for an array that is given before every run: `address.set(...)`."""
        return Buffer(shape, np.dtype(self.library.dtype if dtype is None else dtype), address=Variable())

    def view(self, buffer: Buffer, shape: Shape) -> Buffer:
        """Return the same memory in another shape."""
        return Buffer(shape, buffer.dtype, base=buffer)

    def add(self, kernel: str, tasks: int, scratch: int = 0, /, **given: Argument | Record) -> None:
        """Append an instruction.

        Args:
            kernel: "file.function".
            tasks: how often the kernel is called, with task = 0, 1, ...
            scratch: numbers of scratch memory, of eight bytes each, that a call needs.
            given: its arguments, by the names of the kernel's parameters.
        """
        found, now = self.library.kernel(kernel), len(self._rows)
        arguments = _in_order(kernel, found, given)
        for _, value in arguments:
            if isinstance(value, Buffer):
                root = value.root
                root.first = now if root.first < 0 else root.first
                root.last = max(root.last, now)
        self._rows.append(_Instruction(found, tasks, scratch, arguments))
        self._scratch = max(self._scratch, scratch)

    def pause(self, work: Callable[[], None], place: int | None = None) -> None:
        """Let work of the host be done before an instruction, by its number; None: before the next one."""
        self._pauses.append((len(self._rows) if place is None else place, work))

    def written(self, array: Array) -> int:
        """Return the number of the instruction from which on none is told of the memory of an array."""
        begin, end = _reach(array)
        for number, row in reversed([*enumerate(self._rows)]):
            given = [_reach(value) for _, value in row.arguments if isinstance(value, np.ndarray)]
            if any(first < end and begin < last for first, last in given):
                return number + 1
        return 0

    def keep(self, buffer: Buffer) -> None:
        """Leave a buffer untouched until the end of the last part."""
        buffer.root.last = 1 << 60

    def cut(self) -> None:
        """End a part."""
        self._cuts.append(len(self._rows))

    def complete(self, others: Sequence["Program"] = (), larger: "Callable[[], Program] | None" = None) -> None:
        """Lay out the memory; the program can be run now.

        Args:
            others: programs that are never at work at the same time; memory of theirs that is large enough is used.
            larger: makes a program that may come to share it: new memory is large enough for that one too.
        """
        size = self._laid_out()
        fitting = [other.memory for other in others if other.memory.size >= size]
        if not fitting and larger:
            size = max(size, larger()._laid_out())
        self.memory = min(fitting, key=lambda block: block.size) if fitting else aligned(size)
        self._pauses.sort(key=lambda pause: pause[0])
        self._runs = [[*self._part(start, end)] for start, end in itertools.pairwise(self._cuts)]

    def _laid_out(self) -> int:
        """Give every buffer its place; return the bytes in all."""
        return _lay_out([buffer for buffer in self._buffers if buffer.first >= 0 or buffer.last >= 0])

    def array(self, buffer: Buffer) -> Array:
        """Return the memory of a complete program's buffer as an array."""
        place = buffer.root.place
        return self.memory[place : place + buffer.nbytes].view(buffer.dtype).reshape(buffer.shape)

    def _part(self, start: int, end: int) -> Iterator[_Run]:
        """Yield the instructions of one part, and what the host does between them."""
        begin = start
        for place, work in self._pauses:
            if begin < place <= end or place == begin == 0:
                yield _Run(start, place, self._code(start, place), work)
                start = place
        yield _Run(start, end, self._code(start, end), None)

    def _code(self, start: int, end: int) -> int:
        """Return the address of some instructions in the executor's form, see `kernels/executor.py`; 0 of none."""
        rows = self._rows[start:end]
        if not rows:
            return 0
        code = np.zeros(8 * (len(rows) + 1), np.int64)
        slots = np.zeros(sum(len(row.arguments) for row in rows) + 1, np.int64)
        reals, used = slots.view(np.float64), 0
        code[0] = len(rows)
        for number, row in enumerate(rows, start=1):
            code[8 * number : 8 * number + 3] = (row.kernel.address, slots.ctypes.data + 8 * used, row.tasks)
            for kind, value in row.arguments:
                self._fill(slots, reals, used, kind, value)
                used += 1
        self._held += [slots, code]
        return int(code.ctypes.data)

    def _fill(self, slots: Array, reals: Array, used: int, kind: str, value: Argument) -> None:
        if isinstance(value, Buffer):
            root = value.root
            value = root.address or self.memory.ctypes.data + root.place
        if isinstance(value, Variable):
            value.slots.append((reals if kind == "Real" else slots, used))
        elif isinstance(value, np.ndarray):
            self._held.append(value)
            slots[used] = value.ctypes.data
        elif kind == "Real":
            reals[used] = value
        else:
            slots[used] = value

    # ------------------------------------------------------------------ running

    def run(self, part: int) -> None:
        """Run one part."""
        for run in self._runs[part]:
            if self.library.interpreter:
                self._interpret(self._rows[run.start : run.end])
            elif run.code:
                self.pool.run(run.code, self._scratch * 8 + LINE)
            if run.work:
                run.work()

    def _interpret(self, rows: "Sequence[_Instruction]") -> None:
        for row in rows:
            given = [self._meant(kind, value) for kind, value in row.arguments]
            self.library.interpreter.run(row.kernel.python, row.tasks, row.scratch, given)

    def _meant(self, kind: str, value: Argument) -> Any:
        """Return an argument as interpreted kernels take it."""
        interpreter = self.library.interpreter
        if isinstance(value, Buffer):
            address = value.root.address
            if address:
                return interpreter.memory(int(address.value), value.root.nbytes, kind)
            value = self.array(value.root)
        return interpreter.argument(kind, value.value if isinstance(value, Variable) else value)

    def needed_bytes(self) -> int:
        """Return the bytes of the buffers and of all threads' scratch memory, before the program is complete."""
        return self._laid_out() + self.pool.threads * (self._scratch * 8 + LINE)


def call(library: Library, name: str, **given: float | Array | Record) -> None:
    """Call a kernel once and here, for work that is too small to share."""
    kernel = library.kernel(name)
    arguments = _in_order(name, kernel, given)
    if library.interpreter:
        meant = [library.interpreter.argument(kind, value) for kind, value in arguments]
        library.interpreter.run(kernel.python, 1, 0, meant)
        return
    slots = np.zeros(len(arguments), np.int64)
    for place, (kind, value) in enumerate(arguments):
        if isinstance(value, np.ndarray):
            slots[place] = value.ctypes.data
        else:
            (slots.view(np.float64) if kind == "Real" else slots)[place] = value
    assert kernel.entry
    kernel.entry(slots.ctypes.data, 0, 0)


def _in_order(name: str, kernel: Kernel, given: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the arguments (type, value) of a kernel, records field by field, in the order of its parameters."""
    arguments = flattened(given)
    strange = sorted({word for word, _ in kernel.parameters} ^ set(arguments))
    assert not strange, f"{name}: {strange}"
    return [(kind, arguments[word]) for word, kind in kernel.parameters]


def _reach(array: Array) -> tuple[int, int]:
    """Return where the memory of a contiguous array begins and ends."""
    first = array.__array_interface__["data"][0]
    return first, first + array.nbytes


def _lay_out(buffers: Sequence[Buffer]) -> int:
    """Give every buffer its place, the largest first, each as low as it fits; return the bytes in all."""
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda one: -one.nbytes):
        rivals = [one for one in placed if one.first <= buffer.last and buffer.first <= one.last]
        place = 0
        for rival in sorted(rivals, key=lambda one: one.place):
            if place + buffer.nbytes <= rival.place:
                break
            place = max(place, -(-(rival.place + rival.nbytes) // LINE) * LINE)
        buffer.place = place
        placed.append(buffer)
    return max((one.place + one.nbytes for one in placed), default=0)
