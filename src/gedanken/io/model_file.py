"""A network as one file: its weights, and its architecture in the header.

The header is that of the safetensors format. Its metadata are texts: `format` is "gedanken", `version` the number of
the format, `checksum` that of the file, and `architecture` a JSON object with the fields of `Architecture`; layers and
whatever else is an object stand in it as `io/data.py` says. A checkpoint is a model file that holds the state of a
training too, see `io/training_state.py`; so may be one that `save(optimizer=True)` wrote.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FunctionType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gedanken.checks import one_of, real, require, seed_of_draws
from gedanken.costs import Cost
from gedanken.data.vocabulary import Vocabulary
from gedanken.engine.plan import Plan
from gedanken.engine.select import EngineChoice, engine_choice
from gedanken.engine.tuning import ALIKE, Tuning, checked_layer_names
from gedanken.errors import ArgumentError, CheckpointError, EngineError, GedankenError, StateError
from gedanken.files import open_regular, replacing
from gedanken.io.architecture import check_size, known_classes, layers_from_data
from gedanken.io.data import Known, UnknownClassError, from_data, to_data
from gedanken.io.safetensors import Contents, parsed, read_arrays, read_contents, write_arrays
from gedanken.io.training_state import TrainingState, is_of_training, training_arrays, training_of
from gedanken.io.vocabulary import NAME as VOCABULARY
from gedanken.io.vocabulary import check_entry, vocabulary_arrays, vocabulary_of
from gedanken.layers import Layer
from gedanken.layers.containers import Placed, leaves, placed
from gedanken.layers.declared import checked_input_shape, declared_params, declared_state
from gedanken.layers.shape import channels_first_shape, channels_last_shape, each_of, each_shape
from gedanken.metrics import Metric
from gedanken.metrics.heads import HeadCost, HeadMetric
from gedanken.optimizers import Optimizer
from gedanken.processors import memory_bytes
from gedanken.schedules import Plateau
from gedanken.types import AnyShape, Array, Shape

FORMAT = "gedanken"
VERSION = 2  # 1 had no state of a training
FORMER_NAMES, LARGEST_NAMES = ".classes.json", 1 << 24  # beside a model; bytes of it
LARGEST_SAMPLE = 1 << 31  # values, in any layer


class NewerVersionError(CheckpointError):
    """A file is of a newer version of the format."""


class Learner(NamedTuple):
    """How a network learns, and how far it is.

    Args:
        cost, optimizer, metrics: as given to `regression`.
        updates: updates made, which is the position in the schedule.
        plateau: what a rate that falls on a plateau remembers.
    """

    cost: Cost
    optimizer: Optimizer
    metrics: tuple[Metric, ...]
    updates: int = 0
    plateau: Plateau = Plateau()


class Architecture(NamedTuple):
    """Everything of a network that is not an array.

    Args:
        input_shape: one sample, channels first; of several inputs a mapping of their names to such.
        layers: the layers.
        seed: its seed.
        dtype: its number type.
        epoch: epochs trained.
        class_names: a name for each class, or None.
        learner: None before `regression`, and where it is made of functions that no name tells.
        layer_names: a name or None for each layer; () in files of older versions.
        tuning: which layers learn, and how fast.
    """

    input_shape: AnyShape
    layers: tuple[Layer, ...]
    seed: int
    dtype: str
    epoch: int
    class_names: tuple[str, ...] | None
    learner: Learner | None
    layer_names: tuple[str | None, ...] = ()
    tuning: Tuning = ALIKE


# ---------------------------------------------------------------------------------------------- writing


class Model(NamedTuple):
    """What a model file holds.

    Args:
        architecture: all that is not an array.
        values: parameters and state of layers by name.
        training: the state of a training, or nothing.
        vocabulary: what makes numbers of texts, or nothing.
    """

    architecture: Architecture
    values: Mapping[str, Array]
    training: TrainingState | None = None
    vocabulary: Vocabulary | None = None


def write_model(path: str, model: Model) -> None:
    """Write a model file, whole or not at all.

    Raises:
        ArgumentError: a layer or the training holds something that would not come back.
        StateError: a weight is not finite.
        OSError: the file cannot be written; an older one stays as it was.
    """
    architecture, values = model.architecture, model.values
    _check_finite(values)
    classes = known_classes()
    data = architecture._asdict()
    data["layers"] = [_layer_data(position, layer, classes) for position, layer in enumerate(architecture.layers)]
    data["learner"] = _learner_data(architecture.learner, classes)
    check_size(data)
    metadata = {"format": FORMAT, "version": str(VERSION), "architecture": json.dumps(data)}
    beside = vocabulary_arrays(model.vocabulary) | (training_arrays(model.training) if model.training else {})
    with replacing(path) as file:
        write_arrays(file, {**values, **beside}, metadata)


def _check_finite(values: Mapping[str, Array]) -> None:
    for name, array in values.items():
        if not np.isfinite(array).all():
            wrong = array[~np.isfinite(array)][0]
            raise StateError(f"save needs finite weights, got {wrong} in {name}: the training has diverged")


def _layer_data(position: int, layer: Layer, classes: dict[str, type[Any]]) -> Any:
    try:
        return to_data(layer, classes)
    except ArgumentError as error:
        raise ArgumentError(f"layer {position}: {error}") from None


def _learner_data(learner: Learner | None, classes: dict[str, type[Any]]) -> Any:
    if learner is None:
        return None
    try:
        parts = [to_data(part, classes) for part in learner._replace(plateau=tuple(learner.plateau))]  # type: ignore[arg-type]
    except ArgumentError:
        return None
    return dict(zip(Learner._fields, parts, strict=True))


# ---------------------------------------------------------------------------------------------- reading


def read_model(path: str, classes: Sequence[type[Any]], engine: str | EngineChoice) -> tuple[Model, Plan, EngineChoice]:
    """Read a model file, which may come from anybody; also return a plan with its weights, and what runs that.

    Time and memory are bounded by the size of the file: what it says of its arrays is compared with what its layers
    need before any of them is read.

    Args:
        path: the file.
        classes: classes and functions of your own that it may name.
        engine: what runs the plan, as for `regression`; a name takes the file's dtype, an object must have it.

    Raises:
        ArgumentError: an entry of `classes` is not a class that can be in a file, or `engine` is none.
        CheckpointError: the file is missing, no file, damaged, foreign, of a newer version, or names unknown classes.
        EngineError: the engine cannot run here.
    """
    listed = isinstance(classes, (list, tuple)) and all(isinstance(kind, (type, FunctionType)) for kind in classes)
    require(listed, "classes", "be a list of classes and functions", classes)
    known = known_classes(classes)
    choice = engine_choice(engine)
    with told_of(path), open_regular(path) as file:
        contents = read_contents(file)
        found = _architecture(contents, known)
        _check_table(contents, found)
        values = _read_arrays(file, contents)
        vocabulary = vocabulary_of(values.pop(VOCABULARY, None), found.layers[0])
        own = _finite_weights(values)
        cost = found.learner.cost if found.learner else None
        if isinstance(engine, str):
            choice = engine_choice(engine, dtype=found.dtype)
        require(choice.dtype == found.dtype, "engine dtype", f'be "{found.dtype}", as of the file', choice.dtype)
        plan = Plan(found.layers, found.input_shape, choice.start(), found.seed, cost, tuning=found.tuning)
        plan.restore(own)
        if cost:
            cost.check_output(each_shape(channels_first_shape, plan.shapes[-1]))
        _check_metrics(found.learner.metrics if found.learner else (), plan.shapes[-1])
        return Model(found, own, training_of(values), vocabulary), plan, choice


def _check_metrics(metrics: Sequence[Metric], made: AnyShape) -> None:
    """Raise ArgumentError unless metrics are of heads that there are, or of no head where there are none."""
    heads: list[str | None] = [*made] if isinstance(made, Mapping) else [None]
    for metric in metrics:
        head = getattr(metric, "head", None) if isinstance(metric, (HeadCost, HeadMetric)) else None
        require(head in heads, "metrics", f"be of the heads {heads}" if heads != [None] else "be of no head", metric)


def read_training(path: str) -> TrainingState:
    """Read the state of a training, with the network's weights, from a file that may come from anybody.

    Raises:
        CheckpointError: the file is missing, no file, damaged, foreign or of a newer version, or holds no training.
    """
    with told_of(path), open_regular(path) as file:
        contents = read_contents(file)
        _check_version(contents)
        values = _read_arrays(file, contents)
        values.pop(VOCABULARY, None)
        _finite_weights(values)
        found = training_of(values)
        if found is None or not found.about:
            raise CheckpointError("holds a network and no training to go on with; give it to Network.load")
        return found


@contextmanager
def told_of(path: str) -> Iterator[None]:
    """Turn whatever a bad file leads to into a CheckpointError that names it."""
    try:
        yield
    except EngineError:
        raise
    except UnknownClassError as error:
        hint = "give load(..., classes=[...]) your own classes and functions"
        raise CheckpointError(f"{path}: {error}; {hint}") from error
    except NewerVersionError as error:
        raise NewerVersionError(f"{path}: {error}") from error
    except GedankenError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise CheckpointError(f"{path} needs more memory than there is ({error})") from error
    except (TypeError, AttributeError, LookupError, ValueError, ArithmeticError, RecursionError) as error:
        raise CheckpointError(f"{path} holds no architecture of this version ({error!r})") from error


def _check_version(contents: Contents) -> None:
    metadata = contents.metadata
    version = metadata.get("version", "")
    if metadata.get("format") != FORMAT or not (version.isdecimal() and version.isascii() and len(version) < 10):
        raise CheckpointError("is not a model file of Gedanken")
    if int(version) > VERSION:
        raise NewerVersionError(f"has version {version} of the format, this library reads up to {VERSION}: update it")


def _architecture(contents: Contents, known: Known) -> Architecture:
    _check_version(contents)
    data = parsed(contents.metadata["architecture"])
    check_size(data)
    data["layers"] = layers_from_data(data["layers"], known)
    data["input_shape"] = checked_input_shape(data["input_shape"])
    data["learner"] = _learner(data["learner"], known)
    data["tuning"] = _tuning(data.get("tuning", ALIKE), len(data["layers"]))
    data["layer_names"] = tuple(data.get("layer_names", ()))
    found = Architecture(**data)
    require(len(found.layer_names) in (0, len(found.layers)), "layer_names", "be one for each layer", found.layer_names)
    checked_layer_names(found.layer_names)
    seed_of_draws("seed", found.seed)
    one_of("dtype", found.dtype, ("float32", "float64"))
    _check_count("epoch", found.epoch)
    return found._replace(class_names=checked_names(found.class_names))


def _learner(data: Any, known: Known) -> Learner | None:
    """Return what a network learns by; None where a class of it is not known: the weights are of use without."""
    if data is None:
        return None
    learner = None
    with suppress(UnknownClassError):
        found = Learner(**{name: from_data(part, known) for name, part in data.items()})
        learner = found._replace(plateau=_checked_plateau(*found.plateau))
        _check_count("updates", learner.updates)
        require(isinstance(learner.cost, Cost), "cost", "be a Cost", learner.cost)
        require(isinstance(learner.optimizer, Optimizer), "optimizer", "be an Optimizer", learner.optimizer)
        right = isinstance(learner.metrics, tuple) and all(isinstance(metric, Metric) for metric in learner.metrics)
        require(right, "metrics", "be Metric objects", learner.metrics)
        names = [metric.name for metric in learner.metrics]
        require(len(set(names)) == len(names), "metrics", "have different names", names)
    return learner


def _tuning(data: Any, layers: int) -> Tuning:
    frozen, rates = data
    for place in (*frozen, *(place for place, _ in rates)):
        require(type(place) is int and 0 <= place < layers, "tuning", f"be of positions below {layers}", place)
    made = ((place, real("tuning rate", rate, "(0, inf)")) for place, rate in rates)
    return Tuning(tuple(sorted({*frozen})), tuple(sorted(dict(made).items())))


def _checked_plateau(factor: Any, best: Any, waited: Any, resting: Any = 0) -> Plateau:
    require(type(best) is float and not math.isnan(best), "plateau best", "be a number", best)
    _check_count("plateau waited", waited)
    _check_count("plateau resting", resting)
    return Plateau(real("plateau factor", factor, "[0, inf)"), best, waited, resting)


def _check_count(name: str, value: Any) -> None:
    require(type(value) is int and 0 <= value < 2**32, name, "be a whole number from 0 to 2**32 - 1", value)


def checked_names(names: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return names of classes as a tuple, or raise ArgumentError unless they are different texts."""
    if names is None:
        return None
    listed = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    require(listed, "class_names", "be a list of names", names)
    found = tuple(names)
    require(len(set(found)) == len(found), "class_names", "be different", found)
    return found


