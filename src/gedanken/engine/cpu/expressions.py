"""Expressions of the kernels' language: what each becomes in LLVM IR, and which are refused."""

import ast
import inspect
import struct
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from gedanken.engine.cpu import language
from gedanken.engine.cpu.intrinsics import KINDS, ORDERED, SIGNED, TAKES, Intrinsics
from gedanken.engine.cpu.ir_text import POINTERS, SHORT, Module, Value
from gedanken.engine.cpu.record import Record, check_names, fields_of, is_record
from gedanken.errors import KernelError

LOOPS = {"range": (1, 2, 3), "lanes": (1,)}  # how many numbers each takes
NUMBERS = {"Int": "int", "Real": "real"}
COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
INT_OPS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitXor: "xor", ast.BitAnd: "and", ast.BitOr: "or",
}  # fmt: skip
DIVISIONS = (ast.FloorDiv, ast.Mod)
REAL_OPS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
# What can be worked out although Python would not: it reads no memory, stops nothing and changes nothing.
HARMLESS = (
    ast.Name, ast.Constant, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.IfExp, ast.expr_context, ast.operator,
    ast.cmpop, ast.boolop, ast.unaryop, ast.Attribute,
)  # fmt: skip
HARMLESS_INTRINSICS = {
    "at", "real", "integer", "byte", "uint16", "min", "max", "abs", "sqrt", "round", "exp2i", "exponent",
}  # fmt: skip


def typed(kind: Any) -> Value:
    """Return a value of a declared type."""
    if is_record(kind):
        return Value(kind.__name__, "", {name: typed(inner) for name, inner in fields_of(kind).items()})
    return Value(NUMBERS.get(kind, kind), "")


