"""The gradient of a layer of the user's is compared with differences when the network is compiled."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Activation,
    ConvolutionLayer,
    Flatten,
    FullyConnectedLayer,
    GlorotUniform,
    GradientError,
    Layer,
    Network,
    Param,
    Residual,
    Sequential,
    StateValue,
    Zeros,
)
from tests.data.programs import run


class Dense(Layer):
    """y = x W + b, whose gradients go through a function that may spoil them."""

    def output_shape(self, shape: Any) -> Any:
        return (3,)

    def params(self, shape: Any) -> Any:
        return {"w": Param((*shape, 3), GlorotUniform()), "b": Param((3,), Zeros(), 1, 1)}

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x @ p["w"] + p["b"], x

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        dx = dy @ p["w"].T
        g["w"][...], g["b"][...] = cache.T @ dy, dy.sum(axis=0)
        self.spoil(g, dx)
        return dx

    def spoil(self, g: Any, dx: Any) -> None:
        """Change what is given."""


class Scaled(Layer):
    """y = x * w for pictures, one w for each channel."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def params(self, shape: Any) -> Any:
        return {"w": Param((shape[-1],), Zeros(), 1, 1)}

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x * p["w"], x

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        g["w"][...] = self.summed(dy * cache)
        return dy * p["w"]

    def summed(self, products: Any) -> Any:
        return products.sum(axis=(0, 1, 2))


