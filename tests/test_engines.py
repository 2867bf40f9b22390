"""Engines: what is chosen and why, and that a GPU's arrays lead through the same lines."""

import html
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Adam,
    ArgumentError,
    Auto,
    BatchNorm,
    Branches,
    CheckpointError,
    ConvolutionLayer,
    Cpu,
    Cuda,
    Dropout,
    EngineError,
    Flatten,
    FullyConnectedLayer,
    Generator,
    GlorotUniform,
    MaxPoolLayer,
    Network,
    Numpy,
    ReLU,
    Residual,
    Sequential,
    SoftMax,
    TanH,
)
from tests.standin_cupy import DeviceArray, StandInCupy

RNG = np.random.default_rng(0)
PICTURES, LABELS = RNG.random((20, 1, 8, 8)), RNG.integers(0, 3, 20)


def network(engine: str, dtype: str = "float64") -> Network:
    net = Network(seed=2).input((1, 8, 8)).add(ConvolutionLayer(4, 3, 3)).add(BatchNorm()).add(ReLU())
    net.add(MaxPoolLayer(2, 2, stride=1)).add(Dropout(0.75)).add(Flatten()).add(FullyConnectedLayer(3)).add(SoftMax())
    kind = {"cpu": Cpu, "numpy": Numpy, "cuda": Cuda, "auto": Auto}[engine]
    return net.regression(Adam(0.01, clip_norm=1.0, accumulate=2), engine=kind(dtype=dtype))


def trained(engine: str, dtype: str = "float64") -> tuple[Network, list[float]]:
    net = network(engine, dtype)
    history = net.fit(PICTURES, LABELS, validation_set=0.2, epochs=3, mini_batch_size=6, progress=False)
    return net, history["cost"] + history["validation_cost"]


def test_a_training_on_cupy_arrays_is_the_same(standin_cupy: StandInCupy, tmp_path: Path) -> None:
    (cpu, costs), (gpu, costs_there) = trained("numpy"), trained("cuda")
    assert costs_there == pytest.approx(costs, rel=1e-9)
    np.testing.assert_allclose(gpu.feedforward(PICTURES), cpu.feedforward(PICTURES), rtol=1e-8)
    assert type(gpu.feedforward(PICTURES)) is np.ndarray
    gpu.save(tmp_path / "net.safetensors")
    here = Network.load(tmp_path / "net.safetensors", engine="numpy")
    np.testing.assert_allclose(here.feedforward(PICTURES), gpu.feedforward(PICTURES), rtol=1e-8)


def test_on_cupy_arrays_everything_stays_on_the_device(standin_cupy: StandInCupy) -> None:
    plan = trained("cuda")[0]._plan
    assert plan is not None
    assert {type(array) for array in (plan.params, plan.grads, plan.layer_state, *plan.arrays().values())} == {
        DeviceArray
    }


@pytest.mark.gpu
def test_a_training_on_a_gpu_is_the_same(gpu: Any) -> None:
    assert trained("cuda")[1] == pytest.approx(trained("numpy")[1], rel=1e-6)


def test_without_cupy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(EngineError, match=r'engine "cuda" needs CuPy .*gedanken\[cuda13\] or gedanken\[cuda12\]'):
        network("cuda")


