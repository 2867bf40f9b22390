"""Whole numbers that the user's code changes after they were looked at: kernels read inside of their tables."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gedanken import GRU, Calls, Embedding, Flatten, FullyConnectedLayer, GedankenError, Network, Sequences, SoftMax
from gedanken.engine.cpu.fused_layers import FusedLayers


def network() -> Network:
    net = Network().input((4,)).add(Embedding(6, 3)).add(Flatten()).add(FullyConnectedLayer(2)).add(SoftMax())
    return net.regression(engine="cpu")


CALLS: dict[str, Callable[[Network, Any], Any]] = {
    "feedforward": lambda net, x: net.feedforward(x),
    "fit": lambda net, x: net.fit(x, np.arange(len(x)) % 2, shuffle=False, progress=False),
    "evaluate": lambda net, x: net.evaluate(x, np.arange(len(x)) % 2, progress=False),
}


@pytest.mark.parametrize("call", CALLS)
def test_tokens_are_looked_at_where_nobody_changes_them(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    given = FusedLayers._as_read

    def looked_at(self: Any, x: Any, tokens: Any) -> Any:
        taken = given(self, x, tokens)
        seen.append(np.shares_memory(taken, x))
        return taken

    monkeypatch.setattr(FusedLayers, "_as_read", looked_at)
    CALLS[call](network(), np.arange(24).reshape(6, 4) % 6)
    assert seen and not any(seen)


def test_tokens_that_are_changed_by_a_callback_are_refused() -> None:
    x = np.arange(24).reshape(6, 4) % 6

    def change(run: Any, record: Any) -> None:
        x[...] = 10**12

    with pytest.raises(GedankenError, match="data must be whole numbers from 0 to 5, got 1000000000000"):
        network().fit(
            x, np.arange(6) % 2, shuffle=False, mini_batch_size=2, callbacks=[Calls(on_step=change)], progress=False
        )


def test_lengths_that_are_changed_by_a_callback_are_those_of_before() -> None:
    def learnt(change: bool) -> bytes:
        net = Network(1).input((3, 2)).add(GRU(3, last=True)).add(FullyConnectedLayer(2)).add(SoftMax())
        data = Sequences(np.ones((6, 3, 2), "float32"), np.arange(6) % 3 + 1)

        def on_step(run: Any, record: Any) -> None:
            if change:
                data.lengths[...] = 10**7

        how = {"shuffle": False, "mini_batch_size": 2, "callbacks": [Calls(on_step=on_step)], "progress": False}
        net.regression(engine="cpu").fit(data, np.arange(6) % 2, **how)
        return b"".join(array.tobytes() for array in net.arrays().values())

    assert learnt(change=True) == learnt(change=False)