class Shifts(Layer):
    """Takes a running mean away, which it changes in training."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def state(self, shape: Any) -> Any:
        return {"mean": StateValue(shape, 0.0)}

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        y = x - s["mean"]
        if ctx.train:
            s["mean"][...] += 0.1 * x.mean(axis=0)
        return y, None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy


class Folds(Layer):
    """Adds pixels two by two; of odd sizes it makes nothing."""

    def output_shape(self, shape: Any) -> Any:
        return (shape[0] // 2, *shape[1:])

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x.reshape(len(x), x.shape[1] // 2, 2, *x.shape[2:]).sum(axis=2), None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return self.doubled(dy)

    def doubled(self, dy: Any) -> Any:
        return np.repeat(dy, 2, axis=1)


class FoldsWrongly(Folds):
    def doubled(self, dy: Any) -> Any:
        return 2 * np.repeat(dy, 2, axis=1)


@dataclass(frozen=True, eq=False, repr=False)
class Hidden(Layer):
    """y = k x, whose gradient is right for 2 alone; k does not show."""

    k: float = field(default=2.0, repr=False)

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x * self.k, None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy * 2.0


class Doubles(Sequential):
    """A container with rules of its own."""

    def join(self, ctx: Any, ys: Any) -> Any:
        return ys[0] * 2

    def split(self, ctx: Any, dy: Any, widths: Any) -> Any:
        return [dy * 2]


def activation(function: Callable[..., Any], derivative: Callable[..., Any], **more: Any) -> Layer:
    kind = {"__module__": __name__, "function": lambda self, ops, x: function(x), **more}
    return type("Own", (Activation,), {**kind, "derivative": lambda self, ops, x, y: derivative(x, y)})()  # type: ignore[no-any-return]


def spoilt(change: Callable[[Any, Any], Any]) -> Layer:
    return type("Spoilt", (Dense,), {"__module__": __name__, "spoil": lambda self, g, dx: change(g, dx)})()  # type: ignore[no-any-return]


def changed(name: str, place: Any, by: float) -> Callable[[Any, Any], None]:
    def change(g: Any, dx: Any) -> None:
        (dx if name == "x" else g[name])[place] += by

    return change


def network(*layers: Layer, shape: Any = (5,)) -> Network:
    net = Network(1).input(shape)
    for layer in layers:
        net.add(layer)
    return net.regression("sgd", "mean_squared")


WRONG: dict[str, tuple[Layer, str]] = {
    "one element of a kernel": (spoilt(changed("w", (3, 1), 0.01)), r"g\['w'\] at \(3, 1\) is"),
    "the last element of a kernel": (spoilt(changed("w", (4, 2), -1e-3)), r"g\['w'\] at \(4, 2\) is"),
    "one element of a bias": (spoilt(changed("b", 1, 0.01)), r"g\['b'\] at \(1,\) is"),
    "one element of dx": (spoilt(changed("x", (1, 2), 0.01)), r"dx at \(1, 2\) is"),
    "nan in a kernel": (spoilt(changed("w", (0, 2), np.nan)), r"g\['w'\] at \(0, 2\) is nan"),
    "twice a bias": (spoilt(lambda g, dx: g["b"].__imul__(2)), r"g\['b'\] at"),
    "the mean in place of the sum": (spoilt(lambda g, dx: g["b"].__itruediv__(3)), r"g\['b'\] at"),
    "the sign of dx": (spoilt(lambda g, dx: dx.__imul__(-1)), r"dx at"),
    "no dx": (spoilt(lambda g, dx: dx.__imul__(0)), r"dx at .* is -?0, "),
    "a forgotten gradient": (spoilt(lambda g, dx: g["w"].__imul__(0)), r"g\['w'\] at .* is -?0, "),
    "a derivative": (activation(np.tanh, lambda x, y: 1 - y), r"dx at"),
    "a derivative beyond 1": (activation(np.sin, lambda x, y: np.where(x > 1, 1, np.cos(x))), r"dx at"),
    "a derivative, almost": (activation(np.tanh, lambda x, y: (1 - y * y) * 1.001), r"dx at"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("place", ["first", "later", "inside"])
def test_a_wrong_gradient_is_an_error_that_names_the_element(name: str, place: str) -> None:
    layer, told = WRONG[name]
    inner = Residual([layer, FullyConnectedLayer(5)])
    layers = {"first": [layer], "later": [FullyConnectedLayer(5), layer], "inside": [inner]}[place]
    path = {"first": "0", "later": "1", "inside": "0.layers.0"}[place]
    with pytest.raises(GradientError, match=rf"layer {path} \w+\(\) must return from backward the derivative .*{told}"):
        network(*layers)


RIGHT: dict[str, tuple[Layer, Any]] = {
    "dense": (Dense(), (5,)),
    "large": (Dense(), (9000,)),
    "kinks": (activation(lambda x: np.maximum(x, 0), lambda x, y: (x > 0) * 1.0), (3000,)),
    "kinks of pictures": (activation(abs, lambda x, y: np.sign(x)), (3, 60, 50)),
    "pictures": (Scaled(), (3, 100, 90)),
    "a logarithm, for numbers above 0": (activation(np.log, lambda x, y: 1 / x), (5,)),
    "a root": (activation(np.sqrt, lambda x, y: 0.5 / y), (5,)),
    "state": (Shifts(), (5,)),
    "large and flat": (activation(abs, lambda x, y: np.sign(x)), (2_000_000,)),
    "even sizes": (Folds(), (3, 64, 64)),
    "steep": (activation(lambda x: np.tanh(50 * x), lambda x, y: 50 * (1 - y * y)), (7,)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_gradient_is_told_of(name: str) -> None:
    layer, shape = RIGHT[name]
    net = network(*([layer] if len(shape) == 1 else [layer, Flatten()]), shape=shape)
    assert f"layer 0 {layer}: gradient checked by differences" in str(net.summary())


NOISE = iter(np.random.default_rng(0).random(1000))
UNKNOWN: dict[str, tuple[Layer, str]] = {
    "says so": (
        activation(np.sign, lambda x, y: 1 + 0 * x, exact_gradient=False), "it says of itself that it is not exact",
    ),
    "random": (activation(lambda x: x * next(NOISE), lambda x, y: x), "its forward gives other values"),
    "raises": (activation(lambda x: x[:, 7], lambda x, y: x), "it raised IndexError for random numbers"),
    "of few digits": (
        activation(lambda x: np.float32(x) * np.float32(x), lambda x, y: 2 * x), "its values are too rough",
    ),
    "never finite": (activation(lambda x: x / 0, lambda x, y: x), "its forward gives no finite values"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_known_is_told_of(name: str) -> None:
    layer, told = UNKNOWN[name]
    assert f"layer 0 {layer}: gradient not checked, {told}" in str(network(layer).summary())


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 64, 64)])
def test_a_wrong_gradient_of_pictures_of_any_size_is_found(shape: Any) -> None:
    with pytest.raises(GradientError, match="layer 0 FoldsWrongly"):
        network(FoldsWrongly(), Flatten(), shape=shape)


def test_what_does_not_show_is_no_reason_to_take_a_layer_for_another() -> None:
    network(Hidden(2.0))
    with pytest.raises(GradientError, match="layer 0 Hidden"):
        network(Hidden(3.0))
    for factor in ([2.0], [3.0]):  # in a list of a closure
        layer = activation(lambda x, factor=factor: x * factor[0], lambda x, y: 2 + 0 * x)
        if factor == [2.0]:
            network(layer)
        else:
            with pytest.raises(GradientError, match="layer 0 Own"):
                network(layer)


def test_a_container_of_the_users_is_told_of() -> None:
    told = str(network(Doubles([FullyConnectedLayer(5)])).summary())
    assert "join and split not checked, it is a container" in told


def test_one_small_error_in_a_large_kernel_shows() -> None:
    with pytest.raises(GradientError, match=r"g\['w'\] at \(4321, 1\)"):
        network(spoilt(lambda g, dx: g["w"].__setitem__((4321, 1), g["w"][4321, 1] * 1.001)), shape=(9000,))


def test_layers_of_the_library_are_not_looked_at() -> None:
    net = network(ConvolutionLayer(2, 3, 3), Flatten(), FullyConnectedLayer(3), shape=(1, 6, 6))
    assert net.summary().gradients == ()


SCRIPT = """
import sys, numpy as np
from gedanken import *
class Own(Activation):
    def function(self, ops, x):
        print("runs", flush=True)
        return ops.xp.tanh(x)
    def derivative(self, ops, x, y):
        return 1 - y * y{}
