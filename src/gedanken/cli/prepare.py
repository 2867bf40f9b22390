"""What `train` and `check` do alike before they part: samples, a network and how it learns, from the arguments."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from gedanken.checks import one_of, require
from gedanken.cli.data import (
    Image,
    Samples,
    as_input,
    as_target,
    is_file,
    load_training,
    load_training_rows,
    refuse_zero_based,
)
from gedanken.cli.networks import Design, build, find_design
from gedanken.cli.parser import OF_LABELS
from gedanken.datasets.pictures import SIZE
from gedanken.engine.select import engine_choice
from gedanken.named import OPTIMIZERS
from gedanken.network import Network
from gedanken.optimizers import Optimizer


def chosen(arguments: Namespace) -> tuple[Optimizer, Design]:
    """Return how a network learns and what it is, or raise what is wrong with that before any data are read."""
    optimizer = make_optimizer(arguments.optimizer, arguments.learning_rate)
    one_of("--cost", arguments.cost, OF_LABELS)
    default = "linear" if is_file(arguments.data) else "diary"
    network = default if arguments.network is None else arguments.network
    return optimizer, find_design(network, scores=arguments.cost == "hinge")


def prepared(arguments: Namespace, optimizer: Optimizer, design: Design) -> tuple[Network, Samples]:
    """Return a compiled network and samples for it."""
    samples = _load(arguments, design)
    net = build(design, samples.train[0].shape[1:], len(samples.classes), arguments.seed)
    net.class_names = samples.classes
    engine = engine_choice(arguments.engine, dtype=arguments.dtype, precision=arguments.precision)
    return net.regression(optimizer, arguments.cost, engine=engine), samples


def as_taken(net: Network, samples: Samples) -> tuple[Any, Any, Any]:
    """Return data, labels and validation set in the form that the network takes."""

    def ready(pair: Any) -> Any:
        return as_input(net, pair[0]), as_target(net, pair[1])

    validation = ready(samples.validation) if isinstance(samples.validation, tuple) else samples.validation
    return *ready(samples.train), validation


def make_optimizer(name: str, rate: float | None) -> Optimizer:
    """Return an optimizer by its name in any case; a rate of None is its own."""
    kind: Callable[..., Optimizer] = OPTIMIZERS[one_of("--optimizer", name.lower(), OPTIMIZERS)]
    return kind() if rate is None else kind(learning_rate=rate)


def _load(arguments: Namespace, design: Design) -> Samples:
    own, parts = arguments.size is not None or arguments.grey, (arguments.validation, arguments.limit)
    if is_file(arguments.data):
        require(not own, "--size and --grey", "go with a folder of pictures", arguments.data)
        return load_training_rows(arguments.data, _file_features(arguments, design), *parts, arguments.zero_based)
    refuse_zero_based(arguments.zero_based, arguments.data)
    return load_training(arguments.data, _folder_shape(arguments, design), *parts, arguments.seed, own)


def _file_features(arguments: Namespace, design: Design) -> int | None:
    """Return the features of a file's rows; None is as many as it has."""
    shape = design.input_shape
    if shape is None:
        return None
    rule = "be [features] for a file in the svmlight format"
    require(len(shape) == 1, f'"input" of {arguments.network}', rule, list(shape))
    return shape[0]


def _folder_shape(arguments: Namespace, design: Design) -> Image:
    """Return (C, H, W) of a folder's pictures."""
    given = design.input_shape if design.input_shape and len(design.input_shape) == 3 else (3, *SIZE)
    size = arguments.size or given[1:]
    require(len(size) <= 2, "--size", "be HEIGHTxWIDTH or one number for both", "x".join(map(str, size)))
    return (1 if arguments.grey else given[0], size[0], size[-1])
