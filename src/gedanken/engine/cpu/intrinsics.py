"""Intrinsics of the kernels' language, and the LLVM IR that each one emits."""

from gedanken.engine.cpu.ir_text import POINTERS, Value
from gedanken.engine.cpu.tile_unit import TileIntrinsics

GEMM_TILE = "gedanken_gemm_tile"
YIELD_THREAD = "gedanken_yield_thread"
FLUSH = 0x8040  # bits of the SSE control register: denormals, as results and as operands, become zero
SIGNED = {"<": "slt", "<=": "sle", ">": "sgt", ">=": "sge", "==": "eq", "!=": "ne"}
# What each intrinsic takes: a type of the language, or a word of KINDS. A truth value is handed over as 0 or 1, a whole
# number as a real where one is taken; a constant is written down.
TAKES = {
    "at": "pointer whole", "real": "number", "integer": "number", "byte": "number", "uint16": "number",
    "ints": "address", "uint16s": "pointer", "bf16s": "pointer", "bytes_of": "pointer", "min": "number number",
    "max": "number number", "abs": "number", "sqrt": "real", "times": "real real", "round": "real", "exp2i": "real",
    "exponent": "real",
    "multiply_high": "whole whole", "multiply_low": "whole whole", "transpose": "Reals whole floats whole",
    "local_reals": "constant", "local_bf16s": "constant", "gemm_tile": "whole whole Tile",
    "tile_load": "constant floats whole", "tile_store": "constant floats whole",
    "tile_dot": "constant constant constant", "exchange": "Reals whole real real", "atomic_add": "Ints whole whole",
    "prefetch": "pointer whole", "atomic_swap": "Ints whole whole", "atomic_claim": "Ints whole whole",
    "atomic_load": "Ints whole",
    "call": "whole whole whole whole", "pause": "", "yield_thread": "", "flush_denormals": "", "restore": "whole",
}  # fmt: skip
KINDS = {
    "whole": ("int",), "real": ("real",), "number": ("int", "real"), "constant": ("int",), "pointer": tuple(POINTERS),
    "floats": ("Reals", "Bf16s"), "address": ("int", *POINTERS),
}  # fmt: skip
ORDERED = {"<": "olt", "<=": "ole", ">": "ogt", ">=": "oge", "==": "oeq", "!=": "une"}


