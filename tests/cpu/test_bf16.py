"""Products in bf16: on an emulated tile unit, and the instructions of a real one, trapped and done in software.

Numbers that are bf16 already multiply exactly, so with such parameters and inputs the specification in float32 is
what must come out, up to the order of sums.
"""

import ctypes
import errno
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gedanken import (
    Adam,
    ArgumentError,
    BatchNorm,
    ConvolutionLayer,
    Dropout,
    EngineError,
    Flatten,
    FullyConnectedLayer,
    Layer,
    MaxPoolLayer,
    Network,
    ReLU,
    Residual,
    SoftMax,
)
from gedanken.engine.cpu import amx
from gedanken.engine.cpu.compiler import Library, optimised, target_machine
from gedanken.engine.cpu.engine import CpuEngine
from gedanken.engine.cpu.ir_text import Module
from gedanken.engine.cpu.kernels import bf16, bf16_conv
from gedanken.engine.cpu.machine import Machine, this_machine
from gedanken.engine.cpu.program import call
from gedanken.engine.cpu.translate import kernel_ir
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.types import Array, Shape
from tests.cpu.agree import check_agreement
from tests.cpu.test_compiler import TILES, machine_like
from tests.cpu.test_kernels_agree import WINDOWS, convolutions, fits, values
from tests.cpu.test_threads import LABELS, PICTURES

EMULATED = this_machine()._replace(tiles="emulated")


