"""Learning rates as functions of the number of updates made so far."""

from gedanken.schedules.base import ConstantRate, Schedule, as_schedule
from gedanken.schedules.combined import RateProduct, RateSequence, WarmUp
from gedanken.schedules.cycles import CosineRestarts, CyclicRate, OneCycle
from gedanken.schedules.decays import (
    CosineDecay,
    ExponentialDecay,
    InverseDecay,
    LinearRate,
    MilestoneDecay,
    PolynomialDecay,
    StepDecay,
)
from gedanken.schedules.plateau import OnPlateau, Plateau

__all__ = [
    "ConstantRate",
    "CosineDecay",
    "CosineRestarts",
    "CyclicRate",
    "ExponentialDecay",
    "InverseDecay",
    "LinearRate",
    "MilestoneDecay",
    "OnPlateau",
    "OneCycle",
    "Plateau",
    "PolynomialDecay",
    "RateProduct",
    "RateSequence",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "as_schedule",
]
