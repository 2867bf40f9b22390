"""Whether the backward of a user's layer is the derivative of its forward.

Both are run in float64 on random numbers, and L = sum(y * r) is looked at for a random r. Along a direction d of signs
the difference quotient of L has to be sum(g * d), for the input and for each parameter; see `differences.py`.
"""

import hashlib
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from gedanken.caches import read_entry, write_entry
from gedanken.code_digest import code_digest, methods_of
from gedanken.derivatives import HIDDEN
from gedanken.differences import CLOSE, STEP, STEPS, disproved, quotient, signs_like, worst_place
from gedanken.errors import GradientError, MissingPackageError
from gedanken.layers.base import Context, Layer
from gedanken.layers.function import FunctionLayer
from gedanken.layers.stages import ContainerStage, LayerStage, leaf_stages, own
from gedanken.ops import Ops
from gedanken.sparse import RowGradient
from gedanken.types import Array, Arrays, Shape

SAMPLES = 4
INPUT = ""  # among the names of arrays, as no parameter is called
MOST = 4096  # numbers of a sample; larger ones are cut where the layer takes that
LARGEST = 1 << 18  # numbers of a sample and of parameters beyond which it would take too long
DRAWS = 3  # random inputs that are tried, since one may lie beside a kink
PLAIN = (int, float, complex, str, bytes, type(None))
OF_CLASS = (
    "must return from backward the derivative of forward",
    "where it is meant to be another one, say so in the class: exact_gradient = False",
)
OF_FUNCTION = ("must have a function whose derivative autograd finds", HIDDEN)
FOLDER = "gradients"  # in the cache: an empty file for each layer that was found right


class _Unknown(Exception):  # noqa: N818 - a reason
    """Why a layer could not be looked at; `raised`: it raised something."""

    def __init__(self, reason: str, raised: bool = False) -> None:
        super().__init__(reason)
        self.raised = raised


def checked_gradients(stages: Iterable[LayerStage | ContainerStage]) -> tuple[str, ...]:
    """Return a sentence for each layer of the user's: that its gradient is right, or why that is not known.

    A frozen one is looked at as it then runs, at prediction, where a layer before it learns.

    Raises:
        GradientError: it is wrong.
    """
    return tuple(_sentences(stages, behind=False))


def _sentences(stages: Iterable[LayerStage | ContainerStage], behind: bool) -> Iterator[str]:
    for stage in stages:
        if isinstance(stage, ContainerStage):
            if own(stage.layer):
                yield f"{stage.name}: join and split not checked, it is a container"
            for row in stage.rows.values():
                yield from _sentences(row, behind)
        elif own(stage.layer):
            yield f"{stage.name}: {_told(stage, behind)}"
        behind = behind or _learns(stage)


def _learns(stage: LayerStage | ContainerStage) -> bool:
    return any(one.p and not one.frozen for one in leaf_stages([stage]))


def _told(stage: LayerStage, behind: bool) -> str:
    layer = stage.layer
    if not layer.exact_gradient:
        return "gradient not checked, it says of itself that it is not exact"
    if layer.sparse:
        return "gradient not checked, it takes sparse rows"
    if stage.frozen and not behind:
        return "frozen, and no gradient is asked of it"
    entry = _entry(layer, stage.shape, stage.frozen)
    if entry and _known(entry):
        return "gradient checked by differences, for this source and shape"
    try:
        _check(stage)
    except _Unknown as reason:
        if stage.frozen and reason.raised:
            rule = "must give the gradient of a pass at prediction (ctx.train False)"
            raise GradientError(
                f"{stage.name} {rule} to be frozen behind a layer that learns, and {reason}"
            ) from reason
        return f"gradient not checked, {reason}"
    if entry:
        _remember(entry)
    return "gradient checked by differences"


