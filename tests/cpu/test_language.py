"""The kernels' language means what Python means: programs run both ways, and what is refused says where and why."""

import ast
import importlib.util
import itertools
import sys
import textwrap
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest

from gedanken.engine.cpu import show
from gedanken.engine.cpu.compiler import Compiled, Library, optimised, target_machine
from gedanken.engine.cpu.interpreted import Interpreter
from gedanken.engine.cpu.ir_text import Module
from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.machine import this_machine
from gedanken.engine.cpu.program import call
from gedanken.engine.cpu.translate import kernel_ir
from gedanken.errors import KernelError

HEAD = """
from gedanken.engine.cpu.language import *

FACTOR = 2.5
THREE = 3
TEXT = "text"

class Spot(Record):
    place: Int
    factor: Real

class Box(Record):
    numbers: Reals
    spot: Spot
    count: Int

class Corner(Record):
    row: Int
    column: Int

def kernel(
    task: Int, scratch: Reals, x: Reals, b: Bytes, n: Int, m: Int, t: Real, out: Reals, whole_out: Ints, box: Box,
):
"""
HELPERS = '''

@inline
def step(a):
    return a + 1

first_step = step

@inline
def step(a):
    return a + 100

@inline
def larger(a, c):
    """Return the larger one."""
    if a > c:
        return a
    return c

@inline
def twice(y, i):
    y[i] = y[i] * real(2)

@inline
def scaled(box, corner):
    return box.numbers[box.spot.place + corner.column] * box.spot.factor + real(corner.row)

@noinline
def total(y, count):
    sum_of_all = real(0)
    for i in range(count):
        sum_of_all += y[i]
    return sum_of_all
'''

