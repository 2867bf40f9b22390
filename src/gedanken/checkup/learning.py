"""What is wrong with how the network learns: its first cost, its units, its gradients, one mini-batch."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gedanken.checkup.report import ERROR, NOTE, WARNING, Finding, finding
from gedanken.checkup.trial import Course

HIGH, HIGH_OF_VALUES, LOW = 5.0, 50.0, 0.5  # first cost over that of a network that knows nothing
DEAD, SOME_DEAD = 0.5, 0.1  # share of a layer's units
EXPLODED = 100.0  # gradient over weight
VANISHED = 1e-5  # gradient over weight, of a layer over the largest one
LEARNT, WELL = 0.1, 0.25  # of the way from the first cost to the least one
HARDLY = 0.01
THROWN = 3.0  # first change over weight, of all layers
OWN = 1.0
SMALLER, LARGER = (0.1, 0.01), (10.0, 100.0, 1000.0)
FAR_SMALLER = (1e-4, 1e-8, 1e-16, 1e-32)  # where not even one step could be made
FAR_LARGER = (1e5, 1e7, 1e9)  # where it changed nothing
USUAL = (1e-3, 1e-2)  # first change over weight, of rates that learn


class Seen(NamedTuple):
    """What was seen of the first steps.

    Args:
        initial: the first cost, over some hundred samples or more; NaN where it is none.
        fault: what was not finite in these.
        expected: cost of a network that knows nothing; None: not known.
        high: how many times that is too high for a first cost.
        least: the least cost of the mini-batch that is learnt by heart; None: not known.
        silent: of each ReLU, the share of units that did not fire, by path.
        seen: over so many samples.
        trained: whether the weights are no first ones.
        course: the mini-batch learnt by heart with the network's own rate.
    """

    initial: float
    fault: str
    expected: float | None
    high: float
    least: float | None
    silent: dict[str, float]
    seen: int
    trained: bool
    course: Course


def first_steps(seen: Seen) -> Iterator[Finding]:
    """Yield what is wrong before the first step, or in it."""
    if fault := seen.fault:
        told = f"Before the first step {fault}. Scale the input, or take smaller first weights."
        yield finding("not-finite", ERROR, told)
        return
    yield from _gradients(seen.course)
    yield from _units(seen)
    yield from _cost(seen)


def _gradients(course: Course) -> Iterator[Finding]:
    ratios = course.gradients
    if not ratios:
        return
    strongest = max(ratios, key=ratios.__getitem__)
    if ratios[strongest] > EXPLODED:
        told = f"The gradient of layer {strongest} is {ratios[strongest]:.3g} times as long as its weights. Take "
        told += "smaller first weights, BatchNorm() between the layers, or clip_norm=1 of the optimizer."
        yield finding("exploding-gradient", WARNING, told)
    lasting = {path: max(ratio, course.later.get(path, 0.0)) for path, ratio in ratios.items()}
    top = max(lasting.values())
    weak = [path for path, ratio in lasting.items() if ratio <= VANISHED * top]
    if weak and len(lasting) > 1:
        first = weak[0]
        told = f"The gradient of layer {', '.join(weak)} is almost nothing beside that of others: of layer {first} "
        told += f"{lasting[first]:.2g} of its weights, of layer {max(lasting, key=lasting.__getitem__)} {top:.2g}. "
        told += "These layers learn nothing. Take ReLU() in place of Sigmoid() or TanH(), BatchNorm(), or fewer layers."
        yield finding("vanishing-gradient", WARNING, told)


def _units(seen: Seen) -> Iterator[Finding]:
    worst = max(seen.silent, key=seen.silent.__getitem__, default="")
    if not worst or seen.silent[worst] < SOME_DEAD:
        return
    dead = seen.silent[worst]
    when = "as trained" if seen.trained else "with the first weights"
    told = f"{dead:.0%} of the units of layer {worst} (ReLU) did not fire for any of {seen.seen:,} samples, {when}; "
    told += "they get no gradient. "
    told += "A smaller learning rate keeps more alive, LeakyReLU() all." if seen.trained else ""
    told += "" if seen.trained else "Look at the bias before it, or take BatchNorm() or LeakyReLU()."
    yield finding("dead-units", WARNING if dead >= DEAD else NOTE, told)


def _cost(seen: Seen) -> Iterator[Finding]:
    if seen.expected is None or seen.trained or seen.expected <= 0:
        return
    times = seen.initial / seen.expected
    told = f"The first cost is {seen.initial:.4g}, and a network that knows nothing has {seen.expected:.4g}"
    if times > seen.high:
        told += ": it begins sure of what is wrong. Take smaller first weights in the last layer, or scale the targets."
        yield finding("initial-cost", WARNING, told)
    elif times < LOW:
        told += ": by chance, or the labels stand in the input."
        yield finding("initial-cost", NOTE, told)


def overfitting(seen: Seen, retry: Callable[[float], Course]) -> Iterator[Finding]:
    """Yield what is wrong where one mini-batch is not learnt by heart.

    Args:
        seen: what was seen.
        retry: learns it with a factor on the learning rate.
    """
    if seen.fault:
        return
    updates = seen.course.updates.values()
    if len(updates) > 1 and (smallest := min(updates)) > THROWN:  # of a single layer first weights mean little
        told = f"The first step changes the weights of every layer by {smallest:.3g} times their length and more: what "
        told += "they began with is lost. Take a smaller learning rate."
        yield finding("learning-rate-high", WARNING, told)
        return
    if _way(seen, seen.course) >= LEARNT or (seen.trained and seen.least is None):
        return
    if seen.expected is not None and seen.course.end <= 0.5 * seen.expected:
        return  # it knows it already
    own = _told(seen.course)
    smaller, larger = _factors(seen.course)
    for factor in smaller:
        tried = retry(factor)
        if _way(seen, tried) >= WELL:
            told = f"{own}; with {factor:.3g} times the learning rate it came to {tried.end:.4g}. Take that."
            told += _updates(seen)
            yield finding("learning-rate-high", WARNING, told)
            return
    for factor in larger:
        tried = retry(factor)
        if _way(seen, tried) >= WELL:
            if _way(seen, seen.course) < HARDLY:
                told = f"{own}; with {factor:.3g} times the learning rate it came to {tried.end:.4g}.{_updates(seen)}"
                yield finding("learning-rate-low", WARNING, told)
            return
    told = f"{own}, and no better with {min(smaller):.2g} to {max(larger):.2g} times the learning rate: the network "
    told += "cannot learn even these samples. Look at derivatives of your own, at layers that lose the input, and at "
    told += "the labels."
    yield finding("cannot-learn", ERROR, told)


def _told(course: Course) -> str:
    if course.fault:
        return f"One mini-batch of a copy was not learnt: after {len(course.costs)} steps {course.fault}"
    steps = len(course.costs)
    return f"One mini-batch of a copy went from cost {course.begin:.4g} to {course.end:.4g} in {steps} steps"


def _factors(course: Course) -> tuple[list[float], list[float]]:
    """Return smaller and larger factors on the learning rate, the nearest first: also those that rates far off need."""
    change = max(course.updates.values(), default=0.0)
    if not 0 < change < math.inf:
        return [*SMALLER, *(FAR_SMALLER if course.fault else ())], [*LARGER, *(() if course.fault else FAR_LARGER)]
    fitting = [usual / change for usual in USUAL]
    smaller = [factor for factor in reversed(fitting) if factor < min(SMALLER)]
    return [*SMALLER, *smaller], [*LARGER, *(factor for factor in fitting if factor > max(LARGER))]


def _way(seen: Seen, course: Course) -> float:
    """Return how much of the way from the first cost to the least one was made; of a cost without one, to 0."""
    if not math.isfinite(course.end):
        return -math.inf
    if seen.least is None:
        reach = abs(course.begin)
        return (course.begin - course.end) / reach if reach else 1.0
    reach = course.begin - seen.least
    return (course.begin - course.end) / reach if reach > 1e-6 * abs(course.begin) else 1.0


def _updates(seen: Seen) -> str:
    largest = max(seen.course.updates.values(), default=None)
    return "" if largest is None else f" Its first step changed weights by up to {largest:.2g} of their length."
