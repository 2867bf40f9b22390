"""From a kernel's Python text to LLVM IR; `language.py` says what a kernel may contain."""

import ast
import inspect
import textwrap
from collections.abc import Sequence
from types import FunctionType
from typing import Any, NoReturn

from gedanken.engine.cpu.expressions import LOOPS, NUMBERS, Expressions, typed
from gedanken.engine.cpu.ir_text import POINTERS, Module, Value
from gedanken.engine.cpu.record import parts_of
from gedanken.engine.cpu.tile_unit import HELD, configured
from gedanken.errors import KernelError


class Functions:
    """The functions of one module, each translated once for every combination of argument types."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._known: dict[tuple[FunctionType, tuple[str, ...]], tuple[str, str] | None] = {}

    def translated(self, function: FunctionType, given: Sequence[Value]) -> tuple[str, str] | None:
        """Return name and result type of a function for arguments of these types; None while it is translated."""
        key = (function, tuple(value.type() for value in given))
        if key not in self._known:
            name = f"f{len(self._known)}_{function.__name__}"
            self._known[key] = None
            body = _Function(self, function, given, name)
            self.module.bodies.append(body.translate())
            self._known[key] = (name, body.result or "none")
        return self._known[key]


class _Function(Expressions):
    """One function: its text, line by line; variables live on the stack until LLVM puts them into registers."""

    def __init__(self, functions: Functions, function: FunctionType, given: Sequence[Value], name: str) -> None:
        super().__init__(functions.module, name, function)
        self.functions, self.given = functions, given
        lines, self.first = inspect.getsourcelines(function)
        self.file, self.source = inspect.getsourcefile(function), lines
        self.tree: Any = ast.parse(textwrap.dedent("".join(lines))).body[0]
        self.result = ""
        self.loops: list[tuple[str, str]] = []
        self.now = self.tree

    def translate(self) -> str:
        if not isinstance(self.tree, ast.FunctionDef):
            self.refuse("a kernel is written with `def`")
        if hasattr(self.function, "__wrapped__") or self.function.__code__.co_freevars:
            self.refuse(f"{self.function.__name__} is made by a decorator or inside of a function: its text is not all")
        names = self.parameters()
        given = [value.named(f"%a_{name}") for name, value in zip(names, self.given, strict=True)]
        for name, value in zip(names, given, strict=True):
            self.assign(name, value)
        self.block(self.tree.body)
        self.end()
        given += self.module.hidden
        noinline = " noinline" if getattr(self.function, "noinline", False) else ""
        head = (
            f"define internal {self.module.llvm(self.result or 'none')} @{self.name}({self.listed(given)}){noinline} {{"
        )
        return "\n".join([head, "entry:", *self.slots, *self.lines, "}"])

    def parameters(self) -> list[str]:
        arguments = self.tree.args
        names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults:
            self.refuse("parameters are plain names: no stars, no defaults")
        if not all(word.isascii() for word in (self.function.__name__, *names, *(v.type() for v in self.given))):
            self.refuse("names of functions, parameters and fields are made of ASCII letters")
        if len(names) != len(self.given):
            self.refuse(f"{self.function.__name__} takes {len(names)} arguments, {len(self.given)} are given")
        return names

    def end(self) -> None:
        """End the function where its last line is passed."""
        if self.set_here is not None and self.result not in ("", "none"):
            self.now = self.tree
            self.refuse(f"{self.function.__name__} returns a {self.result} on one path and nothing on another")
        if not self.ended():
            self.emit("ret void" if self.result in ("", "none") else "unreachable")

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
            self.now = statement
            method = getattr(self, f"do_{self.name_of(statement)}", None)
            if method is None:
                self.refuse(f"{self.name_of(statement)} is no statement of the kernels' language")
            method(statement)

    def do_Expr(self, node: ast.Expr) -> None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if not (text or isinstance(node.value, ast.Call)):
            self.refuse("an expression that nothing is done with")
        if not text:
            self.value(node.value)

    def do_Pass(self, node: ast.Pass) -> None:
        pass

    def do_Continue(self, node: ast.Continue) -> None:
        self.leave(f"br label %{self.loops[-1][0]}")

    def do_Break(self, node: ast.Break) -> None:
        if self.group >= 0:
            self.refuse("`break` in a loop over lanes, whose rounds are done in any order")
        self.leave(f"br label %{self.loops[-1][1]}")

    def do_Return(self, node: ast.Return) -> None:
        if self.group >= 0:
            self.refuse("`return` in a loop over lanes, whose rounds are done in any order")
        value = self.value(node.value) if node.value else Value("none", "")
        kind = value.kind
        if value.fields is not None:
            self.refuse(f"{self.function.__name__} returns a {kind}: records are handed to helpers, not back")
        if self.result not in ("", kind):
            self.refuse(f"{self.function.__name__} returns a {self.result} on one path and a {kind} here")
        self.result = kind
        self.leave("ret void" if kind == "none" else f"ret {self.module.llvm(kind)} {value.text}")

    def leave(self, line: str) -> None:
        self.emit(line)
        self.lines.append(f"{self.label('dead')}:")
        self.set_here = None

    def do_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) > 1:
            self.refuse("several targets of one value: write one line for each")
        target = node.targets[0]
        if isinstance(target, ast.Tuple):
            if not isinstance(node.value, ast.Tuple) or len(node.value.elts) != len(target.elts):
                self.refuse("as many values as targets are wanted, each written down")
            assert isinstance(node.value, ast.Tuple)
            values = [self.value(part) for part in node.value.elts]
            for part, value in zip(target.elts, values, strict=True):
                self.put(part, value)
        else:
            self.put(target, self.value(node.value))

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Subscript):
            kind, place = self.element(node.target)
            left = self.loaded(kind, place)
            self.store(kind, place, self.binary(node.op, left, self.value(node.value)))
        else:
            left = self.value(node.target)
            self.put(node.target, self.binary(node.op, left, self.value(node.value)))

    def do_If(self, node: ast.If) -> None:
        yes, no, after = self.label("yes"), self.label("no"), self.label("after")
        self.branch(self.truth(node.test), yes, no)
        before = self.set_here
        self.lines.append(f"{yes}:")
        self.block(node.body)
        if not self.ended():
            self.emit(f"br label %{after}")
        one, self.set_here = self.set_here, before
        self.lines.append(f"{no}:")
        self.block(node.orelse)
        self.start(after)
        other = self.set_here
        self.set_here = other if one is None else one if other is None else one & other

    def do_While(self, node: ast.While) -> None:
        test, body, after = self.label("test"), self.label("body"), self.label("after")
        self.start(test)
        self.branch(self.truth(node.test), body, after)
        self.lines.append(f"{body}:")
        self.rounds(node, test, after)
        self.emit(f"br label %{test}")
        self.lines.append(f"{after}:")

    def rounds(self, node: ast.For | ast.While, following: str, after: str) -> None:
        """Translate a loop's body; there may be no round, so what it sets has no value behind the loop."""
        if node.orelse:
            self.refuse("`else` behind a loop is no part of the kernels' language")
        before = self.set_here
        if isinstance(node, ast.For) and before is not None:
            self.set_here = before | {node.target.id}  # type: ignore[attr-defined]
        self.loops.append((following, after))
        self.block(node.body)
        self.loops.pop()
        self.set_here = before

    def do_For(self, node: ast.For) -> None:
        word, bounds = self.loop_of(node)
        numbers = [self.whole_value(bound).text for bound in bounds]
        if len(bounds) == 3 and numbers[2].lstrip("-").isdigit() and int(numbers[2]) <= 0:
            self.refuse("a range goes upwards: its step is positive")
        first, last, step = {1: ("0", *numbers, "1"), 2: (*numbers, "1"), 3: tuple(numbers)}[len(numbers)]
        test, body, following, after = (self.label(word) for word in ("test", "body", "next", "after"))
        counter = self.slot("int")
        self.emit(f"store i64 {first}, ptr {counter}")
        self.start(test)
        now = self.fresh(f"load i64, ptr {counter}")
        self.branch(self.fresh(f"icmp slt i64 {now}, {last}"), body, after)
        self.lines.append(f"{body}:")
        before = self.set_here
        self.put(node.target, Value("int", now))
        self.set_here = before
        outer, end = self.group, ""
        if word == "lanes":
            self.group, self.module.loops = self.module.loops, self.module.loops + 1
            end = f", !llvm.loop !{3 + 3 * self.group}"
        self.rounds(node, following, after)
        self.group = outer
        self.start(following)
        self.emit(f"store i64 {self.fresh(f'add nsw i64 {now}, {step}')}, ptr {counter}")
        self.emit(f"br label %{test}{end}")
        self.lines.append(f"{after}:")

    def loop_of(self, node: ast.For) -> tuple[str, list[ast.expr]]:
        """Return the word of a loop and what stands in its brackets."""
        call = node.iter
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in LOOPS):
            self.refuse("loops are `for name in range(...)` or `for name in lanes(n)`")
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        self.check_meaning(call.func.id)
        if len(call.args) not in LOOPS[call.func.id] or call.keywords or not isinstance(node.target, ast.Name):
            self.refuse("loops are `for name in range(...)` or `for name in lanes(n)`")
        if len(call.args) == 3 and isinstance(call.args[2], ast.UnaryOp):
            self.refuse("a range goes upwards: its step is positive")
        return call.func.id, call.args

    def whole_value(self, node: ast.expr) -> Value:
        value = self.value(node)
        if value.kind != "int":
            self.refuse(f"{ast.unparse(node)} is a {value.kind}, not a whole number")
        return value

    # ------------------------------------------------------------------ variables and memory

    def assign(self, name: str, value: Value) -> None:
        if value.kind == "none":
            self.refuse(f"{name} is set to what has no value")
        if value.fields is not None and name not in self.variables:
            self.variables[name] = value  # not on the stack: fields are never set again
        else:
            self.variables.setdefault(name, Value(value.kind, self.slot(value.kind)))
            kind, slot, fields = self.variables[name]
            if kind != value.kind:
                self.refuse(f"{name} is a {kind} and cannot become a {value.kind}")
            if fields is not None:
                self.refuse(f"{name} is a {kind}: a variable is set to a record in one place only")
            self.emit(f"store {self.module.llvm(kind)} {value.text}, ptr {slot}")
        if self.set_here is not None:
            self.set_here = self.set_here | {name}

    def put(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.assign(target.id, value)
        elif isinstance(target, ast.Subscript):
            self.store(*self.element(target), value)
        else:
            self.refuse(f"{ast.unparse(target)} cannot be set: variables and elements can, fields of records cannot")

    def store(self, kind: str, place: str, value: Value) -> None:
        self.emit(f"store {self.module.llvm(kind)} {self.cast(value, kind).text}, ptr {place}{self.grouped()}")

    def called(self, function: FunctionType, values: list[Value]) -> Value:
        found = self.functions.translated(function, values)
        if found is None:
            self.refuse(f"{function.__name__} calls itself")
        name, result = found
        call = f"call {self.module.llvm(result)} @{name}({self.listed([*values, *self.module.hidden])})"
        if result == "none":
            self.emit(call)
            return Value("none", "")
        return Value(result, self.fresh(call))

    def refuse(self, rule: str) -> NoReturn:
        raise KernelError(f"{self.file}:{self.line(self.now)}: {rule}\n    {self.text(self.now)}")

    def line(self, node: Any) -> int:
        return int(self.first + node.lineno - 1)

    def text(self, node: Any) -> str:
        return self.source[node.lineno - 1].strip()


def kernel_ir(module: Module, kernel: FunctionType, entry: str) -> list[tuple[str, str]]:
    """Add a kernel to a module under the name `entry`; return its parameters (name, type) after task and scratch.

    The entry is called as (address of the arguments, task, address of scratch memory). The arguments stand in slots of
    eight bytes; a Real is a double there.
    """
    listed = parameters_of(kernel)
    given = [typed(parameter.annotation) for parameter in inspect.signature(kernel).parameters.values()]
    found = Functions(module).translated(kernel, given)
    assert found
    name, _ = found
    lines, values = [HELD] if module.hidden else [], ["i64 %task", "ptr %scratch"]
    for number, (kind, *_) in enumerate(part for value in given[2:] for part in value.parts()):
        held = "double" if kind == "real" else module.llvm(kind)
        lines += [
            f"  %p{number} = getelementptr i64, ptr %slots, i64 {number}",
            f"  %h{number} = load {held}, ptr %p{number}",
        ]
        if kind == "real" and module.bits == 32:
            lines.append(f"  %r{number} = fptrunc double %h{number} to float")
        text = f"%r{number}" if kind == "real" and module.bits == 32 else f"%h{number}"
        values.append(f"{module.llvm(kind)} {text}")
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


def parameters_of(kernel: FunctionType) -> list[tuple[str, str]]:
    """Return a kernel's parameters (name, type), the first two being the task and its scratch memory.

    A record is as many parameters as it has fields, "record.field".
    """
    given = inspect.signature(kernel).parameters.items()
    listed = [part for name, p in given for part in parts_of(name, p.annotation)]
    where = f"{inspect.getsourcefile(kernel)}:{kernel.__code__.co_firstlineno}"
    for name, kind in listed:
        if kind not in NUMBERS and kind not in POINTERS:
            raise KernelError(
                f"{where}: the parameter {name} of {kernel.__name__} has no type of the kernels' language"
            )
    if len(listed) < 2:
        raise KernelError(f"{where}: {kernel.__name__} has no parameters for the task and its scratch memory")
    return listed
