"""Fine-tuning: frozen layers, learning rates of their own, weights of another network, another head."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    AdamW,
    ArgumentError,
    BatchNorm,
    Branches,
    Callback,
    Calls,
    Checkpoint,
    CheckpointError,
    ConstantRate,
    ConvolutionLayer,
    Cpu,
    DataParallel,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    GradientError,
    GradualUnfreezing,
    Hogwild,
    KeepBest,
    Layer,
    Lion,
    MaxPoolLayer,
    Momentum,
    MovingAverage,
    Network,
    NonFiniteError,
    OnNonFinite,
    ReLU,
    Residual,
    RMSProp,
    ShapeError,
    SoftMax,
    SparseFullyConnectedLayer,
    StateError,
    TanH,
    Unfreeze,
)
from tests.explosions import history_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
PICTURES = RNG.random((48, 2, 8, 8)).astype(np.float32)
TOKENS = RNG.integers(0, 9, (48, 4))
HOW: dict[str, Any] = {"mini_batch_size": 16, "epochs": 2, "progress": False}
ENGINES = pytest.mark.parametrize("engine", ["cpu", "numpy"])


def built(layers: list[Layer], shape: Any, rule: Any = "adam", engine: Any = "cpu", **names: int) -> Network:
    net, called = Network(1).input(shape), {place: name for name, place in names.items()}
    for place, layer in enumerate(layers):
        net.add(layer, name=called.get(place))
    return net.regression(rule, engine=engine)


def mlp(rule: Any = "adam", engine: Any = "cpu", **names: int) -> Network:
    layers = [FullyConnectedLayer(12), BatchNorm(), ReLU(), Dropout(0.8), FullyConnectedLayer(8), BatchNorm(), TanH()]
    return built([*layers, FullyConnectedLayer(3), SoftMax()], (6,), rule, engine, **names)


def cnn(rule: Any = "adam", engine: Any = "cpu", **names: int) -> Network:
    block = Residual([ConvolutionLayer(4, 3, 3, zero_padding=1), BatchNorm(), ReLU()])
    layers = [ConvolutionLayer(4, 3, 3), BatchNorm(), ReLU(), MaxPoolLayer(2, 2), block, Dropout(0.9), Flatten()]
    return built([*layers, FullyConnectedLayer(3), SoftMax()], (2, 8, 8), rule, engine, **names)


def branched(rule: Any = "adam", engine: Any = "cpu") -> Network:
    first = Branches([FullyConnectedLayer(5), BatchNorm(), ReLU()], [FullyConnectedLayer(4), Dropout(0.7)])
    return built(
        [first, FullyConnectedLayer(6), BatchNorm(), ReLU(), FullyConnectedLayer(3), SoftMax()], (6,), rule, engine
    )


def words(rule: Any = "adam", engine: Any = "cpu") -> Network:
    return built(
        [Embedding(9, 5), Flatten(), FullyConnectedLayer(4), FullyConnectedLayer(3), SoftMax()], (4,), rule, engine
    )


NETWORKS: dict[str, tuple[Callable[..., Network], Any]] = {
    "mlp": (mlp, X), "cnn": (cnn, PICTURES), "branched": (branched, X), "words": (words, TOKENS),
}  # fmt: skip
RULES = [AdamW(0.01, weight_decay=0.1), SGD(0.1, weight_decay=0.1, clip_norm=0.1), RMSProp(0.01, accumulate=2),
         Lion(0.01, weight_decay=0.1, clip_value=0.01)]  # fmt: skip
FROZEN: dict[str, list[Any]] = {
    "first": [0], "first ones": [slice(0, 3)], "between": [1], "some": [0, 2], "all but the head": [slice(None, -2)],
}  # fmt: skip


def arrays(net: Network) -> dict[str, Any]:
    return net._compiled_plan("see").state()


def position(name: str) -> int:
    return int(name.split(".", maxsplit=1)[0])


@ENGINES
@pytest.mark.parametrize("which", FROZEN)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_frozen_layer_keeps_every_bit_and_all_others_learn(name: str, which: str, engine: str) -> None:
    make, x = NETWORKS[name]
    for rule in RULES:
        net = make(rule, engine).freeze(*FROZEN[which])
        net.fit(x, Y, **{**HOW, "epochs": 1})
        before = arrays(net)
        net.fit(x, Y, **HOW)
        for key, array in arrays(net).items():
            same = np.array_equal(array, before[key])
            assert same == (position(key) in net.frozen), (rule, key)
        net.unfreeze()
        net.fit(x, Y, **HOW)
        assert not any(np.array_equal(array, before[key]) for key, array in arrays(net).items())


@ENGINES
@pytest.mark.parametrize("name", NETWORKS)
def test_no_gradient_is_computed_before_the_first_layer_that_learns(name: str, engine: str) -> None:
    make, x = NETWORKS[name]
    net = make("adam", engine).freeze(slice(None, -2))
    net.fit(x, Y, **HOW)
    gradients = net._compiled_plan("see").gradients()
    head = len(net.layers) - 2
    assert all(gradient.any() == (position(key) == head) for key, gradient in gradients.items())


@pytest.mark.parametrize("which", FROZEN)
@pytest.mark.parametrize("name", NETWORKS)
def test_both_engines_learn_the_same(name: str, which: str) -> None:
    make, x = NETWORKS[name]
    found = []
    for engine in (Cpu(dtype="float64"), "numpy"):
        net = make(SGD(0.1, clip_norm=0.5), engine if engine != "numpy" else "numpy").freeze(*FROZEN[which])
        net.scale_rate(0.25, -2)
        net.fit(x, Y, **HOW)
        found.append(arrays(net))
    for key, array in found[0].items():
        np.testing.assert_allclose(array, found[1][key], atol=2e-5, err_msg=key)


@ENGINES
def test_what_stands_before_the_head_is_a_function_of_its_input(engine: str) -> None:
    """A head on frozen layers learns what it would from their outputs at prediction."""
    net = mlp(SGD(0.1), engine)
    net.fit(X, Y, **HOW)
    body = copy.deepcopy(net).replace(slice(-2, None))
    net.freeze(slice(0, 7))
    alone = built([FullyConnectedLayer(3), SoftMax()], (8,), SGD(0.1), engine)
    weights = {f"0.{key[2:]}": array for key, array in arrays(net).items() if position(key) == 7}
    alone._compiled_plan("set").restore(weights)
    alone.epoch = net.epoch
    features = body.feedforward(X)
    net.fit(X, Y, **HOW)
    alone.fit(features, Y, **HOW)
    np.testing.assert_allclose(net.feedforward(X), alone.feedforward(features), atol=1e-5)


@ENGINES
@pytest.mark.parametrize("rule", [SGD(0.1), SGD(0.1, weight_decay=0.5)], ids=repr)
def test_a_rate_is_a_factor_of_the_optimizers(rule: Any, engine: str) -> None:
    plain, scaled = mlp(rule, engine), mlp(rule, engine).scale_rate(0.25, 0, -2).scale_rate(3, 4)
    first = arrays(plain)
    for net in (plain, scaled):
        net.fit(X, Y, mini_batch_size=48, progress=False)
    for key, array in arrays(scaled).items():
        if "mean" in key or "var" in key:
            continue
        factor = {0: 0.25, 7: 0.25, 4: 3.0}.get(position(key), 1.0)
        expected = first[key] + factor * (arrays(plain)[key] - first[key])
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-6, err_msg=key)
    assert scaled.rate_factors == {0: 0.25, 4: 3.0, 7: 0.25}
    assert scaled.scale_rate(1).rate_factors == {}


@ENGINES
def test_a_clipped_length_is_that_of_what_learns(engine: str) -> None:
    net = mlp(SGD(1.0, clip_norm=0.01), engine).freeze(0, 1, 4)
    before = arrays(net)
    net.fit(X, Y, mini_batch_size=48, progress=False)
    learnt = [array - before[key] for key, array in arrays(net).items() if not key.endswith(("mean", "var"))]
    assert np.sqrt(sum(float((part**2).sum()) for part in learnt)) == pytest.approx(0.01, rel=1e-3)


def test_what_is_thawed_goes_on_as_if_it_had_never_been_frozen() -> None:
    nets = [mlp(SGD(0.1)) for _ in range(2)]
    for net in nets:
        net.fit(X, Y, **HOW)
    nets[1].freeze().unfreeze().scale_rate(2, 0).scale_rate(1, 0)
    for net in nets:
        net.fit(X, Y, **HOW)
    for key, array in arrays(nets[0]).items():
        assert arrays(nets[1])[key].tobytes() == array.tobytes(), key


@ENGINES
@pytest.mark.parametrize("rule", [Adam(0.01), AdamW(0.01), Lion(0.01), Momentum(0.01)], ids=repr)
def test_what_is_thawed_begins_with_steps_of_the_usual_length(rule: Any, engine: str) -> None:
    """Means of the optimizer that know nothing of a layer would be corrected for steps that it has not made."""
    net, fresh = mlp(rule, engine).freeze(0), mlp(rule, engine)
    net.fit(X, Y, **{**HOW, "epochs": 100})
    net.unfreeze()
    fresh._compiled_plan("set").restore(arrays(net))
    fresh.epoch = net.epoch
    for one in (net, fresh):
        one.fit(X, Y, **HOW)
    for key, array in arrays(fresh).items():
        np.testing.assert_array_equal(arrays(net)[key], array, err_msg=key)


@pytest.mark.parametrize(
    "parallel",
    [DataParallel(workers=2), Hogwild(workers=2, backend="threads"), Hogwild(workers=2, backend="processes")],
    ids=repr,
)
@pytest.mark.parametrize("which", ["first ones", "between"])
def test_workers_keep_it_too(which: str, parallel: Any) -> None:
    net = mlp(SGD(0.1, weight_decay=0.1)).freeze(*FROZEN[which])
    before = arrays(net)
    net.fit(X, Y, parallel=parallel, **{**HOW, "mini_batch_size": 8})
    for key, array in arrays(net).items():
        assert np.array_equal(array, before[key]) == (position(key) in net.frozen), key


def test_rows_that_few_samples_have_can_learn_more_slowly() -> None:
    nets = [built([SparseFullyConnectedLayer(3), SoftMax()], (6,), SGD(0.1)) for _ in range(2)]
    first = arrays(nets[0])
    nets[1].scale_rate(0.5)
    for net in nets:
        net.fit(X, Y, mini_batch_size=48, progress=False)
    for key, array in arrays(nets[1]).items():
        np.testing.assert_allclose(array, (first[key] + arrays(nets[0])[key]) / 2, atol=1e-6)


KEPT: dict[str, Callable[[Network, Path], Network]] = {
    "a file": lambda net, path: (net.save(path / "net"), Network.load(path / "net"))[1],
    "a copy": lambda net, path: copy.deepcopy(net),
    "a pickle": lambda net, path: pickle.loads(pickle.dumps(net)),
}  # fmt: skip


@pytest.mark.parametrize("how", KEPT)
def test_who_learns_is_kept(how: str, tmp_path: Path) -> None:
    net = mlp(Adam(0.01), stem=0, head=7).freeze("stem", 1).scale_rate(0.1, "head")
    again = KEPT[how](net, tmp_path)
    assert (again.frozen, again.rate_factors, again.layer_names) == ((0, 1), {7: 0.1}, net.layer_names)
    for one in (net, again):
        one.fit(X, Y, **HOW)
    assert again.feedforward(X).tobytes() == net.feedforward(X).tobytes()
    assert again.regression("sgd").frozen == (0, 1)


def test_a_training_goes_on_with_the_same_layers_frozen_only(tmp_path: Path) -> None:
    how = {**HOW, "callbacks": [Checkpoint()]}
    whole = mlp().freeze(slice(0, 3))
    whole.fit(X, Y, **{**how, "epochs": 4}, folder=tmp_path / "whole")
    mlp().freeze(slice(0, 3)).fit(X, Y, **how, folder=tmp_path / "part")
    with pytest.raises(CheckpointError, match="frozen layers"):
        mlp().fit(X, Y, **{**how, "epochs": 4}, resume=tmp_path / "part")
    with pytest.raises(CheckpointError, match="rates of layers"):
        mlp().freeze(slice(0, 3)).scale_rate(2, -2).fit(X, Y, **{**how, "epochs": 4}, resume=tmp_path / "part")
    again = mlp().freeze(slice(0, 3))
    again.fit(X, Y, **{**how, "epochs": 4}, resume=tmp_path / "part")
    assert again.feedforward(X).tobytes() == whole.feedforward(X).tobytes()


def test_a_summary_names_layers_and_says_which_learn() -> None:
    told = str(mlp(stem=0).freeze("stem").scale_rate(0.5, 4).summary())
    assert "stem: FullyConnectedLayer(n_units=12), frozen" in told
    assert "FullyConnectedLayer(n_units=8), rate x 0.5" in told
    assert "84 of 255 parameters are frozen" in told


# ---------------------------------------------------------------------- weights of another network


def test_weights_are_taken_by_name_then_by_place() -> None:
    donor = mlp(stem=0, body=4)
    donor.fit(X, Y, **HOW)
    layers = [TanH(), FullyConnectedLayer(12), ReLU(), ReLU(), FullyConnectedLayer(8), BatchNorm(), TanH()]
    net = built([*layers, FullyConnectedLayer(5), SoftMax()], (6,), stem=1)
    before = arrays(net)
    found = net.take(donor)
    assert [(one.taken, one.layer.split()[1]) for one in found.layers] == [
        (True, "1"), (True, "4"), (True, "5"), (False, "7"),
    ]  # fmt: skip
    assert "left, bias is (3,) in layer 7 FullyConnectedLayer(n_units=3) and (5,) here" in str(found)
    given = arrays(donor)
    for key, array in arrays(net).items():
        source = {"1": "0"}.get(key.split(".")[0], key.split(".")[0])
        expected = before[key] if position(key) == 7 else given[f"{source}.{key.split('.', 1)[1]}"]
        np.testing.assert_array_equal(array, expected, err_msg=key)
    assert arrays(donor).keys() == given.keys()


def test_what_was_asked_for_must_fit() -> None:
    donor, net = mlp(), cnn()
    before = arrays(net)
    for which, told in (
        (7, "layer 7 FullyConnectedLayer"), ([0, 7], "kernel is"), (None, "layer 0 Conv"),
        (2, "none of them has weights"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=f"take must find layers that fit in the other network, got: .*{told}"):
            net.take(donor, layers=which)
    assert all(np.array_equal(array, before[key]) for key, array in arrays(net).items())
    for which in (3.5, object(), []):
        with pytest.raises(ArgumentError, match="take layers must"):
            net.take(cnn(), layers=which)  # type: ignore[arg-type]
    large = mlp(engine=Cpu(dtype="float64"))
    large._compiled_plan("set").arrays()["0.kernel"][0, 0] = 1e300
    with pytest.raises(ArgumentError, match=r"take other 0.kernel must be finite in float32, got 1e\+300"):
        mlp().take(large)
    with pytest.raises(ArgumentError, match="take other must be a Network, got 'net'"):
        net.take("net")  # type: ignore[arg-type]
    with pytest.raises(StateError, match="take needs"):
        net.take(Network(1).input((6,)).add(ReLU()))


def test_the_optimizer_starts_afresh_with_taken_weights() -> None:
    donor, net, fresh = mlp(Adam(0.1)), mlp(Adam(0.1)), mlp(Adam(0.1))
    for one in (donor, net):
        one.fit(X, Y, **HOW)
    net.take(donor)
    fresh.take(donor)
    fresh.epoch = net.epoch
    for one in (net, fresh):
        one.fit(X, Y, **HOW)
    assert fresh.feedforward(X).tobytes() == net.feedforward(X).tobytes()


def test_a_head_is_replaced() -> None:
    net = mlp(stem=0, head=7)
    net.fit(X, Y, **HOW)
    net.class_names = ["a", "b", "c"]
    net.freeze(0).scale_rate(0.5, "head", 5)
    before = arrays(net)
    net.replace(slice(-2, None), FullyConnectedLayer(4), TanH(), FullyConnectedLayer(2), SoftMax())
    assert (net.layer_names[0], net.layer_names[7:], net.class_names) == ("stem", (None,) * 4, None)
    assert (net.frozen, net.rate_factors) == ((0,), {5: 0.5})
    for key, array in before.items():
        if position(key) < 7:
            np.testing.assert_array_equal(arrays(net)[key], array)
    assert net.predict(X).shape == (48,)
    with pytest.raises(StateError, match="fit needs"):
        net.fit(X, Y, **HOW)
    net.regression("adam").fit(X, Y > 0, **HOW)
    assert np.array_equal(arrays(net)["0.kernel"], before["0.kernel"])


def test_layers_in_the_middle_are_replaced_where_the_others_keep_their_weights() -> None:
    net = mlp(stem=0, between=2, head=7)
    before = arrays(net)
    net.replace("between", TanH())
    assert net.layer_names[2] == "between"
    net.replace(slice(1, 4), TanH())
    assert [type(layer).__name__ for layer in net.layers[:3]] == ["FullyConnectedLayer", "TanH", "FullyConnectedLayer"]
    np.testing.assert_array_equal(arrays(net)["5.kernel"], before["7.kernel"])
    assert net.layer_names[5] == "head"
    layers = net.layers
    for which, fresh, error, told in (
        (0, (FullyConnectedLayer(7),), ShapeError, r"leave layer 2 .* its weights, got kernel \(7, 8\) for \(12, 8\)"),
        (slice(0, 7), (), ArgumentError, "leave at least one layer"),
        (0, (ConvolutionLayer(2, 2, 2),), ShapeError, "needs images"),
        (0, ("layer",), ArgumentError, "be a layer or a sequence of layers"),
        (99, (), ArgumentError, "be a position among the 7 layers"),
        (slice(0, 7, 2), (), ArgumentError, "be layers beside each other"),
    ):  # fmt: skip
        with pytest.raises(error, match=told):
            net.replace(which, *fresh)
        assert net.layers == layers


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("which", "told"),
    [
        (9, "freeze must be a position among the 9 layers, a name or a slice, got 9"),
        (-10, "freeze must be a position among the 9 layers, a name or a slice, got -10"),
        (True, "freeze must be a position among the 9 layers, a name or a slice, got True"),
        (1.0, "freeze must be a position among the 9 layers, a name or a slice, got 1.0"),
        ("steam", r"freeze must name one of \['stem'\], got 'steam'"),
        (slice(9, 12), "freeze must name layers among the 9 that there are"),
        (slice("a", None), "freeze must be given slices of positions"),
        (slice(0, 3, 0), "freeze must be given slices of positions"),
        ([0, 99], "freeze must be a position among the 9 layers, a name or a slice, got 99"),
    ],
)
def test_layers_that_are_not_there_are_told_of(which: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        mlp(stem=0).freeze(which)


@pytest.mark.parametrize("factor", [0, -1, np.nan, np.inf, "1", None, True])
def test_a_factor_is_a_number_above_zero(factor: Any) -> None:
    with pytest.raises(ArgumentError, match=r"scale_rate factor must be a number in \(0, inf\)"):
        mlp().scale_rate(factor, 0)


def test_names_are_texts_that_are_different() -> None:
    net = Network(1).input((6,)).add(ReLU(), name="one")
    for name, told in (
        ("one", "be unlike those of other layers"),
        ("", "be a text, or None"),
        (3, "be a text, or None"),
    ):
        with pytest.raises(ArgumentError, match=f"name must {told}"):
            net.add(TanH(), name=name)  # type: ignore[arg-type]
    assert net.layer_names == ("one",)


def test_somebody_must_learn() -> None:
    net = mlp().freeze()
    with pytest.raises(StateError, match="fit needs a layer that learns, all that could are frozen"):
        net.fit(X, Y, **HOW)
    for call in (net.check, net.find_learning_rate):
        with pytest.raises(StateError, match="needs a layer that learns"):
            call(X, Y)
    assert np.isfinite(net.evaluate(X, Y, progress=False)["cost"])
    assert mlp().freeze([np.int64(0), 1]).frozen == (0, 1)


def test_a_checkup_finds_nothing_wrong_with_frozen_layers() -> None:
    x, y = np.tile(X, (4, 1)), np.tile(Y, 4)
    codes = [{one.code for one in net.check(x, y).findings} for net in (mlp(), mlp().freeze(slice(0, 4)))]
    assert codes[1] <= codes[0]


def test_a_factor_that_throws_weights_away_is_seen_before_the_update() -> None:
    with pytest.raises(NonFiniteError, match=r"the learning rate, 1e\+306, is too high for such a gradient"):
        mlp(SGD(0.01), Cpu(dtype="float64")).scale_rate(1e308, -2).fit(1e4 * X, Y, **HOW)


def test_layers_are_not_frozen_while_they_learn() -> None:
    class Freezes(Callback):
        def on_step(self, run: Any, record: Any) -> None:
            net.freeze(0)

    net = mlp()
    with pytest.raises(StateError, match="freeze"):
        net.fit(X, Y, callbacks=[Freezes()], **HOW)
    assert net.frozen == ()


def test_before_it_is_compiled_layers_can_be_frozen_too() -> None:
    net = Network(1).input((6,)).add(FullyConnectedLayer(5), name="stem").freeze("stem").add(FullyConnectedLayer(3))
    net = net.add(SoftMax()).regression("sgd")
    first = arrays(net)
    net.fit(X, Y, **HOW)
    assert [np.array_equal(array, first[key]) for key, array in arrays(net).items()] == [
        key.startswith("0.") for key in first
    ]


# ---------------------------------------------------------------------- unfrozen one after the other


def stages() -> GradualUnfreezing:
    return GradualUnfreezing(["body", (0, 1)], every=2)


@pytest.mark.parametrize("parallel", [None, DataParallel(workers=2)], ids=repr)
def test_layers_are_unfrozen_one_after_the_other(parallel: Any) -> None:
    seen: list[set[int]] = []
    net = mlp(Adam(0.01), body=4).freeze(slice(0, 7))
    before = [arrays(net)]

    def look(run: Any, record: Any) -> None:
        now = arrays(net)
        seen.append({position(key) for key, array in now.items() if not np.array_equal(array, before[-1][key])})
        before.append(now)

    history = net.fit(X, Y, callbacks=[Calls(on_epoch=look), stages()], parallel=parallel, **{**HOW, "epochs": 5})
    assert seen == [{7}, {7}, {4, 7}, {4, 7}, {0, 1, 4, 7}]
    assert net.frozen == (2, 3, 5, 6)
    assert [one.answer.to_json() for one in history.answers] == ['{"unfreeze": ["body"]}', '{"unfreeze": [0, 1]}']


def test_what_was_unfrozen_is_so_after_a_resume(tmp_path: Path) -> None:
    def run(epochs: int, *more: Any, **how: Any) -> Network:
        net = mlp(Adam(0.01), body=4).freeze(slice(0, 7))
        net.fit(X, Y, callbacks=[stages(), Checkpoint(1, keep=99), *more], **{**HOW, "epochs": epochs, **how})
        return net

    whole = run(6, folder=tmp_path / "whole")
    written = sorted((tmp_path / "whole" / "checkpoints").glob("*.safetensors"))
    begins = [place for place in written if "step-000000000" in place.name]
    assert len(begins) > 3
    for number, place in enumerate([*begins, *written[::3]]):
        again = run(6, resume=place, folder=tmp_path / f"again {number}")
        assert again.frozen == whole.frozen
        for key, array in arrays(whole).items():
            assert arrays(again)[key].tobytes() == array.tobytes(), (place.name, key)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stages": []}, "GradualUnfreezing stages must be a list of layers"),
        ({"stages": "stem"}, "GradualUnfreezing stages must be a list of layers"),
        ({"stages": [slice(0, 2)]}, "GradualUnfreezing stages must name layers by position or name"),
        ({"stages": [()]}, "GradualUnfreezing stages must name layers by position or name"),
        ({"stages": [0], "every": 0}, "GradualUnfreezing every must be a whole number"),
    ],
)
def test_stages_are_layers(given: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        GradualUnfreezing(**given)


def test_stages_are_looked_at_before_a_training() -> None:
    net = mlp().freeze(0)
    before = arrays(net)
    with pytest.raises(ArgumentError, match="GradualUnfreezing must name one of"):
        net.fit(X, Y, callbacks=[GradualUnfreezing(["stem"])], **HOW)
    with pytest.raises(ArgumentError, match="parallel must be one where the network has the weights"):
        net.fit(X, Y, callbacks=[GradualUnfreezing([0])], parallel=Hogwild(workers=2), **HOW)
    with pytest.raises(ArgumentError, match="on_step must return"):
        net.fit(X, Y, callbacks=[Calls(on_step=lambda run, record: Unfreeze((0,)))], **HOW)  # type: ignore[arg-type,return-value]
    assert all(np.array_equal(array, before[key]) for key, array in arrays(net).items() if position(key) == 0)


class Mask(Layer):
    """A dropout as one writes it: at prediction there is no mask."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        if not ctx.train:
            return x, None
        mask = ctx.draws(x.shape) < 30000
        return x * mask, mask

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy * cache


