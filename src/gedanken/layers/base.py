"""The contract of a layer, and what its methods are handed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gedanken.errors import ShapeError
from gedanken.hyperparameters import Hyperparameters
from gedanken.init import Initializer
from gedanken.ops import Ops
from gedanken.random import Purpose, sample_draws, sample_normals
from gedanken.ranks.together import Together
from gedanken.types import Array, Arrays, Shape

NO_LENGTHS = "does not honour the lengths of sequences"


class Param(NamedTuple):
    """Declaration of one trained array; the plan allocates it.

    Args:
        shape: its shape.
        init: rule for its first values.
        fan_in: how many inputs one output sums over; >= 1.
        fan_out: how many outputs one input contributes to; >= 1.
        decay: whether weight decay applies to it; not to one with `rows`.
        rows: whether a step touches few of its rows, the first axis. `backward` then says `g[name].set(rows, values)`,
            see RowGradient.
        simplex: whether each row, of a matrix with `rows`, is kept such that its numbers are not negative and sum to 1:
            after an update it becomes the nearest one that is so.

    Fans that are left out follow from a shape (..., inputs, outputs), the axes before being those of a window:
    fan_in = window * inputs, fan_out = window * outputs. A shape with fewer than two axes says nothing of them, so
    an initializer that scales by a fan wants it to be told then.
    """

    shape: Shape
    init: Initializer
    fan_in: int | None = None
    fan_out: int | None = None
    decay: bool = False
    rows: bool = False
    simplex: bool = False


class StateValue(NamedTuple):
    """Declaration of one array that is kept but not trained, such as a running mean.

    Args:
        shape: its shape.
        value: what it is filled with at first.
    """

    shape: Shape
    value: float


@dataclass(frozen=True)
class Context:
    """Where and how a layer is being run: everything that is not its data.

    Args:
        ops: the device's primitives.
        train: whether this is a training pass.
        seed: seed of the network.
        epoch: epochs finished before this pass.
        position: place of the batch's first sample in the epoch's order.
        path: the layer's place in the network, such as "5" or "5.layers.0".
        lengths: (N,) whole numbers, how many places of each sequence that the layer gets are real, from the first on;
            None where all are, or where its input is no sequence; of a layer that takes names a mapping of these.
        lengths_at: the lengths for every layer, by its path; None where all places are real.
        places: how many places the sequences that the layer gets have uncut; None where they are not cut, see
            `Layer.may_be_cut`.
        together: of a training pass of several ranks over their shares of a mini-batch: this one's side of it.
    """

    ops: Ops
    train: bool = False
    seed: int = 0
    epoch: int = 0
    position: int = 0
    path: str = ""
    lengths: Array | None = None
    lengths_at: Arrays | None = None
    places: int | None = None
    together: Together | None = None

    def at(self, name: str) -> "Context":
        """Return the context of the part called `name`."""
        path = f"{self.path}.{name}" if self.path else name
        if self.lengths_at is None:
            return replace(self, path=path)
        return replace(self, path=path, lengths=self.lengths_at.get(path))

    def draws(self, shape: Shape) -> Array:
        """Return this layer's random numbers for a batch: uniform uint16, the same whatever else runs.

        Shapes:
            shape, result: (N, ...).
        """
        each = math.prod(shape[1:])
        host = sample_draws(self.seed, Purpose.DROPOUT, self.path, self.epoch, self.position, shape[0], each)
        return self.ops.asarray(host, host.dtype).reshape(shape)

    def for_each(self, draw: Callable[[Shape], Array], shape: Shape) -> Array:
        """Return random numbers for each number of the layer's input: of cut sequences those that they have uncut.

        Args:
            draw: `draws` or `normals`.
            shape: that of the input, (N, ...).
        """
        return draw(shape) if self.places is None else draw((shape[0], self.places, *shape[2:]))[:, : shape[1]]

    def normals(self, shape: Shape) -> Array:
        """Return this layer's random numbers of a normal distribution for a batch, the same whatever else runs.

        Shapes:
            shape, result: (N, ...).
        """
        each = math.prod(shape[1:])
        host = sample_normals(self.seed, Purpose.NOISE, self.path, self.epoch, self.position, shape[0], each)
        return self.ops.asarray(host).reshape(shape)


class Layer(Hyperparameters, ABC):
    """A layer is its hyperparameters and pure functions; it holds no array.

    Images are (N, H, W, C) here, and shapes leave the batch axis out: (H, W, C), (F,), (T, F).
    A class with further fields is a frozen dataclass that checks their values when it is made.
    """

    # Of the library's own: the names of the inputs that it takes, () of one input without a name; and whether what it
    # makes goes out by names. Inputs, outputs, their gradients, shapes and lengths are mappings by name then.
    input_names: tuple[str, ...] = ()
    gives_names = False
    exact_gradient = True  # whether `backward` is the derivative of `forward`; of a layer of your own it is checked

    @property
    def tokens(self) -> int | tuple[int, ...] | None:
        """For a layer that takes whole numbers: how many different ones, from 0 on, or how many in each column.

        None for all others.
        """
        return None

    @property
    def mask(self) -> int | None:
        """For a layer that takes whole numbers: the one that pads sequences on the right; None where there is none."""
        return None

    @property
    def sparse(self) -> bool:
        """Whether it takes SparseRows; it can only be the first layer then."""
        return False

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """Return the output shape for inputs of `shape`, or raise ShapeError."""

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        """Return how many places of each sequence that comes out are real, for inputs of which so many are.

        A layer that has this sees to it that what stands at the other places changes nothing, forwards or backwards.

        Args:
            shape: one sample that goes in, (T, ...).
            lengths: (N,) whole numbers in [1, T], see Context; read-only.

        Returns:
            (N,) whole numbers in [1, places of the output], or None where the output has no axis of places any more;
            of a layer of the library's also where all its places are real, whatever the lengths.

        Raises:
            ShapeError: the layer does not honour lengths, as by default.
        """
        raise ShapeError(NO_LENGTHS, "pool or end the sequence before it, or give sequences of one length")

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        """Return whether sequences may be cut behind the longest of a mini-batch, to so many places.

        Real places then have to get what they get uncut, up to rounding, in a forward and a backward pass, with the
        parameters for `shape`. Sequences are cut only where all layers say so and none is a user's.

        Args:
            shape: one sample that goes in uncut, (T, ...); of a layer that takes names a mapping of these.
            places: at most T; likewise, of each name its first size.
        """
        return False

    def params(self, shape: Shape) -> Mapping[str, Param]:
        """Return the trained arrays by name."""
        return {}

    def state(self, shape: Shape) -> Mapping[str, StateValue]:
        """Return the arrays that are kept but not trained, by name."""
        return {}

    @abstractmethod
    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        """Return the output and whatever `backward` needs of this pass."""

    @abstractmethod
    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        """Write the gradient of every parameter into `g` and return the gradient with respect to x."""

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds that one sample of `shape` costs in products; 0 where there are none."""
        return 0

    def activations(self, shape: Shape) -> int:
        """Return how many numbers one sample of `shape` makes, inner results included."""
        return math.prod(self.output_shape(shape))


class ByPlace(Layer):
    """A layer that treats each place of a sequence by itself, so that lengths stay what they are."""

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        return lengths

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return True