def former_names(path: str) -> tuple[str, ...] | None:
    """Return the names of classes that older versions wrote beside a model; None where there are none, or no such.

    Raises:
        CheckpointError: the file beside it is damaged.
    """
    try:
        with told_of(f"{path}{FORMER_NAMES}"), open_regular(f"{path}{FORMER_NAMES}") as file:
            return checked_names(json.loads(file.read(LARGEST_NAMES)))
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def _check_table(contents: Contents, architecture: Architecture) -> None:
    """Raise CheckpointError unless the arrays of the file are those that its layers need."""
    row = placed(architecture.layers, each_shape(channels_last_shape, architecture.input_shape))
    values = max(_numbers(shape) for one in (*row, *leaves(row)) for shape in (one.shape, one.output_shape))
    if values >= LARGEST_SAMPLE:
        raise CheckpointError(
            f"one sample must take fewer than {LARGEST_SAMPLE:,} values in each layer, got {values:,}"
        )
    shapes = _array_shapes(row)
    check_entry(contents.table)
    table = {name: entry for name, entry in contents.table.items() if not is_of_training(name)}
    table.pop(VOCABULARY, None)
    if missing := sorted(shapes.keys() ^ table.keys()):
        raise CheckpointError(f"the arrays {missing[:10]} are not in both the file and the network")
    for name, entry in table.items():
        if entry.shape != shapes[name]:
            raise CheckpointError(f"{name} must have shape {shapes[name]}, got {entry.shape}")
        if entry.dtype.name != architecture.dtype:
            raise CheckpointError(f"{name} must be of {architecture.dtype}, got {entry.dtype.name}")


def _numbers(shape: AnyShape) -> int:
    """Return how many numbers one sample has, of several inputs or outputs the largest."""
    return max(map(math.prod, each_of(shape)))


def _array_shapes(row: Sequence[Placed]) -> dict[str, Shape]:
    """Return the shapes of all arrays that layers have, by name; nothing is allocated."""
    shapes: dict[str, Shape] = {}
    for one in leaves(row):
        for declared in (declared_params, declared_state):
            found: Mapping[str, Any] = declared(one.name, one.layer, one.shape)
            shapes |= {f"{one.path}.{name}": array.shape for name, array in found.items()}
    return shapes


def _finite_weights(values: Mapping[str, Array]) -> dict[str, Array]:
    """Return those of a file's arrays that are the network's, or raise CheckpointError where one is not finite."""
    own = {name: array for name, array in values.items() if not is_of_training(name)}
    for name, array in own.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{name} holds a number that is not finite; no save writes such")
    return own


def _read_arrays(file: BinaryIO, contents: Contents) -> dict[str, Array]:
    needed = sum(entry.size for entry in contents.table.values())
    if needed > memory_bytes():
        raise MemoryError(f"{needed:,} bytes for its arrays")
    return read_arrays(file, contents)
