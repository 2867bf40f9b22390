"""The diary's network against the same modules of PyTorch: every cost and every weight over ten steps."""

from typing import Any

import numpy as np
import pytest
import torch
from accuracy import our_network, torch_network
from reference import ENGINE, assert_agree, network_arrays
from torch import Tensor, nn

from gedanken import Adam, Callback, Network

STEPS, BATCH, RATE = 10, 4, 0.0002
NO_GRADIENT = ("0.bias", "3.bias")  # BatchNorm takes out what these add
MODULES = {
    "kernel": "weight",
    "bias": "bias",
    "scale": "weight",
    "shift": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


class Costs(Callback):
    """Keeps the cost of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_step(self, run: Any, record: Any) -> None:
        self.seen.append(record.cost)


def named(net: nn.Sequential) -> dict[str, Tensor]:
    """Return PyTorch's parameters and running values by our names, as views in our layouts."""
    state = net.state_dict()
    found = {}
    for i, module in enumerate(net):
        names = ("scale", "shift", "mean", "var") if isinstance(module, nn.BatchNorm2d) else ("kernel", "bias")
        for name in names if f"{i}.weight" in state else ():
            array = state[f"{i}.{MODULES[name]}"]
            found[f"{i}.{name}"] = array.permute({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim])
    return found


def same_start(net: Network) -> nn.Sequential:
    """Return PyTorch's network with our weights, biases included, all of them away from zero."""
    rng = np.random.default_rng(3)
    there = torch_network(keeps=(1.0, 1.0)).double()
    views = named(there)
    for name, view in net._plan.arrays().items():
        if name.endswith(("bias", "shift")):
            view[...] = rng.normal(0, 0.1, view.shape)
        views[name].copy_(torch.from_numpy(view.copy()))
    return there


def train(net: nn.Sequential, epsilon: float, x: Tensor, classes: Tensor) -> list[float]:
    """Return the cost of every step of PyTorch's training."""
    optimizer, cost = torch.optim.Adam(net.parameters(), RATE, eps=epsilon), nn.CrossEntropyLoss()
    costs = []
    for part, labels in zip(x.split(BATCH), classes.split(BATCH), strict=True):
        optimizer.zero_grad()
        value = cost(net(part), labels)
        value.backward()
        optimizer.step()
        costs.append(value.item())
    return costs


@pytest.mark.parametrize("epsilon", [1e-8, 1e-3])
def test_ten_steps_of_the_diarys_network(epsilon: float) -> None:
    rng = np.random.default_rng(8)
    x, classes = rng.uniform(0, 1, (STEPS * BATCH, 1, 28, 28)), rng.integers(0, 10, STEPS * BATCH)
    net = our_network(Adam(RATE, epsilon=epsilon), keeps=(1.0, 1.0), seed=1, dtype="float64", engine=ENGINE)
    there, start, costs = same_start(net), network_arrays(net), Costs()
    costs_there = train(there, epsilon, torch.from_numpy(x), torch.from_numpy(classes))
    net.fit(x, np.eye(10)[classes], mini_batch_size=BATCH, shuffle=False, callbacks=[costs], progress=False)
    outputs_there = there.eval()(torch.from_numpy(x)).softmax(dim=1)
    ours = {"costs": costs.seen, "outputs": net.feedforward(x), **network_arrays(net)}
    theirs = {"costs": costs_there, "outputs": outputs_there, **named(there)}
    assert all(abs(ours[f"{i}.kernel"] - start[f"{i}.kernel"]).max() > RATE / 2 for i in (0, 3, 9, 12))
    if epsilon == 1e-8:
        # Their gradient is rounding of either side, and Adam divides it by its own size: neither side is right,
        # and neither may move.
        for name in NO_GRADIENT:
            assert abs(ours.pop(name) - start[name]).max() < RATE / 1000
            assert abs(theirs.pop(name).numpy() - start[name]).max() < RATE / 1000
    assert_agree(ours, theirs)
