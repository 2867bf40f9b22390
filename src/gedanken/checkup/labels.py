"""What is wrong with the targets."""

from collections.abc import Iterator

import numpy as np

from gedanken.checkup.expected import VALUES, YES_OR_NO, kinds_of
from gedanken.checkup.report import ERROR, NOTE, WARNING, Finding, finding
from gedanken.checkup.samples import Looked
from gedanken.checkup.twins import Twins
from gedanken.costs import Cost
from gedanken.costs.labels import ClassCost, classes_of
from gedanken.layers import Layer, ReLU, Sigmoid, SoftMax, TanH
from gedanken.types import Array, Shape

TIMES = 20.0  # samples of one class over those of another
LARGE, SMALL = 10.0, 0.01  # standard deviation of targets
FAR = 10.0  # mean over standard deviation
ALL_IGNORED = "All labels are to be ignored: nothing can be learnt."
LISTED = 5  # classes that are named
RANGES: dict[type[Layer], tuple[float, float]] = {
    Sigmoid: (0.0, 1.0),
    SoftMax: (0.0, 1.0),
    TanH: (-1.0, 1.0),
    ReLU: (0.0, np.inf),
}


def targets(cost: Cost, looked: Looked, shape: Shape, last: Layer) -> Iterator[Finding]:
    """Yield what is wrong with targets, as far as the cost says what they are.

    Args:
        cost: as `regression` took it.
        looked: the samples.
        shape: one output, channels first.
        last: the last layer that computes.
    """
    if isinstance(cost, ClassCost) and classes_of(shape) > 1:
        yield from _classes(cost.counts(looked.labels, shape), looked, cost.weight_numbers is not None)
    elif isinstance(cost, (*YES_OR_NO, ClassCost)):
        yield from _answers(looked, cost, getattr(cost, "weights", None) is not None)
    elif isinstance(cost, VALUES):
        yield from _values(looked)
        yield from _reach(looked.labels, last)


def _same(looked: Looked, what: str) -> Finding:
    if looked.whole:
        return finding(
            "labels-constant", ERROR, f"{what} in all {len(looked.labels):,} samples: nothing can be learnt."
        )
    advice = "mini-batches of one kind teach badly: shuffle the calls"
    told = f"{what} in the first {len(looked.labels):,} samples of the Generator; {advice}, Generator(shuffle=True)."
    return finding("labels-constant", WARNING, told)


def _classes(counts: Array, looked: Looked, weighed: bool) -> Iterator[Finding]:
    there = counts > 0
    whose = "samples" if looked.labels.ndim <= 2 else "places"
    if not there.any():
        yield finding("labels-constant", ERROR, ALL_IGNORED)
        return
    if there.sum() == 1 and len(looked.labels) > 1:
        yield _same(looked, f"All labels are class {int(np.argmax(there))}")
        return
    missing = np.flatnonzero(~there)
    chance = not looked.whole and len(looked.labels) < 20 * len(counts)
    if len(missing):
        named = ", ".join(map(str, missing[:LISTED])) + (", ..." if len(missing) > LISTED else "")
        told = f"{len(missing)} of the {len(counts)} classes have no sample among {len(looked.labels):,}: {named}; "
        told += "the network has an output for them and never learns when to give it. Look for lost samples, or end "
        told += f"with FullyConnectedLayer({int(there.sum())})."
        yield finding("missing-class", NOTE if chance else WARNING, told)
    most, least = int(np.argmax(counts)), int(np.argmin(np.where(there, counts, np.inf)))
    if counts[most] > TIMES * counts[least]:
        told = f"class {most} has {counts[most]:,.0f} {whose} and class {least} {counts[least]:,.0f}; accuracy will "
        told += "look good for a network that never says the rare one. Give CrossEntropy(class_weights=...), or watch "
        told += 'metrics=["f1"] of the rare class.'
        yield finding("class-imbalance", NOTE if weighed or chance else WARNING, told)


def _answers(looked: Looked, cost: Cost, weighed: bool) -> Iterator[Finding]:
    there = cost.labelled(looked.labels)
    if there is not None:
        looked = looked._replace(labels=looked.labels[there].reshape(-1, 1))
    if not len(looked.labels):
        yield finding("labels-constant", ERROR, ALL_IGNORED)
        return
    flat = looked.labels.reshape(len(looked.labels), -1)
    if len(flat) > 1 and (flat == flat[:1]).all():
        yield _same(looked, "All labels are the same")
        return
    share = flat.mean(axis=0, dtype="float64") if looked.labels.ndim <= 2 else np.array([flat.mean(dtype="float64")])
    rare = np.minimum(share, 1 - share)
    one = int(np.argmin(rare))
    if rare[one] * (1 + TIMES) < 1:
        told = f"output {one} is a yes in {share[one]:.2%} of {len(flat):,} samples; accuracy will look good for a "
        told += "network that always gives the same answer. Give BinaryCrossEntropy(pos_weight=zeros / ones), or watch "
        told += 'metrics=["f1"].'
        yield finding("class-imbalance", NOTE if weighed or len(rare) > 1 else WARNING, told)


def _values(looked: Looked) -> Iterator[Finding]:
    flat = looked.labels.reshape(len(looked.labels), -1).astype("float64")
    if len(flat) > 1 and (flat == flat[:1]).all():
        yield _same(looked, "All targets are the same")
        return
    if len(flat) == 1:
        return
    std = float(np.sqrt(flat.var(axis=0).mean()))
    mean = float(np.sqrt(np.square(flat.mean(axis=0)).mean()))
    if not SMALL <= std <= LARGE or mean > FAR * std:
        told = f"targets have mean {flat.mean():.4g} and standard deviation {std:.4g}; outputs begin near 0 with a "
        told += "spread near 1, and far from it learning takes long or fails. Train on (targets - mean) / std, and "
        told += "turn predictions back."
        yield finding("target-scale", WARNING, told)


def _reach(labels: Array, last: Layer) -> Iterator[Finding]:
    if type(last) not in RANGES:
        return
    low, high = RANGES[type(last)]
    outside = float(((labels < low - 1e-6) | (labels > high + 1e-6)).mean())
    if outside:
        told = f"{outside:.1%} of the targets lie outside [{low:g}, {high:g}], from {labels.min():.4g} to "
        told += f"{labels.max():.4g}, but the last layer {last} gives nothing else. Leave it out, or scale the targets."
        yield finding("target-range", WARNING, told)


def repeated(found: Twins, cost: Cost) -> Iterator[Finding]:
    """Yield what is wrong with samples that come more than once."""
    if found.leaked:
        share, usual = found.leaked / found.validated, found.repeated / found.trained
        natural = found.chance and share <= 2 * usual + 0.01
        told = f"{found.leaked:,} of {found.validated:,} samples of the validation set stand among {found.trained:,} "
        told += "that are trained on, too"
        if natural:
            told += "; as samples are made of few different values, as many meet by chance."
        else:
            told += ": its figures will be too good. Take copies out before the data are divided."
        severity = NOTE if natural else ERROR if share > 0.5 else WARNING
        yield finding("leakage", severity, told)
    if found.conflicting:
        share = found.conflicting / found.trained
        judged = all(isinstance(one, (ClassCost, *YES_OR_NO)) for one in kinds_of(cost))
        told = f"{found.conflicting:,} of {found.trained:,} samples came before with another label; no network can "
        told += "be right for both. "
        told += "Look at how they were labelled." if judged else "It will learn the mean of such targets."
        yield finding("label-conflict", WARNING if judged and share > 0.01 and not found.chance else NOTE, told)
