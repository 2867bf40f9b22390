"""Ranks that each have a row of layers learn what one process learns by the same micro-batches, to the last bit."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import (
    LSTM,
    Adam,
    AdamW,
    ArrayGenerator,
    BatchNorm,
    BinaryCrossEntropy,
    Branches,
    Callback,
    Checkpoint,
    ConvolutionLayer,
    CrossAttention,
    CrossEntropy,
    CustomCost,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Heads,
    KeepBest,
    Lamb,
    Layer,
    LayerNorm,
    MaxPoolLayer,
    MeanAbsoluteError,
    Momentum,
    MovingAverage,
    MultiHeadAttention,
    Muon,
    Network,
    NonFiniteError,
    OnNonFinite,
    Pipeline,
    ReLU,
    Residual,
    Save,
    Sequences,
    SetRate,
    Sigmoid,
    SoftMax,
    SparseFullyConnectedLayer,
    Stop,
    TanH,
)
from gedanken.errors import ArgumentError
from gedanken.parallel.base import Parallel
from gedanken.parallel.cutting import balanced
from gedanken.parallel.over_ranks import Follower, Leader
from gedanken.parallel.pipeline import of_stages
from gedanken.parallel.pipeline_stage import Stage
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.staged import Staged
from gedanken.ranks.communicator import RankError
from gedanken.ranks.in_process import Fault as RankFault
from gedanken.ranks.in_process import Threads, World

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((70, 6)).astype("f4"), RNG.integers(0, 3, 70)
LENGTHS = RNG.integers(1, 8, 70)
MPIEXEC = Path(sys.executable).with_name("mpiexec")
HAS_MPI = pytest.mark.skipif(not MPIEXEC.exists(), reason="needs mpi4py and an MPI: pip install gedanken[mpi]")
QUIET: dict[str, Any] = {"progress": False}


@dataclass(frozen=True, eq=False, repr=False)
class Breaking(Layer):
    """Passes everything on; one that `breaks` raises forward or back in pass number `pass_` of so many samples."""

    breaks: bool = False
    back: bool = False
    samples: int = 4
    pass_: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", [0, 0])

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return self._passed(False, x), None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return self._passed(True, dy)

    def _passed(self, back: bool, x: Any) -> Any:
        passes: list[int] = self.passes  # type: ignore[attr-defined]
        passes[back] += len(x) == self.samples
        if self.breaks and self.back == back and passes[back] == self.pass_:
            raise OSError("no room")
        return 1 * x


class Piped(Parallel):
    """What Pipeline is for ranks that a test has made."""

    def __init__(self, ranks: Threads, **how: Any) -> None:
        self.ranks, self.how = ranks, Pipeline(**{"micro_batches": 4, **how})

    def strategy(self, recipe: Recipe) -> Leader | Follower:
        self.made = of_stages(recipe, 1, self.ranks, self.how)
        return self.made

    @property
    def replica(self) -> Staged:
        replica = self.made._replica
        assert isinstance(replica, Staged)
        return replica


def mlp(rule: Any = "sgd", *layers: Any, activation: Any = TanH, **more: Any) -> Network:
    net = Network(seed=3).input((6,))
    for _ in range(3):
        net.add(FullyConnectedLayer(8)).add(activation())
        for layer in layers:
            net.add(layer)
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(rule, engine="cpu", **more)


def tokens() -> Network:
    net = Network(seed=3).input((5,)).add(Embedding(20, 4)).add(Flatten()).add(FullyConnectedLayer(8)).add(ReLU())
    net.add(FullyConnectedLayer(8)).add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax())
    return net.regression("sgd", engine="cpu")


def sequences() -> Network:
    net = Network(seed=3).input((7, 2)).add(LSTM(4)).add(MultiHeadAttention(2)).add(LSTM(4)).add(FullyConnectedLayer(3))
    return net.add(SoftMax()).regression("adam", engine="cpu", cost=CrossEntropy(ignore_label=2))


def pictures() -> Network:
    net = Network(seed=3).input((1, 6, 6)).add(ConvolutionLayer(3, 3, 3)).add(BatchNorm()).add(ReLU())
    net.add(Residual([ConvolutionLayer(3, 3, 3, zero_padding=1), ReLU()])).add(ReLU()).add(MaxPoolLayer(2, 2))
    net.add(Dropout(0.3)).add(ConvolutionLayer(4, 2, 2)).add(ReLU()).add(Flatten())
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression("adam", engine="cpu")


def labels_apart() -> Network:
    net = Network(seed=3).input((6,))
    for _ in range(3):
        net.add(FullyConnectedLayer(8)).add(LayerNorm()).add(ReLU())
    net.add(FullyConnectedLayer(2)).add(Sigmoid())
    return net.regression("sgd", engine="cpu", cost=BinaryCrossEntropy(reduction="sum"))


CASES: dict[str, tuple[Callable[[], Network], tuple[Any, ...], dict[str, Any]]] = {
    "mlp": (mlp, (X, Y), {}),
    "numpy": (lambda: mlp().regression("sgd", engine="numpy"), (X, Y), {}),
    "adam with metrics": (lambda: mlp("adam", metrics=["accuracy", "f1"]), (X, Y), {}),
    "weights": (mlp, (X, Y, RNG.random(70)), {}),
    "dropout": (lambda: mlp(Momentum(), Dropout(0.5)), (X, Y), {}),
    "norms": (lambda: mlp(Momentum(), BatchNorm()), (X, Y), {}),
    "clipped": (lambda: mlp(Adam(clip_norm=0.01)), (X, Y), {}),
    "clipped values": (lambda: mlp(Adam(clip_value=0.001)), (X, Y), {}),
    "decay": (lambda: mlp(AdamW(0.01, weight_decay=0.1)), (X, Y), {}),
    "by arrays": (lambda: mlp(Lamb()), (X, Y), {}),
    "by matrices": (lambda: mlp(Muon()), (X, Y), {}),
    "own rates": (lambda: mlp(Adam(weight_decay=0.1)).scale_rate(0.1, 2, 6), (X, Y), {}),
    "rows": (tokens, (RNG.integers(0, 20, (70, 5)), Y), {}),
    "lengths": (
        sequences,
        (Sequences(RNG.standard_normal((70, 7, 2)).astype("f4"), LENGTHS), RNG.integers(0, 3, (70, 7))),
        {},
    ),
    "pictures": (pictures, (RNG.random((70, 1, 6, 6)).astype("f4"), Y), {}),
    "sums": (labels_apart, (X, RNG.integers(0, 2, (70, 2))), {}),
    "validated": (mlp, (X, Y), {"validation_set": 0.2, "callbacks": [KeepBest("validation_cost")]}),
}


def trained(make: Callable[[], Network], data: tuple[Any, ...], **how: Any) -> tuple[dict[str, Any], Network, Any]:
    net = make()
    history = net.fit(*data, **{"mini_batch_size": 16, "epochs": 2, **QUIET, **how})
    return dict(net.arrays()), net, history


def alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in one.items():
        assert np.array_equal(value, other[key], equal_nan=True), key


@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("name", CASES)
def test_the_result_is_that_of_one_process(name: str, size: int, schedule: str) -> None:
    make, data, how = CASES[name]
    wanted, _, alone = trained(make, data, parallel=Pipeline(micro_batches=4), **how)

    def work(ranks: Threads) -> Any:
        return trained(make, data, parallel=Piped(ranks, schedule=schedule), **how)

    for found in World(size).run(work):
        assert not isinstance(found, BaseException), found
        arrays, net, history = found
        assert net.epoch == 2
        alike(wanted, arrays)
        for figure in alone.keys():  # noqa: SIM118 - it is no mapping
            if not figure.endswith("seconds"):
                assert history[figure] == alone[figure], figure


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_the_mini_batch(name: str) -> None:
    """But for layers that look at a whole mini-batch, as BatchNorm does."""
    make, data, how = CASES[name]
    if name in ("norms", "pictures"):
        return
    wanted, _, alone = trained(make, data, **how)
    found, _, history = trained(make, data, parallel=Pipeline(micro_batches=4), **how)
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=2e-3, atol=2e-4, err_msg=key)
    np.testing.assert_allclose(history["cost"], alone["cost"], rtol=1e-3)


def named() -> Network:
    shapes = {"picture": (1, 4, 4), "table": (3,)}
    net = Network(seed=3).input(**shapes)
    net.add(Branches(picture=[ConvolutionLayer(2, 3, 3), Flatten()], table=[FullyConnectedLayer(4), TanH()]))
    net.add(FullyConnectedLayer(6)).add(ReLU())
    net.add(Heads(kind=[FullyConnectedLayer(3), SoftMax()], odd=[FullyConnectedLayer(1), Sigmoid()]))
    cost = {"kind": "cross_entropy", "odd": "binary_cross_entropy"}
    return net.regression("adam", engine="cpu", cost=cost, metrics={"kind": ["accuracy"]})


def sparse() -> Network:
    net = Network(seed=3).input((6,)).add(SparseFullyConnectedLayer(5)).add(TanH()).add(FullyConnectedLayer(4))
    return net.add(TanH()).add(FullyConnectedLayer(3)).add(SoftMax()).regression("sgd", engine="cpu")


def squares(y: Any, target: Any) -> Any:
    return ((y - target) ** 2).mean(axis=1)


def own_layers() -> Network:
    """With a layer and a cost that no kernel knows."""
    net = Network(seed=3).input((6,)).add(FullyConnectedLayer(8)).add(Breaking()).add(FullyConnectedLayer(8))
    net.add(Breaking()).add(FullyConnectedLayer(3))
    return net.regression("sgd", engine="cpu", cost=CustomCost(squares))


PAIRS = {"picture": RNG.random((70, 1, 4, 4)).astype("f4"), "table": RNG.random((70, 3)).astype("f4")}
WIDER: dict[str, tuple[Callable[[], Network], tuple[Any, ...]]] = {
    "inputs and heads": (named, (PAIRS, {"kind": Y, "odd": Y % 2})),
    "sparse rows": (sparse, (X * (X > 0.5), Y)),
    "layers of one's own": (own_layers, (X, RNG.random((70, 3)))),
}


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", WIDER)
def test_whatever_a_network_takes_and_gives_goes_through_stages(name: str, size: int) -> None:
    make, data = WIDER[name]
    wanted, _, _ = trained(make, data, parallel=Pipeline(micro_batches=4))
    for found in World(size).run(lambda ranks: trained(make, data, parallel=Piped(ranks))):
        assert not isinstance(found, BaseException), found
        alike(wanted, found[0])


def test_metrics_see_the_outputs_of_each_micro_batch_where_no_kernel_knows_the_cost() -> None:
    def make() -> Network:
        net = Network(seed=3).input((6,)).add(FullyConnectedLayer(8)).add(TanH()).add(FullyConnectedLayer(3))
        return net.regression("sgd", engine="cpu", cost=CustomCost(squares), metrics=[MeanAbsoluteError()])

    data = X, RNG.random((70, 3))
    _, _, wanted = trained(make, data)
    _, _, found = trained(make, data, parallel=Pipeline(micro_batches=4))
    for figure in ("cost", "mean_absolute_error"):
        np.testing.assert_allclose(found[figure], wanted[figure], rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    samples=st.integers(1, 40),
    batch=st.integers(1, 30),
    micro=st.integers(1, 9),
    size=st.integers(1, 4),
    schedule=st.sampled_from(["1f1b", "gpipe"]),
)
def test_parts_of_any_size_go_through(samples: int, batch: int, micro: int, size: int, schedule: str) -> None:
    """Also where there are fewer micro-batches than stages, an odd number, or fewer samples in the last mini-batch."""
    batch = min(batch, samples)
    micro = min(micro, batch)
    data, how = (X[:samples], Y[:samples]), {"mini_batch_size": batch, "epochs": 1}
    wanted, _, _ = trained(mlp, data, parallel=Pipeline(micro_batches=micro), **how)

    def work(ranks: Threads) -> Any:
        return trained(mlp, data, parallel=Piped(ranks, micro_batches=micro, schedule=schedule), **how)

    for found in World(size).run(work):
        assert not isinstance(found, BaseException), found
        alike(wanted, found[0])


def test_the_gradient_has_the_bits_of_micro_batches_that_come_one_after_the_other() -> None:
    """One step of plain descent, beside gradients of single micro-batches that are added up here."""
    x, y = X[:16], Y[:16]
    plain = mlp()
    assert plain._train_state is not None
    plan, total = (
        plain._train_state.plan,
        {name: np.zeros_like(g) for name, g in plain._train_state.plan.gradients().items()},
    )
    for start in range(0, 16, 4):
        plan.cost_and_gradients(plan.context(train=True, position=start), x[start : start + 4], y[start : start + 4])
        for name, g in plan.gradients().items():
            total[name] += 4 * g
    for name, g in plan.gradients().items():
        g[...] = total[name] / 16
    plain._train_state.optimizer_state.apply(plan.params, plan.grads, 16)
    how = {"epochs": 1, "shuffle": False}
    for found in World(3).run(lambda ranks: trained(mlp, (x, y), parallel=Piped(ranks), **how)):
        alike(plain.arrays(), found[0])


@pytest.mark.parametrize(("stages", "size"), [([1], 2), ([2], 2), ([3, 4], 3), ([1, 2, 6], 4), ((1, 3, 5), 4)])
def test_a_network_is_cut_where_it_is_told_to_be(stages: Sequence[int], size: int) -> None:
    """Also between a layer and its activation, and into stages without parameters."""
    wanted, _, _ = trained(mlp, (X, Y), parallel=Pipeline(micro_batches=4, stages=stages))
    whole, _, _ = trained(mlp, (X, Y), parallel=Pipeline(micro_batches=4))
    for found in World(size).run(lambda ranks: trained(mlp, (X, Y), parallel=Piped(ranks, stages=stages))):
        assert not isinstance(found, BaseException), found
        alike(wanted, found[0])
        alike(whole, found[0])


@pytest.mark.parametrize(("schedule", "kept"), [("1f1b", [4, 3, 2, 1]), ("gpipe", [6, 6, 6, 6])])
def test_so_many_micro_batches_are_kept_at_once(schedule: str, kept: list[int]) -> None:
    def work(ranks: Threads) -> int:
        how = Piped(ranks, schedule=schedule, micro_batches=6)
        trained(mlp, (X, Y), parallel=how)
        assert how.replica.stage is not None
        assert len(how.replica.stage._slots) >= how.replica.stage.kept
        return how.replica.stage.kept

    assert World(4).run(work) == kept


def test_a_generator_gives_what_arrays_give() -> None:
    def work(ranks: Threads) -> Any:
        source = ArrayGenerator(X, Y, mini_batch_size=16)
        return trained(mlp, (source,), parallel=Piped(ranks), mini_batch_size=None)

    source = ArrayGenerator(X, Y, mini_batch_size=16)
    wanted, _, _ = trained(mlp, (source,), parallel=Pipeline(micro_batches=4), mini_batch_size=None)
    for found in World(3).run(work):
        alike(wanted, found[0])


# ---------------------------------------------------------------------------------------------- callbacks


class Watching(Callback):
    """Saves the network in the middle of an epoch, halves the rate, and ends the training in the next one."""

    def on_step(self, run: Any, record: Any) -> Any:
        if record.step == 3:
            return [SetRate(0.5), Save(f"epoch{record.epoch}")]
        return Stop("enough") if record.epoch == 2 and record.step == 4 else None


def test_what_callbacks_answer_holds_for_all_and_sees_the_weights_of_all(tmp_path: Path) -> None:
    def work(folder: Path, parallel: Parallel) -> Any:
        found = trained(
            lambda: mlp("adam"), (X, Y), callbacks=[Watching()], parallel=parallel, folder=str(folder), epochs=4
        )
        return found, [dict(Network.load(folder / f"epoch{epoch}.safetensors").arrays()) for epoch in (1, 2)]

    (wanted, _, _), saved = work(tmp_path / "alone", Pipeline(micro_batches=4))

    def ranked(ranks: Threads) -> Any:
        folder = tmp_path / "ranks"
        if ranks.rank:
            return trained(lambda: mlp("adam"), (X, Y), callbacks=[Watching()], parallel=Piped(ranks), epochs=4), []
        return work(folder, Piped(ranks))

    done = World(3).run(ranked)
    for (arrays, net, history), files in done:
        assert (history.reason, net.epoch, len(history.epochs)) == ("enough", 2, 2)
        alike(wanted, arrays)
        for one, other in zip(files, saved, strict=False):
            alike(one, other)
    assert len(done[0][1]) == 2


def test_a_checkpoint_in_an_epoch_goes_on_with_any_number_of_ranks(tmp_path: Path) -> None:
    class Ends(Callback):
        def on_step(self, run: Any, record: Any) -> Any:
            if record.epoch == 2 and record.step == 3 and armed:
                raise OSError("the power is gone")

    armed = [True]

    def work(ranks: Threads, resume: bool) -> Any:
        callbacks = [] if ranks.rank else [Checkpoint(2), Ends()]
        place: dict[str, Any] = {"resume" if resume else "folder": str(tmp_path / "run")} if not ranks.rank else {}
        return trained(lambda: mlp("adam"), (X, Y), callbacks=callbacks, parallel=Piped(ranks), epochs=3, **place)

    wanted, _, _ = trained(lambda: mlp("adam"), (X, Y), parallel=Pipeline(micro_batches=4), epochs=3)
    done = World(3).run(lambda ranks: work(ranks, False))
    assert isinstance(done[0], OSError)
    assert all("the power is gone" in str(one) for one in done[1:])
    armed.clear()
    for found in World(2).run(lambda ranks: work(ranks, True)):
        assert not isinstance(found, BaseException), found
        alike(wanted, found[0])


# ---------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("place", [0, 21, 69])
@pytest.mark.parametrize("size", [2, 3])
def test_of_a_mini_batch_with_a_fault_nothing_is_kept(size: int, place: int) -> None:
    x = X.copy()
    x[place] = 3e38
    make: Callable[[], Network] = lambda: mlp(Momentum(), BatchNorm(), activation=ReLU)  # noqa: E731

    def work(ranks: Threads) -> str:
        with pytest.raises(NonFiniteError) as raised:
            trained(make, (x, Y), parallel=Piped(ranks), shuffle=False)
        return str(raised.value)

    told = World(size).run(work)
    assert len(set(map(str, told))) == 1
    assert str(place) in str(told[0])
    how = {"callbacks": [OnNonFinite("skip")], "shuffle": False}
    wanted, _, alone = trained(make, (x, Y), parallel=Pipeline(micro_batches=4), **how)
    assert len(alone.faults) == 2
    assert len(alone.faults[0].samples) < 16, "the micro-batch is told"
    for found in World(size).run(lambda ranks: trained(make, (x, Y), parallel=Piped(ranks), **how)):
        assert not isinstance(found, BaseException), found
        assert len(found[2].faults) == 2
        alike(wanted, found[0])


def test_an_update_that_would_burst_in_one_stage_is_made_in_none() -> None:
    def make() -> Network:
        net = mlp(Momentum(1e38))
        return net.set_arrays(
            {name: value * 1e-4 if name == "0.kernel" else value for name, value in net.arrays().items()}
        )

    how = {"callbacks": [OnNonFinite("skip")], "epochs": 1}
    first = make().arrays()
    for found in World(3).run(lambda ranks: trained(make, (1e4 * X, Y), parallel=Piped(ranks), **how)):
        assert not isinstance(found, BaseException), found
        assert len(found[2].faults) == 5
        alike(first, found[0])


class Bursts(Callback):
    """Lets a rate that is far too high spoil the weights behind the 280th step."""

    def on_step(self, run: Any, record: Any) -> Any:
        return SetRate(1e30) if record.step == 280 else SetRate(1e-30) if record.step == 282 else None


def test_a_training_that_explodes_goes_back_to_weights_that_belong_together() -> None:
    """Those of the 257th step, at which no rank but rank 0 knows that they are kept."""
    data = np.tile(X, (9, 1)), np.tile(Y, 9)
    how: dict[str, Any] = {"mini_batch_size": 2, "epochs": 1, "shuffle": False}
    make: Callable[[], Network] = lambda: mlp(activation=ReLU)  # noqa: E731

    def work(ranks: Threads | None) -> Any:
        callbacks = [] if ranks and ranks.rank else [OnNonFinite("skip"), Bursts()]
        parallel = Pipeline(micro_batches=2) if ranks is None else Piped(ranks, micro_batches=2)
        return trained(make, data, parallel=parallel, callbacks=callbacks, **how)

    wanted, _, alone = work(None)
    assert alone.faults
    for found in World(3).run(work):
        assert not isinstance(found, BaseException), found
        assert len(found[2].faults) == len(alone.faults)
        alike(wanted, found[0])


def test_layers_that_cannot_be_measured_end_all_ranks() -> None:
    def make() -> Network:
        net = Network(seed=3).input((6,)).add(FullyConnectedLayer(8)).add(Breaking(True, samples=5, pass_=1))
        return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression("sgd", engine="cpu")

    done = World(2).run(lambda ranks: trained(make, (X, Y), parallel=Piped(ranks), mini_batch_size=20))
    assert isinstance(done[0], OSError), done
    assert isinstance(done[1], RankError), done


@pytest.mark.parametrize("call", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89])
@pytest.mark.parametrize("kind", ["kill", "freeze"])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_rank_that_is_lost_ends_the_training_of_all_others(rank: int, kind: str, call: int) -> None:
    world = World(3, faults=[RankFault(rank, call, kind)])
    done = world.run(lambda ranks: trained(mlp, (X, Y), parallel=Piped(ranks)))
    for other, found in enumerate(done):
        assert found is None if other == rank else isinstance(found, RankError), done


def test_a_stage_that_is_lost_ends_the_training_where_others_could_go_on() -> None:
    world = World(3, faults=[RankFault(1, 100, "kill")], survives=True)
    one, lost, other = world.run(lambda ranks: trained(mlp, (X, Y), parallel=Piped(ranks)))
    assert lost is None
    assert [str(found) for found in (one, other)] == ["the layers of rank 1 are lost, and with them the training"] * 2


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("whose", [0, 1, 2])
def test_an_error_in_one_stage_ends_all_ranks(whose: int, back: bool) -> None:
    def work(ranks: Threads) -> Any:
        def make() -> Network:
            net = Network(seed=3).input((6,))
            for stage in range(3):
                net.add(FullyConnectedLayer(8)).add(Breaking(whose == stage, back))
            return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression("sgd", engine="cpu")

        return trained(make, (X, Y), parallel=Piped(ranks, stages=[2, 4]))

    done = World(3).run(work)
    for rank, found in enumerate(done):
        assert isinstance(found, OSError if rank == whose else RankError), done


@pytest.mark.parametrize("whose", [0, 1, 2])
def test_a_stage_that_cannot_be_made_ends_all_ranks(whose: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*args: Any) -> Any:
        if args[3] == (whose == 0) and bool(args[2]) == (whose == 2):
            raise MemoryError("no room")
        return Stage(*args)

    monkeypatch.setattr("gedanken.parallel.staged.Stage", made)
    for rank, found in enumerate(World(3).run(lambda ranks: trained(mlp, (X, Y), parallel=Piped(ranks)))):
        assert isinstance(found, MemoryError if rank == whose else RankError), found


class Breaks(Callback):
    def on_step(self, run: Any, record: Any) -> Any:
        if record.step == 3:
            raise OSError("no room")


def test_an_error_on_rank_0_is_told_on_all() -> None:
    done = World(3).run(lambda ranks: trained(mlp, (X, Y), parallel=Piped(ranks), callbacks=[Breaks()]))
    assert isinstance(done[0], OSError)
    assert [str(one) for one in done[1:]] == ["the training ended on rank 0: OSError: no room"] * 2


def test_data_that_differ_are_found_before_the_first_step() -> None:
    done = World(2).run(lambda ranks: trained(mlp, (X + ranks.rank, Y), parallel=Piped(ranks)))
    assert all(isinstance(one, ArgumentError) and "digest" in str(one) for one in done), done


def one_layer() -> Network:
    return Network(seed=3).input((6,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression("sgd", engine="cpu")


def by_name() -> Network:
    net = Network(seed=3).input(one=(4, 2), other=(5, 2)).add(Branches(one=[LSTM(2)], other=[LSTM(2)], merge="names"))
    net.add(CrossAttention(1, queries="one", keys="other")).add(Flatten()).add(FullyConnectedLayer(3))
    return net.add(SoftMax()).regression("sgd", engine="cpu")


SERIES = {"one": RNG.random((70, 4, 2)).astype("f4"), "other": RNG.random((70, 5, 2)).astype("f4")}
REFUSED: dict[str, tuple[Callable[[], Network], Any, dict[str, Any], dict[str, Any], str]] = {
    "too many ranks": (one_layer, X, {}, {}, "the ranks of Pipeline, -n, must be at most 1"),
    "frozen layers": (lambda: mlp().freeze(0), X, {}, {}, "parallel must be None with frozen layers, layer 0"),
    "gathered": (lambda: mlp(Adam(accumulate=2)), X, {}, {}, "Adam accumulate must be 1 with Pipeline"),
    "many parts": (mlp, X, {"micro_batches": 17}, {}, "Pipeline micro_batches must be at most the samples"),
    "a cut behind the end": (mlp, X, {"stages": [8]}, {}, "Pipeline stages must name positions of layers from 1 to 7"),
    "an activation alone": (mlp, X, {"stages": [7]}, {}, "Pipeline stages must leave each stage a layer"),
    "names": (by_name, SERIES, {"stages": [1]}, {}, "Pipeline stages must cut where one array goes"),
    "averages": (
        mlp,
        X,
        {},
        {"callbacks": [MovingAverage()]},
        "parallel must be one where the network has the weights",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stages_cannot_do_is_refused_before_the_first_step(name: str) -> None:
    make, x, how, more, told = REFUSED[name]

    def work(ranks: Threads) -> Any:
        own = {} if ranks.rank and "callbacks" in more else more
        return trained(make, (x, Y), parallel=Piped(ranks, **how), **own)

    done = World(2).run(work)
    assert isinstance(done[0], ArgumentError), done
    assert str(done[0]).startswith(told)
    assert isinstance(done[1], ArgumentError | RankError), done


def test_a_network_whose_layers_take_names_is_cut_elsewhere() -> None:
    wanted, _, _ = trained(by_name, (SERIES, Y), parallel=Pipeline(micro_batches=4))
    for found in World(2).run(lambda ranks: trained(by_name, (SERIES, Y), parallel=Piped(ranks))):
        alike(wanted, found[0])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"stages": "many"}, 'Pipeline stages must be "auto"'),
        ({"stages": None}, 'Pipeline stages must be "auto"'),
        ({"stages": 0}, "Pipeline stages must be a whole number of at least 1"),
        ({"stages": [0, 3]}, "Pipeline stages must be a whole number of at least 1"),
        ({"stages": [3, 3]}, "Pipeline stages must be positions of layers in growing order"),
        ({"stages": [1.5]}, "Pipeline stages must be a whole number"),
        ({"micro_batches": 0}, "Pipeline micro_batches must be a whole number of at least 1"),
        ({"schedule": "2f2b"}, "Pipeline schedule must be one of"),
    ],
)
def test_a_description_that_is_none_is_refused(how: dict[str, Any], told: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^{told}"):
        Pipeline(**how)


@given(costs=st.lists(st.integers(0, 9), min_size=1, max_size=7), parts=st.integers(1, 7))
def test_the_costliest_part_is_as_cheap_as_it_can_be(costs: list[int], parts: int) -> None:
    parts = min(parts, len(costs))

    def costliest(cuts: Sequence[int]) -> int:
        ends = [0, *cuts, len(costs)]
        return max(sum(costs[a:b]) for a, b in pairwise(ends))

    found = balanced(costs, parts)
    assert len(found) == parts - 1
    assert all(a < b for a, b in pairwise([0, *found, len(costs)]))
    assert costliest(found) == min(map(costliest, combinations(range(1, len(costs)), parts - 1)))


LAUNCHED = """
import sys
import numpy as np
from gedanken import *
from gedanken.ranks.joined import joined

