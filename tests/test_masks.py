"""Outputs that say yes or no at each place: masks as labels, and what a network with a Sigmoid at its end answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    LSTM,
    Adam,
    ArgumentError,
    BinaryCrossEntropy,
    BinaryFocal,
    ConvolutionLayer,
    Cost,
    Dice,
    Flatten,
    FullyConnectedLayer,
    HardSigmoid,
    Heads,
    Layer,
    Network,
    Sigmoid,
    SoftMax,
    networks,
)
from gedanken.datasets import ImagePairGenerator, load_image_pairs

RNG = np.random.default_rng(4)
X = RNG.normal(size=(12, 1, 8, 8)).astype("float32")
MASKS = (X[:, 0] > 0.2).astype("uint8")  # (N, H, W)
T = RNG.normal(size=(9, 5, 2)).astype("float32")
REST = (T[:, :, 0] > 0).astype("int32")  # (N, T)
COSTS: list[Any] = ["binary_cross_entropy", "binary_focal", "dice"]
VALUES = "mean_squared", "mean_absolute", "huber", "log_cosh"


def pixels(cost: Any, engine: str = "cpu", layers: Any = None, **options: Any) -> Network:
    net = Network(seed=0).input((1, 8, 8))
    for layer in layers or networks.unet((1, 8, 8), classes=1, depth=1, width=2):
        net.add(layer)
    return net.regression(Adam(0.01), cost, engine=engine, **options)


def places(cost: Any, engine: str = "cpu", *last: Layer) -> Network:
    net = Network(seed=0).input((5, 2)).add(LSTM(3)).add(FullyConnectedLayer(1))
    for layer in last:
        net.add(layer)
    return net.regression(Adam(0.01), cost, engine=engine)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("cost", [*COSTS, *VALUES])
def test_single_outputs_take_targets_without_their_axis(cost: Any, engine: str) -> None:
    last = (Sigmoid(),) if cost in COSTS else ()
    for make, x, labels, axis in ((pixels, X, MASKS, 1), (places, T, REST, 2)):
        found = []
        for target in (labels, np.expand_dims(labels, axis)):
            net = make(cost, engine) if make is pixels else places(cost, engine, *last)
            history = net.fit(x, target, epochs=2, mini_batch_size=5, validation_set=(x, target), progress=False)
            found.append((history.to_dict()["cost"], net.evaluate(x, target, progress=False)))
        assert found[0] == found[1]


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("classes", [1, 2])
def test_files_of_masks_train_a_network_of_one_output(classes: int, cost: Any, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for k, mask in enumerate(MASKS[:6]):
            image.fromarray(mask * 255).save(tmp_path / name / f"{k}.png")
    options: dict[str, Any] = {"values": {0: 0, 255: 1}, "channels": 1}
    pairs = load_image_pairs(tmp_path, 8, classes, **options)
    np.testing.assert_array_equal(pairs.masks, MASKS[:6])
    net, other = (pixels(cost, metrics=["iou"]) for _ in range(2))
    history = net.fit(pairs.data, pairs.masks, shuffle=False, mini_batch_size=3, epochs=3, progress=False)
    with ImagePairGenerator(tmp_path, 8, classes, **options, mini_batch_size=3, mode="serial") as generator:
        assert other.fit(generator, epochs=3, progress=False)["cost"] == history["cost"]
    assert net.predict(pairs.data).shape == (6, 1, 8, 8)
    assert net.check(pairs.data, pairs.masks).ok


class Own(Cost):
    """A cost of labels of the user's own."""

    classifies = True

    def entries(self, ops: Any, y: Any, target: Any) -> Any:
        return (y - target) ** 2, 2 * (y - target)