class Centres(Layer):
    """Takes the mean of the mini-batch away in training; its gradient is that of training alone."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return (x - x.mean(axis=0) if ctx.train else x), None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy - dy.mean(axis=0)


@pytest.mark.parametrize("layer", [Mask(), Centres()], ids=repr)
def test_a_layer_of_ones_own_is_frozen_where_it_has_the_gradient_for_it(layer: Layer) -> None:
    net = built([FullyConnectedLayer(5), layer, FullyConnectedLayer(3), SoftMax()], (6,))
    with pytest.raises(GradientError, match="layer 1"):
        net.freeze(1)
    assert net.frozen == ()
    net.fit(X, Y, **HOW)
    net.freeze(0, 1).fit(X, Y, **HOW)  # no gradient is asked of it
    assert "frozen, and no gradient is asked of it" in str(net.summary())
    with pytest.raises(GradientError, match="layer 1"):
        net.unfreeze(0)


class Ruins(ConstantRate):
    """A rate that is far too high once."""

    at: int = 2

    def __call__(self, step: int) -> float:
        return 1e30 if step == self.at else 0.05


@pytest.mark.parametrize("action", ["raise", "skip", "rollback"])
@pytest.mark.parametrize("at", [2, 5])
@pytest.mark.parametrize(
    "callbacks", [[KeepBest("cost")], [MovingAverage(0.9)], [MovingAverage(0.9), KeepBest("cost")]], ids=str
)
def test_whatever_is_kept_is_of_use(callbacks: list[Any], at: int, action: str) -> None:
    rate = type("Ruins", (Ruins,), {"at": at, "__module__": __name__})(0.05)
    net = mlp(SGD(rate))
    history_of(net, X, Y, callbacks=[*callbacks, OnNonFinite(action)], **HOW)
    assert np.isfinite(net.evaluate(X, Y, progress=False)["cost"])
    assert max(float(abs(array).max()) for array in arrays(net).values()) < 1e6
