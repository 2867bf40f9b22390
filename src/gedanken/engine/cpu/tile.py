"""The micro-kernel that all products run on, written out as LLVM IR for the machine at hand.

    C[m, n] = I[m, n] + sum over t, k of A[offsets[t] + m * sm + k * sk] * B[t * sb + k * ldb + n]

It keeps a tile of C, m rows of some vectors, in registers. All strides are in numbers. With other strides and offsets
the same micro-kernel is the convolution, its two gradients, and every dense product: `offsets` jumps
over the rows of a window, a run of k is contiguous in memory.

The rows of B are packed, with room for whole vectors. One function is made for each number of rows and vectors up to
the tile's, and one more where C cuts the last vector off: it loads and stores through a mask, so nothing outside the
matrices is touched. `product` chooses among them. Storing through a mask is slow; only the last rows need it where the
caller says that what lies between the rows of C is `free` (it is written later), or where nothing does (ldc = n) and
what a whole vector writes too much is the beginning of the next row.

I (ldi = 0 repeats one row, a bias) may be C itself (ldi = ldc), which adds to what is there. It is added at the end: a
long sum is then one of sums, which keeps its digits.
"""

from collections.abc import Iterator
from itertools import product

from gedanken.engine.cpu.machine import Machine

POINTERS = ("a", "offsets", "b", "i", "c")
NUMBERS = ("sm", "sk", "taps", "depth", "ldb", "sb", "ldi", "ldc", "free")
WHOLE, CUT = "whole", "cut"  # a tile's last vector in C
ARGUMENTS = ", ".join([*(f"ptr %{name}" for name in POINTERS), *(f"i64 %{name}" for name in NUMBERS)])


def gemm_tile_ir(machine: Machine, real: str, name: str) -> str:
    """Return a module with the function `name`(m, n, *POINTERS, *NUMBERS): one tile, m and n at most its size.

    Args:
        real: "float" or "double".
    """
    lanes = machine.lanes(4 if real == "float" else 8)
    tiles = "\n".join("\n".join(_tile(m, v, kind, lanes, real)) for m, v, kind in _shapes(machine))
    return f"{_declarations(lanes, real)}\n{tiles}\n{_choice(machine, lanes, name)}\n"


def _shapes(machine: Machine) -> list[tuple[int, int, str]]:
    """Return rows, vectors and the kind of the last one, of all tiles."""
    sizes = [(m, v) for v in range(1, machine.vectors + 1) for m in range(1, machine.most_rows(v) + 1)]
    return [(m, v, kind) for m, v in sizes for kind in (WHOLE, CUT)]


def _declarations(lanes: int, real: str) -> str:
    vector, mask, kind = f"<{lanes} x {real}>", f"<{lanes} x i1>", _suffix(lanes, real)
    return f"""declare {vector} @llvm.fmuladd.{kind}({vector}, {vector}, {vector})
declare {vector} @llvm.masked.load.{kind}.p0(ptr, i32, {mask}, {vector})
declare void @llvm.masked.store.{kind}.p0({vector}, ptr, i32, {mask})"""


def _suffix(lanes: int, real: str) -> str:
    return f"v{lanes}f{32 if real == 'float' else 64}"


def _tile_name(m: int, v: int, kind: str) -> str:
    return f"tile_{m}x{v}_{kind}"


def _choice(machine: Machine, lanes: int, name: str) -> str:
    """Return the function that calls the tile for m rows and n columns."""
    values = ", ".join([*(f"ptr %{p}" for p in POINTERS), *(f"i64 %{n}" for n in NUMBERS)])
    cases, blocks = [], []
    for m, v, kind in _shapes(machine):
        key = (m * (machine.vectors + 1) + v) * 2 + (kind == CUT)
        cases.append(f"i64 {key}, label %b{key}")
        blocks.append(f"b{key}:\n  call void @{_tile_name(m, v, kind)}({values}, i64 %over)\n  ret void")
    joined, bodies = "\n    ".join(cases), "\n".join(blocks)
    return f"""define void @{name}(i64 %m, i64 %n, {ARGUMENTS}) {{
  %over = urem i64 %n, {lanes}
  %whole = udiv i64 %n, {lanes}
  %cut = icmp ne i64 %over, 0
  %tail = zext i1 %cut to i64
  %v = add i64 %whole, %tail
  %k1 = mul i64 %m, {machine.vectors + 1}
  %k2 = add i64 %k1, %v
  %k3 = mul i64 %k2, 2
  %key = add i64 %k3, %tail
  switch i64 %key, label %none [
    {joined}
  ]
none:
  ret void
{bodies}
}}"""


