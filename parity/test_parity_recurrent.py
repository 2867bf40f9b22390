"""Recurrent layers against PyTorch where sequences have different lengths: its packed sequences."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from reference import Probe, assert_agree, read, tensors

from gedanken import GRU, LSTM, Bidirectional, Layer, Sequences, SimpleRNN
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine

N, T, F = 6, 7, 5
LENGTHS = np.array([7, 1, 4, 7, 2, 6])
LAYERS = [SimpleRNN(4), SimpleRNN(3, activation="relu"), LSTM(4), LSTM(4, projection=3), GRU(4)]


def ours(layer: Layer, x: Any, dy: Any, rng: np.random.Generator, engine: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return parameters, and output and gradients, of sequences of these lengths."""
    probe = Probe()
    probe.output_lengths = lambda shape, lengths: lengths  # type: ignore[method-assign]
    plan = Plan([probe, layer], (T, F), select_engine(engine, "float64"), seed=3)
    plan.initialise()
    for view in plan.arrays().values():
        view[...] = rng.normal(0, 1, view.shape)
    given = Sequences(x, LENGTHS)
    ctx = plan.told_of_lengths(plan.context(True), given)
    y, tape = plan.forward(ctx, given)
    y = np.array(y)
    plan.backward(ctx, tape, dy)
    found: dict[str, Any] = {"y": y, "x": probe.seen.pop()}
    p: dict[str, Any] = {}
    for step in plan.layers[1:]:
        name = step.path.removeprefix("1").removeprefix(".")
        p |= {f"{name}.{key}".removeprefix("."): np.array(value) for key, value in step.p.items()}
        found |= {f"{name}.{key}".removeprefix("."): np.array(value) for key, value in step.g.items()}
    return p, found


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_packed_sequences(layer: Any, last: bool, two: bool, engine: str) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (N, T, F))
    layer = replace(layer, last=last)
    width = layer.sizes[0] * (1 + two)
    dy = rng.normal(0, 1, (N, width) if last else (N, T, width))
    p, found = ours(Bidirectional(layer) if two else layer, x, dy, rng, engine)
    leaves = tensors({"x": x, **p}, grad=True)
    names = ("forwards.0.", "backwards.0.") if two else ("",)
    each = [{key.removeprefix(n): leaf for key, leaf in leaves.items() if key.startswith(n)} for n in names]
    y = read(layer, each, leaves["x"], torch.from_numpy(LENGTHS))
    gradients = torch.autograd.grad(y, list(leaves.values()), torch.from_numpy(dy))
    assert_agree(found, {"y": y, **dict(zip(leaves, gradients, strict=True))})
