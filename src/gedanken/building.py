"""A network in the making: its input and its layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from gedanken.alone import alone
from gedanken.checks import require, seed_of_draws, whole
from gedanken.engine.plan import Plan
from gedanken.engine.tuning import checked_layer_names
from gedanken.errors import StateError
from gedanken.foreign import hint_of
from gedanken.keywords import keywords_checked
from gedanken.layers import Layer
from gedanken.layers.containers import placed
from gedanken.layers.declared import checked_input_shape
from gedanken.layers.shape import channels_last_shape, each_shape
from gedanken.types import AnyShape


class Builder:
    """The part of a Network that is put together before `regression` compiles it."""

    input_shape: AnyShape  # None before `input`
    _plan: Plan | None

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epoch = 0
        self.input_shape = None
        self._layers: tuple[Layer, ...] = ()
        self._names: tuple[str | None, ...] = ()
        self._plan = None
        self._changing: dict[object, tuple[str, int]] = {}

    if not TYPE_CHECKING:  # else there would be any attribute

        def __getattr__(self, name: str) -> Any:
            hint = hint_of(name, ())
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    @property
    def epoch(self) -> int:
        """Epochs trained so far, a whole number from 0 on. An epoch counts as soon as something was learnt in it."""
        return self._epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._epoch = whole("epoch", number, at_least=0, at_most=2**32 - 1)

    @property
    def seed(self) -> int:
        """Initial weights, shuffling and dropout are functions of it; a whole number in [0, 2**64)."""
        return self._seed

    @seed.setter
    def seed(self, number: int) -> None:
        self._seed = seed_of_draws("Network seed", number)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, first to last."""
        return self._layers

    @property
    def layer_names(self) -> tuple[str | None, ...]:
        """The names that `add` gave to the layers, None for those without."""
        return self._names

    def __repr__(self) -> str:
        return f"Network of {len(self.layers)} layers, input {self.input_shape}"

    @alone
    @keywords_checked
    def input(self, /, shape: Sequence[int] | None = None, **shapes: Sequence[int]) -> Self:
        """Say what one sample looks like.

        Args:
            shape: (C, H, W) for images, channels first; (F,) for features; (T,) for an Embedding, or () for one token
                alone. All at least 1.
            shapes: of several inputs, in place of `shape`, one for each by its name: `input(image=(3, 64, 64),
                table=(12,))`. The first layer is `Branches` then, with a branch for each by the same names, and
                samples are dicts of arrays. See docs/several.md.

        Returns:
            the network.

        Raises:
            ArgumentError: a shape is not a tuple of at most three positive integers, or there is not one of both kinds.
            ShapeError: a layer that was added before does not fit.
        """
        self._check_open("input")
        require(shape is None or not shapes, "input", "be given one shape, or shapes by name", (shape, shapes))
        checked = checked_input_shape(shapes or shape)
        placed(self.layers, each_shape(channels_last_shape, checked))
        self.input_shape = checked
        return self

    @alone
    @keywords_checked
    def add(self, layer: Layer, *, name: str | None = None) -> Self:
        """Add a layer at the end.

        Args:
            layer: the layer.
            name: what `freeze`, `scale_rate`, `take` and `replace` may call it, unlike that of any other; None is none.

        Returns:
            the network.

        Raises:
            ArgumentError, ShapeError: layer is not a Layer, does not fit the output before it, or has another's name.
        """
        self._check_open("add")
        made = f"an object: {layer.__name__}()" if isinstance(layer, type) else "a Layer object such as ReLU()"
        require(isinstance(layer, Layer), "layer", f"be {made}", layer)
        if self.input_shape is not None:
            placed([*self.layers, layer], each_shape(channels_last_shape, self.input_shape))
        self._layers, self._names = (*self._layers, layer), checked_layer_names((*self._names, name))
        return self

    def _check_open(self, call: str) -> None:
        if self._plan is not None:
            raise StateError(f"{call} must come before regression; the network is compiled")

    def _known_input(self, call: str) -> AnyShape:
        if self.input_shape is None:
            raise StateError(f"{call} needs to know the input: call input((C, H, W)) or input((F,)) before it")
        if not self._layers:
            raise StateError(f"{call} needs at least one layer: call add(...) before it")
        return self.input_shape