x, y = np.random.default_rng(0).random((300, 600)).astype("f4"), np.arange(300) % 3
net = Network(seed=1).input((600,))
for _ in range(4):
    net.add(FullyConnectedLayer(600)).add(ReLU()).add(Dropout(0.2))
net.add(FullyConnectedLayer(3)).add(SoftMax()).regression("adam", engine="cpu")
parallel = Pipeline(micro_batches=7, schedule=sys.argv[1])
history = net.fit(x, y, mini_batch_size=200, epochs=2, parallel=parallel, validation_set=0.1, progress=False)
sys.stderr.write(f"rank {joined().rank} has {[float(np.abs(one).sum()) for one in net.arrays().values()]}\\n")
print(history["cost"], history["validation_cost"], history.epochs[-1].parallel["workers"].split(",")[0])
"""


@HAS_MPI
@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
def test_launched_ranks_learn_what_one_process_learns(schedule: str, tmp_path: Path) -> None:
    """With messages that are too long for MPI to keep: 29 samples of 600 numbers."""
    script, told = tmp_path / "train.py", {}
    script.write_text(LAUNCHED)
    for ranks in (1, 2, 3):
        launch = [sys.executable, "-m", "gedanken", "launch", "--restarts", "0", "-n", str(ranks)]
        words = [*launch, str(script), schedule]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert f"{ranks} rank" in done.stdout
        kept = {line.partition(" has ")[2] for line in done.stderr.splitlines() if line.startswith("rank ")}
        told[ranks] = (done.stdout.rpartition("]")[0], *kept)
        assert len(told[ranks]) == 2, "all ranks end with the same weights"
    assert len(set(told.values())) == 1
