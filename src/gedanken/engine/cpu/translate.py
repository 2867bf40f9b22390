"""From a kernel's Python text to LLVM IR; `language.py` says what a kernel may contain."""

import ast
import inspect
import struct
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any

from gedanken.engine.cpu.ir_text import POINTERS, Module, Value
from gedanken.engine.cpu.tile_unit import HELD, configured
from gedanken.engine.cpu.words import ORDERED, SIGNED, UNSIGNED, Words

NUMBERS = {"Int": "int", "Real": "real"}
COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
INT_OPS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "sdiv", ast.Mod: "srem",
    ast.BitXor: "xor", ast.BitAnd: "and", ast.BitOr: "or",
}  # fmt: skip
REAL_OPS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}


class Functions:
    """The functions of one module, each translated once for every combination of argument types."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._known: dict[tuple[str, tuple[str, ...]], tuple[str, str]] = {}

    def translated(self, function: FunctionType, kinds: tuple[str, ...]) -> tuple[str, str]:
        """Return name and result type of a function for these types of arguments."""
        key = (f"{function.__module__}.{function.__name__}", kinds)
        if key not in self._known:
            name = f"f{len(self._known)}_{function.__name__}"
            self._known[key] = (name, "none")
            body = _Function(self, function, kinds, name)
            self.module.bodies.append(body.translate())
            self._known[key] = (name, body.result)
        return self._known[key]


class _Function(Words):
    """One function: its text, line by line; variables live on the stack until LLVM puts them into registers."""

    def __init__(self, functions: Functions, function: FunctionType, kinds: tuple[str, ...], name: str) -> None:
        super().__init__(functions.module, name)
        self.functions, self.function = functions, function
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        self.tree: Any = tree.body[0]
        self.kinds = kinds
        self.result = "none"
        self.variables: dict[str, Value] = {}
        self.loops: list[tuple[str, str]] = []
        self.group = -1

    def translate(self) -> str:
        names = [argument.arg for argument in self.tree.args.args]
        given = [Value(kind, f"%a_{name}") for name, kind in zip(names, self.kinds, strict=True)]
        for name, value in zip(names, given, strict=True):
            self.assign(name, value)
        self.block(self.tree.body)
        if not self.ended():
            self.emit("ret void" if self.result == "none" else "unreachable")
        given += self.module.hidden
        apart = " noinline" if getattr(self.function, "apart", False) else ""
        head = f"define internal {self.module.llvm(self.result)} @{self.name}({self.listed(given)}){apart} {{"
        return "\n".join([head, "entry:", *self.slots, *self.lines, "}"])

    def start(self, label: str) -> None:
        if not self.ended():
            self.emit(f"br label %{label}")
        self.lines.append(f"{label}:")

    def ended(self) -> bool:
        last = self.lines[-1].strip() if self.lines else ""
        return last.startswith(("br ", "ret ", "unreachable"))

    # ------------------------------------------------------------------ statements

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            getattr(self, f"do_{type(statement).__name__}")(statement)

    def do_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.value(node.value)

    def do_Pass(self, node: ast.Pass) -> None:
        pass

    def do_Continue(self, node: ast.Continue) -> None:
        self.emit(f"br label %{self.loops[-1][0]}")
        self.lines.append(f"{self.label('dead')}:")

    def do_Break(self, node: ast.Break) -> None:
        self.emit(f"br label %{self.loops[-1][1]}")
        self.lines.append(f"{self.label('dead')}:")

    def do_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self.emit("ret void")
        else:
            value = self.value(node.value)
            self.result = value.kind
            self.emit(f"ret {self.module.llvm(value.kind)} {value.text}")

    def do_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(target, ast.Tuple):
            assert isinstance(node.value, ast.Tuple)
            values = [self.value(part) for part in node.value.elts]
            for part, value in zip(target.elts, values, strict=True):
                self.put(part, value)
        else:
            self.put(target, self.value(node.value))

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        left = self.value(node.target)
        self.put(node.target, self.binary(node.op, left, self.value(node.value)))

    def do_If(self, node: ast.If) -> None:
        yes, no, after = self.label("yes"), self.label("no"), self.label("after")
        self.emit(f"br i1 {self.truth(node.test)}, label %{yes}, label %{no}")
        self.lines.append(f"{yes}:")
        self.block(node.body)
        if not self.ended():
            self.emit(f"br label %{after}")
        self.lines.append(f"{no}:")
        self.block(node.orelse)
        self.start(after)

    def do_While(self, node: ast.While) -> None:
        test, body, after = self.label("test"), self.label("body"), self.label("after")
        self.start(test)
        self.emit(f"br i1 {self.truth(node.test)}, label %{body}, label %{after}")
        self.lines.append(f"{body}:")
        self.loops.append((test, after))
        self.block(node.body)
        self.loops.pop()
        self.emit(f"br label %{test}")
        self.lines.append(f"{after}:")

    def do_For(self, node: ast.For) -> None:
        assert isinstance(node.iter, ast.Call) and isinstance(node.iter.func, ast.Name)
        assert isinstance(node.target, ast.Name)
        numbers = [self.value(bound).text for bound in node.iter.args]
        first, last, step = {1: ("0", *numbers, "1"), 2: (*numbers, "1"), 3: tuple(numbers)}[len(numbers)]
        test, body, following, after = (self.label(word) for word in ("test", "body", "next", "after"))
        counter = self.slot("int")
        self.emit(f"store i64 {first}, ptr {counter}")
        self.start(test)
        now = self.fresh(f"load i64, ptr {counter}")
        self.emit(f"br i1 {self.fresh(f'icmp slt i64 {now}, {last}')}, label %{body}, label %{after}")
        self.lines.append(f"{body}:")
        self.assign(node.target.id, Value("int", now))
        outer, end = self.group, ""
        if node.iter.func.id == "lanes":
            self.group, self.module.loops = self.module.loops, self.module.loops + 1
            end = f", !llvm.loop !{3 + 3 * self.group}"
        self.loops.append((following, after))
        self.block(node.body)
        self.loops.pop()
        self.group = outer
        self.start(following)
        self.emit(f"store i64 {self.fresh(f'add nsw i64 {now}, {step}')}, ptr {counter}")
        self.emit(f"br label %{test}{end}")
        self.lines.append(f"{after}:")

    # ------------------------------------------------------------------ variables and memory

    def assign(self, name: str, value: Value) -> None:
        if name not in self.variables:
            self.variables[name] = Value(value.kind, self.slot(value.kind))
        kind, slot = self.variables[name]
        assert kind == value.kind, f"{self.name}: {name} is a {kind} and cannot become a {value.kind}"
        self.emit(f"store {self.module.llvm(kind)} {value.text}, ptr {slot}")

    def put(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.assign(target.id, value)
            return
        assert isinstance(target, ast.Subscript)
        kind, place = self.element(target)
        self.emit(f"store {self.module.llvm(kind)} {self.cast(value, kind).text}, ptr {place}{self.grouped()}")

    def element(self, node: ast.Subscript) -> tuple[str, str]:
        pointer, index = self.value(node.value), self.value(node.slice)
        kind = POINTERS[pointer.kind]
        return kind, self.fresh(f"getelementptr {self.module.llvm(kind)}, ptr {pointer.text}, i64 {index.text}")

    def grouped(self) -> str:
        return f", !llvm.access.group !{1 + 3 * self.group}" if self.group >= 0 else ""

    # ------------------------------------------------------------------ expressions

    def value(self, node: ast.expr) -> Value:
        found: Value = getattr(self, f"get_{type(node).__name__}")(node)
        return found

    def truth(self, node: ast.expr) -> str:
        value = self.value(node)
        return (
            value.text
            if value.kind == "bool"
            else self.fresh(f"icmp ne {self.module.llvm(value.kind)} {value.text}, 0")
        )

    def get_Constant(self, node: ast.Constant) -> Value:
        return self.constant(node.value)

    def constant(self, value: Any) -> Value:
        if isinstance(value, bool):
            return Value("bool", "true" if value else "false")
        if isinstance(value, int):
            return Value("int", str(value - (1 << 64) if value >= 1 << 63 else value))
        return Value("real", self.literal(value))

    def literal(self, value: float) -> str:
        """Return a real constant: LLVM wants the bits of a double, for a float rounded to one."""
        rounded = struct.unpack("f", struct.pack("f", value))[0] if self.module.bits == 32 else value
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"

    def get_Name(self, node: ast.Name) -> Value:
        if node.id in self.variables:
            kind, slot = self.variables[node.id]
            return Value(kind, self.fresh(f"load {self.module.llvm(kind)}, ptr {slot}"))
        return self.constant(self.module.constants.get(node.id, self.function.__globals__[node.id]))

    def get_Subscript(self, node: ast.Subscript) -> Value:
        kind, place = self.element(node)
        return Value(kind, self.fresh(f"load {self.module.llvm(kind)}, ptr {place}{self.grouped()}"))

    def get_IfExp(self, node: ast.IfExp) -> Value:
        test, yes, no = self.truth(node.test), self.value(node.body), self.value(node.orelse)
        no = self.cast(no, yes.kind)
        kind = self.module.llvm(yes.kind)
        return Value(yes.kind, self.fresh(f"select i1 {test}, {kind} {yes.text}, {kind} {no.text}"))

    def get_BoolOp(self, node: ast.BoolOp) -> Value:
        word = "and" if isinstance(node.op, ast.And) else "or"
        text = self.truth(node.values[0])
        for part in node.values[1:]:
            text = self.fresh(f"{word} i1 {text}, {self.truth(part)}")
        return Value("bool", text)

    def get_UnaryOp(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return Value("bool", self.fresh(f"xor i1 {self.truth(node.operand)}, true"))
        value = self.value(node.operand)
        assert isinstance(node.op, ast.USub)
        if value.kind == "real":
            return Value("real", self.fresh(f"fneg {self.module.real} {value.text}"))
        return Value("int", self.fresh(f"sub i64 0, {value.text}"))

    def get_BinOp(self, node: ast.BinOp) -> Value:
        return self.binary(node.op, self.value(node.left), self.value(node.right))

    def binary(self, op: ast.operator, left: Value, right: Value) -> Value:
        left, right = self.alike(left, right)
        if isinstance(op, ast.Div):
            left, right = self.cast(left, "real"), self.cast(right, "real")
        if left.kind == "real":
            return Value(
                "real", self.fresh(f"{REAL_OPS[type(op)]} contract {self.module.real} {left.text}, {right.text}")
            )
        return Value(
            left.kind, self.fresh(f"{INT_OPS[type(op)]} {self.module.llvm(left.kind)} {left.text}, {right.text}")
        )

    def get_Compare(self, node: ast.Compare) -> Value:
        left, right = self.alike(self.value(node.left), self.value(node.comparators[0]))
        sign = COMPARISONS[type(node.ops[0])]
        kind = self.module.llvm(left.kind)
        if left.kind == "real":
            return Value("bool", self.fresh(f"fcmp {ORDERED[sign]} {kind} {left.text}, {right.text}"))
        names = UNSIGNED if left.kind in ("byte", "word") else SIGNED
        return Value("bool", self.fresh(f"icmp {names[sign]} {kind} {left.text}, {right.text}"))

    def get_Call(self, node: ast.Call) -> Value:
        assert isinstance(node.func, ast.Name)
        values = [self.value(argument) for argument in node.args]
        word: Callable[..., Value] | None = getattr(self, f"word_{node.func.id}", None)
        if word:
            return word(*values)
        function = self.function.__globals__[node.func.id]
        name, result = self.functions.translated(function, tuple(value.kind for value in values))
        call = f"call {self.module.llvm(result)} @{name}({self.listed([*values, *self.module.hidden])})"
        if result == "none":
            self.emit(call)
            return Value("none", "")
        return Value(result, self.fresh(call))


def kernel_ir(module: Module, kernel: FunctionType, entry: str) -> list[tuple[str, str]]:
    """Add a kernel to a module under the name `entry`; return its parameters (name, type) after task and scratch.

    The entry is called as (address of the arguments, task, address of scratch memory). The arguments stand in slots of
    eight bytes; a Real is a double there.
    """
    listed = [(name, p.annotation) for name, p in inspect.signature(kernel).parameters.items()]
    kinds = tuple(NUMBERS.get(kind, kind) for _, kind in listed)
    name, _ = Functions(module).translated(kernel, kinds)
    lines, values = [HELD] if module.hidden else [], ["i64 %task", "ptr %scratch"]
    for number, kind in enumerate(kinds[2:]):
        held = "double" if kind == "real" else module.llvm(kind)
        lines += [
            f"  %p{number} = getelementptr i64, ptr %slots, i64 {number}",
            f"  %h{number} = load {held}, ptr %p{number}",
        ]
        if kind == "real" and module.bits == 32:
            lines.append(f"  %r{number} = fptrunc double %h{number} to float")
        given = f"%r{number}" if kind == "real" and module.bits == 32 else f"%h{number}"
        values.append(f"{module.llvm(kind)} {given}")
    values += [f"ptr {value.text}" for value in module.hidden]
    body, (before, after) = "\n".join(lines), configured(module)
    module.bodies.append(f"""define void @{entry}(i64 %arguments, i64 %task, i64 %memory) {{
  %slots = inttoptr i64 %arguments to ptr
  %scratch = inttoptr i64 %memory to ptr
{body}
{before}
  call void @{name}({", ".join(values)})
{after}
  ret void
}}""")
    return listed[2:]