PROGRAMS = {
    "arithmetic": "out[0] = (t + x[1]) * FACTOR - x[2] / real(THREE)",
    "whole numbers": "whole_out[0] = (n + m) * THREE - n * n",
    "true division of whole numbers": "out[0] = n / 4",
    "quotients round down": "whole_out[0] = n // 2\nwhole_out[1] = n // (0 - 3)\nwhole_out[2] = (n - 20) // 7",
    "remainders have the divisor's sign": "whole_out[0] = n % 3\nwhole_out[1] = n % (0 - 4)",
    "quotients of bytes": "whole_out[0] = b[1] // b[0]\nwhole_out[1] = b[1] % b[0]",
    "bits": "whole_out[0] = (n & 6) ^ (m | 1)",
    "negation": "whole_out[0] = -n\nout[0] = -t",
    "bytes are not negative": "whole_out[0] = b[1] + 1\nwhole_out[1] = 1 if b[1] > byte(9) else 0",
    "sums of bytes": "whole_out[0] = b[1] + b[1]\nwhole_out[1] = b[0] - b[1]\nwhole_out[2] = b[1] * b[1]\n"
    "whole_out[3] = min(b[0], b[2]) - b[1]\nout[0] = real(b[1] + b[1])\nwhole_out[4] = b[1] ^ b[0] - b[2]",
    "sums of 16 bits": "whole_out[0] = 65535\ny = uint16s(whole_out)\nwhole_out[1] = y[0] + y[0] - y[1] * y[0]",
    "lowest bits": "whole_out[0] = byte(n) + byte(m) - byte(3)\nwhole_out[1] = uint16(n) * uint16(n) - byte(t)",
    "bytes as bounds": "for i in range(b[0] - b[2], b[1] + b[1], b[0]):\n    whole_out[0] += 1",
    "bytes in place": "y = bytes_of(whole_out)\ny[0] = b[1]\ny[0] += b[1]\ny[1] -= b[0]",
    "truth values as numbers": "whole_out[0] = abs(n > 0) + min(n > 0, m > 0)\nout[0] = real(n > 0) + sqrt(m > 0)",
    "truth values compared": "whole_out[0] = 1 if (n > 0) < (m > 0) else 2\nwhole_out[1] = 1 if (n > 0) > 0 else 2",
    "whole numbers for reals": "out[0] = exp2i(n) + round(n) + sqrt(b[0])\nout[1] = exp2i(b[0])",
    "smaller of bytes": "whole_out[0] = min(b[1], b[0])\nwhole_out[1] = max(b[1], b[0])",
    "smaller and larger": "out[0] = min(t, x[1])\nout[1] = max(t, real(n))\nwhole_out[0] = max(n, min(m, -n))",
    "smaller where one is NaN": "out[0] = min(x[7], t)\nout[1] = min(t, x[7])",
    "larger where one is NaN": "out[0] = max(x[7], t)\nout[1] = max(t, x[7])",
    "sizes": "out[0] = abs(t)\nwhole_out[0] = abs(n)\nout[1] = sqrt(abs(t))",
    "nearest whole numbers": "out[0] = round(t)\nout[1] = round(x[0])\nout[2] = round(x[1])",
    "comparisons": "whole_out[0] = 1 if n < m else 0\nwhole_out[1] = 1 if x[7] != x[7] else 2",
    "mixed choice": "out[0] = 0 if n > 100 else x[3] / 2",
    "choice that must not read": "out[0] = x[n] if 0 <= n and n < 8 else real(-1)",
    "choice that must not divide": "whole_out[0] = 7 // m if m != 0 else -1",
    "choice of two types, one of which must not be read": "out[0] = 7 // m if m != 0 else x[2]",
    "choice by a helper": "out[0] = total(x, 3) if n > 0 else total(x, 2)",
    "and stops early": "if n >= 0 and n < 8 and x[n] > t:\n    out[0] = x[n]",
    "and that decides twice": "k = n * 1000000000\n"
    "if n >= 0 and n < 1 and x[k] > -9.0 and x[k] < t:\n    out[0] = x[k]",
    "choice by what was read on one way only": "k = n * 1000000000\nout[0] = x[k] if n == 0 and x[k] > -9.0 else t",
    "choice in a choice": "k = n * 1000000000\nout[0] = x[k] if (x[k] if n == 0 else -9.0) > -5.0 else t",
    "or stops early": "if n < 0 or n > 7 or x[n] > t:\n    out[0] = real(1)",
    "and, or, not": "if (n > 0 and not m > 0) or (n == m):\n    out[0] = real(1)\nelse:\n    out[0] = real(2)",
    "truth of numbers": "if n and t:\n    out[0] = real(1)\nif not t:\n    out[1] = real(1)",
    "a truth value kept": "both = n > 0 and m > 0\nout[0] = real(1) if both else real(0)",
    "else if": "if n < 0:\n    k = 1\nelif n == 0:\n    k = 2\nelse:\n    k = 3\nwhole_out[0] = k",
    "range": "for i in range(2, 8, THREE):\n    out[i] = x[i] + real(i)",
    "range of nothing": "for i in range(n):\n    out[i % 8] += real(1)",
    "bounds are read once": "k = 3\nfor i in range(k):\n    k = 7\n    out[i] = real(k)",
    "loop variable may be changed": "for i in range(4):\n    whole_out[i] = i\n    i = 100",
    "lanes": "for i in lanes(8):\n    out[i] = x[i] * t",
    "choice in lanes": "for i in lanes(8):\n    out[i] = x[i] if x[i] > t else x[i] * FACTOR",
    "and in lanes": "for i in lanes(7):\n    if x[i] > real(1) and x[i] < real(5):\n        out[i] = x[i]",
    "while": "k = n\nwhile k > 0:\n    k -= 2\nwhole_out[0] = k",
    "while with and": "k = 0\nwhile k < 8 and x[k] < t:\n    k += 1\nwhole_out[0] = k",
    "break": "for i in range(8):\n    if i == m:\n        break\n    out[i] = x[i]",
    "continue": "for i in range(8):\n    if i == m:\n        continue\n    out[i] = x[i]",
    "set before every use": "if n > 0:\n    k = 1\nelse:\n    return\nwhole_out[0] = k",
    "several at once": "k, l = n, m\nk, l = l, k\nwhole_out[0] = k\nwhole_out[1] = l",
    "helper": "out[0] = larger(t, x[2])\nwhole_out[0] = larger(n, m)",
    "helper that writes": "out[3] = x[3]\ntwice(out, 3)",
    "helpers of one name": "whole_out[0] = first_step(n) * 1000 + step(n)",
    "helper that is not inlined": "out[0] = total(x, 4)",
    "pointers": "p = at(x, 2)\nq = at(p, 1)\nout[0] = q[0] + p[2]",
    "memory of its own": "room = local_reals(4)\nroom[1] = t\nout[0] = room[1]",
    "conversions": "whole_out[0] = integer(t)\nout[0] = real(n) / real(3)\nwhole_out[1] = byte(n * 100)",
    "powers of two": "out[0] = exp2i(real(n))",
    "exponents": "out[0] = exponent(t) + exponent(x[7])\nout[1] = exponent(real(0)) if n > 0 else exponent(-t)\n"
    "for i in lanes(8):\n    out[i] += exponent(x[i] * FACTOR)",
    "elements changed in place": "out[1] = t\nout[1] *= real(3)\nout[1] -= x[1]\nwhole_out[1] = 9\nwhole_out[1] //= 2",
    "a text that is skipped": "'What it does.'\npass\nout[0] = t",
    "half a number": "out[0] = 0.5 * t + 1",
    "fields": "out[0] = box.numbers[box.count]\nwhole_out[0] = box.spot.place if box.count > 2 and n > 0 else m",
    "fields in lanes": "for i in lanes(box.count):\n    out[i] = box.numbers[i] * box.spot.factor",
    "record for a helper": "out[0] = scaled(box, Corner(row=n, column=1))",
    "record of a record": "made = Box(numbers=x, spot=Spot(factor=t, place=1), count=m)\nspot = made.spot\n"
    "out[0] = scaled(made, Corner(column=b[0], row=m > 0)) + spot.factor",
    "records anew in each round": "for i in range(3):\n    corner = Corner(row=i, column=i + n)\n"
    "    whole_out[i] = corner.row * corner.column",
    "record from a table": "for i in range(8):\n    whole_out[i] = i * n\n"
    "corner = Corner.read(whole_out, 2)\nwhole_out[0] = corner.row + Corner.read(at(whole_out, 1), 2).column",
}
REFUSED = {
    "0 < n < 3": ("out[0] = real(1) if 0 < n < 3 else real(0)", "a chain of comparisons"),
    "else behind for": ("for i in range(3):\n    out[i] = t\nelse:\n    out[4] = t", "`else` behind a loop"),
    "else behind while": ("while n > 5:\n    break\nelse:\n    out[4] = t", "`else` behind a loop"),
    "downwards": ("for i in range(n, 0, -1):\n    out[i] = t", "a range goes upwards"),
    "misspelt loop": ("for i in lannes(n):\n    out[i] = t", "loops are `for name in range"),
    "lanes of a range": ("for i in lanes(0, n):\n    out[i] = t", "loops are `for name in range"),
    "loop over names": ("for i, j in range(n):\n    out[i] = t", "loops are `for name in range"),
    "set in one branch": ("if n > 0:\n    k = 1\nwhole_out[0] = k", "k may have no value here"),
    "set in a loop only": ("for i in range(n):\n    k = i\nwhole_out[0] = k", "k may have no value here"),
    "loop variable behind the loop": ("for i in range(n):\n    pass\nwhole_out[0] = i", "i may have no value here"),
    "read before it is set": ("whole_out[0] = k\nk = 1", "k may have no value here"),
    "unknown name": ("out[0] = faktor * t", "faktor is neither a variable nor a number"),
    "unknown function": ("out[0] = cosine(t)", "cosine is neither an intrinsic"),
    "a text": ("out[0] = TEXT", "TEXT is a str, not a number"),
    "None": ("out[0] = None", "None is a NoneType, not a number"),
    "comprehension": ("k = [i for i in range(3)]", "ListComp is no expression"),
    "power": ("out[0] = t ** 2", "Pow of a real"),
    "shift": ("whole_out[0] = n << 2", "LShift of a int"),
    "quotient of reals": ("out[0] = t // real(2)", "FloorDiv of a real"),
    "inverted": ("whole_out[0] = ~n", "Invert of a int"),
    "membership": ("if n in x:\n    pass", "In is no comparison"),
    "two targets": ("k = l = 1.0", "several targets of one value"),
    "unequal tuples": ("k, l = 1, 2, 3", "as many values as targets"),
    "values of a call": ("k, l = larger(n, m)", "as many values as targets"),
    "starred": ("k, *l = 1, 2", "l cannot be set|cannot be set"),
    "too few arguments": ("out[0] = larger(t)", "larger takes 2 arguments, 1 are given"),
    "too many for an intrinsic": ("out[0] = sqrt(t, t)", "sqrt takes 1 arguments, 2 are given"),
    "keywords": ("out[0] = larger(a=t, c=t)", "no keywords"),
    "method": ("out[0] = x.sum()", "no methods"),
    "changed type": ("k = 0\nk = k + t", "k is a int and cannot become a real"),
    "no value": ("k = twice(out, 0)", "k is set to what has no value"),
    "element of a number": ("out[0] = n[0]", "n is a int and has no elements"),
    "real index": ("out[0] = x[t]", "the index t is a real"),
    "real bound": ("for i in range(t):\n    pass", "t is a real, not a whole number"),
    "pointer as a number": ("out[0] = x + t", "a Reals cannot become a real"),
    "truth of a pointer": ("if x:\n    pass", "a Reals is neither true nor false"),
    "numbers joined by or": ("k = n or 3", "n is a int: as a value, and/or take comparisons"),
    "break in lanes": ("for i in lanes(8):\n    break", "`break` in a loop over lanes"),
    "return in lanes": ("for i in lanes(8):\n    return", "`return` in a loop over lanes"),
    "nothing done": ("n + 1", "an expression that nothing is done with"),
    "with": ("with t:\n    pass", "With is no statement"),
    "assert": ("assert n > 0", "Assert is no statement"),
    "import": ("import math", "Import is no statement"),
    "inner function": ("def inner():\n    pass", "FunctionDef is no statement"),
    "annotated": ("k: int = 1", "AnnAssign is no statement"),
    "walrus": ("whole_out[0] = (k := n)", "NamedExpr is no expression"),
    "unknown field": ("out[0] = box.size", "Box has no field size; it has numbers, spot, count"),
    "field of a number": ("out[0] = n.real", "n is a int and has no fields"),
    "field set": ("box.count = 3", "box.count cannot be set"),
    "field added to": ("box.count += 3", "box.count cannot be set"),
    "record as a number": ("out[0] = box + t", "a Box cannot become a real"),
    "records compared": ("if box == box:\n    pass", "a Box cannot become a int"),
    "truth of a record": ("if box:\n    pass", "a Box is neither true nor false"),
    "element of a record": ("out[0] = box[0]", "box is a Box and has no elements"),
    "intrinsic of a record": ("out[0] = sqrt(box)", "sqrt takes real, not a Box"),
    "choice of records": ("k = Spot(place=1, factor=t) if n > 0 else box.spot", "a choice between records"),
    "choice of record names": ("k = box if n > 0 else box", "a Box cannot become a int"),
    "record set twice": (
        "k = box.spot\nif n > 0:\n    k = Spot(place=1, factor=t)",
        "k is a Spot: a variable is set to a record in one place only",
    ),
    "fields by order": ("k = Spot(1, t)", r"fields are given by name: Spot\(place=..., factor=...\)"),
    "field too many": ("k = Spot(place=1, factor=t, size=2)", "Spot has no field size"),
    "field missing": ("k = Spot(place=1)", "Spot is given no factor"),
    "real in a field of whole numbers": ("k = Spot(place=t, factor=t)", "Spot.place is a int, a real is given"),
    "whole number in a field of reals": ("k = Spot(place=1, factor=1)", "Spot.factor is a real, a int is given"),
    "number for a record": ("k = Box(numbers=x, spot=1, count=1)", "Box.spot is a Spot, a int is given"),
    "table of reals": ("k = Corner.read(x, 1)", "Corner.read takes a table of Ints"),
    "reals from a table": ("k = Spot.read(whole_out, 1)", "the fields of the record are Int"),
    "row without a number": ("k = Corner.read(whole_out)", "a row of a table is read by Corner.read"),
    "product of another record": ("gemm_tile(n, m, box)", "gemm_tile takes a Tile, not a Box"),
    "product of many numbers": ("gemm_tile(n, m, x, n)", "gemm_tile takes 3 arguments, 4 are given"),
    "too large": ("whole_out[0] = 18446744073709551616", "does not fit into 64 bits"),
    "step of nothing": ("for i in range(0, n, 0):\n    pass", "a range goes upwards"),
    "pointers compared": ("if at(x, 1) == at(x, 1):\n    pass", "a Reals is compared with nothing"),
    "memory of a size unknown": ("k = local_reals(n)", "local_reals takes a whole number that is written down"),
    "memory of less than nothing": ("k = local_reals(-1)", "local_reals takes a whole number that is written down"),
    "memory of half a number": ("k = local_reals(2.5)", "local_reals takes a whole number that is written down"),
    "memory of a truth value": ("k = local_bf16s(True)", "local_bf16s takes a whole number that is written down"),
    "memory of a sum": ("k = local_reals(2 + 2)", "local_reals takes a whole number that is written down"),
    "memory of a byte": ("k = local_reals(b[0])", "local_reals takes a whole number that is written down"),
    "place of a real": ("k = at(x, t)", "at takes whole, not a real"),
    "place in a number": ("k = at(n, n)", "at takes pointer, not a int"),
    "pointer of a real": ("k = ints(t)", "ints takes address, not a real"),
    "16 bits of a number": ("k = uint16s(n)", "uint16s takes pointer, not a int"),
    "bytes of a number": ("k = bytes_of(t)", "bytes_of takes pointer, not a real"),
    "product of reals": ("whole_out[0] = multiply_high(t, n)", "multiply_high takes whole, not a real"),
    "size of a pointer": ("out[0] = abs(x)", "abs takes number, not a Reals"),
    "adding to reals": ("k = atomic_add(x, 0, 1)", "atomic_add takes a Ints, not a Reals"),
    "adding a real": ("k = atomic_add(whole_out, 0, t)", "atomic_add takes whole, not a real"),
    "exchanging whole numbers": ("k = exchange(whole_out, 0, t, t)", "exchange takes a Reals, not a Ints"),
    "calling a real": ("call(t, n, n, n)", "call takes whole, not a real"),
    "state of a real": ("restore(t)", "restore takes whole, not a real"),
    "transposed numbers": ("transpose(n, n, n, n)", "transpose takes a Reals, not a int"),
    "a tile that is not known": ("tile_load(n, x, n)", "tile_load takes a whole number that is written down"),
    "no tile unit": ("tile_load(0, x, n)", "this machine has no tile unit"),
    "row of a real": ("k = Corner.read(whole_out, t)", "Corner.read takes whole, not a real"),
    "value of a loop's break": ("while n > 0:\n    k = 1\n    break\nwhole_out[0] = k", "k may have no value here"),
}
REFUSED_HELPERS = {
    "one path only": ("def h(a):\n    if a > 0:\n        return a", "returns a int on one path and nothing on another"),
    "two types": (
        "def h(a):\n    if a > 0:\n        return a\n    return 1.5",
        "returns a int on one path and a real here",
    ),
    "nothing or a value": ("def h(a):\n    if a > 0:\n        return\n    return a", "returns a none on one path"),
    "recursion": ("def h(a):\n    return h(a)", "h calls itself"),
    "record returned": ("def h(a):\n    return Corner(row=a, column=a)", "h returns a Corner"),
    "defaults": ("def h(a, c=1):\n    return a", "h takes 2 arguments, 1 are given"),
    "own abs": (
        "def h(a):\n    return abs(a)\n\n\ndef abs(a):\n    return a",
        "abs is a name of the kernels' language",
    ),
    "own range": (
        "def h(a):\n    for i in range(a):\n        pass\n    return a\n\n\ndef range(a):\n    return [1]",
        "range is a name of the kernels' language",
    ),
    "own constant": ("def h(a):\n    return a + tile_rows\n\n\ntile_rows = 77", "tile_rows is a name of the kernels'"),
    "own parameter": ("def h(min):\n    return min(min, 1)", "min is a name of the kernels' language"),
    "inside of a function": (
        "def made(k):\n    @inline\n    def h(a):\n        return a + k\n    return h\n\n\nh = made(3)",
        "h is made by a decorator or inside of a function",
    ),
    "another one's text": (
        "def other(a):\n    return a + 1\n\n\nimport functools\n\n\n@functools.wraps(other)\ndef h(a):\n    return a",
        "is made by a decorator",
    ),
    "letters": ("def h(größe):\n    return größe", "are made of ASCII letters"),
    "stars": ("def h(*a):\n    return 1", "no stars, no defaults"),
}


