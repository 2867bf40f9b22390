"""The language of kernels: a small part of Python that `translate.py` turns into LLVM IR.

A kernel is a function whose parameters are annotated with the types below; the first two are the number of the task
and the thread's scratch memory. A helper, marked `inline` or `noinline`, is called by kernels and takes whatever types
it is given. They know integers of 64 bits, reals of the number type that they are compiled for, truth values, pointers,
and records of those:

    class Activation(Record):       what a kernel takes as `f: Activation`, and the lowering hands it by the same names
        kind: Int
        slope: Real

    f.kind                          a field; it can be read, not set
    Activation(kind=1, slope=x[0])  a record, to be handed to helpers; a variable is set to one in one place only
    Activation.read(table, i)       a record of integers from row i of a table, see `record.py`

No function takes more than eight parameters: what belongs together has a name.

Statements are assignments (also `a, b = b, a` and `x[i] += y`), `if`, `while`, `for`, `break`, `continue`, `return`,
`pass` and calls. Expressions are numbers, names, `+ - * / // % & | ^`, comparisons of two, `and`, `or`, `not`,
`a if c else b` and calls. Each means what it means in Python: `//` and `%` round down, and what Python does not
evaluate is not evaluated; only integers wrap around. Anything else is refused with its place, among it a variable
that may have no value where it is read, and a file that gives one of the names below another meaning.

    x[i]                       an element; those of Bytes and UInt16s are integers that are not negative
    at(x, i)                   a pointer to element i
    for i in range(...)        a loop; it goes upwards, and behind it what it set may have no value
    for i in lanes(n)          a loop whose rounds may be done in any order, several at once: it becomes vector code
    real(i), integer(x)        conversions; byte(i) and uint16(i) keep the lowest 8 and 16 bits
    ints(x), uint16s(x) ...    the same memory as elements of another type: bytes_of(x), bf16s(x)
    times(x, y)                x * y, rounded before something is added to it: else both may be one instruction
    min, max, abs, sqrt        of numbers; of two of which one is a NaN, min and max give the first one, as in Python
    round(x), exp2i(n)         the nearest integer, ties to even, and 2 ** n of such an n, both as reals
    exponent(x)                the largest whole n with 2 ** n <= |x|, of a normal number, as a real
    multiply_high(i, k) ...    the upper and (multiply_low) the lower half of a product of unsigned integers
    local_reals(n)             a pointer to n numbers of this function, n a constant; the same ones in every round of a
                               loop; local_bf16s(n) likewise
    gemm_tile(m, n, Tile(...)) the micro-kernel, see `tile.py`
    transpose(x, p, y, q)      y = the transpose of x, vector_lanes x vector_lanes numbers, rows p and q numbers apart
    tile_load(i, x, p) ...     the tile unit, see `tile_unit.py`
    exchange(x, i, a, b)       x[i] = b if it is still a, bit for bit, in one go for all threads; 1 if it was, else 0
    prefetch(x, i)             nothing but that x[i], which is read soon, may come faster
    atomic_claim(x, i, k)      x[i] = k if it is 0, in one go for all threads; 1 if it was, else 0
    atomic_add(x, i, k) ...    what is in `kernels/executor.py` and runs.py: threads, and calls of kernels by address

Machine code has no overflow check, no bounds check and no exception: a division by zero stops the program, a range
whose step is not positive does not end, an integer of a real above 2 ** 63 is any number. GEDANKEN_KERNELS=python
checks bounds and steps, see `interpreted.py`. These names exist here so that kernels can be read, checked by linters
and imported; they do nothing.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gedanken.engine.cpu.record import Record

Function = TypeVar("Function", bound=Callable[..., Any])

if TYPE_CHECKING:
    from typing import Any as Bf16s
    from typing import Any as Bytes
    from typing import Any as Int
    from typing import Any as Int32s
    from typing import Any as Ints
    from typing import Any as Real
    from typing import Any as Reals
    from typing import Any as UInt16s
else:
    # Types of parameters: pointers to reals, unsigned bytes, unsigned 16-bit, signed 32- and 64-bit integers; numbers.
    Reals, Bytes, UInt16s, Int32s, Ints, Int, Real = "Reals", "Bytes", "UInt16s", "Int32s", "Ints", "Int", "Real"
    # A pointer to reals that are kept as bf16: they are rounded when they are stored.
    Bf16s = "Bf16s"


class Tile(Record):
    """What the micro-kernel multiplies; `tile.py` has the formula."""

    a: Reals
    offsets: Ints
    b: Reals
    i: Reals
    c: Reals
    sm: Int
    sk: Int
    taps: Int
    depth: Int
    ldb: Int
    sb: Int
    ldi: Int
    ldc: Int
    free: Int


# The largest tile of a product, the numbers in a vector, and the rows of a tile of one vector, on this machine.
tile_rows, tile_columns, vector_lanes, narrow_rows = 1, 1, 1, 1
# The lowest power of e that is not 0 in the number type.
lowest_power = -87.0
# Whether the number type is float32.
single = True


def inline(function: Function) -> Function:
    """Mark a helper: a function that kernels call, and that LLVM may copy to where it is called."""
    return function


def noinline(function: Function) -> Function:
    """Mark a helper that LLVM compiles once and calls: it works through a row, beside which a call costs nothing."""
    function.noinline = True  # type: ignore[attr-defined]
    return function


def _intrinsic(*_: Any) -> Any:
    raise NotImplementedError("an intrinsic of the kernels' language; kernels are compiled, not called")


at = real = integer = byte = uint16 = lanes = sqrt = exp2i = exponent = gemm_tile = _intrinsic
uint16s = ints = bytes_of = multiply_high = multiply_low = call = pause = yield_thread = _intrinsic
prefetch = times = atomic_add = atomic_swap = atomic_claim = atomic_load = exchange = _intrinsic
flush_denormals = restore = transpose = bf16s = local_reals = local_bf16s = tile_load = tile_store = tile_dot = (
    _intrinsic
)