net = Network(1).input((4,)).add(Own()).add(FullyConnectedLayer(2)).regression("sgd", "mean_squared")
print("told", [line for line in str(net.summary()).splitlines() if "gradient" in line])
"""


def test_what_was_checked_is_not_checked_again_until_its_source_changes(tmp_path: Path) -> None:
    first, second, other = (run(tmp_path, f"# {tmp_path}\n{SCRIPT.format(end)}", []) for end in ("", "", " * 1.0"))
    assert ("runs" in first, "runs" in second, "runs" in other) == (True, False, True)
    assert "gradient checked by differences, for this source and shape" in second


class NamesItX(Layer):
    """y = x * p["x"], a parameter with the name of the input and as many rows as a mini-batch."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def params(self, shape: Any) -> Any:
        return {"x": Param((4, *shape), GlorotUniform())}

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x * p["x"][0], x

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        g["x"][...] = 0
        g["x"][0] = (dy * cache).sum(axis=0)
        return dy * p["x"][0]


def test_a_parameter_may_have_any_name() -> None:
    assert "gradient checked by differences" in str(network(NamesItX()).summary())


def test_a_file_is_loaded_whatever_its_layers_do_in_training(tmp_path: Path) -> None:
    class Step(Activation):
        exact_gradient = False

        def function(self, ops: Any, x: Any) -> Any:
            return ops.xp.sign(x)

        def derivative(self, ops: Any, x: Any, y: Any) -> Any:
            return 1 + 0 * x

    net = network(Step())
    net.save(tmp_path / "net")
    Step.exact_gradient = True
    loaded = Network.load(tmp_path / "net", classes=[Step])
    assert loaded.feedforward(np.ones((1, 5))).tolist() == [[1.0] * 5]
    with pytest.raises(GradientError, match="layer 0 Step"):
        loaded.fit(np.ones((4, 5)), np.ones((4, 5)), progress=False)