class Expressions(Intrinsics):
    """Expressions of one function. What Python would not evaluate is not evaluated, or cannot be noticed."""

    def __init__(self, module: Module, name: str, function: FunctionType) -> None:
        super().__init__(module, name)
        self.function = function
        self.variables: dict[str, Value] = {}
        self.locals = set(function.__code__.co_varnames)
        # The variables that have a value here, whatever came before; None where nothing comes by.
        self.set_here: set[str] | None = set()
        self.group = -1
        self.now: Any = None

    def called(self, function: FunctionType, values: list[Value]) -> Value:
        raise NotImplementedError

    def branch(self, test: str, yes: str, no: str) -> None:
        self.emit(f"br i1 {test}, label %{yes}, label %{no}")

    def name_of(self, node: ast.AST) -> str:
        return type(node).__name__

    # ------------------------------------------------------------------ memory

    def element(self, node: ast.Subscript) -> tuple[str, str]:
        pointer, index = self.value(node.value), self.value(node.slice)
        if pointer.kind not in POINTERS:
            self.refuse(f"{ast.unparse(node.value)} is a {pointer.kind} and has no elements")
        if index.kind != "int":
            self.refuse(f"the index {ast.unparse(node.slice)} is a {index.kind}, not a whole number")
        kind = POINTERS[pointer.kind]
        return kind, self.fresh(f"getelementptr {self.module.llvm(kind)}, ptr {pointer.text}, i64 {index.text}")

    def loaded(self, kind: str, place: str) -> Value:
        value = Value(kind, self.fresh(f"load {self.module.llvm(kind)}, ptr {place}{self.grouped()}"))
        return self.cast(value, "int") if kind in SHORT else value

    def grouped(self) -> str:
        return f", !llvm.access.group !{1 + 3 * self.group}" if self.group >= 0 else ""

    # ------------------------------------------------------------------ values

    def value(self, node: ast.expr) -> Value:
        before, self.now = self.now, node
        method = getattr(self, f"get_{self.name_of(node)}", None)
        if method is None:
            self.refuse(f"{self.name_of(node)} is no expression of the kernels' language")
        found: Value = method(node)
        self.now = before
        return found

    def truth(self, node: ast.expr) -> str:
        """Return whether an expression counts as true."""
        before, self.now = self.now, node
        if isinstance(node, ast.BoolOp):
            text = self.both_or_either(node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            text = self.fresh(f"xor i1 {self.truth(node.operand)}, true")
        else:
            text = self.is_not_zero(self.value(node))
        self.now = before
        return text

    def is_not_zero(self, value: Value) -> str:
        if value.kind == "bool":
            return value.text
        value = self.cast(value, "real" if value.kind == "bf16" else value.kind)
        kind = self.module.llvm(value.kind)
        if value.kind == "real":
            return self.fresh(f"fcmp une {kind} {value.text}, {self.literal(0.0)}")
        if value.kind != "int":
            self.refuse(f"a {value.kind} is neither true nor false")
        return self.fresh(f"icmp ne {kind} {value.text}, 0")

    def get_Constant(self, node: ast.Constant) -> Value:
        return self.constant(node.value, repr(node.value))

    def constant(self, value: Any, name: str) -> Value:
        if isinstance(value, bool):
            return Value("bool", "true" if value else "false")
        if isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 64:
                self.refuse(f"{name} does not fit into 64 bits")
            return Value("int", str(value - (1 << 64) if value >= 1 << 63 else value))
        if not isinstance(value, float):
            self.refuse(f"{name} is a {type(value).__name__}, not a number")
        return Value("real", self.literal(value))

    def literal(self, value: float) -> str:
        """Return a real constant: LLVM wants the bits of a double, for a float rounded to one."""
        rounded = struct.unpack("f", struct.pack("f", value))[0] if self.module.bits == 32 else value
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"

    def get_Name(self, node: ast.Name) -> Value:
        name = node.id
        if name in self.locals:
            if self.set_here is not None and name not in self.set_here:
                self.refuse(f"{name} may have no value here")
            if name not in self.variables:
                self.refuse(f"{name} is only set behind a return, break or continue")
            kind, slot, fields = self.variables[name]
            if fields is not None:
                return self.variables[name]
            return Value(kind, self.fresh(f"load {self.module.llvm(kind)}, ptr {slot}"))
        self.check_meaning(name)
        known = self.module.constants if name in self.module.constants else self.function.__globals__
        if name not in known:
            self.refuse(f"{name} is neither a variable nor a number of this file")
        return self.constant(known[name], name)

    def get_Attribute(self, node: ast.Attribute) -> Value:
        value = self.value(node.value)
        if value.fields is None:
            self.refuse(f"{ast.unparse(node.value)} is a {value.kind} and has no fields")
        assert value.fields is not None
        if node.attr not in value.fields:
            self.refuse(f"{value.kind} has no field {node.attr}; it has {', '.join(value.fields)}")
        return value.fields[node.attr]

    def get_Subscript(self, node: ast.Subscript) -> Value:
        return self.loaded(*self.element(node))

    # ------------------------------------------------------------------ choices

    def get_IfExp(self, node: ast.IfExp) -> Value:
        test = self.truth(node.test)
        if all(self.is_harmless(arm, node.test) for arm in (node.body, node.orelse)):
            return self.chosen(test, self.value(node.body), self.value(node.orelse))
        first, second, after = self.label("yes"), self.label("no"), self.label("after")
        self.branch(test, first, second)
        slots = []
        for label, arm in ((first, node.body), (second, node.orelse)):
            self.lines.append(f"{label}:")
            value = self.value(arm)
            if value.fields is not None:
                self.refuse(f"a choice between records: {ast.unparse(arm)} is a {value.kind}")
            slots.append(Value(value.kind, self.slot(value.kind)))
            self.emit(f"store {self.module.llvm(value.kind)} {value.text}, ptr {slots[-1].text}")
            self.emit(f"br label %{after}")
        self.lines.append(f"{after}:")
        yes, no = (Value(kind, self.fresh(f"load {self.module.llvm(kind)}, ptr {slot}")) for kind, slot, _ in slots)
        return self.chosen(test, yes, no)

    def chosen(self, test: str, yes: Value, no: Value) -> Value:
        yes, no = self.alike(yes, no)
        kind = self.module.llvm(yes.kind)
        return Value(yes.kind, self.fresh(f"select i1 {test}, {kind} {yes.text}, {kind} {no.text}"))

    def get_BoolOp(self, node: ast.BoolOp) -> Value:
        text = self.both_or_either(node, strictly=True)
        return Value("bool", text)

    def both_or_either(self, node: ast.BoolOp, strictly: bool = False) -> str:
        """Return the truth of `and` or `or`; what comes after the operand that decides is not evaluated.

        Where the value is wanted, not its truth, Python gives an operand: `strictly` refuses others than truth values.
        """
        both = isinstance(node.op, ast.And)
        text = self.operand(node.values[0], strictly)
        for part in node.values[1:]:
            if self.is_harmless(part, node.values[0]):
                text = self.fresh(f"{'and' if both else 'or'} i1 {text}, {self.operand(part, strictly)}")
                continue
            more, after, slot = self.label("more"), self.label("after"), self.slot("bool")
            self.emit(f"store i1 {text}, ptr {slot}")
            self.branch(text, *((more, after) if both else (after, more)))
            self.lines.append(f"{more}:")
            self.emit(f"store i1 {self.operand(part, strictly)}, ptr {slot}")
            self.emit(f"br label %{after}")
            self.lines.append(f"{after}:")
            text = self.fresh(f"load i1, ptr {slot}")
        return text

    def operand(self, node: ast.expr, strictly: bool) -> str:
        if not strictly:
            return self.truth(node)
        value = self.value(node)
        if value.kind != "bool":
            self.refuse(f"{ast.unparse(node)} is a {value.kind}: as a value, and/or take comparisons")
        return value.text

    def is_harmless(self, node: ast.expr, before: ast.expr) -> bool:
        """Return whether an expression can be evaluated although Python would not; `before` is in any case."""
        seen = {ast.dump(part) for part in evaluated(before) if isinstance(part, ast.Subscript)}
        rest: list[ast.AST] = [node]
        while rest:
            part = rest.pop()
            if isinstance(part, ast.Subscript) and ast.dump(part) in seen:
                continue
            if isinstance(part, ast.Call):
                if not (isinstance(part.func, ast.Name) and part.func.id in HARMLESS_INTRINSICS):
                    return False
            elif not isinstance(part, HARMLESS) or isinstance(part, DIVISIONS):
                return False
            rest += ast.iter_child_nodes(part)
        return True

    # ------------------------------------------------------------------ arithmetic

    def get_UnaryOp(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return Value("bool", self.truth(node))
        value = self.value(node.operand)
        if not isinstance(node.op, ast.USub) or value.kind not in ("real", "int"):
            self.refuse(f"{self.name_of(node.op)} of a {value.kind} is no part of the kernels' language")
        if value.kind == "real":
            return Value("real", self.fresh(f"fneg {self.module.real} {value.text}"))
        return Value("int", self.fresh(f"sub i64 0, {value.text}"))

    def get_BinOp(self, node: ast.BinOp) -> Value:
        return self.binary(node.op, self.value(node.left), self.value(node.right))

    def binary(self, op: ast.operator, left: Value, right: Value) -> Value:
        left, right = self.alike(left, right)
        if isinstance(op, ast.Div) or left.kind == "bf16":
            left, right = self.cast(left, "real"), self.cast(right, "real")
        if left.kind == "bool":
            left, right = self.cast(left, "int"), self.cast(right, "int")
        operations = {"real": REAL_OPS, "int": INT_OPS}.get(left.kind, {})
        if left.kind != "real" and operations and isinstance(op, DIVISIONS):
            return self.divided(op, left, right)
        if type(op) not in operations:
            self.refuse(f"{self.name_of(op)} of a {left.kind} is no part of the kernels' language")
        contract = " contract" if left.kind == "real" else ""
        text = f"{operations[type(op)]}{contract} {self.module.llvm(left.kind)} {left.text}, {right.text}"
        return Value(left.kind, self.fresh(text))

    def divided(self, op: ast.operator, left: Value, right: Value) -> Value:
        """Return quotient or remainder, rounded down as in Python; a processor rounds towards zero."""
        rest = self.fresh(f"srem i64 {left.text}, {right.text}")
        across = self.fresh(f"icmp slt i64 {self.fresh(f'xor i64 {rest}, {right.text}')}, 0")
        down = self.fresh(f"and i1 {across}, {self.fresh(f'icmp ne i64 {rest}, 0')}")
        if isinstance(op, ast.Mod):
            more = self.fresh(f"select i1 {down}, i64 {right.text}, i64 0")
            return Value("int", self.fresh(f"add i64 {rest}, {more}"))
        quotient = self.fresh(f"sdiv i64 {left.text}, {right.text}")
        return Value("int", self.fresh(f"sub i64 {quotient}, {self.fresh(f'zext i1 {down} to i64')}"))

    def get_Compare(self, node: ast.Compare) -> Value:
        if len(node.ops) > 1:
            self.refuse("a chain of comparisons: write `a < b and b < c`")
        if type(node.ops[0]) not in COMPARISONS:
            self.refuse(f"{self.name_of(node.ops[0])} is no comparison of the kernels' language")
        left, right = self.alike(self.value(node.left), self.value(node.comparators[0]))
        if left.kind == "bf16":
            left, right = self.cast(left, "real"), self.cast(right, "real")
        if left.kind == "bool":
            left, right = self.cast(left, "int"), self.cast(right, "int")
        if left.kind not in ("real", "int"):
            self.refuse(f"a {left.kind} is compared with nothing: it is no number")
        sign, kind = COMPARISONS[type(node.ops[0])], self.module.llvm(left.kind)
        if left.kind == "real":
            return Value("bool", self.fresh(f"fcmp {ORDERED[sign]} {kind} {left.text}, {right.text}"))
        return Value("bool", self.fresh(f"icmp {SIGNED[sign]} {kind} {left.text}, {right.text}"))

    # ------------------------------------------------------------------ calls

    def get_Call(self, node: ast.Call) -> Value:
        made = self.record_of(node.func)
        if made:
            return self.record(made, node)
        if node.keywords or not isinstance(node.func, ast.Name):
            self.refuse("calls are `name(a, b)`: no keywords, no methods")
        assert isinstance(node.func, ast.Name)
        name, values = node.func.id, [self.value(argument) for argument in node.args]
        self.check_meaning(name)
        if name in TAKES:
            wanted, intrinsic = TAKES[name].split(), getattr(self, f"intrinsic_{name}")
            self.fits(name, len(wanted), len(values))
            return intrinsic(*(self.taken(name, kind, value) for kind, value in zip(wanted, values, strict=True)))
        function = self.function.__globals__.get(name)
        if not isinstance(function, FunctionType) or name in self.locals:
            self.refuse(f"{name} is neither an intrinsic of the kernels' language nor a function of this file")
        assert isinstance(function, FunctionType)
        if not function.__code__.co_flags & inspect.CO_VARARGS:
            self.fits(name, function.__code__.co_argcount, len(values))
        return self.called(function, values)

    def check_meaning(self, name: str) -> None:
        """Refuse a name of the language to which this function or its file gives another meaning."""
        if not (name in TAKES or name in LOOPS or name in self.module.constants):
            return
        own = getattr(language, name, None)
        if name in self.locals or self.function.__globals__.get(name, own) is not own:
            self.refuse(f"{name} is a name of the kernels' language: what this file calls so needs another one")

    def taken(self, name: str, wanted: str, value: Value) -> Value:
        """Return what an intrinsic is handed, as the kind that it takes; TAKES says which that is."""
        if value.kind == "bool" and wanted in ("whole", "number", "real"):
            value = self.cast(value, "int")
        if (value.kind == "bf16" and wanted in ("number", "real")) or (value.kind, wanted) == ("int", "real"):
            value = self.cast(value, "real")
        if wanted == "constant" and not (value.kind == "int" and value.text.isdigit()):
            self.refuse(f"{name} takes a whole number that is written down or a name of this file's, not negative")
        if (wanted in KINDS and value.kind not in KINDS[wanted]) or (wanted not in KINDS and value.kind != wanted):
            self.refuse(f"{name} takes {wanted if wanted in KINDS else f'a {wanted}'}, not a {value.kind}")
        return value

    # ------------------------------------------------------------------ records

    def record_of(self, node: ast.expr) -> type[Record] | None:
        """Return the record that a call makes: `Record(...)`, or `Record.read(...)`."""
        if isinstance(node, ast.Attribute) and node.attr == "read":
            node = node.value
        found = self.function.__globals__.get(node.id) if isinstance(node, ast.Name) else None
        return found if is_record(found) and node.id not in self.locals else None  # type: ignore[attr-defined]

    def record(self, made: type[Record], node: ast.Call) -> Value:
        if isinstance(node.func, ast.Attribute):
            return self.record_read(made, node)
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            self.refuse(f"fields are given by name: {made.__name__}({', '.join(f'{n}=...' for n in fields_of(made))})")
        given = {str(keyword.arg): keyword.value for keyword in node.keywords}
        try:
            check_names(made, given)
        except KernelError as error:
            self.refuse(str(error))
        values = {name: self.field(made, name, self.value(part)) for name, part in given.items()}
        return Value(made.__name__, "", {name: values[name] for name in fields_of(made)})

    def field(self, made: type[Record], name: str, value: Value) -> Value:
        wanted = typed(fields_of(made)[name])
        if wanted.kind == "int" and value.kind == "bool":
            return self.cast(value, "int")
        if wanted.type() != value.type():
            self.refuse(f"{made.__name__}.{name} is a {wanted.kind}, a {value.kind} is given")
        return value

    def record_read(self, made: type[Record], node: ast.Call) -> Value:
        if node.keywords or len(node.args) != 2:
            self.refuse(f"a row of a table is read by {made.__name__}.read(table, number)")
        table, number = (self.value(argument) for argument in node.args)
        if table.kind != "Ints" or any(kind != "Int" for kind in fields_of(made).values()):
            self.refuse(f"{made.__name__}.read takes a table of Ints, and the fields of the record are Int")
        names = fields_of(made)
        start = self.fresh(f"mul i64 {self.taken(f'{made.__name__}.read', 'whole', number).text}, {len(names)}")
        first = self.fresh(f"getelementptr i64, ptr {table.text}, i64 {start}")
        places = {name: self.fresh(f"getelementptr i64, ptr {first}, i64 {place}") for place, name in enumerate(names)}
        return Value(made.__name__, "", {name: self.loaded("int", place) for name, place in places.items()})

    def fits(self, name: str, wanted: int, given: int) -> None:
        if wanted != given:
            self.refuse(f"{name} takes {wanted} arguments, {given} are given")


def evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of an expression that Python evaluates in any case."""
    yield node
    always: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.BoolOp):
        always = [node.values[0]]
    elif isinstance(node, ast.IfExp):
        always = [node.test]
    for part in always:
        yield from evaluated(part)
