"""A network of two inputs and two heads against PyTorch: outputs, cost and all gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import ENGINE, assert_agree, tensors

from gedanken import Branches, CrossEntropy, Flatten, FullyConnectedLayer, Heads, MeanSquared, ReLU, SoftMax
from gedanken.by_name import ByName
from gedanken.costs.heads import HeadsCost
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine

N = 6


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("samples", [None, np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])])
def test_inputs_heads_and_weights_are_those_of_pytorch(weight, samples):
    rng = np.random.default_rng(3)
    layers = (
        Branches(image=[Flatten(), FullyConnectedLayer(4), ReLU()], table=[]),
        Heads(digit=[FullyConnectedLayer(5), SoftMax()], size=[FullyConnectedLayer(3)]),
    )
    cost = HeadsCost((("digit", CrossEntropy(), 1.0), ("size", MeanSquared(), weight)))
    plan = Plan(layers, {"image": (2, 3, 2), "table": (3,)}, select_engine(ENGINE, "float64"), 1, cost)
    plan.initialise()
    x = {"image": rng.normal(size=(N, 2, 3, 2)), "table": rng.normal(size=(N, 3))}
    target = {"digit": rng.integers(0, 5, N), "size": rng.normal(size=(N, 3))}
    passed = plan.cost_and_gradients(plan.context(train=True), ByName(x), ByName(target), samples)

    p, t, y = tensors(plan.arrays(), grad=True), tensors(x), tensors(target)
    hidden = torch.relu(t["image"].reshape(N, -1) @ p["0.image.1.kernel"] + p["0.image.1.bias"])
    both = torch.cat([hidden, t["table"]], dim=1)
    digit, size = (both @ p[f"1.{name}.0.kernel"] + p[f"1.{name}.0.bias"] for name in ("digit", "size"))
    each = torch.ones(N, dtype=torch.float64) if samples is None else torch.from_numpy(samples)
    total = (each * F.cross_entropy(digit, y["digit"], reduction="none")).sum() / N
    total = total + weight * (each * F.mse_loss(size, y["size"], reduction="none").mean(dim=1)).sum() / N
    total.backward()
    theirs = {"cost": total, "digit": F.softmax(digit, dim=1), "size": size, **{n: one.grad for n, one in p.items()}}
    assert_agree({"cost": passed.cost, **passed.outputs.parts, **plan.gradients()}, theirs)
