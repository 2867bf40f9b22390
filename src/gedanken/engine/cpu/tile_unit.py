"""The tile unit: intrinsics of the kernels' language for matrix products in bf16 with sums in float32.

    tile_load(tile, x, pitch)      16 rows of 64 bytes, `pitch` elements apart, into tile 0 to 7
    tile_store(tile, y, pitch)     the same, back to memory
    tile_dot(c, a, b)              C[m, n] += sum over k < 32 of A[m, k] * B[k // 2, n, k % 2]

C is 16 x 16 float32, A 16 x 32 bf16, and B holds its 32 rows in pairs: 16 x 16 x 2 bf16. On x86 processors with AMX
each is one instruction. A kernel that uses them is given the unit in one shape for all eight tiles when a task
begins, and gives it back when the task ends: nothing else in this library may know of it.

On the machine with the tiles "emulated", which only tests and benchmarks ask for, the same kernels run on any
processor: a function does each intrinsic's arithmetic on tiles that lie on the stack of a kernel's entry.
"""

from gedanken.engine.cpu.ir_text import POINTERS, Module, Value, Writer

BYTES = {"real": 4, "bf16": 2}
# Palette 1 and eight tiles of 16 rows of 64 bytes, as LDTILECFG reads it: widths from byte 16 on, heights from 48 on.
SHAPE = bytes([1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[16] * 8, *[0] * 8])

HELD = "  %tiles = alloca [8 x [1024 x i8]], align 64"  # the emulated unit's registers

AMX = """declare void @llvm.x86.tileloadd64(i8, ptr, i64)
declare void @llvm.x86.tilestored64(i8, ptr, i64)
declare void @llvm.x86.tdpbf16ps(i8, i8, i8)
declare void @llvm.x86.ldtilecfg(ptr)
declare void @llvm.x86.tilerelease()
@tile_shape = internal constant [64 x i8] [{shape}], align 64"""

# The sums are made in the unit's order: those of even k and of odd k by themselves, then both, then C.
EMULATED = """declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define internal void @copy_tile(ptr %from, i64 %from_pitch, ptr %to, i64 %to_pitch) noinline {
entry:
  br label %rows
rows:
  %row = phi i64 [ 0, %entry ], [ %next, %rows ]
  %x = mul i64 %row, %from_pitch
  %y = mul i64 %row, %to_pitch
  %source = getelementptr i8, ptr %from, i64 %x
  %target = getelementptr i8, ptr %to, i64 %y
  %values = load <16 x i32>, ptr %source, align 1
  store <16 x i32> %values, ptr %target, align 1
  %next = add i64 %row, 1
  %more = icmp ult i64 %next, 16
  br i1 %more, label %rows, label %done
done:
  ret void
}
define internal void @multiply_tiles(ptr %c, ptr %a, ptr %b) noinline {
entry:
  br label %rows
rows:
  %row = phi i64 [ 0, %entry ], [ %next, %end ]
  %left = getelementptr [16 x i32], ptr %a, i64 %row
  br label %pairs
pairs:
  %k = phi i64 [ 0, %rows ], [ %k1, %pairs ]
  %even = phi <16 x float> [ zeroinitializer, %rows ], [ %even1, %pairs ]
  %odd = phi <16 x float> [ zeroinitializer, %rows ], [ %odd1, %pairs ]
  %pa = getelementptr i32, ptr %left, i64 %k
  %one = load i32, ptr %pa
  %first = insertelement <16 x i32> poison, i32 %one, i32 0
  %all = shufflevector <16 x i32> %first, <16 x i32> poison, <16 x i32> zeroinitializer
  %pb = getelementptr <16 x i32>, ptr %b, i64 %k
  %right = load <16 x i32>, ptr %pb
  %a0 = shl <16 x i32> %all, splat (i32 16)
  %a1 = and <16 x i32> %all, splat (i32 -65536)
  %b0 = shl <16 x i32> %right, splat (i32 16)
  %b1 = and <16 x i32> %right, splat (i32 -65536)
  %x0 = bitcast <16 x i32> %a0 to <16 x float>
  %x1 = bitcast <16 x i32> %a1 to <16 x float>
  %y0 = bitcast <16 x i32> %b0 to <16 x float>
  %y1 = bitcast <16 x i32> %b1 to <16 x float>
  %even1 = call <16 x float> @llvm.fma.v16f32(<16 x float> %x0, <16 x float> %y0, <16 x float> %even)
  %odd1 = call <16 x float> @llvm.fma.v16f32(<16 x float> %x1, <16 x float> %y1, <16 x float> %odd)
  %k1 = add i64 %k, 1
  %deeper = icmp ult i64 %k1, 16
  br i1 %deeper, label %pairs, label %end
end:
  %pc = getelementptr <16 x float>, ptr %c, i64 %row
  %sum = load <16 x float>, ptr %pc
  %both = fadd <16 x float> %even1, %odd1
  %new = fadd <16 x float> %sum, %both
  store <16 x float> %new, ptr %pc
  %next = add i64 %row, 1
  %more = icmp ult i64 %next, 16
  br i1 %more, label %rows, label %done
done:
  ret void
}"""


