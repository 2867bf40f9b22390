"""What has names from layer to layer: several inputs, and several results that a layer hands on."""

from collections.abc import Mapping, Sequence

from gedanken.errors import ShapeError
from gedanken.types import AnyShape


def check_names(told: str, names: Sequence[str], shape: AnyShape, before: str, all_of_them: bool) -> None:
    """Raise ShapeError unless a layer that takes inputs by name gets those, and every other layer one input.

    Args:
        told: the layer by its place.
        names: of the inputs that it takes; none for a layer that takes one input.
        shape: one sample that goes in.
        before: the layer that gives it, by its place; "" where it is the network's input.
        all_of_them: whether it has to take each input that there is, as branches have.
    """
    if not isinstance(shape, Mapping):
        if names:
            hint = f"begin with input({names[0]}=...), or have Heads({names[0]}=[...]) before it"
            raise ShapeError(f"{told} takes inputs by name, but {before or 'the input'} has none", hint)
        return
    if not names:
        branches = f"Branches({', '.join(f'{name}=[...]' for name in shape)})"
        came = f"{before} gives" if before else "the network has"
        hint = f"{'go on' if before else 'begin'} with {branches}"
        raise ShapeError(f"{told} takes one input, but {came} {len(shape)} with names", hint)
    rule = (
        f"{told} must have a branch for each input" if all_of_them else f"{told} takes {' and '.join(map(repr, names))}"
    )
    missing, left = set(names) - shape.keys(), shape.keys() - set(names)
    if missing:
        raise ShapeError(f"{rule}, and there is not the input {min(missing)!r}", f"there are {sorted(shape)}")
    if left and all_of_them:
        raise ShapeError(f"{rule}, and no branch takes the input {min(left)!r}")
