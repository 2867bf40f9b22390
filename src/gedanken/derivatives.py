"""Derivatives of functions of the user's own. The only file that imports autograd.

A function is run once, on arrays that write down what is done with them; gradients then go back along that tape. It is
given autograd's form of NumPy as `xp`, which does the same with such arrays as NumPy does with its own.
"""

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gedanken.errors import GradientError, MissingPackageError
from gedanken.ops import Ops
from gedanken.types import Array

# Autograd numbers its own traces from 0 on, so a function may use it inside, and -1 is none. Its counter is shared by
# all threads and not ours to change, so ours are none of these.
TRACE = -0.5

PLACES = "build another array with xp.where, xp.stack or xp.concatenate in place of writing into one"
NUMBERS = "use the functions of xp instead of float, int, np and math"
OTHERS = "write it with other functions of xp, or write a Layer with a backward, or a CustomCost with its derivative"
HIDDEN = (
    "xp must see all that is done with the arrays, and xp.where has the slopes of both sides: let it choose what goes "
    "into xp.log, xp.sqrt or a division, not what comes out"
)
# What autograd and NumPy say of what cannot be differentiated, and what to do.
MISUSES = (
    (r"pad_vjp", 'give xp.pad its mode: xp.pad(x, widths, "constant")'),
    (r"item assignment|array element with a sequence|Cannot cast|__array_ufunc__.*out=|argument 'out'", PLACES),
    (r"VJP|module 'autograd\S*' has no attribute|Gradient of", OTHERS),
    (r"ArrayBox|autograd", NUMBERS),
)


class Traced(NamedTuple):
    """What a function gave.

    Args:
        y: its result.
        back: the gradient of sum(y * dy) with respect to each argument, for any dy shaped like y.
    """

    y: Array
    back: Callable[[Array], list[Array]]


def traced(name: str, ops: Ops, call: Callable[..., Any], values: Sequence[Array]) -> Traced:
    """Run a function such that its gradients are known.

    On a GPU it is run on the host, with copies of the arrays: autograd knows NumPy alone.

    Args:
        name: whose function it is, for errors.
        ops: the device's primitives.
        call: is called as call(xp, *values).
        values: the arrays to differentiate with respect to.

    Raises:
        MissingPackageError: autograd is not installed.
        GradientError: the function does what has no derivative.
    """
    found = _traced(name, call, [ops.to_host(value) for value in values])
    if ops.xp is np:
        return found
    return Traced(
        ops.asarray(found.y, found.y.dtype),
        lambda dy: [ops.asarray(one, one.dtype) for one in found.back(ops.to_host(dy))],
    )


def _traced(name: str, call: Callable[..., Any], values: Sequence[Array]) -> Traced:
    xp, core, tracer = _autograd(name)
    roots = [core.VJPNode.new_root() for _ in values]
    boxes = [tracer.new_box(value, TRACE, root) for value, root in zip(values, roots, strict=True)]
    with _misuse_told(name):
        y = call(xp, *boxes)
    boxed = tracer.isbox(y)
    result = np.asarray(y._value) if boxed and isinstance(y._value, (np.ndarray, np.generic)) else y
    if getattr(result, "dtype", np.dtype("O")).kind == "O":
        what = f"an array of {result.dtype}" if isinstance(result, np.ndarray) else f"a {type(result).__name__}"
        raise GradientError(f"{name} has no derivative, it gives {what} when it is differentiated; {NUMBERS}")

    def back(dy: Array) -> list[Array]:
        with _misuse_told(name):
            found = _gradients(core, tracer, y._node, dy) if boxed else {}
        parts = [found.get(root) for root in roots]
        return [_shaped(part, value, dy) for part, value in zip(parts, values, strict=True)]

    return Traced(result, back)


def _gradients(core: Any, tracer: Any, end: Any, dy: Array) -> dict[Any, Any]:
    """Return the gradients by the nodes where the tape begins; no other is kept longer than it is needed."""
    known, found = {end: (dy, False)}, {}
    for node in tracer.toposort(end):
        gradient, _ = known.pop(node)
        if not node.parents:
            found[node] = gradient
        for parent, part in zip(node.parents, node.vjp(gradient), strict=False):
            known[parent] = core.add_outgrads(known.get(parent), part)
    return found


def _shaped(gradient: Any, value: Array, dy: Array) -> Array:
    """Return a gradient as an array of its own, in the number type of what it belongs to."""
    if gradient is None:
        return np.zeros_like(value)
    array = np.asarray(gradient, value.dtype)
    return np.array(array) if np.may_share_memory(array, dy) or not array.flags.writeable else array


@contextlib.contextmanager
def _misuse_told(name: str) -> Iterator[None]:
    """Say what a function does that cannot be differentiated; any other error of it stays as it is."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        told = " ".join(str(error).split())
        hint = next((hint for pattern, hint in MISUSES if re.search(pattern, told)), "")
        if not hint:
            raise
        raise GradientError(f"{name} has no derivative: {type(error).__name__}: {told[:100]}; {hint}") from error


def _autograd(name: str) -> tuple[Any, Any, Any]:
    """Return its NumPy, its tapes and its boxes, or raise MissingPackageError."""
    try:
        return tuple(importlib.import_module(f"autograd.{part}") for part in ("numpy", "core", "tracer"))  # type: ignore[return-value]
    except ImportError as error:
        raise MissingPackageError(
            f"{name} needs autograd for its derivatives: pip install 'gedanken[autograd]'"
        ) from error
