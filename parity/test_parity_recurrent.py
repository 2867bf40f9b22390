"""Recurrent layers against PyTorch where sequences have different lengths: its packed sequences."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from reference import Probe, assert_agree, read, tensors

from gedanken import GRU, LSTM, Bidirectional, FromState, Layer, Sequences, SimpleRNN
from gedanken.by_name import ByName
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.layers.stages import back_through, through

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
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "packed"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("layer", [*LAYERS, LSTM(4, bias=False)], ids=str)
def test_first_states(layer: Any, last: bool, lengths: Any, engine: str) -> None:
    rng, layer = np.random.default_rng(6), replace(layer, last=last)
    names = ("h", "c") if isinstance(layer, LSTM) else ("h",)
    x = {"text": rng.normal(size=(N, T, F)), **{name: rng.normal(size=(N, layer.n_units)) for name in names}}
    dy = rng.normal(size=(N, *layer.output_shape((T, F))))
    row = FromState(layer, "text", *names)
    plan = Plan([row], {n: one.shape[1:] for n, one in x.items()}, select_engine(engine, "float64"), 3)
    plan.initialise()
    for view in plan.arrays().values():
        view[...] = rng.normal(size=view.shape)
    given = ByName({**x, "text": Sequences(x["text"], np.full(N, T) if lengths is None else lengths)})
    ctx, stages = plan.told_of_lengths(plan.context(train=True), given), plan.engine.stages(plan.layers)
    y, tape = through(stages, ctx, ByName(x))
    found = {"y": y.copy()}
    dx: Any = back_through(stages, ctx, tape, dy)
    found |= dx.parts | {name.removeprefix("0."): g for name, g in plan.gradients().items()}
    leaves = tensors({**x, **{name.removeprefix("0."): p for name, p in plan.arrays().items()}}, grad=True)
    first = tuple(leaves[name][None] for name in names)
    told = None if lengths is None else torch.from_numpy(lengths)
    y = read(layer, [leaves], leaves["text"], told, first if len(names) == 2 else first[0])
    gradients = torch.autograd.grad(y, list(leaves.values()), torch.from_numpy(dy))
    assert_agree(found, {"y": y, **dict(zip(leaves, gradients, strict=True))})


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
