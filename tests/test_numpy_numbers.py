"""Numbers of NumPy are numbers: what is made with them is what Python's own make, in type and value."""

import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    ArgumentError,
    ArrayGenerator,
    Branches,
    Callback,
    Constant,
    Cpu,
    Crop,
    CrossEntropy,
    CustomCost,
    Cutout,
    DataParallel,
    EarlyStopping,
    Flatten,
    Flip,
    Focal,
    FullyConnectedLayer,
    FunctionLayer,
    GlorotNormal,
    GradualUnfreezing,
    Heads,
    Hogwild,
    MovingAverage,
    Network,
    OnPlateau,
    Param,
    Rotate,
    Sequences,
    SetRate,
    Sigmoid,
    SoftMax,
    StateValue,
    StepDecay,
    Translate,
    Unfreeze,
    Zeros,
)
from gedanken.datasets import load_drawn_digits, split_in_time, windows
from gedanken.io.data import from_data, to_data
from gedanken.networks import autoencoder, diary, lenet5, linear, mlp, resnet20, unet, vgg
from tests.cases import COSTS, LAYERS, OPTIMIZERS
from tests.test_any_argument import ROWS, made

VALUES: list[Any] = [1, 3, 0.5, (1, 2), [1, 2], (0.5, 0.25), ((1, 2), (2, 1)), {0: 0.5, 2: 1.0}]
WHOLE, REAL = (np.int64, np.int32, np.uint8), (np.float64, np.float32, np.float16)
KINDS = [*zip(WHOLE, REAL, strict=True)]


def as_numpy(value: Any, whole: Callable[[Any], Any], real: Callable[[Any], Any]) -> Any:
    """Return the numbers in a value as such of NumPy; truths stay what they are."""
    if type(value) is int:
        return whole(value)
    if type(value) is float:
        return real(value)
    if type(value) in (tuple, list):
        return type(value)(as_numpy(one, whole, real) for one in value)
    if type(value) is dict:
        return {as_numpy(key, whole, real): as_numpy(one, whole, real) for key, one in value.items()}
    return value


def parts(value: Any, depth: int = 6) -> Any:
    """Return an object as its type and what it holds, so that numbers are compared with their types."""
    if isinstance(value, (tuple, list)) and depth:
        return type(value), [parts(one, depth - 1) for one in value]
    if isinstance(value, dict) and depth:
        return [(parts(key), parts(one, depth - 1)) for key, one in value.items()]
    if isinstance(value, (int, float, str, np.generic)):
        return type(value), value
    if isinstance(value, np.ndarray):
        return value.dtype, value.tolist()
    own = hasattr(value, "__dict__") and type(value).__module__.startswith("gedanken") and depth
    return (type(value), parts(vars(value), depth - 1)) if own else type(value)


def outcome(make: Callable[[], Any]) -> Any:
    """Return what is made, or the rule of the refusal."""
    try:
        return make()
    except ArgumentError as error:
        return str(error).partition(", got")[0]


DATA = ("x", "y", "dataset", "iterable", "array", "values", "columns", "lengths")  # arrays by nature
MADE = [(name, argument) for name, argument in ROWS if argument not in DATA]