@pytest.mark.parametrize(("devices", "message"), [(0, "found no GPU"), (None, "found no usable GPU")])
def test_without_a_gpu_the_error_says_so(
    devices: int | None, message: str, standin_cupy: StandInCupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count() -> int:
        if devices is None:
            raise RuntimeError("cudaErrorInsufficientDriver")
        return devices

    monkeypatch.setattr(standin_cupy.cuda.runtime, "getDeviceCount", count)
    with pytest.raises(EngineError, match=message):
        network("cuda")


@pytest.mark.parametrize(
    ("engine", "name", "dtype"),
    [
        ("cpu", "cpu", "float32"),
        (Cpu(threads=1, dtype="float64"), "cpu", "float64"),
        (Numpy(), "numpy", "float32"),
        (Numpy(dtype="float64"), "numpy", "float64"),
        (Auto(dtype="float64"), "cpu", "float64"),
    ],
)
def test_an_engine_is_a_name_or_an_object_and_goes_into_copies(engine: Any, name: str, dtype: str) -> None:
    net = Network(seed=2).input((3,)).add(FullyConnectedLayer(2)).add(SoftMax()).regression(engine=engine)
    for one in (net, pickle.loads(pickle.dumps(net))):
        assert (one.summary().engine, str(one.feedforward([[0.1, 0.2, 0.3]]).dtype)) == (name, dtype)
    assert one._engine == net._engine


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "gpu"}, "engine must be one of auto, cpu, cuda, numpy, got 'gpu'"),
        (
            {"engine": Cpu},
            "engine must be a name or an object, such as Cpu(), got <class",
        ),
        ({"engine": Cpu(), "threads": 2}, "threads must be said in the engine itself: Cpu(threads=...), got 2"),
        ({"engine": "numpy", "threads": 2}, 'threads must be None with engine "numpy"'),
        (
            {"engine": "numpy", "precision": "bf16"},
            'engine must be "cpu" or "auto" with precision "bf16", got \'numpy\'',
        ),
        ({"dtype": "float16"}, "dtype must be one of float32, float64, got 'float16'"),
    ],
)
def test_an_engine_that_is_none_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        Network().input((3,)).add(FullyConnectedLayer(2)).add(SoftMax()).regression(**options)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Cpu(threads=0), "threads must be a whole number of at least 1"),
        (lambda: Cpu(threads=1025), "threads must be at most 1024, got 1025"),
        (lambda: Cpu(precision="half"), "precision must be one of bf16, full"),
        (lambda: Cpu(precision="bf16", dtype="float64"), 'dtype must be "float32" with precision "bf16"'),
        (lambda: Numpy(threads=2), "Numpy has no argument 'threads'; it takes dtype"),
        (lambda: Cuda(device=-1), "device must be a whole number of at least 0, got -1"),
        (lambda: Cuda(dtype="int8"), "dtype must be one of float32, float64, got 'int8'"),
    ],
)
def test_an_engine_of_odd_options_is_refused(made: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        made()
    assert str(refused.value).startswith(message)


def test_a_gpu_that_is_not_there_is_named(standin_cupy: StandInCupy) -> None:
    with pytest.raises(EngineError, match='engine "cuda" found 1 GPUs, numbered from 0 on; there is no device 3'):
        Network().input((3,)).add(FullyConnectedLayer(2)).add(SoftMax()).regression(engine=Cuda(device=3))


def test_a_file_runs_on_an_engine_of_its_dtype(tmp_path: Path) -> None:
    net = network("cpu", "float64")
    net.save(tmp_path / "net")
    for engine in ("numpy", Cpu(threads=1, dtype="float64")):
        found = Network.load(tmp_path / "net", engine=engine).feedforward(PICTURES)
        np.testing.assert_allclose(found, net.feedforward(PICTURES), rtol=1e-12)
    with pytest.raises(CheckpointError, match="engine dtype must be \"float64\", as of the file, got 'float32'"):
        Network.load(tmp_path / "net", engine=Cpu(threads=1))


@pytest.mark.parametrize(
    ("engine", "chosen", "reason"),
    [("numpy", "numpy", "asked for"), ("cpu", "cpu", "asked for"), ("auto", "cpu", "auto")],
)
def test_the_summary_says_what_was_chosen_and_why(engine: str, chosen: str, reason: str) -> None:
    summary = network(engine, "float32").summary()
    assert (summary.engine, summary.dtype) == (chosen, "float32")
    assert summary.reason.startswith(reason)
    assert f"engine {chosen}" in str(summary)


def test_the_summary_adds_up() -> None:
    summary = network("numpy").summary()
    assert [row.output_shape for row in summary.rows[:2]] == [(4, 6, 6), (4, 6, 6)]
    assert summary.total.parameters == (9 * 4 + 4) + 2 * 4 + (100 * 3 + 3)
    assert summary.total.multiply_adds == 6 * 6 * 4 * 9 + 100 * 3
    assert summary.rows[0].activation_bytes == 4 * 6 * 6 * 8
    lines = str(summary).splitlines()
    assert len(lines) == len(summary.rows) + 5
    assert len({len(line) for line in lines[:-1]}) <= 2


def test_before_regression_the_summary_tells_what_auto_will_choose() -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(3))
    before, after = net.summary(), net.regression(cost="mean_squared").summary()
    assert before.reason == f"not compiled yet; {after.reason}"
    assert (before.engine, before.dtype, before.rows) == (after.engine, after.dtype, after.rows)
    assert before.total.parameters == 15
    assert before.step_bytes is None  # nothing is compiled for a look
    assert after.step_bytes is not None