def module_of(folder: Path, text: str, name: str = "kernels_here") -> Any:
    """Return a module with this text, whose source can be read."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kernel_with(folder: Path, body: str) -> FunctionType:
    made: FunctionType = module_of(folder, HEAD + textwrap.indent(body, "    ") + HELPERS).kernel
    return made


class Given:
    """Arguments of a program, the same for both ways."""

    def __init__(self, n: int, m: int, t: float, dtype: str) -> None:
        x = np.array([0.5, 1.5, -2, 3, 7, 2, 4, np.nan], dtype)
        self.numbers: dict[str, Any] = {
            "n": n,
            "m": m,
            "t": t,
            "box.spot.place": 2,
            "box.spot.factor": t,
            "box.count": 3,
        }
        self.arrays: dict[str, Any] = {"x": x, "b": np.array([3, 200, 9], np.uint8), "box.numbers": x[::-1].copy()}
        self.found = {"out": np.zeros(8, dtype), "whole_out": np.zeros(8, np.int64)}

    @property
    def all(self) -> dict[str, Any]:
        return {**self.arrays, **self.numbers, **self.found}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_means_what_python_means(name: str, dtype: str, tmp_path: Path) -> None:
    kernel, machine = kernel_with(tmp_path, PROGRAMS[name]), this_machine()
    module, target, library = Module(machine, dtype), target_machine(machine), Library(machine, dtype)
    parameters = kernel_ir(module, kernel, "entry")
    code = optimised(module.text(), target, target.emit_object)
    library._load("test.kernel", Compiled(code, "entry", parameters))
    interpreter = Interpreter(machine, dtype)
    as_python = interpreter.kernel(kernel)
    for n, m, t in itertools.product((-7, 0, 2, 8), (-3, 0, 5), (-1.25, 2.5, 0.0)):
        compiled, interpreted = Given(n, m, t, dtype), Given(n, m, t, dtype)
        call(library, "test.kernel", **compiled.all)
        given = [interpreter.argument(kind, interpreted.all[word]) for word, kind in parameters]
        interpreter.run(as_python, 1, 0, given)
        for word, value in interpreted.found.items():
            np.testing.assert_allclose(compiled.found[word], value, rtol=1e-6, err_msg=f"{word}, n={n}, m={m}, t={t}")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_translated_is_refused(name: str, tmp_path: Path) -> None:
    body, rule = REFUSED[name]
    kernel = kernel_with(tmp_path, body)
    lines = (HEAD + textwrap.indent(body, "    ")).splitlines()
    with pytest.raises(KernelError, match=rule) as caught:
        kernel_ir(Module(this_machine()._replace(tiles=""), "float32"), kernel, "entry")
    place, line = str(caught.value).split("\n")
    file, number, _ = place.split(":", 2)
    assert file == str(tmp_path / "kernels_here.py")
    assert lines[int(number) - 1].strip() == line.strip()


@pytest.mark.parametrize("name", REFUSED_HELPERS)
def test_helpers_that_are_refused(name: str, tmp_path: Path) -> None:
    helper, rule = REFUSED_HELPERS[name]
    kernel = module_of(tmp_path, f"{HEAD}    whole_out[0] = h(n)\n\n\n@inline\n{helper}\n").kernel
    with pytest.raises(KernelError, match=rule) as caught:
        kernel_ir(Module(this_machine(), "float32"), kernel, "entry")
    assert str(caught.value).startswith(f"{tmp_path / 'kernels_here.py'}:")


def test_the_lowering_gives_a_record_its_fields_by_name() -> None:
    rows = Rows(rows=3, columns=4, piece=2)
    assert (rows.rows, rows.columns, rows.piece) == (3, 4, 2)
    with pytest.raises(KernelError, match="Rows has no field column; it has rows, columns, piece"):
        Rows(rows=3, column=4, piece=2)  # type: ignore[call-arg]
    with pytest.raises(KernelError, match="Rows is given no columns"):
        Rows(rows=3, piece=2)  # type: ignore[call-arg]
    with pytest.raises(KernelError, match="rows cannot be set"):
        rows.rows = 2  # type: ignore[misc]


def test_no_function_takes_more_than_eight_parameters() -> None:
    counts = {}
    for path in Path(show.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                counts[f"{path.name}: {node.name}"] = len(given)
    assert len(counts) > 500
    assert {name: count for name, count in counts.items() if count > 8} == {}


def test_a_kernels_code_can_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    show.main(["dense.add"])
    assert "define void @entry_dense_add(i64 %arguments, i64 %task, i64 %memory) {" in capsys.readouterr().out
    show.main(["dense.add", "--assembly", "--dtype", "float64"])
    assert "entry_dense_add:" in capsys.readouterr().out
    for name in ("dense.no_such", "no_such.add", "add"):
        with pytest.raises(SystemExit):
            show.main([name])
        assert f"there is no kernel '{name}'" in capsys.readouterr().err