def _tile(m: int, v: int, kind: str, lanes: int, real: str) -> Iterator[str]:
    """Yield the lines of one tile. Sums are written as variables on the stack; LLVM keeps them in registers."""
    vector = f"<{lanes} x {real}>"
    whole = _Access(lanes, real, -1)
    access = whole if kind == WHOLE else _Access(lanes, real, v - 1)
    sums = list(product(range(m), range(v)))
    yield f"define internal void @{_tile_name(m, v, kind)}({ARGUMENTS}, i64 %over) {{\nentry:"
    yield from (f"  %s{i}_{j} = alloca {vector}" for i, j in sums)
    yield from access.mask()
    yield from (f"  store {vector} zeroinitializer, ptr %s{i}_{j}" for i, j in sums)
    yield _BEFORE
    for j in range(v):
        yield from whole.load(f"b{j}", "b", "%bk", j)
    for i in range(m):
        yield from _row(i, v, access)
    yield _AFTER
    if kind != WHOLE:
        yield from access.joined(v)
    for i, j in sums:  # all are read before one is stored: a whole vector may reach into the next row
        yield f"  %ri{i}_{j} = mul i64 %ldi, {i}"
        yield from access.load(f"x{i}_{j}", "i", f"%ri{i}_{j}", j)
        yield f"  %e{i}_{j} = load {vector}, ptr %s{i}_{j}"
        yield f"  %f{i}_{j} = fadd {vector} %x{i}_{j}, %e{i}_{j}"
    for i, j in sums:
        yield f"  %rc{i}_{j} = mul i64 %ldc, {i}"
        yield from access.store(f"f{i}_{j}", "c", f"%rc{i}_{j}", j, m - 1 - i)
    yield "  ret void\n}"


_BEFORE = """  %some = icmp sgt i64 %taps, 0
  %deep = icmp sgt i64 %depth, 0
  %any = and i1 %some, %deep
  br i1 %any, label %outer, label %done
outer:
  %t = phi i64 [ 0, %entry ], [ %t1, %next ]
  %po = getelementptr i64, ptr %offsets, i64 %t
  %o = load i64, ptr %po
  %rb = mul i64 %t, %sb
  br label %inner
inner:
  %k = phi i64 [ 0, %outer ], [ %k1, %inner ]
  %ak = phi i64 [ %o, %outer ], [ %ak1, %inner ]
  %bk = phi i64 [ %rb, %outer ], [ %bk1, %inner ]"""

_AFTER = """  %k1 = add nuw nsw i64 %k, 1
  %ak1 = add i64 %ak, %sk
  %bk1 = add i64 %bk, %ldb
  %more = icmp slt i64 %k1, %depth
  br i1 %more, label %inner, label %next
next:
  %t1 = add nuw nsw i64 %t, 1
  %again = icmp slt i64 %t1, %taps
  br i1 %again, label %outer, label %done
done:"""


