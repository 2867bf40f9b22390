"""What only looks, and who only carries, changes no bit of a training: all of it against the same one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Adam,
    ArrayGenerator,
    BatchNorm,
    Calls,
    Checkpoint,
    ConvolutionLayer,
    Cpu,
    CSVLog,
    DataParallel,
    Dropout,
    EarlyStopping,
    Flatten,
    Flip,
    FullyConnectedLayer,
    KeepBest,
    MaxPoolLayer,
    Network,
    OnNonFinite,
    ReLU,
    SoftMax,
    TensorBoard,
)

RNG = np.random.default_rng(0)
X = RNG.random((60, 1, 8, 8)).astype(np.float32)
Y = (X[:, 0, 0, 0] > 0.5) + (X[:, 0, 1, 1] > 0.7).astype(int)
HELD = X[:20] + 0.1, Y[:20]


def trained(
    data: str = "arrays", threads: int = 1, resumed: Path | None = None, **how: Any
) -> tuple[dict[str, Any], list[float]]:
    """Return all that a training of three epochs leaves in the network, and its costs."""
    net = (
        Network(1).input((1, 8, 8)).add(ConvolutionLayer(4, 3, 3)).add(BatchNorm()).add(ReLU()).add(MaxPoolLayer(2, 2))
    )
    net.add(Dropout(0.8)).add(Flatten()).add(FullyConnectedLayer(3)).add(SoftMax())
    net.regression(Adam(0.01, accumulate=2, clip_norm=0.5), engine=Cpu(threads=threads))
    workers = how.pop("workers", None)
    how = {"epochs": 3, "progress": False, **how}
    if data == "arrays":
        history = net.fit(X, Y, mini_batch_size=7, **how)
    else:
        mode = {None: {"mode": "serial"}}.get(workers, {"mode": data, "workers": workers})
        with ArrayGenerator(X, Y, mini_batch_size=7, shuffle=True, seed=1, transforms=[Flip()], **mode) as generator:
            history = net.fit(generator, **how)
    assert net._train_state is not None
    return {**net._train_state.plan.state(), **net._train_state.optimizer_state.state()}, history["cost"]


def assert_same(first: Any, second: Any) -> None:
    assert first[1] == second[1]
    assert {name: np.asarray(array).tobytes() for name, array in first[0].items()} == {
        name: np.asarray(array).tobytes() for name, array in second[0].items()
    }


LOOKS: dict[str, Any] = {
    "validation": {"validation_set": HELD},
    "callbacks": {"callbacks": [Calls(on_step=lambda run, record: None), OnNonFinite("skip"), CSVLog(), TensorBoard()]},
    "early stopping that does not stop": {
        "validation_set": HELD, "callbacks": [EarlyStopping(patience=9, restore_best=False)],
    },
    "best weights": {"callbacks": [KeepBest("cost")]},
    "checkpoints": {"callbacks": [Checkpoint(2)]},
    "snapshots and a plot": {"snapshot_step": 1e-6, "plot": True},
    "two threads": {"threads": 2},
    "threads that share": {"parallel": DataParallel(workers=3)},
    "all of it": {
        "validation_set": HELD, "threads": 2, "snapshot_step": 1e-6,
        "callbacks": [Checkpoint(3), CSVLog(), KeepBest("cost"), OnNonFinite("rollback"), TensorBoard()],
    },
}  # fmt: skip


@pytest.mark.parametrize("looks", LOOKS)
def test_nothing_that_looks_changes_a_bit(looks: str, tmp_path: Path) -> None:
    assert_same(trained(), trained(folder=tmp_path, **LOOKS[looks]))


CARRIED = [("threads", workers) for workers in (1, 2, 3, 4)] + [("processes", workers) for workers in (1, 2, 4)]


@pytest.mark.parametrize(("mode", "workers"), CARRIED)
def test_nobody_who_carries_changes_a_bit(mode: str, workers: int, tmp_path: Path) -> None:
    expected = trained("serial")
    assert_same(expected, trained(mode, workers=workers))
    assert_same(expected, trained(mode, workers=workers, folder=tmp_path, **LOOKS["all of it"]))
