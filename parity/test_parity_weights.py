"""Arrays of PyTorch's modules, set by the names and axes that docs/coming-from.md tells, make the same network."""

from typing import Any

import numpy as np
import pytest
import torch

from gedanken import (
    LSTM,
    BatchNorm,
    Convolution1DLayer,
    ConvolutionLayer,
    Embedding,
    FullyConnectedLayer,
    LayerNorm,
    Network,
    Numpy,
    PReLU,
    TransposedConvolutionLayer,
)

nn = torch.nn
KERNELS: dict[str, Any] = {
    "2": lambda w: w.T, "3": lambda w: w.transpose(2, 1, 0), "4": lambda w: w.transpose(2, 3, 1, 0),
}  # fmt: skip
ROWS: list[tuple[Any, Any, tuple[int, ...]]] = [
    (FullyConnectedLayer(5), nn.Linear(6, 5), (6,)),
    (ConvolutionLayer(6, 2, 3, groups=2), nn.Conv2d(4, 6, (3, 2), groups=2), (4, 7, 5)),
    (TransposedConvolutionLayer(6, 2, 3, groups=2), nn.ConvTranspose2d(4, 6, (3, 2), groups=2), (4, 7, 5)),
    (Convolution1DLayer(6, 3, groups=2), nn.Conv1d(4, 6, 3, groups=2), (9, 4)),
    (Embedding(9, 4), nn.Embedding(9, 4), (5,)),
    (BatchNorm(), nn.BatchNorm2d(4), (4, 7, 5)),
    (LayerNorm(), nn.LayerNorm(4), (4,)),
    (PReLU(), nn.PReLU(4), (4, 7, 5)),
    (LSTM(3), nn.LSTM(4, 3, batch_first=True), (6, 4)),
]


def told(layer: Any, module: Any) -> dict[str, Any]:
    """Return a module's arrays as docs/coming-from.md and docs/sequences.md say."""
    w = {name: array.numpy() for name, array in module.state_dict().items()}
    if isinstance(layer, LSTM):
        bias = w["bias_ih_l0"] + w["bias_hh_l0"]
        return {"0.kernel": w["weight_ih_l0"].T, "0.recurrent": w["weight_hh_l0"].T, "0.bias": bias}
    if isinstance(layer, BatchNorm):
        names = {"scale": "weight", "shift": "bias", "mean": "running_mean", "var": "running_var"}
        return {f"0.{name}": w[other] for name, other in names.items()}
    if isinstance(layer, LayerNorm):
        return {"0.scale": w["weight"], "0.shift": w["bias"]}
    if isinstance(layer, (Embedding, PReLU)):
        return {"0.table" if isinstance(layer, Embedding) else "0.slope": w["weight"]}
    return {"0.kernel": KERNELS[str(w["weight"].ndim)](w["weight"]), "0.bias": w["bias"]}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row[0]).__name__)
def test_arrays_of_pytorch_make_the_same_outputs(row: Any) -> None:
    layer, module, shape = row
    generator = torch.Generator().manual_seed(0)
    for array in module.double().state_dict().values():
        if array.dtype.is_floating_point:
            array.copy_(0.5 + torch.rand(array.shape, generator=generator, dtype=torch.float64))
    net = Network().input(shape).add(layer).regression("sgd", "mean_squared", engine=Numpy(dtype="float64"))
    net.set_arrays(told(layer, module))
    assert net.arrays().keys() == told(layer, module).keys()
    rng = np.random.default_rng(1)
    x = rng.integers(0, 9, (3, *shape)) if isinstance(layer, Embedding) else rng.normal(size=(3, *shape))
    turned = isinstance(layer, Convolution1DLayer)
    with torch.no_grad():
        y = module.eval()(torch.tensor(x).mT if turned else torch.tensor(x))
        y = y.mT if turned else y
    expected = (y[0] if isinstance(y, tuple) else y).numpy()
    np.testing.assert_allclose(net.feedforward(x), expected, rtol=1e-9, atol=1e-9)
