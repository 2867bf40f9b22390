"""The border to layers of a user's: what they get wrong is named, on every engine and inside of containers too."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Activation,
    ArgumentError,
    Branches,
    Constant,
    Cost,
    Flatten,
    FullyConnectedLayer,
    GlorotUniform,
    HeNormal,
    Initializer,
    Layer,
    Network,
    Param,
    ReLU,
    Residual,
    Sequential,
    ShapeError,
    SoftMax,
    StateValue,
)
from gedanken.types import Array

RNG = np.random.default_rng(0)
DATA, LABELS = RNG.normal(size=(20, 4)).astype("float32"), RNG.integers(0, 3, 20)


class Scale(Layer):
    """y = x * w, and counts its training passes."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def params(self, shape: Any) -> Any:
        return {"w": Param(shape, Constant(2.0))}

    def state(self, shape: Any) -> Any:
        return {"passes": StateValue((1,), 0.0)}

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        if ctx.train:
            s["passes"][...] += 1
        return x * p["w"], x

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        g["w"][...] = (dy * cache).sum(axis=0)
        return dy * p["w"]


def own(**methods: Any) -> Layer:
    """Return a Scale of which some methods are others."""
    return type("Own", (Scale,), {"__module__": __name__, **methods})()  # type: ignore[no-any-return]


def giving(change: Callable[[Any], Any]) -> Layer:
    """Return a Scale whose outputs are changed before they are given away."""
    return own(
        forward=lambda self, ctx, p, s, x: (change(Scale.forward(self, ctx, p, s, x)[0]), x), exact_gradient=False
    )


def returning(change: Callable[[Any], Any]) -> Layer:
    """Return a Scale whose gradients by the input are changed."""
    return own(backward=lambda self, ctx, p, g, cache, dy: change(Scale.backward(self, ctx, p, g, cache, dy)))