@pytest.mark.parametrize(("name", "argument"), MADE)
def test_what_is_made_of_numbers_of_numpy_is_the_same(
    name: str, argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for value in VALUES:
        plain = outcome(lambda value=value: made(name, argument, value))  # type: ignore[misc]
        for kinds in KINDS:
            other = outcome(lambda value=value, kinds=kinds: made(name, argument, as_numpy(value, *kinds)))  # type: ignore[misc]
            assert parts(other) == parts(plain), (value, kinds)
            if "object at" not in repr(plain):
                assert repr(other) == repr(plain)
            getattr(other, "close", int)()
        getattr(plain, "close", int)()


def again(thing: Any, kinds: Any) -> Any:
    """Return the same object, made of numbers of NumPy."""
    arguments = {name: as_numpy(getattr(thing, name), *kinds) for name in inspect.signature(type(thing)).parameters}
    return type(thing)(**arguments)


OF_OTHERS = (Branches, FunctionLayer, CustomCost)  # made of layers and functions
ALL = [case[0] for case in (*LAYERS, *COSTS, *OPTIMIZERS)]  # type: ignore[index]
WALKED = {repr(one): one for one in ALL if dataclasses.fields(one) and not isinstance(one, OF_OTHERS)}


@pytest.mark.parametrize("kinds", KINDS[:2], ids=["64 bits", "32 bits"])  # a small epsilon is 0 in float16
@pytest.mark.parametrize("case", WALKED.values(), ids=WALKED)
def test_a_copy_from_a_file_is_the_same(case: Any, kinds: Any) -> None:
    other = again(case, kinds)
    back = from_data(json.loads(json.dumps(to_data(other, classes := {}))), classes)
    assert back == other
    assert repr(back) == repr(other)
    assert parts(back) == parts(other)
    plain = again(case, (int, lambda value: float(kinds[1](value))))
    assert parts(other) == parts(plain)
    assert other == plain and hash(other) == hash(plain)
    assert kinds[1] is not np.float64 or repr(other) == repr(case)


X, Y = np.random.default_rng(0).normal(size=(24, 4)).astype("f4"), np.arange(24) % 3
TOKENS = np.arange(24).reshape(6, 4) % 5


class Own(FullyConnectedLayer):
    """Its shapes and fans are numbers of any type."""

    def __init__(self, whole: Any, real: Any) -> None:
        super().__init__(200)
        object.__setattr__(self, "types", (whole, real))

    def output_shape(self, shape: Any) -> Any:
        return (self.types[0](200),)

    def params(self, shape: Any) -> Any:
        i, f = self.types
        return {"kernel": Param((i(4), i(200)), Constant(f(0.25)), i(4), i(200)), "bias": Param((i(200),), Zeros())}

    def state(self, shape: Any) -> Any:
        i, f = self.types
        return {"kept": StateValue((i(200),), f(0.5))}


class Answers(Callback):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def on_epoch(self, run: Any, record: Any) -> Any:
        return self.answer if record.epoch == 1 else None


def with_weights(xp: Any, x: Any, p: Any) -> Any:
    return x @ p["w"]


def net(seed: int = 0, n: int = 4, engine: Any = "numpy", layer: Any = None, **options: Any) -> Network:
    made = Network(seed).input((n,))
    made = made.add(layer) if layer else made
    made.add(FullyConnectedLayer(3), name="head").add(SoftMax())
    return made.regression(**{"cost": CrossEntropy(), "engine": engine, **options})


def moves(i: Any, f: Any) -> list[Any]:
    return [Crop(i(5), i(1)), Translate(i(2), f(0.5)), Rotate(f(0.5)), Cutout(i(2)), Flip(f(0.25))]


def two() -> Network:
    return net(layer=FullyConnectedLayer(4))


def at_epoch(number: Any) -> Network:
    made = net()
    made.epoch = number
    return made


def picture_net() -> Network:
    return Network().input((3, 4, 4)).add(Flatten()).add(FullyConnectedLayer(3)).add(SoftMax()).regression()


def heads(f: Any) -> Network:
    made = Network().input((4,)).add(Heads(a=[FullyConnectedLayer(3), SoftMax()]))
    return made.regression(cost={"a": ("cross_entropy", f(0.5))}, engine="numpy")


def costs(**options: Any) -> Any:
    return net().fit(X, Y, progress=False, **options)["cost"]


def drawn(generator: Any) -> Any:
    with generator:
        return [[np.asarray(part) for part in batch] for batch in generator]


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "seed": lambda i, f: net(i(7)).predict(X),
    "input": lambda i, f: (net(0, i(4)).input_shape, net(0, i(4)).predict(X)),
    "input by names": lambda i, f: Network().input(a=(i(3), i(200), i(200)), b=(i(2),)).input_shape,
    "epochs": lambda i, f: costs(epochs=i(2)),
    "mini_batch_size": lambda i, f: costs(mini_batch_size=i(5)),
    "validation_set": lambda i, f: costs(validation_set=f(0.25)),
    "snapshot_step": lambda i, f: costs(snapshot_step=f(0.5)),
    "evaluate": lambda i, f: net().evaluate(X, Y, mini_batch_size=i(5), progress=False)["cost"],
    "predict": lambda i, f: net().predict(X, mini_batch_size=i(5)),
    "feedforward": lambda i, f: net().feedforward(X, mini_batch_size=i(5)),
    "summary": lambda i, f: str(net().summary(i(200))),
    "find_learning_rate": lambda i, f: (
        net().find_learning_rate(X, Y, lowest=f(0.25), highest=f(0.5), steps=i(10), mini_batch_size=i(5)).costs
    ),
    "freeze": lambda i, f: net().freeze(i(0)).frozen,
    "freeze more": lambda i, f: net().freeze([i(0)]).unfreeze(i(0)).frozen,
    "scale_rate": lambda i, f: net().scale_rate(f(0.5), i(0)).fit(X, Y, progress=False)["cost"],
    "replace": lambda i, f: net().replace(i(0), FullyConnectedLayer(i(3))).predict(X),
    "take": lambda i, f: str(net().take(net(1), i(0))),
    "unfreeze in a callback": lambda i, f: (
        two().freeze(i(0)).fit(X, Y, epochs=2, callbacks=[GradualUnfreezing([i(0)], i(1))], progress=False)["cost"]
    ),
    "an answer": lambda i, f: (
        two().freeze(0).fit(X, Y, epochs=2, callbacks=[Answers(Unfreeze((i(0),)))], progress=False)["cost"]
    ),
    "a factor": lambda i, f: costs(epochs=2, callbacks=[Answers(SetRate(f(0.5)))]),
    "an average": lambda i, f: costs(callbacks=[MovingAverage(f(0.5)), EarlyStopping("cost", i(2), None, f(0.5))]),
    "on a plateau": lambda i, f: net(optimizer=SGD(OnPlateau(f(0.5), f(0.5), i(1)))).fit(
        X, Y, epochs=i(4), progress=False
    )["rate"],
    "a schedule": lambda i, f: [StepDecay(f(0.5), i(200), f(0.5))(step) for step in (0, 300)],
    "class_weights": lambda i, f: net(cost=CrossEntropy(class_weights=(f(0.5), i(2), f(0.25)))).fit(
        X, Y, progress=False
    )["cost"],
    "threads": lambda i, f: net(engine=Cpu(threads=i(1))).fit(X, Y, progress=False)["cost"],
    "workers": lambda i, f: repr(DataParallel(workers=i(2))),
    "Hogwild": lambda i, f: repr(Hogwild(workers=i(2))),
    "items": lambda i, f: drawn(ArrayGenerator(X, Y, mini_batch_size=i(5), seed=i(3), shuffle=True)),
    "sizes of moves": lambda i, f: drawn(ArrayGenerator(np.ones((6, 3, 8, 8)), Y[:6], transforms=moves(i, f))),
    "windows": lambda i, f: windows(X, i(3), i(2), stride=i(200), columns=i(1)),
    "windows of columns": lambda i, f: windows(X, i(3), i(2), stride=i(2), columns=[i(1), i(0)]),
    "split": lambda i, f: split_in_time(X, f(0.25), before=i(3)),
    "unet": lambda i, f: unet((i(3), i(128), i(128)), i(2), depth=i(4), width=i(32)),
    "autoencoder": lambda i, f: autoencoder((i(3), i(130), i(128)), i(200), depth=i(4), width=i(32)),
    **{
        f"{make.__name__}": lambda i, f, make=make: make(i(200)) for make in (diary, linear, mlp, lenet5, vgg, resnet20)
    },
    "digits": lambda i, f: load_drawn_digits(i(3), i(2), seed=i(7)),
    "slide": lambda i, f: picture_net().slide(np.ones((3, 12, 12)), stride=(i(2), i(3))),
    "slide by one number": lambda i, f: picture_net().slide(np.ones((3, 12, 12)), stride=i(3)),
    "declared by a layer of one's own": lambda i, f: net(layer=Own(i, f)).predict(X),
    "parameters": lambda i, f: str(net(layer=Own(i, f)).summary()),
    "parameters of a function": lambda i, f: net(
        layer=FunctionLayer(with_weights, {"w": Param((i(4), i(200)), GlorotNormal(), i(4), i(200))})
    ).predict(X),
    "class_weights by place": lambda i, f: net(cost=Focal(f(0.5), class_weights=[i(1), f(0.5), i(2)])).fit(
        X, Y, progress=False
    )["cost"],
    "a cost of heads": lambda i, f: heads(f).fit(X, {"a": Y}, progress=False)["cost"],
    "lengths": lambda i, f: Sequences(np.ones((2, 3)), [i(1), i(2)]).lengths,
    "threshold": lambda i, f: (
        Network()
        .input((4,))
        .add(FullyConnectedLayer(1))
        .add(Sigmoid())
        .regression(cost="binary_cross_entropy")
        .predict(X, threshold=f(0.25))
    ),
    "epoch": lambda i, f: at_epoch(i(200)).fit(X, Y, progress=False)["cost"],
}


@pytest.mark.parametrize("kinds", KINDS, ids=["64 bits", "32 bits", "fewer"])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_numbers_of_numpy(name: str, kinds: Any) -> None:
    np.testing.assert_equal(CALLS[name](*kinds), CALLS[name](int, float))
