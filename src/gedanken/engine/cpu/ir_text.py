"""The text of LLVM IR: types, modules, and lines of a function."""

from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from gedanken.engine.cpu.machine import Machine
from gedanken.errors import KernelError

# What a pointer points to, and what a loaded element is.
POINTERS = {
    "Reals": "real", "Bf16s": "bf16", "Bytes": "byte", "UInt16s": "uint16", "Int32s": "int32", "Ints": "int",
}  # fmt: skip

# Kinds that are in memory only, and how each becomes an int.
SHORT = {"byte": "zext", "uint16": "zext", "int32": "sext"}
CONVERTED = {"int", "real", "bf16", "bool", *SHORT}  # kinds of numbers


class Value(NamedTuple):
    """A typed operand: "int", "real", "bf16", "bool", "none", or the name of a pointer or record.

    A record's value has no text, it is its fields.
    """

    kind: str
    text: str
    fields: Mapping[str, "Value"] | None = None

    def parts(self) -> list["Value"]:
        """Return the numbers and pointers that this is: one, or those of a record's fields."""
        return [self] if self.fields is None else [part for field in self.fields.values() for part in field.parts()]

    def named(self, name: str) -> "Value":
        """Return a value of this type under another name."""
        if self.fields is None:
            return Value(self.kind, name)
        return Value(self.kind, "", {field: value.named(f"{name}.{field}") for field, value in self.fields.items()})

    def type(self) -> str:
        """Return what values of the same type have in common."""
        inner = "" if self.fields is None else [f"{name}: {value.type()}" for name, value in self.fields.items()]
        return f"{self.kind}{inner}"