def on(machine: Machine, threads: int | None = None) -> CpuEngine:
    """Return the engine that multiplies in bf16, for a machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gedanken.engine.cpu.engine.this_machine", lambda: machine)
        return CpuEngine("test", "float32", threads, "bf16")


@cache
def emulated() -> CpuEngine:
    return on(EMULATED, 2)


def nearest(x: Array) -> Array:
    """Return the nearest bf16 by distances: the next ones towards zero and away from it, ties to the even one."""
    x = np.asarray(x, np.float32)
    finite = np.isfinite(x)
    bits = np.where(finite, x, 0).view(np.uint32)
    near, far = bits & 0xFFFF0000, (bits & 0xFFFF0000) + np.uint32(0x10000)
    below, above = (end.view(np.float32).astype(float) for end in (near, far))
    size = np.where(finite, abs(x), 0).astype(float)
    down, up = size - abs(below), np.where(np.isinf(above), 2.0**128, abs(above)) - size
    chosen = np.where((up < down) | ((up == down) & (near >> 16 & 1 == 1)), far, near)
    return np.where(finite, chosen.view(np.float32), x)


def check(layers: list[Layer], shape: Shape, samples: int, seed: int, engine: CpuEngine | None = None) -> None:
    x = nearest(values(samples, shape, seed, "float32"))
    check_agreement(layers, shape, x, engine or emulated(), nearest)


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 3.4e38, 3.3961e38, 1e-38, 1e-45, 1.00390625, 1.01171875]


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("unit", [None, *TILES])
def test_rounding_is_to_the_nearest_and_ties_to_even(unit: str | None, trans: int) -> None:
    machine = machine_like(unit)._replace(tiles="emulated") if unit else EMULATED
    bits = np.random.default_rng(0).integers(0, 1 << 32, 64 * 61, dtype=np.uint64).astype(np.uint32)
    bits[:900] = bits[:900] & 0xFFFF0000 | 0x8000  # ties
    bits[900:904] = 0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF  # NaN that adding to would make something else
    x = bits.view(np.float32).reshape(64, 61).copy()
    x[7, : len(SPECIAL)] = SPECIAL
    rounded = np.full((61, 64) if trans else (64, 64), 0xFFFF, np.uint16)
    rows, inner = (61, 64) if trans else (64, 61)
    kernels = Library(machine, "float32")
    call(
        kernels, "bf16.left_factor", a=x, rounded=rounded, rows=rows, inner=inner, trans=trans, piece=rows,
    )  # fmt: skip
    got = (rounded.astype(np.uint32) << 16).view(np.float32)
    assert (got[:, inner:] == 0).all()
    np.testing.assert_array_equal(got[:, :inner], nearest(x.T if trans else x))
    assert (np.signbit(got[:, :inner]) == np.signbit(x.T if trans else x)).all()


@settings(max_examples=150)
@given(convolutions(), st.integers(1, 5), st.integers(0, 99))
def test_any_convolution(made: tuple[Layer, Shape], samples: int, seed: int) -> None:
    layer, shape = made
    assume(fits([layer], shape))
    check([layer], shape, samples, seed)


@settings(max_examples=80)
@given(st.integers(1, 100), st.integers(1, 70), st.integers(1, 70), st.booleans(), st.integers(0, 99))
def test_any_dense_layer(features: int, units: int, samples: int, bias: bool, seed: int) -> None:
    check([FullyConnectedLayer(units, bias=bias), ReLU()], (features,), samples, seed)


LARGE: list[tuple[Layer, Shape, int]] = [
    (FullyConnectedLayer(65), (2100,), 70),  # several pieces of the inner axis
    (FullyConnectedLayer(16), (16,), 600),
    (FullyConnectedLayer(7), (5, 33), 4),
    (ConvolutionLayer(64, 3, 3), (32, 14, 14), 3),
    (ConvolutionLayer(32, 3, 3, zero_padding=1), (40, 33, 31), 2),  # several strips of dy
    (ConvolutionLayer(64, 1, 1), (64, 4, 4), 40),  # several images at once
    (ConvolutionLayer(48, 1, 1), (31, 1, 1), 20),
    (ConvolutionLayer(33, 3, 3, stride=2, zero_padding=1), (17, 16, 16), 9),
]


@pytest.mark.parametrize(("layer", "shape", "samples"), LARGE, ids=str)
def test_large_layers(layer: Layer, shape: Shape, samples: int) -> None:
    check([layer], shape, samples, 1)


@pytest.mark.parametrize("samples", [1, 5, 27])
@pytest.mark.parametrize(("layer", "shape"), WINDOWS, ids=str)
def test_windows_of_any_size(layer: Layer, shape: Shape, samples: int) -> None:
    check([layer], shape, samples, 3)


@pytest.mark.parametrize("unit", TILES)
def test_other_processors_vectors_compute_the_same(unit: str) -> None:
    engine = on(machine_like(unit)._replace(tiles="emulated"), 1)
    for layer, shape, samples in LARGE[:5]:
        check([layer], shape, samples, 2, engine)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "layers",
    [
        [ConvolutionLayer(20, 3, 3, zero_padding=1)],
        [ConvolutionLayer(9, 2, 3, stride=2, dilation=2)],
        [ConvolutionLayer(6, 3, 3, groups=2)],
        [Flatten(), FullyConnectedLayer(18)],
    ],
    ids=str,
)
def test_what_is_no_number_stays_visible_where_it_belongs(layers: list[Layer], bad: float) -> None:
    x = nearest(values(3, (2, 6, 6), 4, "float32"))
    x[1, 1, 2, 4] = bad
    outputs = []
    for engine in (select_engine("numpy", "float32"), emulated()):
        plan = Plan(layers, (2, 6, 6), engine, 7)
        plan.initialise()
        plan.params[...] = nearest(plan.params)
        with np.errstate(all="ignore"):
            y, _ = plan.forward(plan.context(train=True), x)
        outputs.append(y.copy())
    assert not np.isfinite(outputs[0]).all()
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)


def network(monkeypatch: pytest.MonkeyPatch, precision: str = "bf16", **options: Any) -> Network:
    monkeypatch.setattr("gedanken.engine.cpu.engine.this_machine", lambda: EMULATED)
    net = Network(seed=3).input((2, 13, 13)).add(ConvolutionLayer(20, 3, 3)).add(BatchNorm()).add(ReLU())
    net.add(Residual([ConvolutionLayer(20, 3, 3, zero_padding=1), BatchNorm()])).add(MaxPoolLayer(2, 2, stride=1))
    net.add(Dropout(0.8)).add(Flatten()).add(FullyConnectedLayer(40)).add(ReLU()).add(FullyConnectedLayer(5))
    return net.add(SoftMax()).regression(Adam(0.003), precision=precision, **options)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 2, 3):
        net = network(monkeypatch, threads=threads)
        net.fit(PICTURES, LABELS, epochs=2, mini_batch_size=32, progress=False)
        found.append(np.concatenate([value.reshape(-1) for value in net._plan.state().values()]))  # type: ignore[union-attr]
    assert np.isfinite(found[0]).all()
    assert all(one.tobytes() == found[0].tobytes() for one in found[1:])


def test_a_training_goes_as_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {}
    for precision in ("full", "bf16"):
        net = network(monkeypatch, precision)
        costs[precision] = net.fit(PICTURES, LABELS, epochs=12, mini_batch_size=32, progress=False)["cost"]
        assert f"products in {precision}" in str(net.summary()) or precision == "full"
    first, last = costs["full"][0], costs["full"][-1]
    assert costs["bf16"] != costs["full"]  # it did compute otherwise
    assert last < 0.5 * first
    assert abs(costs["bf16"][-1] - last) < 0.1 * first


# ---------------------------------------------------------------------------------------------- a real unit's code

SAPPHIRE_RAPIDS = Machine("avx512", 64, 12, 2, "sapphirerapids", "+avx512f,+amx-tile,+amx-bf16", "amx")
is_x86 = platform.machine().lower() in ("x86_64", "amd64")


@pytest.mark.skipif(not is_x86, reason="LLVM's library may not know x86 here")
@pytest.mark.parametrize("kernel", [bf16.multiply, bf16_conv.correlate, bf16_conv.kernel_gradient, bf16_conv.spread])
def test_a_processor_with_amx_is_given_its_instructions(kernel: Any) -> None:
    module, target = Module(SAPPHIRE_RAPIDS, "float32"), target_machine(SAPPHIRE_RAPIDS)
    kernel_ir(module, kernel, "entry")
    lines = optimised(module.text(), target, target.emit_assembly).splitlines()
    words = [line.split()[0] for line in lines if line.startswith("\t")]
    for word in ("ldtilecfg", "tileloadd", "tdpbf16ps", "tilestored", "tilerelease"):
        assert word in words
    assert words.count("ldtilecfg") == 1 and words.count("tilerelease") >= 1
    uses = [number for number, word in enumerate(words) if word in ("tileloadd", "tdpbf16ps", "tilestored")]
    assert words.index("ldtilecfg") < uses[0]


INSTRUCTIONS = """
import ctypes, sys
from tests.cpu.test_bf16 import LARGE, check, on
from gedanken.engine.cpu import amx
from gedanken.engine.cpu.machine import this_machine
machine = this_machine()
if sys.argv[1:]:
    trap = ctypes.CDLL(sys.argv[1])
    trap.set_trap()
    amx._refusal = lambda: ""
    features = machine.features.replace("-amx-tile", "+amx-tile").replace("-amx-bf16", "+amx-bf16")
    machine = machine._replace(features=features, tiles="amx")