CONVOLUTION, THREE = ConvolutionLayer(1, 3, 3, zero_padding="same"), ConvolutionLayer(3, 1, 1)
# last layers, cost, what is answered: "yes or no", "class" or "values"
ANSWERS: list[tuple[list[Layer], Any, str]] = [
    *(([CONVOLUTION, Sigmoid()], cost, "yes or no") for cost in (*COSTS, Own())),
    *(([CONVOLUTION, Sigmoid(), Flatten()], cost, "yes or no") for cost in ("binary_cross_entropy", "binary_focal")),
    *(([THREE, Sigmoid()], cost, "yes or no") for cost in (*COSTS, Own())),
    *(([THREE, Sigmoid()], cost, "class") for cost in ("cross_entropy", "focal")),
    *(([THREE, SoftMax()], cost, "class") for cost in ("cross_entropy", "focal", "dice", "kullback_leibler")),
    *(([CONVOLUTION, HardSigmoid()], cost, "yes or no") for cost in COSTS[:2]),
    *(([CONVOLUTION, Sigmoid()], cost, "values") for cost in VALUES),
    *(([Flatten(), FullyConnectedLayer(1), Sigmoid()], cost, "yes or no") for cost in (*COSTS[:2], *VALUES)),
    ([CONVOLUTION, HardSigmoid()], "dice", "values"),
]


@pytest.mark.parametrize(("layers", "cost", "kind"), ANSWERS, ids=str)
def test_what_a_network_answers(layers: list[Layer], cost: Any, kind: str, tmp_path: Path) -> None:
    net = pixels(cost, layers=layers)
    net.save(tmp_path / "net.safetensors")
    outputs, answers = net.feedforward(X), net.predict(X)
    if kind == "yes or no":
        flat = outputs.shape[1:] == (1,)
        for threshold, given in ((0.5, answers), (0.4, net.predict(X, threshold=0.4))):
            expected = outputs > threshold
            np.testing.assert_array_equal(given, expected[:, 0] if flat else expected)
        chances = net.predict_proba(X)
        np.testing.assert_array_equal(chances[:, 1:] if flat else chances, outputs)
    else:
        np.testing.assert_array_equal(answers, outputs.argmax(axis=1) if kind == "class" else outputs)
        with pytest.raises(ArgumentError, match="threshold must be left out, because no output is the probability"):
            net.predict(X, threshold=0.4)
    if not isinstance(cost, Own):
        np.testing.assert_array_equal(Network.load(tmp_path / "net.safetensors").predict(X), answers)


def test_heads_answer_as_networks_of_one_output_do() -> None:
    heads = Heads(where=[CONVOLUTION, Sigmoid()], what=[THREE, SoftMax()], how=[CONVOLUTION, Sigmoid()])
    net = pixels({"where": Dice(), "what": "cross_entropy", "how": "mean_squared"}, layers=[heads])
    outputs, answers = net.feedforward(X), net.predict(X, threshold=0.4)
    np.testing.assert_array_equal(answers["where"], outputs["where"] > 0.4)
    np.testing.assert_array_equal(answers["what"], outputs["what"].argmax(axis=1))
    np.testing.assert_array_equal(answers["how"], outputs["how"])
    assert net.predict_proba(X).keys() == {"where", "what"}


MISTAKES: list[tuple[Any, Any, str]] = [
    (BinaryCrossEntropy(), 255 * MASKS, r"labels must lie in \[0, 1\], got 255"),
    (BinaryFocal(), MASKS[:, 1:], r"labels must have shape \(N, 1, 8, 8\) or \(N, 8, 8\), got \(12, 7, 8\)"),
    (Dice(), 2 * MASKS, r"labels must lie in \[0, 1\], got 2"),
    (Dice(), MASKS[:, 1:], r"labels must be class numbers \(N, 8, 8\) or one-hot maps \(N, 1, 8, 8\), got shape"),
]


@pytest.mark.parametrize(("cost", "labels", "message"), MISTAKES, ids=str)
def test_wrong_masks_are_named(cost: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pixels(cost).fit(X, labels, progress=False)