def _check(stage: LayerStage) -> None:
    """Compare some draws, of which one must be right: beside a kink the difference says nothing.

    Raises:
        GradientError: the gradient is wrong.
        _Unknown: that cannot be said.
    """
    for number in range(DRAWS):
        with np.errstate(all="ignore"):
            trial = _Trial.drawn(stage, number)
            wrong = next((error for name in trial.arrays if (error := trial.wrong(name))), None)
        if wrong is None:
            return
        if wrong.certain:
            rule, hint = OF_FUNCTION if isinstance(stage.layer, FunctionLayer) else OF_CLASS
            raise GradientError(f"{stage.name} {rule}, but {wrong.told}; {hint}")
    raise _Unknown("its values are too rough for differences")


@dataclass(frozen=True)
class _Wrong:
    told: str
    certain: bool


@dataclass(frozen=True)
class _Trial:
    """A layer with random parameters and input.

    Args:
        stage: the layer, with arrays of its own in float64.
        arrays: the input, under the name INPUT, and the parameters.
        gradients: what backward gives for them.
        r: (N, ...), the weights of L.
        first: L there.
    """

    stage: LayerStage
    arrays: Arrays
    gradients: Arrays
    r: Array

    @classmethod
    def drawn(cls, stage: LayerStage, number: int) -> "_Trial":
        """Return one with random numbers.

        Raises:
            _Unknown: the layer gives nothing to compare.
        """
        rng = np.random.default_rng([number, len(stage.path)])
        reasons = []
        for shape in _shapes(stage):
            for positive in (False, True):  # where a logarithm or root wants it
                try:
                    return cls._of(stage, shape, rng, positive)
                except _Unknown as reason:
                    reasons.append(reason)
                except (GradientError, MissingPackageError):  # of a FunctionLayer
                    raise
                except Exception as error:  # the user's; training will raise it where it matters
                    reasons.append(_Unknown(f"it raised {type(error).__name__} for random numbers", raised=True))
        raise reasons[-1] if len(reasons) > 2 else reasons[0]

    @classmethod
    def _of(cls, stage: LayerStage, shape: Shape, rng: Any, positive: bool) -> "_Trial":
        if SAMPLES * math.prod(shape) + sum(view.size for view in stage.p.values()) > LARGEST:
            raise _Unknown("it is too large for that")
        layer, output_shape = stage.layer, stage.layer.output_shape(shape)
        if any(isinstance(g, RowGradient) for g in stage.g.values()):
            raise _Unknown("it has parameters of rows")
        p = {name: _float64(view) + 0.1 * rng.standard_normal(view.shape) for name, view in stage.p.items()}
        s = {name: _float64(view) for name, view in stage.s.items()}
        g = {name: np.zeros_like(array) for name, array in p.items()}
        own_stage = replace(stage, shape=shape, output_shape=output_shape, p=p, g=g, s=s)
        x = _input(layer, (SAMPLES, *shape), rng, positive)
        r = rng.standard_normal((SAMPLES, *output_shape))
        found = cls(own_stage, {INPUT: x, **p}, {}, r)
        y, cache = found._forward({})
        again, _ = found._forward({})
        if not np.array_equal(y, again, equal_nan=True):
            raise _Unknown("its forward gives other values for the same input")
        if not np.isfinite(y).all():
            raise _Unknown("its forward gives no finite values for random numbers")
        dx = own_stage.backward(_context(), cache, r)
        arrays = {name: array for name, array in found.arrays.items() if array.dtype.kind == "f"}
        gradients = {name: g.get(name, dx) for name in arrays}
        return cls(own_stage, {INPUT: x, **arrays}, gradients, r)

    def _forward(self, other: Arrays) -> tuple[Array, Any]:
        """Run forward with other values of some arrays; what it does to state is forgotten."""
        p = {name: other.get(name, array) for name, array in self.stage.p.items()}
        s = {name: array.copy() for name, array in self.stage.s.items()}
        return replace(self.stage, p=p, s=s).forward(_context(), other.get(INPUT, self.arrays[INPUT]))

    def _quotient(self, name: str, direction: Array, step: float) -> float:
        def length(h: float) -> float:
            y, _ = self._forward({name: self.arrays[name] + h * direction})
            return float((y * self.r).sum())

        return quotient(length, step)

    def wrong(self, name: str) -> _Wrong | None:
        """Return what is wrong with the gradient of an array, if anything is."""
        gradient = self.gradients.get(name)
        if gradient is None or not gradient.size:
            return None
        if not np.isfinite(gradient).all():
            place = np.unravel_index(int(np.argmin(np.isfinite(gradient))), gradient.shape)
            return _Wrong(f"{self._element(name, place)} is {gradient[place]}", certain=True)
        signs = signs_like(gradient)
        limit = CLOSE * (float(np.linalg.norm(gradient)) + 1e-3 * float(np.linalg.norm(self.r)))
        if self._off(name, signs) <= limit:
            return None
        place = worst_place(lambda direction: self._off(name, direction), signs)
        alone = np.zeros_like(signs)
        alone[place] = 1
        found = [self._quotient(name, alone, step) for step in STEPS]
        got = float(gradient[place])
        told = f"{self._element(name, place)} is {got:.6g}, the difference quotient {found[1]:.6g}"
        return _Wrong(told, disproved(got, found, limit))

    def _off(self, name: str, direction: Array) -> float:
        return abs(self._quotient(name, direction, STEP) - float((self.gradients[name] * direction).sum()))

    def _element(self, name: str, place: tuple[Any, ...]) -> str:
        which = "dx" if name == INPUT else f"g[{name!r}]"
        return f"{which} at {tuple(map(int, place))}"