class Module:
    """A module of IR in the making, for one machine and number type.

    Every loop that may become vector code has a number n; its metadata !{3n + 1} to !{3n + 3} say that its rounds do
    not depend on each other.
    """

    def __init__(self, machine: Machine, dtype: str) -> None:
        self.real = {"float32": "float", "float64": "double"}[dtype]
        self.bits = 32 if dtype == "float32" else 64
        self.lanes = machine.lanes(self.bits // 8)
        self.constants: dict[str, float] = {"tile_rows": machine.rows, "vector_lanes": self.lanes}
        self.constants |= {"tile_columns": machine.vectors * self.lanes, "narrow_rows": machine.most_rows(1)}
        self.constants["lowest_power"] = -87.0 if self.bits == 32 else -700.0
        self.constants["single"] = self.bits == 32
        self.unit, self.uses_tiles = machine.tiles, False
        # What every function is handed beside its arguments: an emulated tile unit's registers.
        self.hidden = [Value("Bytes", "%tiles")] if machine.tiles == "emulated" else []
        self.x86 = machine.unit in ("avx512", "avx2") or "sse2" in machine.features
        self.declared: dict[str, str] = {}
        self.bodies: list[str] = []
        self.loops = 0

    def text(self) -> str:
        numbers = range(self.loops)
        vector = '!0 = !{!"llvm.loop.vectorize.enable", i1 true}'
        groups = [f"!{1 + 3 * n} = distinct !{{}}" for n in numbers]
        access = [f'!{2 + 3 * n} = !{{!"llvm.loop.parallel_accesses", !{1 + 3 * n}}}' for n in numbers]
        loops = [f"!{3 + 3 * n} = distinct !{{!{3 + 3 * n}, !{2 + 3 * n}, !0}}" for n in numbers]
        return "\n".join([*self.declared.values(), *self.bodies, vector, *groups, *access, *loops])

    def llvm(self, kind: str) -> str:
        """Return LLVM's name of a type."""
        whole = {"bool": "i1", "byte": "i8", "uint16": "i16", "int32": "i32", "int": "i64"}
        names = {**whole, "real": self.real, "bf16": "i16"}
        return "void" if kind == "none" else names.get(kind, "ptr")

    def declare(self, name: str, signature: str) -> None:
        self.declared[name] = f"declare {signature}"


class Writer:
    """Writes the lines of one function."""

    def __init__(self, module: Module, name: str) -> None:
        self.module, self.name = module, name
        self.slots: list[str] = []
        self.lines: list[str] = []
        self.count = 0

    def refuse(self, rule: str) -> NoReturn:
        """Say that what is being translated is not of the language."""
        raise KernelError(f"{self.name}: {rule}")

    def emit(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def fresh(self, line: str) -> str:
        self.count += 1
        self.emit(f"%t{self.count} = {line}")
        return f"%t{self.count}"

    def label(self, word: str) -> str:
        self.count += 1
        return f"{word}{self.count}"

    def slot(self, kind: str) -> str:
        return self.room(self.module.llvm(kind))

    def room(self, kind: str, rest: str = "") -> str:
        """Return the place of a value of LLVM's type `kind` on the function's stack."""
        self.count += 1
        self.slots.append(f"  %s{self.count} = alloca {kind}{rest}")
        return f"%s{self.count}"

    def listed(self, values: list[Value]) -> str:
        """Return values as arguments of a call."""
        parts = [part for value in values for part in value.parts()]
        return ", ".join(f"{self.module.llvm(part.kind)} {part.text}" for part in parts)

    def alike(self, left: Value, right: Value) -> tuple[Value, Value]:
        """Make both of one kind: bf16 and, beside reals, integers become reals; truth values become integers."""
        if left.kind == right.kind and left.fields is None:
            return left, right
        kinds = {left.kind, right.kind}
        common = "real" if kinds & {"real", "bf16"} else "int"
        return self.cast(left, common), self.cast(right, common)

    def cast(self, value: Value, kind: str) -> Value:
        if value.kind == kind:
            return value
        if not {value.kind, kind} <= CONVERTED:
            self.refuse(f"a {value.kind} cannot become a {kind}")
        if value.kind == "bf16":
            return self.cast(Value("real", self.widened(value.text)), kind)
        if kind == "bf16":
            return Value(kind, self.rounded(self.cast(value, "real").text))
        here, there = self.module.llvm(value.kind), self.module.llvm(kind)
        if kind == "real":
            value = self.cast(value, "int")
            return Value(kind, self.fresh(f"sitofp i64 {value.text} to {there}"))
        if value.kind == "real":
            return Value(kind, self.fresh(f"fptosi {here} {value.text} to {there}"))
        word = "trunc" if value.kind == "int" else SHORT.get(value.kind, "zext")
        return Value(kind, self.fresh(f"{word} {here} {value.text} to {there}"))

    # ------------------------------------------------------------------ bf16, the upper half of a float32's bits

    def widened(self, text: str) -> str:
        bits = self.fresh(f"shl i32 {self.fresh(f'zext i16 {text} to i32')}, 16")
        return self.fresh(f"bitcast i32 {bits} to float")

    def rounded(self, text: str, lanes: int = 0) -> str:
        """Round float32 (a vector of so many lanes, or one) to the nearest bf16, ties to even; NaN stays NaN.

        Where a processor has no instruction for it, LLVM's own conversion would call a function for each number.
        """
        if self.module.bits != 32:
            self.refuse("only float32 is rounded to bf16")
        i1, i16, i32, real = (f"<{lanes} x {kind}>" if lanes else kind for kind in ("i1", "i16", "i32", "float"))
        one, half, quiet, shift = (f"splat (i32 {n})" if lanes else str(n) for n in (1, 0x7FFF, 0x40, 16))
        bits = self.fresh(f"bitcast {real} {text} to {i32}")
        upper = self.fresh(f"lshr {i32} {bits}, {shift}")
        odd = self.fresh(f"and {i32} {upper}, {one}")
        more = self.fresh(f"add {i32} {bits}, {self.fresh(f'add {i32} {odd}, {half}')}")
        near = self.fresh(f"lshr {i32} {more}, {shift}")
        no_number = self.fresh(f"fcmp uno {real} {text}, {text}")
        still_none = self.fresh(f"or {i32} {upper}, {quiet}")
        chosen = self.fresh(f"select {i1} {no_number}, {i32} {still_none}, {i32} {near}")
        return self.fresh(f"trunc {i32} {chosen} to {i16}")
