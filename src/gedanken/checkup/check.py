"""`Network.check`: everything is looked at, and told."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gedanken.checkup import inputs, labels, structure
from gedanken.checkup.codes import CAUSES, SYMPTOMS
from gedanken.checkup.expected import KNOWN, VALUES, kinds_of, knows_all, knows_nothing
from gedanken.checkup.learning import HIGH, HIGH_OF_VALUES, OWN, Seen, first_steps, overfitting
from gedanken.checkup.report import NOTE, SEVERITIES, Checkup, Figures, Finding
from gedanken.checkup.samples import Looked, look
from gedanken.checkup.trial import HEART, Subject, Trial
from gedanken.checkup.twins import Twins, twins
from gedanken.costs import Cost, CustomCost
from gedanken.costs.heads import HeadsCost
from gedanken.data.batches import ArraySource, Batch, taken
from gedanken.data.input_spec import InputSpec
from gedanken.engine.fuse_cost import activation_place
from gedanken.hyperparameters import class_name
from gedanken.layers import Layer
from gedanken.layers.containers import Placed, leaves, placed
from gedanken.layers.shape import channels_last_shape, each_shape
from gedanken.layers.stages import own
from gedanken.parallel.counting import real_places, settled
from gedanken.sequences import lengths_of
from gedanken.training.dry_run import dry_run
from gedanken.types import Shape

UNITS, COST, HEARTS, AGAIN, STEPS = 0.5, 0.4, 1.2, 0.5, 0.7  # seconds for each measurement
AT_ONCE = 128  # samples of the first cost


def checked(subject: Subject, given: tuple[Any, Any, Any], validation_set: Any, mini_batch_size: int | None) -> Checkup:
    """Return what is wrong with a network and data, labels and weights; see `Network.check`."""
    seed, spec, (data, given_labels, weights) = subject.recipe.seed, subject.spec, given
    source, validation = spec.training(data, given_labels, validation_set, mini_batch_size, None, seed, weights)
    cost = settled(subject.recipe.cost, source, subject.train_state.plan)
    subject = subject._replace(recipe=subject.recipe._replace(cost=cost))
    looked = look(source, seed)
    held = None if validation is None else look(validation, seed)
    found = twins(looked, held, spec.dtype, seed)
    told, trial = list(_of_data(subject, looked, found)), Trial(subject)
    try:
        dry_run(trial.train_state, looked.x, looked.target)
        with np.errstate(all="ignore"):  # what overflows is told as a finding
            seen = _seen(subject, trial, looked)
            retry = partial(trial.by_heart, _mini_batch(looked), seconds=AGAIN)
            told += [*first_steps(seen), *overfitting(seen, retry)]
            figures = _figures(subject, trial, looked, seen, found)
    finally:
        trial.close()
    return Checkup(tuple(_ordered(told)), figures, tuple(_left_out(subject, looked, held, seen)))


def _of_data(subject: Subject, looked: Looked, found: Twins) -> Iterator[Finding]:
    """Yield what is seen without a step."""
    recipe = subject.recipe
    row = placed(recipe.layers, each_shape(channels_last_shape, recipe.input_shape))
    for one in _inputs(subject, row):
        if one.spec.tokens is None:
            x = looked.x.parts[one.name] if one.name else looked.x
            if not (one.first and inputs.normalises(one.first)):
                yield from inputs.scale(x, one.told)
            yield from inputs.constants(x, len(looked.x), one.told)
    for head in _heads(subject, row):
        own, shape = _labels(subject, looked, head)
        last = head.row[activation_place(head.row)] if head.row else row[-1]
        for told in labels.targets(head.cost, own, shape, last.layer):
            yield told._replace(text=f"Head {head.name!r}: {told.text}") if head.name else told
    yield from labels.repeated(found, recipe.cost)
    yield from structure.layers(row, [(head.row, head.cost) for head in _heads(subject, row)])


class _Input(NamedTuple):
    """An input, the first layer that it goes through, and what it is called in findings."""

    name: str
    spec: InputSpec
    first: Layer | None
    told: str


def _inputs(subject: Subject, row: Sequence[Placed]) -> list[_Input]:
    spec = subject.spec
    if not spec.named:
        return [_Input("", spec, next(leaves(row)).layer, "the input")]
    rows = row[0].rows or {}
    firsts = {name: next((one.layer for one in leaves(inner)), None) for name, inner in rows.items()}
    return [_Input(name, one, firsts[name], f"the input {name!r}") for name, one in spec.named.items()]


class _Head(NamedTuple):
    """An output: its name, its cost, the shape of one, and all layers up to it; "" where there is only one."""

    name: str
    cost: Cost
    shape: Shape
    row: Sequence[Placed]


def _heads(subject: Subject, row: Sequence[Placed]) -> list[_Head]:
    cost, shape = subject.recipe.cost, subject.spec.output_shape
    if not isinstance(cost, HeadsCost):
        return [_Head("", cost, shape, row)]
    rows = row[-1].rows or {}
    return [_Head(name, one, shape[name], [*row[:-1], *rows[name]]) for name, one in cost.costs.items()]


def _labels(subject: Subject, looked: Looked, head: _Head) -> tuple[Looked, Shape]:
    """Return what was looked at with the labels of a head, of sequences those of real places, and its output's shape.

    Places are looked at as samples are, so the shape is that of one place then.
    """
    plan, every = subject.train_state.plan, looked.labels
    lengths = lengths_of(looked.x) if every is looked.target else looked.source.trained_on()[1]
    found, shapes = real_places(every, subject.spec.output_shape, plan, lengths)
    if head.name:
        return looked._replace(labels=found.parts[head.name]), shapes[head.name]
    return looked._replace(labels=found), shapes


def _mini_batch(looked: Looked) -> Batch:
    """Return few samples from all over those that were looked at, to be learnt by heart."""
    count = min(HEART, looked.source.mini_batch_size, len(looked.x))
    places = np.arange(count) * len(looked.x) // count
    return Batch(taken(looked.x, places), looked.target[places], 0, 1.0)


def _seen(subject: Subject, trial: Trial, looked: Looked) -> Seen:
    """Return what is seen of the first steps, each time of the same weights."""
    cost, shape = subject.recipe.cost, subject.spec.output_shape
    first, *others = ArraySource(looked.x, looked.target, AT_ONCE).batches(0)
    batches = [first, *(one for one in others if len(one.x) > 1)]  # of a single one BatchNorm makes nothing
    initial, fault = trial.initial_cost(batches, COST)
    batch = _mini_batch(looked)
    silent, seen = ({}, 0) if fault else trial.silent(looked.x, UNITS)
    course = trial.by_heart(batch, OWN, HEARTS)
    expected, least = knows_nothing(cost, looked.target, shape), knows_all(cost, batch.target, shape)
    high = HIGH_OF_VALUES if any(isinstance(one, VALUES) for one in kinds_of(cost)) else HIGH
    return Seen(initial, fault, expected, high, least, silent, seen, subject.trained, course)


def _ordered(found: list[Finding]) -> list[Finding]:
    """Return findings with the worst first, and symptoms beside their cause as notes."""
    worse = {one.code for one in found if one.severity != NOTE}
    told = []
    for one in found:
        before = (*CAUSES, *SYMPTOMS[: SYMPTOMS.index(one.code)]) if one.code in SYMPTOMS else ()
        cause = next((code for code in before if code in worse), None)
        if cause and one.severity != NOTE:
            one = one._replace(severity=NOTE, text=f"{one.text} It may well come from {cause}.")  # noqa: PLW2901
        told.append(one)
    return sorted(told, key=lambda one: SEVERITIES.index(one.severity))


def _figures(subject: Subject, trial: Trial, looked: Looked, seen: Seen, found: Twins) -> Figures:
    size = min(looked.source.mini_batch_size, looked.source.samples)
    each = None if seen.fault else trial.seconds_per_sample(looked.source, STEPS)
    buffers = trial.plan.step_bytes(size)
    step = None if each is None else each * size
    course, learnt = seen.course, bool(seen.course.costs) and not seen.course.fault
    return Figures(
        looked_at=len(looked.x),
        samples=looked.samples,
        validation_looked_at=found.validated,
        mini_batch_size=size,
        initial_cost=None if seen.fault else seen.initial,
        expected_initial_cost=seen.expected,
        overfitted=len(_mini_batch(looked).x),
        overfit_steps=len(course.costs),
        overfit_begin=course.begin if course.costs else None,
        overfit_cost=course.end if learnt else None,
        seconds_per_step=step,
        seconds_per_epoch=None if each is None or step is None else _epoch(looked, each, step),
        step_bytes=None if buffers is None else buffers + subject.train_state.nbytes,
        layers=trial.figures(course, seen.silent),
    )


def _epoch(looked: Looked, each: float, step: float) -> float:
    return looked.steps * step if looked.samples is None else looked.samples * each


def _scales_left_out(subject: Subject) -> Iterator[str]:
    row = placed(subject.recipe.layers, each_shape(channels_last_shape, subject.recipe.input_shape))
    for one in _inputs(subject, row):
        if one.spec.tokens is not None:
            yield f"scale of {one.told}: these are whole numbers that stand for something"
        elif one.first and inputs.normalises(one.first):
            yield f"scale of {one.told}: {one.first} comes first"


def _left_out(subject: Subject, looked: Looked, held: Looked | None, seen: Seen) -> Iterator[str]:
    """Yield the checks that were not made, and why."""
    cost = subject.recipe.cost
    yield from _scales_left_out(subject)
    for one in kinds_of(cost):
        if not isinstance(one, KNOWN):
            who = "nobody but you knows" if own(one) or isinstance(one, CustomCost) else "it is not known here"
            yield f"labels and the first cost: {who} what {class_name(one)} takes and should be at first"
    if subject.trained:
        yield "the first cost: the network was trained before"
        if seen.least is None:
            yield f"one mini-batch learnt by heart: how low {class_name(cost)} could be is not known"
    if held is None:
        yield "samples in training and validation: no validation_set was given"
    elif not held.whole:
        yield f"all but the first {held.source.samples:,} samples of the validation Generator"
    if not looked.whole:
        yield f"all but the first {looked.source.samples:,} samples of the Generator"
    if seen.fault:
        yield "units, gradients and times: the first step failed"