def _row(i: int, v: int, access: "_Access") -> Iterator[str]:
    """Yield what one element of A adds to its row of the tile."""
    vector, real, lanes = access.vector, access.real, access.lanes
    yield f"  %am{i} = mul i64 %sm, {i}"
    yield f"  %ai{i} = add i64 %ak, %am{i}"
    yield f"  %pa{i} = getelementptr {real}, ptr %a, i64 %ai{i}"
    yield f"  %va{i} = load {real}, ptr %pa{i}"
    yield f"  %in{i} = insertelement {vector} poison, {real} %va{i}, i32 0"
    yield f"  %br{i} = shufflevector {vector} %in{i}, {vector} poison, <{lanes} x i32> zeroinitializer"
    fma = f"call {vector} @llvm.fmuladd.{_suffix(lanes, real)}"
    for j in range(v):
        yield f"  %o{i}_{j} = load {vector}, ptr %s{i}_{j}"
        yield f"  %n{i}_{j} = {fma}({vector} %br{i}, {vector} %b{j}, {vector} %o{i}_{j})"
        yield f"  store {vector} %n{i}_{j}, ptr %s{i}_{j}"


class _Access:
    """Loads and stores of vectors; number `masked` of a row goes through the mask of the first `over` lanes."""

    def __init__(self, lanes: int, real: str, masked: int) -> None:
        self.lanes, self.masked = lanes, masked
        self.vector, self.real = f"<{lanes} x {real}>", real
        self.align = 4 if real == "float" else 8

    def mask(self) -> Iterator[str]:
        if self.masked >= 0:
            numbers = ", ".join(f"i64 {lane}" for lane in range(self.lanes))
            yield f"  %mi = insertelement <{self.lanes} x i64> poison, i64 %over, i32 0"
            zeros = f"<{self.lanes} x i32> zeroinitializer"
            yield f"  %ms = shufflevector <{self.lanes} x i64> %mi, <{self.lanes} x i64> poison, {zeros}"
            yield f"  %mask = icmp slt <{self.lanes} x i64> <{numbers}>, %ms"

    def load(self, name: str, base: str, row: str, j: int) -> Iterator[str]:
        yield from self._pointer(name, base, row, j)
        if j == self.masked:
            kind = f"@llvm.masked.load.{_suffix(self.lanes, self.real)}.p0"
            rest = f"<{self.lanes} x i1> %mask, {self.vector} zeroinitializer"
            yield f"  %{name} = call {self.vector} {kind}(ptr %{name}p, i32 {self.align}, {rest})"
        else:
            yield f"  %{name} = load {self.vector}, ptr %{name}p, align {self.align}"

    def joined(self, v: int) -> Iterator[str]:
        """Tell whether anything behind a row may be written, and how much a whole vector writes too much."""
        yield f"  %columns = add i64 %over, {(v - 1) * self.lanes}"
        yield "  %beside = icmp eq i64 %columns, %ldc"
        yield "  %given = icmp ne i64 %free, 0"
        yield "  %joined = or i1 %beside, %given"
        yield f"  %surplus = sub i64 {self.lanes}, %over"

    def store(self, name: str, base: str, row: str, j: int, below: int) -> Iterator[str]:
        """Store a vector of a row that has so many rows below it."""
        yield from self._pointer(name, base, row, j)
        whole = f"  store {self.vector} %{name}, ptr %{name}p, align {self.align}"
        if j != self.masked:
            yield whole
            return
        kind = f"@llvm.masked.store.{_suffix(self.lanes, self.real)}.p0"
        rest = f"i32 {self.align}, <{self.lanes} x i1> %mask"
        yield f"  %{name}room = mul i64 %ldc, {below}"
        yield f"  %{name}fits = icmp sge i64 %{name}room, %surplus"
        yield f"  %{name}free = and i1 %joined, %{name}fits"
        yield f"  br i1 %{name}free, label %{name}whole, label %{name}cut"
        yield f"{name}whole:\n{whole}\n  br label %{name}end"
        yield f"{name}cut:\n  call void {kind}({self.vector} %{name}, ptr %{name}p, {rest})\n  br label %{name}end"
        yield f"{name}end:"

    def _pointer(self, name: str, base: str, row: str, j: int) -> Iterator[str]:
        yield f"  %{name}r = add i64 {row}, {j * self.lanes}"
        yield f"  %{name}p = getelementptr {self.real}, ptr %{base}, i64 %{name}r"