def writing(write: Callable[[Any, Any], Any]) -> Layer:
    """Return a Scale that hands in the gradient of w in a way of its own."""

    def backward(self: Any, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        write(g, (dy * cache).sum(axis=0))
        return dy * p["w"]

    return own(backward=backward)


def in_forward(do: Callable[[Any, Any, Any], Any]) -> Layer:
    """Return a Scale that does something to (p, s, x) first."""

    def forward(self: Any, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        do(p, s, x)
        return Scale.forward(self, ctx, p, s, x)

    return own(forward=forward)


PLACES: dict[str, tuple[Callable[[Layer], Layer], str]] = {
    "alone": (lambda layer: layer, "1"),
    "in a chain": (lambda layer: Sequential([ReLU(), layer]), "1.1"),
    "in a residual": (lambda layer: Residual([layer, FullyConnectedLayer(4)]), "1.layers.0"),
    "in branches": (lambda layer: Branches(ReLU(), Residual([], [layer])), "1.1.0.shortcut.0"),
}


def trained(layer: Layer, engine: str, place: str = "alone", dtype: str = "float64") -> Mapping[str, Array]:
    net = Network(seed=1).input((4,)).add(FullyConnectedLayer(4)).add(PLACES[place][0](layer))
    net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(engine=engine, dtype=dtype)
    net.fit(DATA, LABELS, epochs=2, mini_batch_size=8, progress=False)
    net.feedforward(DATA)
    assert net._plan is not None
    return net._plan.state()


@pytest.fixture(params=["numpy", "cpu", "cuda"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda":
        request.getfixturevalue("standin_cupy")
    return str(request.param)


ODD_BUT_RIGHT: dict[str, Layer] = {
    "the gradient put into the dict": writing(lambda g, dw: g.__setitem__("w", dw)),
    "the gradient by update": writing(lambda g, dw: g.update(w=dw)),
    "zeroed, then added to": writing(lambda g, dw: (g["w"].fill(0), g.__setitem__("w", g["w"] + dw))),
    "state put into the dict": own(
        forward=lambda self, ctx, p, s, x: (s.update(passes=s["passes"] + ctx.train), (x * p["w"], x))[1]
    ),
    "transposed twice": giving(lambda y: y.T.copy().T),
    "every second number": giving(lambda y: y.repeat(2, 1)[:, ::2]),
    "views that are turned": own(forward=lambda self, ctx, p, s, x: (s["passes"].resize((1, 1)), (x * p["w"], x))[1]),
    "an input that is passed on": own(forward=lambda self, ctx, p, s, x: (x * 1 * p["w"], x)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ODD_BUT_RIGHT)
def test_what_can_be_right_is(name: str, place: str, engine: str) -> None:
    if "state" in name:
        expected = trained(Scale(), "numpy", place) | {}
        got = trained(ODD_BUT_RIGHT[name], engine, place)
        counted = [value for key, value in got.items() if key.endswith("passes")]
        assert counted == [6.0]
    expected, got = trained(Scale(), "numpy", place), trained(ODD_BUT_RIGHT[name], engine, place)
    for key, value in expected.items():
        if not key.endswith("passes"):
            np.testing.assert_allclose(got[key], value, rtol=1e-7, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("made", ["float64", "int64", "bool"])
def test_outputs_of_another_number_type_are_taken_in_the_networks(made: str, engine: str) -> None:
    cut = giving(lambda y: (y > 0).astype("float32"))
    expected = trained(cut, "numpy", dtype="float32")
    got = trained(giving(lambda y: (y > 0).astype(made)), engine, dtype="float32")
    for key, value in expected.items():
        assert got[key].dtype == np.float32
        np.testing.assert_allclose(got[key], value, rtol=1e-5, atol=1e-6)


def test_an_initializer_may_be_a_function(engine: str) -> None:
    twos = own(params=lambda self, shape: {"w": Param(shape, lambda rng, shape, fan_in, fan_out: np.full(shape, 2.0))})
    expected, got = trained(Scale(), "numpy"), trained(twos, engine)
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-7, atol=1e-9)


def starting(values: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a method `params` whose w begins with these values."""
    return lambda self, shape: {"w": Param(shape, lambda rng, shape, fan_in, fan_out: values(shape))}


class Small(Initializer):
    def __call__(self, rng: Any, shape: Any, fan_in: int, fan_out: int) -> Array:
        return np.zeros(1)


MISTAKES: dict[str, tuple[Layer, type[Exception], str]] = {
    "too few features": (giving(lambda y: y[:, :2]), ShapeError, "return the declared shape (%d, 4) from forward, got"),
    "too many features": (giving(lambda y: y.repeat(3, 1)), ShapeError, "the declared shape (%d, 4) from forward, got"),
    "a sample lost": (giving(lambda y: y[1:]), ShapeError, "the declared shape (%d, 4) from forward, got (0, 4)"),
    "another axis": (
        giving(lambda y: y[:, None]),
        ShapeError,
        "the declared shape (%d, 4) from forward, got (1, 1, 4)",
    ),
    "outputs None": (
        giving(lambda y: None),
        ShapeError,
        "declared shape (%d, 4) from forward, an array of real numbers, got a NoneType",
    ),
    "outputs a list": (
        giving(lambda y: [1.0] * 4),
        ShapeError,
        "declared shape (%d, 4) from forward, an array of real numbers, got a l",
    ),
    "outputs complex": (
        giving(lambda y: y * 1j),
        ShapeError,
        "declared shape (%d, 4) from forward, an array of real numbers, got a",
    ),
    "forward gives None": (own(forward=lambda *a: None), ArgumentError, "return (y, cache) from forward, got a None"),
    "forward gives y": (
        own(forward=lambda self, ctx, p, s, x: x),
        ArgumentError,
        "return (y, cache) from forward, got",
    ),
    "dx of another shape": (
        returning(lambda dx: dx[:, :1]),
        ShapeError,
        "the shape of x (8, 4) from backward, got (8, 1)",
    ),
    "dx summed over samples": (returning(lambda dx: dx.sum(axis=0)), ShapeError, "of x (8, 4) from backward, got (4,)"),
    "dx None": (
        returning(lambda dx: None),
        ShapeError,
        "shape of x (8, 4) from backward, an array of real numbers, got a NoneType",
    ),
    "no gradient": (writing(lambda g, dw: None), ArgumentError, "must write every number of g['w'] in backward"),
    "half a gradient": (writing(lambda g, dw: g["w"][:2].fill(1)), ArgumentError, "must write every number of g['w']"),
    "a gradient added": (
        writing(lambda g, dw: g["w"].__setitem__(..., g["w"] + dw)),
        ArgumentError,
        "must write every number of g['w']",
    ),
    "a gradient of another shape": (
        writing(lambda g, dw: g.update(w=dw[None])),
        ShapeError,
        "must give g['w'] the declared shape (4,), got (1, 4)",
    ),
    "a gradient that is a list": (writing(lambda g, dw: g.update(w=[1.0] * 4)), ShapeError, "numbers, got a list"),
    "a masked gradient": (
        writing(lambda g, dw: g.update(w=np.ma.masked_equal(np.ones(4), 1))),
        ShapeError,
        "must give g['w'] the declared shape (4,), an array of real numbers, got a ",
    ),
    "a text with a shape": (
        writing(lambda g, dw: g.update(w=np.array(["a"] * 4))),
        ShapeError,
        "must give g['w'] the declared shape (4,), an array of real numbers, got a ",
    ),
    "a gradient of nothing": (
        writing(lambda g, dw: g.update(v=dw)),
        ArgumentError,
        "keep the names ['w'] in g, 'v' is not one of them",
    ),
    "a gradient taken out": (
        writing(lambda g, dw: g.pop("w")),
        ArgumentError,
        "keep the names ['w'] in g, 'w' is missing",
    ),
    "a parameter replaced": (
        in_forward(lambda p, s, x: p.update(w=p["w"] * 2)),
        ArgumentError,
        "must leave p['w'] as it",
    ),
    "state of another shape": (
        in_forward(lambda p, s, x: s.update(passes=s["passes"][None])),
        ShapeError,
        "must give s['passes'] the declared shape (1,), got (1, 1)",
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_be_right_is_named(name: str, place: str, engine: str) -> None:
    layer, error, message = MISTAKES[name]
    with pytest.raises(error) as caught:
        trained(layer, engine, place)
    assert str(caught.value).startswith(f"layer {PLACES[place][1]} Own() ")
    assert message.replace("%d", "1") in str(caught.value)


def test_a_gradient_that_is_left_out_later_is_noticed_too(engine: str) -> None:
    passes = iter([True, True, False])
    once = writing(lambda g, dw: g["w"].__setitem__(..., dw) if next(passes) else None)
    with pytest.raises(ArgumentError, match=r"layer 1 Own\(\) must write every number of g\['w'\] in backward"):
        trained(once, engine)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize(
    "layer",
    [
        in_forward(lambda p, s, x: x.__imul__(2)),
        in_forward(lambda p, s, x: p["w"].fill(1)),
        own(backward=lambda self, ctx, p, g, cache, dy: Scale.backward(self, ctx, p, g, cache, dy.__imul__(2))),
    ],
    ids=["x", "p", "dy"],
)
def test_what_belongs_to_others_cannot_be_changed(layer: Layer, place: str, engine: str) -> None:
    with pytest.raises(ValueError, match="read-only") as caught:
        trained(layer, engine, place)
    assert caught.value.__notes__ == [
        f"layer {PLACES[place][1]} Own(): x, dy and p belong to others too; change a copy"
    ]


def test_masked_outputs_are_refused() -> None:
    with pytest.raises(ShapeError, match="got a MaskedArray"):
        trained(giving(lambda y: np.ma.masked_less(y, 0)), "cpu")


DECLARED: dict[str, tuple[Layer, str]] = {
    "shape None": (own(output_shape=lambda self, shape: None), "output_shape of layer 1 Own() must be a shape of"),
    "shape a number": (own(output_shape=lambda self, shape: 4), "output_shape of layer 1 Own() must be a shape of"),
    "shape negative": (own(output_shape=lambda self, shape: (-1,)), "whole numbers >= 1 such as (3,), got (-1,)"),
    "shape of reals": (own(output_shape=lambda self, shape: (4.0,)), "whole numbers >= 1 such as (3,), got (4.0,)"),
    "params None": (own(params=lambda self, shape: None), "layer 1 Own() params must be a dict of Param"),
    "params an array": (own(params=lambda self, shape: {"w": np.ones(4)}), "params must give a Param(...) by name"),
    "state a number": (own(state=lambda self, shape: {"passes": 0.0}), "state must give a StateValue(...) by name"),
    "param shape": (
        own(params=lambda self, shape: {"w": Param((0,), Constant(1.0))}),
        "params['w'] must be a shape of whole numbers",
    ),
    "init a class": (
        own(params=lambda self, shape: {"w": Param(shape, Constant)}),
        "params['w'] must have an Initializer such as",
    ),
    "init of another shape": (
        own(params=lambda self, shape: {"w": Param(shape, Small())}),
        "Small() must return the values of 1.w, of shape (4,), got (1,)",
    ),
    "init of nothing": (own(params=starting(lambda shape: None)), "the values of 1.w, of shape (4,), an array of real"),
    "init complex": (own(params=starting(lambda shape: np.ones(shape) * 1j)), "the values of 1.w, of shape (4,), an"),
    "init masked": (
        own(params=starting(lambda shape: np.ma.masked_equal(np.ones(shape), 1))),
        "the values of 1.w, of shape (4,), an array of real numbers, got a MaskedArray",
    ),
    "state without a value": (
        own(state=lambda self, shape: {"passes": StateValue((1,), None)}),  # type: ignore[arg-type]
        "layer 1 Own() state['passes'] value must be a number in (-inf, inf), got None",
    ),
    "state of text": (
        own(state=lambda self, shape: {"passes": StateValue((1,), "x")}),  # type: ignore[arg-type]
        "layer 1 Own() state['passes'] value must be",
    ),
    "state complex": (
        own(state=lambda self, shape: {"passes": StateValue((1,), 1j)}),  # type: ignore[arg-type]
        "layer 1 Own() state['passes'] value must be",
    ),
    "state as an initializer": (
        own(state=lambda self, shape: {"passes": StateValue((1,), Constant(0))}),  # type: ignore[arg-type]
        "layer 1 Own() state['passes'] value must be",
    ),
    "fan_in unknown": (
        own(params=lambda self, shape: {"w": Param(shape, HeNormal())}),
        "layer 1 Own() params['w'] must say fan_in=, how many inputs one output sums over: it does not follow from the",
    ),
    "fan_out unknown": (
        own(params=lambda self, shape: {"w": Param(shape, GlorotUniform(), fan_in=4)}),
        "must say fan_out=, how many",
    ),
    "fan_in zero": (
        own(params=lambda self, shape: {"w": Param(shape, HeNormal(), fan_in=0)}),
        "whole number >= 1 as its fan_in, got 0",
    ),
}


@pytest.mark.parametrize("name", DECLARED)
def test_what_is_declared_is_looked_at_before_anything_is_done(name: str) -> None:
    layer, message = DECLARED[name]
    with pytest.raises(ArgumentError) as caught:
        Network().input((4,)).add(ReLU()).add(layer).add(SoftMax()).regression()
    assert message in str(caught.value)


@dataclass(frozen=True)
class Attention(Layer):
    """A layer that declares its matrices by their shape alone."""

    init: Initializer
    shape: tuple[int, ...]

    def output_shape(self, shape: Any) -> Any:
        return shape

    def params(self, shape: Any) -> Any:
        return {"w": Param(self.shape, self.init)}

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x, None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        g["w"][...] = 0
        return dy


@pytest.mark.parametrize(
    ("init", "shape", "variance"),
    [
        (GlorotUniform(), (300, 100), 2 / 400),
        (HeNormal(), (300, 100), 2 / 300),
        (HeNormal(), (3, 5, 20, 100), 2 / 300),
        (GlorotUniform(), (3, 5, 20, 100), 2 / (300 + 1500)),
    ],
    ids=str,
)
def test_fans_follow_from_the_shape(init: Initializer, shape: tuple[int, ...], variance: float) -> None:
    net = Network().input((4,)).add(Attention(init, shape)).add(SoftMax()).regression()
    assert net._plan is not None
    assert net._plan.state()["0.w"].var() == pytest.approx(variance, rel=0.03)


def test_a_layer_that_uses_others_is_guarded_too(engine: str) -> None:
    """A layer of one's own that calls a container with a layer of one's own in it."""
    inner = Residual([FullyConnectedLayer(4), writing(lambda g, dw: None)])

    class Around(Layer):
        def output_shape(self, shape: Any) -> Any:
            return inner.output_shape(shape)

        def params(self, shape: Any) -> Any:
            return inner.params(shape)

        def state(self, shape: Any) -> Any:
            return inner.state(shape)

        def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
            return inner.forward(ctx, p, s, x)

        def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
            return inner.backward(ctx, p, g, cache, dy)

    with pytest.raises(ArgumentError, match=r"must write every number of g\['"):
        trained(Around(), engine)


class OwnCost(Cost):
    """A cost whose gradient is what it is told to be."""

    def __init__(self, dy: Callable[[Any], Any]) -> None:
        object.__setattr__(self, "dy", dy)

    def __call__(self, ops: Any, y: Any, target: Any) -> Any:
        return (y * y).sum() / len(y), self.dy(y)  # type: ignore[attr-defined]

    def checked_target(self, argument: str, target: Any, shape: Any) -> Any:
        return target


@pytest.mark.parametrize("dy", [lambda y: y[:, :1], lambda y: y.tolist(), lambda y: None, lambda y: y[0]])
def test_a_cost_whose_gradient_has_another_shape_is_refused(dy: Callable[[Any], Any], engine: str) -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(3)).regression(cost=OwnCost(dy), metrics=[], engine=engine)
    with pytest.raises(ShapeError, match=r"must give a gradient of the outputs' shape \(1, 3\)"):
        net.fit(DATA, DATA[:, :3], progress=False)


def test_declarations_that_change_between_two_calls_are_refused(engine: str) -> None:
    sizes = iter([4, 4, 5])
    layer = own(params=lambda self, shape: {"w": Param((next(sizes),), Constant(1.0))})
    net = Network().input((4,)).add(layer).regression(cost="mean_squared", engine=engine)
    net.regression(cost="mean_squared", engine=engine)
    before = net.feedforward(DATA)
    with pytest.raises(
        ArgumentError, match=r"a layer declares other arrays than .* 0.w must have shape \(5,\), got \(4,\)"
    ):
        net.regression(cost="mean_squared", engine=engine)
    np.testing.assert_array_equal(net.feedforward(DATA), before)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_a_layer_is_guarded_where_the_network_slides(engine: str) -> None:
    """It then runs on more pixels than it was declared for."""
    wrong = type("Wrong", (Activation,), {"function": lambda self, ops, x: x[:, :1], "derivative": lambda *a: a[-1]})()
    features = own(forward=lambda self, ctx, p, s, x: (x[:, :2] if len(x) > 1 else x * p["w"], x))
    for layers in ([wrong, Flatten()], [Flatten(), features]):
        net = Network().input((1, 2, 2))
        for layer in [*layers, FullyConnectedLayer(3)]:
            net.add(layer)
        net.regression(cost="mean_squared", engine=engine)
        with pytest.raises(ShapeError, match=r"must return the declared shape \(.*\) from forward, got"):
            net.slide(np.zeros((1, 5, 5)))


class Raises(Layer):
    """Has an error of its own."""

    def __init__(self, where: str) -> None:
        self.where = where

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        if self.where == "forward":
            raise KeyError("no such colour")
        return x.copy(), None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        raise KeyError("no such colour")


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("engine", ["cpu", "numpy"])
def test_what_a_layer_raises_says_which_it_was(where: str, engine: str) -> None:
    net = Network(1).input((3,)).add(FullyConnectedLayer(4)).add(Raises(where)).add(FullyConnectedLayer(2))
    net.add(SoftMax()).regression(engine=engine)
    with pytest.raises(KeyError, match="no such colour") as caught:
        net.fit(np.zeros((4, 3)), [0, 1, 0, 1], progress=False)
    assert caught.value.__notes__[0].startswith("raised by layer 1 ")