def test_without_a_compiler_the_summary_tells_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gedanken.engine.cpu.engine", None)
    summary = Network().input((4,)).add(FullyConnectedLayer(3)).summary()
    assert summary.engine == "numpy"
    assert summary.reason.startswith('not compiled yet; auto: engine "cpu" needs llvmlite')


def test_a_long_layer_is_cut_in_the_table_alone() -> None:
    layer = ConvolutionLayer(2, 3, 3, stride=(1, 2), zero_padding=(1, 2), dilation=(2, 1), init=GlorotUniform())
    summary = Network().input((1, 9, 9)).add(layer).summary()
    assert len(summary.rows[0].layer) > 130
    assert max(map(len, str(summary).splitlines()[:4])) < 150


def test_the_summary_shows_what_is_in_containers() -> None:
    branches = Branches([FullyConnectedLayer(3), Sequential([ReLU(), FullyConnectedLayer(2)])], [])
    net = (
        Network().input((4,)).add(Residual([TanH(), FullyConnectedLayer(4)])).add(branches).add(Sequential([SoftMax()]))
    )
    summary = net.summary()
    names = {line.split()[0]: " ".join(line.split()[1:4]) for line in str(summary).splitlines()[2:-3]}
    assert names == {
        "0": "Residual (sum) (4,)",
        "0.layers.0": "TanH() (4,) 0",
        "0.layers.1": "FullyConnectedLayer(n_units=4) (4,) 20",
        "0.shortcut": "the input itself",
        "1": "Branches (concatenate) (6,)",
        "1.0.0": "FullyConnectedLayer(n_units=3) (3,) 15",
        "1.0.1.0": "ReLU() (3,) 0",
        "1.0.1.1": "FullyConnectedLayer(n_units=2) (2,) 8",
        "1.1": "the input itself",
        "2.0": "SoftMax() (6,) 0",
    }
    assert [len(row.inner) for row in summary.rows] == [3, 4, 0]
    assert summary.total.parameters == sum(row.parameters for row in summary.rows) == 20 + 15 + 8
    assert summary.rows[1].multiply_adds == branches.multiply_adds((4,)) == 4 * 3 + 3 * 2
    assert summary.rows[1].activation_bytes == 4 * branches.activations((4,))


def test_a_notebook_and_a_terminal_show_the_table() -> None:
    summary = Network().input((4,)).add(Residual(FullyConnectedLayer(4), None)).summary()
    assert repr(summary) == str(summary)
    assert html.unescape(summary._repr_html_()) == f'<pre style="overflow-x: auto">{summary}</pre>'


class Squares(Generator):
    def __len__(self) -> int:
        return 4

    def get_mini_batches(self, index: int) -> list[Any]:
        return [(np.full(8, index, "float32"), index % 3)]


def test_the_summary_tells_the_memory_of_the_mini_batches_that_were_trained_with() -> None:
    net = Network().input((8,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(engine="cpu")
    assert net.summary().samples == 128
    net.fit(np.zeros((30, 8)), np.zeros(30, int), mini_batch_size=7, progress=False)
    assert net.summary().samples == 7
    assert net.summary().step_bytes == net.summary(7).step_bytes < net.summary(128).step_bytes
    assert "a training step of 7 samples needs" in str(net.summary())
    with Squares(mini_batch_size=2, mode="serial") as generator:
        net.fit(generator, progress=False)
    assert net.summary().samples == 2


@pytest.mark.parametrize("dtype", [np.float64, np.dtype("float64"), "float64"], ids=str)
def test_number_types_of_numpy_are_their_names(dtype: Any) -> None:
    assert Cpu(dtype=dtype) == Cpu(dtype="float64")
