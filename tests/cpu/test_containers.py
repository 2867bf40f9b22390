"""Containers on the engine `cpu`: kernels for what has kernels, wherever it stands, and the specification's results."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import (
    SGD,
    ArgumentError,
    AveragePoolLayer,
    BatchNorm,
    Branches,
    ConvolutionLayer,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    GlobalAveragePoolLayer,
    GroupNorm,
    Layer,
    LayerNorm,
    MaxPoolLayer,
    MeanSquared,
    Network,
    ReLU,
    ReLU6,
    Residual,
    Sequential,
    SoftMax,
    TanH,
)
from gedanken.engine.cpu import ops
from gedanken.engine.cpu.fused_layers import FusedLayers
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.layers.stages import ContainerStage, LayerStage
from gedanken.types import Array, Shape
from tests.cpu.agree import check_agreement
from tests.cpu.test_kernels_agree import values


class Twice(Layer):
    """A layer of one's own: every pixel four times."""

    def output_shape(self, shape: Any) -> Any:
        return (2 * shape[0], 2 * shape[1], shape[2])

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x.repeat(2, axis=1).repeat(2, axis=2), None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        n, height, width, channels = dy.shape
        return dy.reshape(n, height // 2, 2, width // 2, 2, channels).sum(axis=(2, 4))


class Block(Residual):
    """A subclass that only puts layers together."""

    def __init__(self, filters: int) -> None:
        super().__init__([*convolved(filters), ConvolutionLayer(filters, 1, 1)])


class Halved(Residual):
    """A subclass with a formula of its own."""

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        y, cache = super().forward(ctx, p, s, x)
        return y / 2, cache

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return super().backward(ctx, p, g, cache, dy / 2)


class Largest(Branches):
    """A subclass that joins by a rule of its own: the sum with doubled results."""

    def join(self, ctx: Any, ys: Any) -> Any:
        return 2 * super().join(ctx, ys)

    def split(self, ctx: Any, dy: Any, widths: Any) -> Any:
        return super().split(ctx, 2 * dy, widths)


def convolved(filters: int) -> list[Layer]:
    return [ConvolutionLayer(filters, 3, 3, zero_padding=1), BatchNorm(), ReLU()]


def unet(between: Layer) -> list[Layer]:
    """Two levels down and up again, with the features of the way down beside those of the way up."""
    lowest = Branches([MaxPoolLayer(2, 2), *convolved(6), between], [])
    upper = Branches([MaxPoolLayer(2, 2), *convolved(5), lowest, *convolved(5), between, Dropout(0.7)], [])
    return [*convolved(3), upper, *convolved(3), ConvolutionLayer(1, 1, 1)]


INCEPTION = Branches(
    [ConvolutionLayer(5, 1, 1), ReLU()],
    [ConvolutionLayer(3, 1, 1), BatchNorm(), ReLU(), ConvolutionLayer(4, 3, 3, zero_padding=1), ReLU(), Dropout(0.5)],
    [MaxPoolLayer(3, 3, stride=1, zero_padding=1), ConvolutionLayer(1, 1, 1)],
)
KERNELS: dict[str, tuple[list[Layer], Shape]] = {
    "inception": ([INCEPTION, BatchNorm(), ReLU(), INCEPTION, GlobalAveragePoolLayer()], (3, 8, 7)),
    "sums of many": ([Branches(*[convolved(4)] * 4, merge="sum"), TanH()], (2, 6, 5)),
    "group norms": (
        [Residual([ConvolutionLayer(4, 3, 3, zero_padding=1), GroupNorm(2), ReLU()]), *convolved(3)],
        (4, 5, 5),
    ),
    "an input that is passed on": ([Branches([], convolved(2), []), ConvolutionLayer(2, 2, 2)], (3, 5, 5)),
    "doubled": ([Branches([], [], merge="sum"), ReLU()], (3, 5, 5)),
    "beside itself": ([Branches([], []), ConvolutionLayer(2, 1, 1)], (3, 5, 5)),
    "one branch": ([Branches(convolved(4)), Branches(ReLU(), merge="sum")], (3, 5, 5)),
    "nothing at all": ([Sequential(), Sequential([Sequential()]), Branches([]), Residual([Sequential()])], (3, 5, 5)),
    "deep": (
        [Residual(Branches([Residual(convolved(2)), Sequential([Dropout(0.5)])], [Residual([])], merge="sum"))],
        (2, 4, 4),
    ),
    **{
        f"{merge} of many": (
            [Branches(*[convolved(4)] * 3, [ConvolutionLayer(4, 1, 1)], merge=merge), TanH()],
            (2, 6, 5),
        )
        for merge in ("average", "multiply", "maximum", "minimum")
    },
    "a product": ([Branches([LayerNorm(), FullyConnectedLayer(5)], TanH(), merge="dot"), FullyConnectedLayer(3)], (5,)),
    "a cosine": ([Branches([LayerNorm(), FullyConnectedLayer(5)], TanH(), merge="cosine"), ReLU()], (6, 5)),
    "a difference": ([Branches([LayerNorm(), FullyConnectedLayer(5)], [], merge="subtract"), ReLU()], (6, 5)),
    "equal numbers": (
        [Branches(ReLU(), ReLU6(), [], merge="maximum"), Branches(TanH(), TanH(), merge="minimum")],
        (9,),
    ),
    "of features": (
        [Branches([FullyConnectedLayer(7), ReLU()], [], Dropout(0.5)), Residual(FullyConnectedLayer(17))],
        (5,),
    ),
    "of sequences": ([Branches([LayerNorm(), FullyConnectedLayer(3)], []), SoftMax()], (6, 5)),
    "flattened": (
        [Branches([Flatten(), ReLU()], [ConvolutionLayer(2, 2, 2), Flatten()], GlobalAveragePoolLayer())],
        (3, 4, 4),
    ),
    "of two strides": (
        [Residual([ConvolutionLayer(9, 3, 3, stride=2, zero_padding=1)], AveragePoolLayer(2, 2))],
        (9, 6, 6),
    ),
    "no shortcut": ([Residual(convolved(3), shortcut=None)], (3, 5, 5)),
    "a subclass": ([Block(3), ReLU()], (3, 5, 5)),
}
MIXED: dict[str, tuple[list[Layer], Shape]] = {
    "u-net": (unet(Twice()), (2, 8, 8)),
    "own layer first": ([Residual([Twice(), MaxPoolLayer(2, 2), *convolved(3)])], (3, 5, 5)),
    "own layer on one way": (
        [Branches([Twice(), *convolved(3)], [Twice(), Dropout(0.6)], merge="sum"), ReLU()],
        (3, 5, 5),
    ),
    "a formula": ([Halved([*convolved(3)]), ConvolutionLayer(2, 1, 1)], (3, 5, 5)),
    "a product of an own layer": ([Branches([*convolved(3), Twice()], Twice(), merge="multiply"), ReLU()], (3, 5, 5)),
    "an extreme of an own layer": ([Branches([*convolved(3), Twice()], Twice(), merge="minimum"), ReLU()], (3, 5, 5)),
    "a rule to join": ([Largest(convolved(3), [ConvolutionLayer(2, 1, 1)]), ReLU()], (3, 5, 5)),
    "a large pooling": ([Branches([MaxPoolLayer(17, 17, 1, 8), *convolved(2)], []), *convolved(2)], (2, 17, 17)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("samples", [1, 6])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_run_whole_containers(name: str, samples: int, dtype: str) -> None:
    layers, shape = KERNELS[name]
    check_agreement(layers, shape, values(samples, shape, 1, dtype))


@pytest.mark.parametrize("shared", [1, 1 << 30], ids=["joined by kernels", "joined by NumPy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MIXED)
def test_layers_without_kernels_may_stand_anywhere(
    name: str, dtype: str, shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "SHARED", shared)
    layers, shape = MIXED[name]
    check_agreement(layers, shape, values(5, shape, 1, dtype), mixed=True)


PARTS = st.sampled_from(
    [
        ConvolutionLayer(3, 3, 3, zero_padding=1),
        BatchNorm(),
        ReLU(),
        Dropout(0.5),
        GroupNorm(3),
        LayerNorm(),
        TanH(),
        MaxPoolLayer(3, 3, stride=1, zero_padding=1),
        Block(3),
        Halved(ReLU()),
        Sequential([Twice(), AveragePoolLayer(2, 2)]),
    ]
)


def containers(inner: st.SearchStrategy[Layer]) -> st.SearchStrategy[Layer]:
    rows = st.lists(inner, max_size=3)
    return (
        st.builds(Sequential, rows)
        | st.builds(Residual, rows, rows)
        | st.builds(
            lambda branches, merge: Branches(*branches, merge=merge),
            st.lists(rows, min_size=1, max_size=3),
            st.sampled_from(["sum", "average", "multiply", "maximum", "minimum"]),
        )
        | st.lists(rows, min_size=1, max_size=3).map(
            lambda branches: Sequential([Branches(*branches), ConvolutionLayer(3, 1, 1)])
        )
    )


@pytest.mark.parametrize("shared", [1, 1 << 30], ids=["joined by kernels", "joined by NumPy"])
@given(
    layers=st.lists(st.recursive(PARTS, containers, max_leaves=8), min_size=1, max_size=3), samples=st.integers(1, 5)
)
@settings(max_examples=40, derandomize=True)
def test_any_nest_of_containers(shared: int, layers: list[Layer], samples: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "SHARED", shared)
        check_agreement(layers, (3, 4, 5), values(samples, (3, 4, 5), 3, "float64"), mixed=True, tolerance=1e-9)


def nested(kind: type[Layer], depth: int, layer: Layer) -> Layer:
    for _ in range(depth):
        layer = kind(layer)  # type: ignore[call-arg]
    return layer


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("kind", [Residual, Branches, Sequential])
def test_a_layer_is_asked_for_its_shape_as_often_however_deep_it_stands(kind: type[Layer], engine: str) -> None:
    asked: list[Shape] = []

    class Asked(FullyConnectedLayer):
        exact_gradient = False

        def output_shape(self, shape: Shape) -> Shape:
            asked.append(shape)
            return super().output_shape(shape)

    def times(depth: int) -> int:
        asked.clear()
        net = Network().input((3,)).add(nested(kind, depth, Asked(3))).add(SoftMax()).regression(engine=engine)
        net.fit(np.ones((4, 3)), [0, 1, 2, 0], progress=False)
        net.summary()
        return len(asked)

    assert times(50) == times(1) <= 5


def test_no_layer_stands_deeper_than_python_can_follow() -> None:
    deep = nested(Residual, 50, FullyConnectedLayer(3))
    net = Network().input((3,)).add(deep).add(SoftMax()).regression(engine="cpu")
    net.fit(np.ones((4, 3)), [0, 1, 2, 0], progress=False)
    assert net.feedforward(np.ones((1, 3))).shape == (1, 3)
    for kind, depth in ((Residual, 300), (Branches, 2000), (Sequential, 3000)):
        with pytest.raises(ArgumentError, match="layers must not stand in more than 50 others"):
            Network().input((3,)).add(nested(kind, depth, FullyConnectedLayer(3)))


def kinds(steps: Any) -> list[str]:
    """Return what runs these steps, with what is in containers in parentheses."""
    found: list[str] = []
    for step in steps:
        if isinstance(step, ContainerStage):
            found.append(f"({' | '.join(' '.join(kinds(row)) for row in step.rows.values())})")
        else:
            found.append(
                "run" if isinstance(step, FusedLayers) else repr(step.layer) if isinstance(step, LayerStage) else "?"
            )
    return found


def test_only_what_has_no_kernel_runs_without_one() -> None:
    plan = Plan(unet(Twice()), (2, 8, 8), select_engine("cpu", "float32"), 0)
    assert " ".join(kinds(plan.stages)) == "run (run (run Twice() | ) run Twice() run | ) run"
    assert plan.fallbacks == ["layer 3.0.4.0.4 Twice() (no kernel)", "layer 3.0.8 Twice() (no kernel)"]


def test_a_known_container_is_part_of_the_run_around_it() -> None:
    layers, shape = KERNELS["inception"]
    plan = Plan(layers, shape, select_engine("cpu", "float32"), 0)
    assert kinds(plan.stages) == ["run"]
    assert plan.step_bytes(3) is not None


def trained(layers: list[Layer], shape: Shape, engine: str, threads: int | None = None) -> Array:
    rng = np.random.default_rng(0)
    net = Network(seed=4).input(shape)
    for layer in [*layers, Flatten(), FullyConnectedLayer(3), SoftMax()]:
        net.add(layer)
    net.regression(SGD(0.05), engine=engine, threads=threads, dtype="float64")
    data = rng.integers(0, 5, (14, *shape)) if layers[0].tokens else rng.normal(size=(14, *shape))
    history = net.fit(data, rng.integers(0, 3, 14), epochs=3, mini_batch_size=6, progress=False)
    values = [*history["cost"], *net.feedforward(data).ravel()]
    return np.array([*values, *np.concatenate([value.ravel() for value in net._plan.state().values()])])  # type: ignore[union-attr]


TOKENS: dict[str, tuple[list[Layer], Shape]] = {
    "tokens": ([Branches([Embedding(5, 4), FullyConnectedLayer(3), ReLU()], [Embedding(5, 2), TanH()])], (6,)),
    "tokens, and they as numbers": ([Branches([Embedding(5, 4), Flatten()], FullyConnectedLayer(3), [])], (6,)),
    "tokens in nests": ([Residual(Branches(Embedding(5, 3), Embedding(5, 2)), [Embedding(5, 5)])], (6,)),
    "tokens and an own layer": ([Branches([Embedding(5, 4), Halved(TanH())], Embedding(5, 2))], (6,)),
}
TRAINED: dict[str, tuple[list[Layer], Shape]] = {**KERNELS, **MIXED, **TOKENS}


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_is_that_of_the_specification(name: str) -> None:
    layers, shape = TRAINED[name]
    np.testing.assert_allclose(trained(layers, shape, "cpu"), trained(layers, shape, "numpy"), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["inception", "u-net", "sums of many", "maximum of many"])
def test_any_number_of_threads_gives_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "SHARED", 1)
    one, *others = (trained(*TRAINED[name], "cpu", threads).tobytes() for threads in (1, 2, 3, 8))
    assert others == [one] * 3


def test_the_gradient_by_the_input_is_not_computed_for_nobody() -> None:
    """The first layers of a network, inside of a container that also holds a layer without a kernel."""
    layers = [Branches([*convolved(3), Twice()], [ConvolutionLayer(2, 3, 3, zero_padding=1), Twice()])]
    plan = Plan(layers, (2, 6, 6), select_engine("cpu", "float64"), 0, cost=MeanSquared())
    plan.initialise()
    x = values(4, (2, 6, 6), 0, "float64")
    ctx = plan.context(train=True)
    y, tape = plan.forward(ctx, x)
    (first,) = plan.stages
    assert first.backward(ctx, tape.pop(), np.ones_like(y)).shape == (0, 6, 6, 2)
