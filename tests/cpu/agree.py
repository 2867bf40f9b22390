"""Running the same layers by the specification and by kernels, and comparing everything that comes out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gedanken import Layer
from gedanken.engine.base import Engine
from gedanken.engine.cpu.engine import CpuEngine, FusedLayers
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.types import Array, Shape

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def as_it_is(values: Array) -> Array:
    return values


def passes(
    engine: Engine,
    layers: Sequence[Layer],
    shape: Shape,
    x: Array,
    seed: int = 7,
    given: Callable[[Array], Array] = as_it_is,
    mixed: bool = False,
) -> dict[str, Array]:
    """Return all that a training step and a prediction give; `given` is done to parameters and dy.

    Layers without kernels may be among them where `mixed` says so.
    """
    plan = Plan(layers, shape, engine, seed)
    plan._passes = plan._passes._replace(stages=engine.stages(plan.layers, dx=not plan.takes_sparse))
    if isinstance(engine, CpuEngine) and not mixed:
        assert all(isinstance(step, FusedLayers) for step in plan.stages), [type(step) for step in plan.stages]
    plan.initialise()
    rng = np.random.default_rng(seed)
    plan.params += 0.1 * rng.normal(size=plan.params.shape).astype(plan.params.dtype)
    plan.params[...] = given(plan.params)
    ctx = plan.context(train=True, epoch=2, position=5)
    y, tape = plan.forward(ctx, x)
    found: dict[str, Any] = {"y": y.copy()}
    gradient = given(rng.normal(size=y.shape).astype(y.dtype))
    for step in reversed(plan.stages):
        gradient = step.backward(ctx, tape.pop(), gradient)
    dx = gradient.copy() if not plan.takes_sparse else y[:0]
    found |= {"dx": dx, "grads": plan.grads.copy(), "state": plan.layer_state.copy()}
    found["prediction"] = plan.predict(x)
    return found


def distance(expected: Array, got: Array) -> float:
    """Return the largest difference in units of the largest value; where one has a NaN or infinity so has the other."""
    assert got.shape == expected.shape
    if not expected.size:
        return 0.0
    finite = np.isfinite(expected)
    assert (finite == np.isfinite(got)).all()
    assert (np.isnan(expected) == np.isnan(got)).all()
    assert (expected[np.isinf(expected)] == got[np.isinf(got)]).all()
    scale = abs(expected[finite]).max(initial=0) or 1.0
    return float(abs(expected[finite].astype(float) - got[finite]).max(initial=0) / scale)


def check_agreement(
    layers: Sequence[Layer],
    shape: Shape,
    x: Array,
    engine: Engine | None = None,
    given: Callable[[Array], Array] = as_it_is,
    tolerance: float | None = None,
    mixed: bool = False,
    dtype: str = "",
) -> None:
    """Fail unless kernels give what the specification gives; `dtype` is the number type, where x are whole numbers."""
    dtype = dtype or str(x.dtype)
    expected = passes(select_engine("numpy", dtype), layers, shape, x, given=given)
    got = passes(engine or select_engine("cpu", dtype), layers, shape, x, given=given, mixed=mixed)
    for name, value in expected.items():
        assert distance(value, got[name]) < (tolerance or TOLERANCE[dtype]), name
