"""The text of LLVM IR: types, modules, and lines of a function."""

from typing import NamedTuple

from gedanken.engine.cpu.machine import Machine

# What a pointer points to, and what a loaded element is.
POINTERS = {"Reals": "real", "Bytes": "byte", "Words": "word", "Ints": "int"}


class Value(NamedTuple):
    """A typed operand: "int", "real", "bool", "byte", "word", "none", or the name of a pointer type."""

    kind: str
    text: str


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
        names = {"int": "i64", "real": self.real, "bool": "i1", "byte": "i8", "word": "i16", "none": "void"}
        return names.get(kind, "ptr")

    def declare(self, name: str, signature: str) -> None:
        self.declared[name] = f"declare {signature}"


class Writer:
    """Writes the lines of one function."""

    def __init__(self, module: Module, name: str) -> None:
        self.module, self.name = module, name
        self.slots: list[str] = []
        self.lines: list[str] = []
        self.count = 0

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
        self.count += 1
        self.slots.append(f"  %s{self.count} = alloca {self.module.llvm(kind)}")
        return f"%s{self.count}"

    def listed(self, values: list[Value]) -> str:
        """Return values as arguments of a call."""
        return ", ".join(f"{self.module.llvm(value.kind)} {value.text}" for value in values)

    def alike(self, left: Value, right: Value) -> tuple[Value, Value]:
        """Make both of one kind: whole numbers become reals beside reals, bytes and words whole beside wholes."""
        if left.kind == right.kind:
            return left, right
        kinds = {left.kind, right.kind}
        common = "real" if "real" in kinds else "int"
        return self.cast(left, common), self.cast(right, common)

    def cast(self, value: Value, kind: str) -> Value:
        if value.kind == kind:
            return value
        here, there = self.module.llvm(value.kind), self.module.llvm(kind)
        if kind == "real":
            value = self.cast(value, "int")
            return Value(kind, self.fresh(f"sitofp i64 {value.text} to {there}"))
        if value.kind == "real":
            return Value(kind, self.fresh(f"fptosi {here} {value.text} to {there}"))
        assert {value.kind, kind} <= {"int", "byte", "word", "bool"}, f"{self.name}: {value.kind} is no {kind}"
        word = "trunc" if value.kind == "int" else "zext"
        return Value(kind, self.fresh(f"{word} {here} {value.text} to {there}"))
