"""Each layer that ranks may share a mini-batch through learns what one process learns, whatever they add up when."""

from typing import Any

import numpy as np
import pytest

from gedanken import Flatten, FullyConnectedLayer, Network, SparseRows
from gedanken.errors import ArgumentError
from gedanken.parallel import gradient_sums
from gedanken.ranks.in_process import World
from tests.cases import LAYERS, LayerCase, name_of
from tests.ranks.among import Among

SAMPLES = 10


def data_for(case: LayerCase) -> Any:
    rng = np.random.default_rng(5)
    tokens = case.layer.tokens
    if tokens is not None:
        limits = np.broadcast_to(tokens, case.shape) if case.shape else tokens
        return rng.integers(0, limits, (SAMPLES, *case.shape))
    x = rng.standard_normal((SAMPLES, *case.shape)).astype("f4")
    return SparseRows(*csr(x), features=case.shape[0]) if case.layer.sparse else x


def csr(x: Any) -> tuple[Any, Any, Any]:
    x = np.where(x > 0, x, 0)
    rows, columns = np.nonzero(x)
    return np.searchsorted(rows, np.arange(len(x) + 1)), columns, x[rows, columns]


def trained(case: LayerCase, parallel: Any = None) -> dict[str, Any]:
    net = Network(seed=3).input(case.shape).add(case.layer).add(Flatten()).add(FullyConnectedLayer(2))
    net.regression("sgd", engine="cpu", cost="mean_squared")
    y = np.random.default_rng(6).standard_normal((SAMPLES, 2))
    net.fit(data_for(case), y, mini_batch_size=5, epochs=2, progress=False, parallel=parallel)
    return dict(net.arrays())


@pytest.mark.parametrize("case", LAYERS, ids=name_of)
def test_buckets_are_added_up_when_they_are_complete(case: LayerCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_sums, "BUCKET", 32)
    wanted = trained(case)
    done = World(2, apart=True).run(lambda ranks: trained(case, Among(ranks)))
    if isinstance(done[0], ArgumentError):
        assert "what it learns of a mini-batch" in str(done[0])
        return
    for arrays in done:
        for key, value in wanted.items():
            np.testing.assert_allclose(arrays[key], value, rtol=1e-3, atol=1e-5, err_msg=key)