def _context() -> Context:
    return Context(Ops(np, "float64"), train=True, seed=1)


def _float64(view: Any) -> Array:
    return np.array(view.get() if hasattr(view, "get") else view, "float64")  # an array of a GPU has `get`


def _shapes(stage: LayerStage) -> list[Shape]:
    """Return the shapes of a sample to try: of a large one first a part along its axes, if the layer takes that."""
    shape = stage.shape
    if math.prod(shape) <= MOST:
        return [shape]
    cut = (min(shape[0], MOST),) if len(shape) == 1 else (*(min(size, 8) for size in shape[:-1]), shape[-1])
    try:
        stage.layer.output_shape(cut)
        declared = {name: one.shape for name, one in stage.layer.params(cut).items()}
    except Exception:  # it wants the one that it was given
        return [shape]
    return [cut, shape] if declared == {name: view.shape for name, view in stage.p.items()} else [shape]


def _input(layer: Layer, shape: Shape, rng: Any, positive: bool) -> Array:
    tokens = layer.tokens
    if tokens is not None:
        return np.asarray(rng.integers(0, tokens, shape))
    return np.asarray(0.1 + rng.random(shape) if positive else rng.standard_normal(shape))


# ---------------------------------------------------------------------- what was checked before


def _entry(layer: Layer, shape: Shape, frozen: bool) -> str:
    """Return the name of what is remembered of a layer: of its file's text, its hyperparameters and shape; or "".

    A layer is not remembered that holds what may be anything: objects and arrays, its own or those of a closure.
    """
    if isinstance(layer, FunctionLayer):  # its function may do what other files say
        return ""
    module, methods = sys.modules.get(type(layer).__module__), methods_of(type(layer))
    held = [*vars(layer).values(), *(cell.cell_contents for method in methods for cell in method.__closure__ or ())]
    if not all(isinstance(value, (*PLAIN, type, FunctionType)) for value in _flat(held)):
        return ""
    try:
        text = Path(str(getattr(module, "__file__", ""))).read_bytes()
    except OSError:  # it was typed in
        return ""
    told = f"{type(layer).__qualname__} {vars(layer)} {shape} {frozen} {code_digest(methods)} {np.__version__}"
    return hashlib.sha256(text + told.encode()).hexdigest()


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values, of tuples those in them."""
    for value in values:
        yield from _flat(value) if isinstance(value, tuple) else (value,)


def _known(entry: str) -> bool:
    try:
        read_entry(entry, FOLDER)
    except OSError:
        return False
    return True


def _remember(entry: str) -> None:
    try:
        write_entry(entry, b"", FOLDER)
    except OSError:  # then it is checked again
        return
