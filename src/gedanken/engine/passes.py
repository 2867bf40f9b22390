"""What runs the layers of a plan up to the cost, and what predicts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gedanken.costs import Cost
from gedanken.engine.base import Engine, FusedStep, Placement
from gedanken.engine.cuts import share_of
from gedanken.engine.tuning import divided, thawed
from gedanken.layers.stages import ContainerStage, LayerStage, Stage, leaf_stages, with_leaves
from gedanken.types import Shape

Place = int | dict[str, int] | None  # of an activation that the cost contains; of heads those in their rows


class Passes(NamedTuple):
    """What runs layers, for samples of one shape.

    Args:
        layers: all of them.
        body: those up to what the cost takes.
        last: those behind, for outputs only.
        fixed: steps for the first layers, none of which learns, in groups with whether each runs as in training.
        stages: those for the others of the body.
        fused_step: what runs the latter and the cost as one program, or None.
        output_activation: steps for `last`.
        prediction: steps for all layers, as at prediction.
        cost: what training makes small, or None.
        place: of the activation that the cost contains, or None.
        share: of the places of outputs, how many are there; of several outputs by their names. None where sequences are
            not cut.
        cut: the same layers for sequences that are cut, by their shapes; made when first needed.
    """

    layers: Sequence[Placement]
    body: Sequence[Placement]
    last: Sequence[Placement]
    fixed: Sequence[tuple[Sequence[Stage], bool]]
    stages: Sequence[Stage]
    fused_step: FusedStep | None
    output_activation: Sequence[Stage]
    prediction: Sequence[Stage]
    cost: Cost | None
    place: Place
    share: Any
    cut: "dict[object, Passes]"


def passes_of(
    engine: Engine, layers: Sequence[Placement], cost: Cost | None, place: Place, whole: Passes | None = None
) -> Passes:
    """Return what runs layers.

    Args:
        engine: the engine.
        layers: all layers, the frozen ones marked.
        cost: what training makes small, or None.
        place: of the activation that the cost contains, or None.
        whole: what runs these layers where sequences are not cut: both share memory, since they never work at once.
    """
    body, last = ([*layers], []) if place is None else _without_activation(layers, place)
    groups, learning = divided(body)
    others = whole.fixed if whole else [((), False)] * len(groups)
    fixed = [
        (engine.stages(part, False, other), train) for (part, train), (other, _) in zip(groups, others, strict=True)
    ]
    stages = engine.stages(learning, False, whole.stages if whole else ())
    fused = engine.fused_step(learning, cost, whole.fused_step if whole else None) if cost else None
    if place is None and not any(one.frozen for one in leaf_stages(layers)):
        prediction = stages
    else:
        prediction = engine.stages(thawed(layers), False, whole.prediction if whole else ())
    behind = engine.stages(last, True, whole.output_activation if whole else ())
    share = share_of(whole.layers[-1].output_shape, layers[-1].output_shape) if whole else None
    return Passes(layers, body, last, fixed, stages, fused, behind, prediction, cost, place, share, {})


def cut_passes(engine: Engine, whole: Passes, layers: Sequence[Placement]) -> Passes:
    """Return what runs the layers for sequences that are cut.

    Args:
        engine: the engine.
        whole: what runs them where sequences are not cut.
        layers: all of them, for shorter sequences.
    """
    before = {one.path: one for one in leaf_stages(whole.layers)}

    def told(one: LayerStage) -> LayerStage:
        other = before[one.path]
        return replace(one, frozen=other.frozen, uncut=None if other.shape == one.shape else other.shape)

    return passes_of(engine, with_leaves(layers, told), whole.cost, whole.place, whole)


def ending_of(engine: Engine, passes: Passes, layers: Sequence[Placement], dx: bool) -> Passes:
    """Return what runs some last layers and the cost.

    Args:
        engine: the engine.
        passes: what runs all layers; none of them is frozen.
        layers: the last of `passes.body`, at least one.
        dx: whether their input gradient is read.
    """
    assert passes.cost
    fused = engine.fused_step(layers, passes.cost, None, dx)
    return passes._replace(body=layers, stages=() if fused else engine.stages(layers, dx), fused_step=fused, cut={})


def _without_activation(
    layers: Sequence[Placement], place: int | dict[str, int]
) -> tuple[list[Placement], list[Placement]]:
    """Return the layers without the activation there, of heads those in their rows, and it as the last of all."""
    heads = layers[-1]
    made: Any = heads.output_shape
    if isinstance(place, int):
        return _taken_out(layers, place, made)
    assert isinstance(heads, ContainerStage)
    parted = {name: _taken_out(row, place.get(name), made[name]) for name, row in heads.rows.items()}
    before = replace(heads, rows={name: body for name, (body, _) in parted.items()})
    behind = replace(heads, shape=made, rows={name: last for name, (_, last) in parted.items()})
    return [*layers[:-1], before], [behind]


def _taken_out(row: Sequence[Placement], place: int | None, made: Shape) -> tuple[list[Placement], list[Placement]]:
    """Return layers in a row without the one at a place, and this one behind them all, where they make `made`."""
    if place is None:
        return [*row], []
    return [*row[:place], *row[place + 1 :]], [replace(row[place], shape=made, output_shape=made)]
