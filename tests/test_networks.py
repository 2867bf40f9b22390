"""Ready-made networks that give pictures: what comes out, how they learn, on which engines."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest

from gedanken import (
    Adam,
    BatchNorm,
    Branches,
    ConvolutionLayer,
    GedankenError,
    Layer,
    Network,
    PixelShuffle,
    Sigmoid,
    UpsamplingLayer,
    networks,
)
from gedanken.engine.select import Cpu
from tests.cpu.agree import check_agreement
from tests.cpu.test_kernels_agree import values


def built(layers: list[Layer], shape: tuple[int, ...], cost: str = "mean_squared", threads: int = 2) -> Network:
    net = Network(seed=1).input(shape)
    for layer in layers:
        net.add(layer)
    return net.regression(Adam(0.01), cost=cost, engine=Cpu(threads=threads))


NAMES = ["unet of depth 4", "flat unet", "smallest unet", "autoencoder", "autoencoder of odd sizes"]
SIZES = [
    (networks.unet((3, 64, 64), 5, width=4), (3, 64, 64), (5, 64, 64)),
    (networks.unet((1, 4, 12), classes=1, depth=2, width=3), (1, 4, 12), (1, 4, 12)),
    (networks.unet([2, 2, 2], classes=2, depth=1, width=3), (2, 2, 2), (2, 2, 2)),
    (networks.autoencoder((1, 28, 28), code=7), (1, 28, 28), (1, 28, 28)),
    (networks.autoencoder((3, 13, 1), code=5, depth=4, width=2), (3, 13, 1), (3, 13, 1)),
]


@pytest.mark.parametrize(("layers", "shape", "made"), SIZES, ids=NAMES)
def test_a_picture_becomes_a_picture_by_kernels_alone(
    layers: list[Layer], shape: tuple[int, ...], made: tuple[int, ...]
) -> None:
    net = built(layers, shape)
    assert net.summary().fallbacks == ()
    assert net.summary().rows[-1].output_shape == made
    y = net.feedforward(np.ones((2, *shape)))
    assert y.shape == (2, *made) and (y >= 0).all() and (y <= 1).all()
    if made[0] > 1 and "SoftMax()" in map(repr, layers):
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("layers", "shape", "_"), SIZES[1:], ids=NAMES[1:])
def test_kernels_agree_with_the_specification(
    layers: list[Layer], shape: tuple[int, ...], _: object, dtype: str
) -> None:
    if dtype == "float64":
        check_agreement(layers, shape, values(6, shape, 1, dtype), tolerance=1e-11)
        return
    agreed = 0
    for seed in range(3):  # of one, rounding may move a score over the corner of a ReLU, which changes the gradient
        with contextlib.suppress(AssertionError):
            # Many layers, and normalisations of few pixels: gradients are small differences of large numbers.
            check_agreement(layers, shape, values(6, shape, seed, dtype), tolerance=2e-3)
            agreed += 1
    assert agreed >= 2


def test_a_unet_of_depth_4_is_branches_in_branches() -> None:
    layers, deep = networks.unet((3, 64, 64), 2), 0
    while found := [layer for layer in layers if isinstance(layer, Branches)]:
        (one,) = found
        layers, deep = list(one.branches[1]), deep + 1
    assert deep == 4


def squares(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy pictures with a brighter square in each, and where it is."""
    rng, masks = np.random.default_rng(0), np.zeros((count, 1, 16, 16), "float32")
    for mask, (i, j) in zip(masks, rng.integers(0, 10, (count, 2)), strict=True):
        mask[0, i : i + 6, j : j + 6] = 1
    return (masks + rng.normal(0, 0.5, masks.shape)).astype("float32"), masks


def trained(
    make: Callable[[], list[Layer]], x: np.ndarray, y: np.ndarray, threads: int = 2, epochs: int = 8
) -> Network:
    net = built(make(), x.shape[1:], "binary_cross_entropy", threads)
    net.fit(x, y, epochs=epochs, mini_batch_size=8, progress=False)
    return net


def test_a_unet_finds_what_is_to_be_found() -> None:
    x, masks = squares(96)
    net = trained(lambda: networks.unet((1, 16, 16), classes=1, depth=2, width=4), x[:64], masks[:64])
    found = net.feedforward(x[64:]) > 0.5
    assert (found == (masks[64:] > 0.5)).mean() > 0.95  # 86 % are background


def test_an_autoencoder_gives_back_what_it_was_given() -> None:
    _, masks = squares(192)
    net = trained(lambda: networks.autoencoder((1, 16, 16), code=16), masks[:160], masks[:160], epochs=10)
    found = net.feedforward(masks[160:]) > 0.5
    assert (found == (masks[160:] > 0.5)).mean() > 0.98


def enlarging() -> list[Layer]:
    small = [ConvolutionLayer(8, 3, 3, stride=8, zero_padding=1), UpsamplingLayer(2, "bilinear"), BatchNorm()]
    return [
        *small,
        UpsamplingLayer((1, 2)),
        UpsamplingLayer((2, 1)),
        PixelShuffle(2),
        ConvolutionLayer(1, 1, 1),
        Sigmoid(),
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: networks.unet((1, 16, 16), 1, depth=2, width=5),
        lambda: networks.autoencoder((1, 16, 16)),
        enlarging,
    ],
    ids=["unet", "autoencoder", "layers without products"],
)
def test_any_number_of_threads_gives_the_same_bits(make: Callable[[], list[Layer]]) -> None:
    x, masks = squares(32)
    one, *others = (trained(make, x, masks, threads, epochs=1).feedforward(x).tobytes() for threads in (1, 2, 3))
    assert others == [one, one]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: networks.unet((3, 65, 64), 2),
            (
                "unet of depth 4 needs height and width that are multiples of 16, got (3, 65, 64); "
                "use a smaller depth, or cut or pad the pictures"
            ),
        ),
        (lambda: networks.unet((64, 64), 2), "unet shape must be that of a picture, (C, H, W), got (64, 64)"),
        (lambda: networks.unet((3, 64, 64), 0), "unet classes must be a whole number of at least 1, got 0"),
        (lambda: networks.unet((3, 64, 64), 2, depth=17), "unet depth must be at most 16, got 17"),
        (lambda: networks.autoencoder((1, 28, 0)), "autoencoder shape must be a whole number of at least 1, got 0"),
        (
            lambda: networks.autoencoder((1, 28, 28), 0.5),
            "autoencoder code must be a whole number of at least 1, got 0.5",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(GedankenError) as caught:
        make()
    assert str(caught.value) == message