class Intrinsics(TileIntrinsics):
    """The method `intrinsic_x` writes the intrinsic `x`."""

    def intrinsic_at(self, pointer: Value, index: Value) -> Value:
        kind = self.module.llvm(POINTERS[pointer.kind])
        return Value(pointer.kind, self.fresh(f"getelementptr {kind}, ptr {pointer.text}, i64 {index.text}"))

    def intrinsic_real(self, value: Value) -> Value:
        return self.cast(value, "real")

    def intrinsic_integer(self, value: Value) -> Value:
        return self.cast(value, "int")

    def intrinsic_byte(self, value: Value) -> Value:
        return self.lowest(value, "byte")

    def intrinsic_uint16(self, value: Value) -> Value:
        return self.lowest(value, "uint16")

    def lowest(self, value: Value, kind: str) -> Value:
        """Return the bits of a number that a kind of memory holds."""
        return self.cast(self.cast(self.cast(value, "int"), kind), "int")

    def intrinsic_ints(self, address: Value) -> Value:
        if address.kind in POINTERS:
            return Value("Ints", address.text)
        return Value("Ints", self.fresh(f"inttoptr i64 {address.text} to ptr"))

    def intrinsic_uint16s(self, pointer: Value) -> Value:
        return Value("UInt16s", pointer.text)

    def intrinsic_bf16s(self, pointer: Value) -> Value:
        return Value("Bf16s", pointer.text)

    def intrinsic_bytes_of(self, pointer: Value) -> Value:
        return Value("Bytes", pointer.text)

    def intrinsic_min(self, left: Value, right: Value) -> Value:
        return self.smaller(left, right, "<")

    def intrinsic_max(self, left: Value, right: Value) -> Value:
        return self.smaller(left, right, ">")

    def smaller(self, left: Value, right: Value, sign: str) -> Value:
        """As in Python, the first of two where the second is not smaller; so a NaN stays if it comes first."""
        left, right = self.alike(left, right)
        kind = self.module.llvm(left.kind)
        test = f"fcmp {ORDERED[sign]}" if left.kind == "real" else f"icmp {SIGNED[sign]}"
        chosen = self.fresh(f"{test} {kind} {right.text}, {left.text}")
        return Value(left.kind, self.fresh(f"select i1 {chosen}, {kind} {right.text}, {kind} {left.text}"))

    def intrinsic_abs(self, value: Value) -> Value:
        if value.kind != "real":
            return self.smaller(value, Value("int", self.fresh(f"sub i64 0, {value.text}")), ">")
        return self.llvm_intrinsic("fabs", value)

    def intrinsic_times(self, left: Value, right: Value) -> Value:
        """A product that is rounded before anything is added to it."""
        return Value("real", self.fresh(f"fmul {self.module.real} {left.text}, {right.text}"))

    def intrinsic_sqrt(self, value: Value) -> Value:
        return self.llvm_intrinsic("sqrt", value)

    def intrinsic_round(self, value: Value) -> Value:
        return self.llvm_intrinsic("rint", value)

    def llvm_intrinsic(self, name: str, value: Value) -> Value:
        real = self.module.real
        symbol = f"llvm.{name}.f{self.module.bits}"
        self.module.declare(symbol, f"{real} @{symbol}({real})")
        return Value("real", self.fresh(f"call {real} @{symbol}({real} {value.text})"))

    def intrinsic_exp2i(self, power: Value) -> Value:
        """2 ** power for a real that is whole and in the range of exponents: its bits, written down."""
        bits, (bias, shift) = self.module.bits, (127, 23) if self.module.bits == 32 else (1023, 52)
        number = self.fresh(f"fptosi {self.module.real} {power.text} to i{bits}")
        biased = self.fresh(f"add i{bits} {number}, {bias}")
        raised = self.fresh(f"shl i{bits} {biased}, {shift}")
        return Value("real", self.fresh(f"bitcast i{bits} {raised} to {self.module.real}"))

    def intrinsic_exponent(self, value: Value) -> Value:
        """The exponent among a real's bits, as a real; of 0 and of what is not finite it is one beyond all others."""
        bits, (bias, shift) = self.module.bits, (127, 23) if self.module.bits == 32 else (1023, 52)
        number = self.fresh(f"bitcast {self.module.real} {value.text} to i{bits}")
        biased = self.fresh(f"and i{bits} {self.fresh(f'lshr i{bits} {number}, {shift}')}, {2 * bias + 1}")
        power = self.fresh(f"sub i{bits} {biased}, {bias}")
        return Value("real", self.fresh(f"sitofp i{bits} {power} to {self.module.real}"))

    def intrinsic_multiply_high(self, left: Value, right: Value) -> Value:
        return Value("int", self.fresh(f"trunc i128 {self.fresh(f'lshr i128 {self.wide(left, right)}, 64')} to i64"))

    def intrinsic_multiply_low(self, left: Value, right: Value) -> Value:
        # Taken from the same long product, so that the processor multiplies once.
        return Value("int", self.fresh(f"trunc i128 {self.wide(left, right)} to i64"))

    def wide(self, left: Value, right: Value) -> str:
        wide = [self.fresh(f"zext i64 {value.text} to i128") for value in (left, right)]
        return self.fresh(f"mul i128 {wide[0]}, {wide[1]}")

    def intrinsic_transpose(self, source: Value, source_pitch: Value, target: Value, target_pitch: Value) -> Value:
        """Transpose a square of lanes x lanes numbers: rows come in as vectors, columns leave so, maybe as bf16.

        Stage by stage, rows i and i + step exchange those lanes whose number has the bit `step`.
        """
        lanes, real = self.module.lanes, self.module.real
        kind, step = f"<{lanes} x {real}>", lanes // 2
        rows = [self.vector_load(source, source_pitch, row, kind) for row in range(lanes)]
        while step:
            low = [lane if not lane & step else lanes + (lane ^ step) for lane in range(lanes)]
            high = [lane | step if not lane & step else lanes + lane for lane in range(lanes)]
            for row in range(lanes):
                if not row & step:
                    pair = f"{kind} {rows[row]}, {kind} {rows[row + step]}"
                    rows[row], rows[row + step] = (self.shuffle(pair, picked) for picked in (low, high))
            step //= 2
        for row, text in enumerate(rows):
            place = self.row_place(target, target_pitch, row)
            if target.kind == "Bf16s":
                self.emit(f"store <{lanes} x i16> {self.rounded(text, lanes)}, ptr {place}, align 2")
            else:
                self.emit(f"store {kind} {text}, ptr {place}, align {self.module.bits // 8}")
        return Value("none", "")

    def shuffle(self, pair: str, picked: list[int]) -> str:
        numbers = ", ".join(f"i32 {lane}" for lane in picked)
        return self.fresh(f"shufflevector {pair}, <{len(picked)} x i32> <{numbers}>")

    def vector_load(self, source: Value, pitch: Value, row: int, kind: str) -> str:
        return self.fresh(f"load {kind}, ptr {self.row_place(source, pitch, row)}, align {self.module.bits // 8}")

    def row_place(self, base: Value, pitch: Value, row: int) -> str:
        offset = self.fresh(f"mul i64 {pitch.text}, {row}")
        return self.fresh(f"getelementptr {self.module.llvm(POINTERS[base.kind])}, ptr {base.text}, i64 {offset}")

    def intrinsic_gemm_tile(self, m: Value, n: Value, tile: Value) -> Value:
        name = f"{GEMM_TILE}_{self.module.real}"
        kinds = ", ".join(self.module.llvm(part.kind) for part in (m, n, *tile.parts()))
        self.module.declare(name, f"void @{name}({kinds})")
        self.emit(f"call void @{name}({self.listed([m, n, tile])})")
        return Value("none", "")

    def intrinsic_atomic_add(self, pointer: Value, index: Value, amount: Value) -> Value:
        place = self.fresh(f"getelementptr i64, ptr {pointer.text}, i64 {index.text}")
        return Value("int", self.fresh(f"atomicrmw add ptr {place}, i64 {amount.text} seq_cst"))

    def intrinsic_atomic_swap(self, pointer: Value, index: Value, value: Value) -> Value:
        place = self.fresh(f"getelementptr i64, ptr {pointer.text}, i64 {index.text}")
        return Value("int", self.fresh(f"atomicrmw xchg ptr {place}, i64 {value.text} seq_cst"))

    def intrinsic_atomic_claim(self, pointer: Value, index: Value, value: Value) -> Value:
        """Put an integer in place of a 0, if one is there; return whether it was, as 1 or 0."""
        place = self.fresh(f"getelementptr i64, ptr {pointer.text}, i64 {index.text}")
        pair = self.fresh(f"cmpxchg ptr {place}, i64 0, i64 {value.text} seq_cst seq_cst")
        done = self.fresh(f"extractvalue {{ i64, i1 }} {pair}, 1")
        return Value("int", self.fresh(f"zext i1 {done} to i64"))

    def intrinsic_atomic_load(self, pointer: Value, index: Value) -> Value:
        place = self.fresh(f"getelementptr i64, ptr {pointer.text}, i64 {index.text}")
        return Value("int", self.fresh(f"load atomic i64, ptr {place} seq_cst, align 8"))

    def intrinsic_exchange(self, pointer: Value, index: Value, seen: Value, value: Value) -> Value:
        """Put a real in place of another one if it is still there, bit for bit; return whether it was, as 1 or 0."""
        real, bits = self.module.real, self.module.bits
        place = self.fresh(f"getelementptr {real}, ptr {pointer.text}, i64 {index.text}")
        old, new = (self.fresh(f"bitcast {real} {one.text} to i{bits}") for one in (seen, value))
        pair = self.fresh(f"cmpxchg ptr {place}, i{bits} {old}, i{bits} {new} seq_cst seq_cst")
        done = self.fresh(f"extractvalue {{ i{bits}, i1 }} {pair}, 1")
        return Value("int", self.fresh(f"zext i1 {done} to i64"))

    def intrinsic_prefetch(self, pointer: Value, index: Value) -> Value:
        """Let the processor fetch an element that is read soon; one outside of the memory is no error."""
        name, place = "llvm.prefetch.p0", self.intrinsic_at(pointer, index).text
        self.module.declare(name, f"void @{name}(ptr, i32, i32, i32)")
        self.emit(f"call void @{name}(ptr {place}, i32 0, i32 3, i32 1)")
        return Value("none", "")

    def intrinsic_call(self, function: Value, arguments: Value, task: Value, scratch: Value) -> Value:
        pointer = self.fresh(f"inttoptr i64 {function.text} to ptr")
        self.emit(f"call void {pointer}({self.listed([arguments, task, scratch])})")
        return Value("none", "")

    def intrinsic_pause(self) -> Value:
        name, kind, value = ("llvm.x86.sse2.pause", "", "") if self.module.x86 else ("llvm.donothing", "", "")
        self.module.declare(name, f"void @{name}({kind})")
        self.emit(f"call void @{name}({value})")
        return Value("none", "")

    def intrinsic_yield_thread(self) -> Value:
        self.module.declare(YIELD_THREAD, f"i32 @{YIELD_THREAD}()")
        self.emit(f"call i32 @{YIELD_THREAD}()")
        return Value("none", "")

    def intrinsic_flush_denormals(self) -> Value:
        """Make this thread take denormals as zero; return its state before.

        They are as good as zero here, but cost a processor a hundred times the time.
        """
        if not self.module.x86:
            return Value("int", "0")
        for name in ("stmxcsr", "ldmxcsr"):
            self.module.declare(name, f"void @llvm.x86.sse.{name}(ptr)")
        place = self.slot("int")
        self.emit(f"call void @llvm.x86.sse.stmxcsr(ptr {place})")
        before = self.fresh(f"load i32, ptr {place}")
        self.emit(f"store i32 {self.fresh(f'or i32 {before}, {FLUSH}')}, ptr {place}")
        self.emit(f"call void @llvm.x86.sse.ldmxcsr(ptr {place})")
        return Value("int", self.fresh(f"zext i32 {before} to i64"))

    def intrinsic_restore(self, state: Value) -> Value:
        """Give this thread the state that `flush_denormals` found."""
        if self.module.x86:
            place = self.slot("int")
            self.emit(f"store i32 {self.fresh(f'trunc i64 {state.text} to i32')}, ptr {place}")
            self.emit(f"call void @llvm.x86.sse.ldmxcsr(ptr {place})")
        return Value("none", "")
