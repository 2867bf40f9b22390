"""Optimizers: rules that turn a gradient into a change of the parameters, in place, on flat vectors."""

from gedanken.optimizers.adafactor import Adafactor
from gedanken.optimizers.adaptive import AdaDelta, AdaGrad, RMSProp
from gedanken.optimizers.base import Optimizer
from gedanken.optimizers.descent import SGD, Lion, Momentum, Nesterov, Rprop
from gedanken.optimizers.lamb import Lamb
from gedanken.optimizers.moments import Adam, AdaMax, AdamW, NAdam, RAdam
from gedanken.optimizers.muon import Muon

__all__ = [
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adafactor",
    "Adam",
    "AdamW",
    "Lamb",
    "Lion",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RAdam",
    "RMSProp",
    "Rprop",
]