class TileIntrinsics(Writer):
    """The tile unit's intrinsics, and memory on the stack."""

    def intrinsic_local_reals(self, count: Value) -> Value:
        return Value("Reals", self.room(f"[{count.text} x {self.module.real}]", ", align 64"))

    def intrinsic_local_bf16s(self, count: Value) -> Value:
        return Value("Bf16s", self.room(f"[{count.text} x i16]", ", align 64"))

    def intrinsic_tile_load(self, tile: Value, source: Value, pitch: Value) -> Value:
        place, step = self.register(tile), self.byte_pitch(source, pitch)
        if self.module.unit == "amx":
            self.emit(f"call void @llvm.x86.tileloadd64({place}, ptr {source.text}, {step})")
        else:
            self.emit(f"call void @copy_tile(ptr {source.text}, {step}, {place}, i64 64)")
        return Value("none", "")

    def intrinsic_tile_store(self, tile: Value, target: Value, pitch: Value) -> Value:
        place, step = self.register(tile), self.byte_pitch(target, pitch)
        if self.module.unit == "amx":
            self.emit(f"call void @llvm.x86.tilestored64({place}, ptr {target.text}, {step})")
        else:
            self.emit(f"call void @copy_tile({place}, i64 64, ptr {target.text}, {step})")
        return Value("none", "")

    def intrinsic_tile_dot(self, sums: Value, left: Value, right: Value) -> Value:
        word = "llvm.x86.tdpbf16ps" if self.module.unit == "amx" else "multiply_tiles"
        self.emit(f"call void @{word}({', '.join(map(self.register, (sums, left, right)))})")
        return Value("none", "")

    def register(self, number: Value) -> str:
        """Return a tile as an argument: the number of a register, or its place in the emulated unit."""
        if not self.module.unit:
            self.refuse("this machine has no tile unit")
        if int(number.text) > 7:
            self.refuse(f"there are the tiles 0 to 7, not {number.text}")
        self.module.uses_tiles = True
        if self.module.unit == "amx":
            return f"i8 {number.text}"
        return f"ptr {self.fresh(f'getelementptr [1024 x i8], ptr %tiles, i64 {number.text}')}"

    def byte_pitch(self, pointer: Value, pitch: Value) -> str:
        return f"i64 {self.fresh(f'mul i64 {pitch.text}, {BYTES[POINTERS[pointer.kind]]}')}"


def configured(module: Module) -> tuple[str, str]:
    """Return what an entry does before and after a kernel that uses tiles; add to its module what that needs."""
    if not module.uses_tiles:
        return "", ""
    if module.unit == "emulated":
        module.declared["tiles"] = EMULATED
        return "", ""
    module.declared["tiles"] = AMX.format(shape=", ".join(f"i8 {byte}" for byte in SHAPE))
    return "  call void @llvm.x86.ldtilecfg(ptr @tile_shape)", "  call void @llvm.x86.tilerelease()"
