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
STARTED: list[Any] = [SimpleRNN(4), SimpleRNN(3, activation="relu"), LSTM(4), GRU(4)]  # that may begin with a state
LAYERS = [*STARTED, LSTM(4, projection=3)]


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


def passed(layers: list[Any], x: dict[str, Any], lengths: Any, draw: Any, engine: str) -> tuple[Any, Any, Any]:
    """Return parameters, output and gradients, and the gradient of the output, of layers that take names."""
    plan = Plan(layers, {n: one.shape[1:] for n, one in x.items()}, select_engine(engine, "float64"), 3)
    plan.initialise()
    for view in plan.arrays().values():
        view[...] = draw(view.shape)
    given = ByName({**x, "text": Sequences(x["text"], np.full(N, T) if lengths is None else lengths)})
    ctx, stages = plan.told_of_lengths(plan.context(train=True), given), plan.engine.stages(plan.layers)
    y, tape = through(stages, ctx, ByName(x))
    found, dy = {"y": y.copy()}, draw(y.shape)
    dx: Any = back_through(stages, ctx, tape, dy)
    return plan.arrays(), found | dx.parts | dict(plan.gradients()), dy


WAYS = ("forwards.0.", "backwards.0.")


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "packed"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("layer", [*STARTED, LSTM(4, bias=False)], ids=str)
def test_first_states(layer: Any, two: bool, last: bool, lengths: Any, engine: str) -> None:
    rng, layer = np.random.default_rng(6), replace(layer, last=last)
    names = ("h", "c") if isinstance(layer, LSTM) else ("h",)
    ways = WAYS if two else ("",)
    states = {name: rng.normal(size=(N, len(ways) * layer.n_units)) for name in names}
    x = {"text": rng.normal(size=(N, T, F)), **states}
    row = FromState(Bidirectional(layer) if two else layer, "text", *names)
    p, found, dy = passed([row], x, lengths, lambda shape: rng.normal(size=shape), engine)
    leaves = tensors({**x, **p}, grad=True)
    first = tuple(torch.stack(leaves[name].tensor_split(len(ways), dim=1)) for name in names)  # (2, N, H)
    told = None if lengths is None else torch.from_numpy(lengths)
    each = [{key.removeprefix(f"0.{way}"): one for key, one in leaves.items() if f"0.{way}" in key} for way in ways]
    y = read(layer, each, leaves["text"], told, first if len(names) == 2 else first[0])
    gradients = torch.autograd.grad(y, list(leaves.values()), torch.from_numpy(dy))
    assert_agree(found, {"y": y, **dict(zip(leaves, gradients, strict=True))})


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
def test_first_states_of_several_layers_in_both_directions(kind: Any, engine: str) -> None:
    """Those of layer i are h_0[2 * i : 2 * i + 2] of PyTorch's (num_layers * 2, N, H)."""
    rng, units, layers = np.random.default_rng(7), 3, 2
    names = ("h", "c") if kind is LSTM else ("h",)
    firsts = {name: rng.normal(size=(2 * layers, N, units)) for name in names}

    def apart(states: Any) -> dict[str, Any]:
        """Return PyTorch's states (num_layers * 2, N, H) by our names, each (N, 2 * H)."""
        each = {name: one.reshape(layers, 2, N, units) for name, one in states.items()}
        return {f"{n}{i}": np.hstack(list(one[i])) for n, one in each.items() for i in range(layers)}

    x = {"text": rng.normal(size=(N, T, F)), **apart(firsts)}
    rows = [
        FromState(Bidirectional(kind(units)), "text", *(f"{name}{i}" for name in names), names=i + 1 < layers)
        for i in range(layers)
    ]
    p, found, dy = passed(rows, x, None, lambda shape: rng.normal(size=shape), engine)
    leaves = tensors({**{name: firsts[name] for name in names}, "text": x["text"], **p}, grad=True)
    module = {SimpleRNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}[kind]
    theirs = module(F, units, layers, batch_first=True, bidirectional=True, dtype=torch.float64)
    weights = []
    for place in range(layers):
        for way in WAYS:
            own = {key.rpartition(".")[2]: one for key, one in leaves.items() if key.startswith(f"{place}.{way}")}
            second = torch.zeros_like(own["bias"])
            if kind is GRU:
                second = torch.cat([second[: 2 * units], own["recurrent_bias"]])
            weights += [own["kernel"].T.contiguous(), own["recurrent"].T.contiguous(), own["bias"], second]
    theirs._flat_weights = weights
    first = tuple(leaves[name] for name in names)
    y, _ = theirs(leaves["text"], first if kind is LSTM else first[0])
    gradients = dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), torch.from_numpy(dy)), strict=True))
    by_name = apart({name: gradients.pop(name).numpy() for name in names})
    assert_agree(found, {"y": y, **gradients, **{name: torch.from_numpy(one) for name, one in by_name.items()}})


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
