"""One or more rows for every optimizer, each with its rule from the paper once more."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gedanken import (
    SGD,
    AdaDelta,
    Adafactor,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    Lamb,
    Lion,
    Momentum,
    Muon,
    NAdam,
    Nesterov,
    Optimizer,
    RAdam,
    RMSProp,
    Rprop,
)
from gedanken.optimizer_state import Piece, Updated


def _adam(
    p: float, gs: list[float], rate: float, decay: float, *, coupled: bool = False, keep: float = 0.999,
    amsgrad: bool = False,
) -> float:  # fmt: skip
    m = v = highest = 0.0
    for t, given in enumerate(gs, start=1):
        g = given + decay * p if coupled else given
        m, v = 0.9 * m + 0.1 * g, keep * v + (1 - keep) * g**2
        highest = max(highest, v)
        root = ((highest if amsgrad else v) / (1 - keep**t)) ** 0.5
        p -= rate * (m / (1 - 0.9**t) / (root + 1e-8) + (0 if coupled else decay * p))
    return p


def _lamb(p: float, gs: list[float], rate: float, decay: float) -> float:
    m = v = 0.0
    for t, g in enumerate(gs, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        u = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)) ** 0.5 + 1e-6) + decay * p
        p -= rate * (abs(p / u) if p and u else 1) * u
    return p


def _adafactor(p: float, gs: list[float], rate: float, decay: float) -> float:
    v = 0.0
    for t, g in enumerate(gs, start=1):
        v = (1 - t**-0.8) * v + t**-0.8 * (g**2 + 1e-30)
        u = g / v**0.5
        p -= min(rate, t**-0.5) * max(abs(p), 1e-3) * u / max(1, abs(u)) + rate * decay * p
    return p


def _adamax(p: float, gs: list[float], rate: float, decay: float) -> float:
    m = u = 0.0
    for t, given in enumerate(gs, start=1):
        g = given + decay * p
        m, u = 0.9 * m + 0.1 * g, max(0.999 * u, abs(g) + 1e-8)
        p -= rate / (1 - 0.9**t) * m / u
    return p


def _nadam(p: float, gs: list[float], rate: float, decay: float, *, coupled: bool = True) -> float:
    mus = [0.9 * (1 - 0.5 * 0.96 ** (0.004 * t)) for t in range(1, len(gs) + 2)]
    m = v = 0.0
    for t, given in enumerate(gs, start=1):
        g = given + decay * p if coupled else given
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        ahead = mus[t] * m / (1 - np.prod(mus[: t + 1])) + (1 - mus[t - 1]) * g / (1 - np.prod(mus[:t]))
        p -= rate * (ahead / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8) + (0 if coupled else decay * p))
    return p


def _radam(p: float, gs: list[float], rate: float, decay: float, *, coupled: bool = True) -> float:
    m = v = 0.0
    most = 2 / (1 - 0.999) - 1
    for t, given in enumerate(gs, start=1):
        g = given + decay * p if coupled else given
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step, r = m / (1 - 0.9**t), most - 2 * t * 0.999**t / (1 - 0.999**t)
        if r > 5:
            trust = ((r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r)) ** 0.5
            step *= trust * (1 - 0.999**t) ** 0.5 / (v**0.5 + 1e-8)
        p -= rate * (step + (0 if coupled else decay * p))
    return p


def _adadelta(p: float, gs: list[float], rate: float, decay: float) -> float:
    h = c = 0.0
    for given in gs:
        g = given + decay * p
        h = 0.9 * h + 0.1 * g**2
        change = ((c + 1e-6) / (h + 1e-6)) ** 0.5 * g
        c = 0.9 * c + 0.1 * change**2
        p -= rate * change
    return p


def _rmsprop(
    p: float, gs: list[float], rate: float, decay: float, *, momentum: float = 0.0, centred: bool = False
) -> float:
    h = m = v = 0.0
    for given in gs:
        g = given + decay * p
        h, m = 0.9 * h + 0.1 * g**2, 0.9 * m + 0.1 * g
        v = momentum * v - rate * g / ((h - m**2 if centred else h) ** 0.5 + 1e-8)
        p += v
    return p


def _lion(p: float, gs: list[float], rate: float, decay: float) -> float:
    m = 0.0
    for g in gs:
        p -= rate * (np.sign(0.9 * m + 0.1 * g) + decay * p)
        m = 0.99 * m + 0.01 * g
    return p


def _momentum(
    p: float, gs: list[float], rate: float, decay: float, *, ahead: bool = False, dampening: float = 0.0
) -> float:
    v = 0.0
    for place, g in enumerate(gs):
        change = rate * (1 - dampening if place else 1) * (g + decay * p)
        v = 0.9 * v - change
        p += 0.9 * v - change if ahead else v
    return p


def _rprop(p: float, gs: list[float], rate: float, decay: float) -> float:
    length, last = rate, 0.0
    for given in gs:
        g = given + decay * p
        length *= 1.2 if g * last > 0 else 0.5 if g * last < 0 else 1.0
        length = min(max(length, 1e-4 * rate), 3 * rate)
        g = 0.0 if g * last < 0 else g
        p, last = p - length * np.sign(g), g
    return p


def _sgd(p: float, gs: list[float], rate: float, decay: float) -> float:
    for g in gs:
        p -= rate * (g + decay * p)
    return p


def _adagrad(
    p: float, gs: list[float], rate: float, decay: float, *, start: float = 0.0, rate_decay: float = 0.0
) -> float:
    h = start
    for place, given in enumerate(gs):
        g = given + decay * p
        h += g**2
        p -= rate / (1 + rate_decay * place) * g / (h**0.5 + 1e-10)
    return p


def _beside(rule: Callable[..., float], **options: float | bool) -> Callable[[float, list[float], float, float], float]:
    """Return a rule with weight decay beside its step, which the rule itself is not told of."""

    def decoupled(p: float, gs: list[float], rate: float, decay: float) -> float:
        moved = 0.0
        for count in range(1, len(gs) + 1):
            done = rule(0.0, gs[:count], rate, 0.0, **options)
            p, moved = p - rate * decay * p + (done - moved), done
        return p

    return decoupled


def updated(rule: Optimizer, ends: Sequence[int], decayed: int) -> Updated:
    """Return what a rule updates of a vector of arrays that end there, of which weight decay applies to the first."""
    spans = zip([0, *ends], ends, strict=False)
    pieces = [Piece(begin, end, end <= decayed, matrix=(end - begin,)) for begin, end in spans if end > begin]
    return Updated(ends[-1], decayed, pieces=pieces if rule.by_array else None)


class OptimizerCase(NamedTuple):
    """An optimizer, and its rule for one number: (first value, gradients, rate, weight decay) -> last value.

    `quick` is a rate at which it halves a sum of squares in 100 steps.
    """

    optimizer: Optimizer
    rule: Callable[[float, list[float], float, float], float]
    decay: float = 0.0
    quick: float = 0.02


RATE = 0.1
OPTIMIZERS = [
    OptimizerCase(SGD(RATE), _sgd),
    OptimizerCase(SGD(RATE, weight_decay=0.3), _sgd, 0.3),
    OptimizerCase(Momentum(RATE), _momentum),
    OptimizerCase(Momentum(RATE, weight_decay=0.3), _momentum, 0.3),
    OptimizerCase(Nesterov(RATE, weight_decay=0.3), lambda *a: _momentum(*a, ahead=True), 0.3),
    OptimizerCase(Momentum(RATE, dampening=0.4), lambda *a: _momentum(*a, dampening=0.4)),
    OptimizerCase(AdaGrad(RATE), _adagrad),
    OptimizerCase(AdaGrad(RATE, weight_decay=0.3), _adagrad, 0.3),
    OptimizerCase(
        AdaGrad(RATE, start=0.5, rate_decay=0.02), lambda *a: _adagrad(*a, start=0.5, rate_decay=0.02), quick=0.05
    ),
    OptimizerCase(RMSProp(RATE), _rmsprop),
    OptimizerCase(RMSProp(RATE, weight_decay=0.3), _rmsprop, 0.3),
    OptimizerCase(RMSProp(RATE, momentum=0.8), lambda *a: _rmsprop(*a, momentum=0.8)),
    OptimizerCase(RMSProp(RATE, centred=True), lambda *a: _rmsprop(*a, centred=True)),
    OptimizerCase(
        RMSProp(RATE, momentum=0.8, centred=True, weight_decay=0.3),
        lambda *a: _rmsprop(*a, momentum=0.8, centred=True),
        0.3,
    ),
    OptimizerCase(AdaDelta(RATE), _adadelta, quick=10.0),
    OptimizerCase(AdaDelta(RATE, weight_decay=0.3), _adadelta, 0.3, quick=10.0),
    OptimizerCase(Momentum(RATE, weight_decay=0.3, decoupled=True), _beside(_momentum), 0.3),
    OptimizerCase(Nesterov(RATE, weight_decay=0.3, decoupled=True), _beside(_momentum, ahead=True), 0.3),
    OptimizerCase(AdaGrad(RATE, weight_decay=0.3, decoupled=True), _beside(_adagrad), 0.3),
    OptimizerCase(RMSProp(RATE, weight_decay=0.3, decoupled=True), _beside(_rmsprop), 0.3),
    OptimizerCase(RMSProp(RATE, momentum=0.8, weight_decay=0.3, decoupled=True), _beside(_rmsprop, momentum=0.8), 0.3),
    OptimizerCase(RMSProp(RATE, centred=True, weight_decay=0.3, decoupled=True), _beside(_rmsprop, centred=True), 0.3),
    OptimizerCase(
        RMSProp(RATE, momentum=0.8, centred=True, weight_decay=0.3, decoupled=True),
        _beside(_rmsprop, momentum=0.8, centred=True),
        0.3,
    ),
    OptimizerCase(AdaDelta(RATE, weight_decay=0.02, decoupled=True), _beside(_adadelta), 0.02, quick=10.0),
    OptimizerCase(AdaMax(RATE, weight_decay=0.3, decoupled=True), _beside(_adamax), 0.3),
    OptimizerCase(Adam(RATE), _adam),
    OptimizerCase(Adam(RATE, weight_decay=0.3), lambda *a: _adam(*a, coupled=True), 0.3),
    OptimizerCase(Adam(RATE, amsgrad=True), lambda *a: _adam(*a, amsgrad=True)),
    OptimizerCase(AdamW(RATE, weight_decay=0.3), _adam, 0.3),
    OptimizerCase(AdamW(RATE, weight_decay=0.3, amsgrad=True), lambda *a: _adam(*a, amsgrad=True), 0.3),
    OptimizerCase(AdaMax(RATE), _adamax),
    OptimizerCase(AdaMax(RATE, weight_decay=0.3), _adamax, 0.3),
    OptimizerCase(NAdam(RATE), _nadam),
    OptimizerCase(NAdam(RATE, weight_decay=0.3), _nadam, 0.3),
    OptimizerCase(NAdam(RATE, weight_decay=0.3, decoupled=True), lambda *a: _nadam(*a, coupled=False), 0.3),
    OptimizerCase(RAdam(RATE), _radam),
    OptimizerCase(RAdam(RATE, weight_decay=0.3), _radam, 0.3),
    OptimizerCase(RAdam(RATE, weight_decay=0.3, decoupled=True), lambda *a: _radam(*a, coupled=False), 0.3),
    OptimizerCase(Muon(RATE, weight_decay=0.3, beta2=0.95), lambda *a: _adam(*a, keep=0.95), 0.3),
    OptimizerCase(Lion(RATE, weight_decay=0.3), _lion, 0.3),
    OptimizerCase(Adafactor(RATE), _adafactor),
    OptimizerCase(Adafactor(RATE, weight_decay=0.3), _adafactor, 0.3),
    OptimizerCase(Lamb(RATE), _lamb),
    OptimizerCase(Lamb(RATE, weight_decay=0.3), _lamb, 0.3),
    OptimizerCase(Rprop(RATE, highest=3.0, weight_decay=0.3), _rprop, 0.3),
]