engine = on(machine, 2)
for layer, shape, samples in LARGE:
    check([layer], shape, samples, 3, engine)
if sys.argv[1:]:
    print(ctypes.c_long.in_dll(trap, "trapped").value)
"""


def instructed(*arguments: str) -> str:
    """Return what a process of its own prints that runs a tile unit's instructions."""
    command = [sys.executable, "-c", INSTRUCTIONS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(this_machine().tiles == "amx", reason="a real unit runs some of its instructions and traps others")
def test_the_instructions_do_what_the_emulation_does(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if not (compiler and is_x86 and sys.platform == "linux"):
        pytest.skip("needs Linux on an x86 processor, and a C compiler")
    built = tmp_path / "trap.so"
    source = Path(__file__).with_name("tile_trap.c")
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(built), str(source), "-lm"]
    subprocess.run([compiler, *options], check=True)
    assert int(instructed(str(built))) > 10_000


@pytest.mark.skipif(this_machine().tiles != "amx", reason="no tile unit here")
def test_a_real_unit_does_what_the_emulation_does() -> None:
    instructed()


# ---------------------------------------------------------------------------------------------- refusals


def compiled(**options: Any) -> Network:
    return Network().input((3,)).add(FullyConnectedLayer(2)).regression(cost="mean_squared", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf61"}, "precision must be one of bf16, full, got 'bf61'; did you mean 'bf16'?"),
        ({"precision": None}, "precision must be one of bf16, full, got None"),
        ({"engine": "numpy"}, 'engine must be "cpu" or "auto" with precision "bf16", got \'numpy\''),
        ({"engine": "cuda"}, 'engine must be "cpu" or "auto" with precision "bf16", got \'cuda\''),
        (
            {"dtype": "float64"},
            'dtype must be "float32" with precision "bf16", whose sums are float32, got \'float64\'',
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        compiled(**{"precision": "bf16", **options})
    assert str(refused.value) == message


@pytest.mark.parametrize("engine", ["auto", "cpu"])
@pytest.mark.parametrize(
    ("features", "lacking"),
    [
        ("+avx2,-amx-tile,-amx-bf16", "amx-tile and amx-bf16"),
        ("+avx512f,+amx-tile,+amx-int8,-amx-bf16", "amx-bf16"),
        ("", "amx-tile and amx-bf16"),
    ],
)
def test_a_processor_without_the_unit_is_named(
    engine: str, features: str, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = this_machine()._replace(cpu="some-processor", features=features, tiles="")
    monkeypatch.setattr("gedanken.engine.cpu.engine.this_machine", lambda: machine)
    with pytest.raises(EngineError) as refused:
        compiled(engine=engine, precision="bf16")
    assert str(refused.value) == (
        'precision "bf16" needs a processor with amx-tile and amx-bf16; this one (some-processor) lacks '
        f'{lacking}; use precision="full"'
    )


def test_without_a_compiler_there_is_no_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gedanken.engine.cpu.engine", None)
    assert compiled().summary().engine == "numpy"
    with pytest.raises(EngineError, match="needs llvmlite"):
        compiled(precision="bf16")


class System:
    """The C library of an operating system that answers `answer` to everything."""

    def __init__(self, answer: int) -> None:
        self.answer, self.calls = answer, []

    def syscall(self, *numbers: int) -> int:
        self.calls.append(numbers)
        ctypes.set_errno(errno.EINVAL)
        return self.answer


@pytest.mark.parametrize(
    ("system", "answer", "refusal"),
    [
        ("linux", 0, None),
        ("linux", -1, "Linux refused it: Invalid argument (arch_prctl; since version 5.16 it can be asked)"),
        ("darwin", 0, "only Linux is known to hand it out, and this is Plan 9"),
    ],
)
def test_the_operating_system_is_asked_once(
    system: str, answer: int, refusal: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = System(answer)
    monkeypatch.setattr(amx, "_refusal", cache(amx._refusal.__wrapped__))
    monkeypatch.setattr(amx.ctypes, "CDLL", lambda *_, **__: library)
    monkeypatch.setattr(amx.sys, "platform", system)
    monkeypatch.setattr(amx.platform, "system", lambda: "Plan 9")
    for _ in range(2):
        if refusal is None:
            amx.require_tiles(SAPPHIRE_RAPIDS)
        else:
            with pytest.raises(EngineError) as refused:
                amx.require_tiles(SAPPHIRE_RAPIDS)
            told = f'precision "bf16" needs the tile unit of this processor, but {refusal}; use precision="full"'
            assert str(refused.value) == told
    assert library.calls == ([(158, 0x1023, 18)] if system == "linux" else [])
