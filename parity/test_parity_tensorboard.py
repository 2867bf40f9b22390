"""TensorBoard's own reader reads what the callback writes, also where a run goes on while it looks."""

from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from gedanken import Adam, Callback, Checkpoint, FullyConnectedLayer, Network, SoftMax, TensorBoard
from gedanken.training.event_file import event

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(320, 6)), RNG.integers(0, 3, 320)


class Breaks(Callback):
    shows = True

    def __init__(self, step):
        self.step = step

    def on_step(self, run, record):
        if (record.epoch, record.step) == self.step:
            raise KeyError


def train(folder, epochs=3, callbacks=(), **how):
    net = Network(1).input((6,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(Adam(0.01))
    listening = [Checkpoint(7), TensorBoard(every=4), *callbacks]
    how = {"validation_set": (X[:40], Y[:40]), "mini_batch_size": 16, "folder": folder, "progress": False, **how}
    return net.fit(X, Y, epochs=epochs, callbacks=listening, **how)


def curves(reader):
    names = reader.Reload().Tags()["scalars"]
    return {name: [(one.step, one.value) for one in reader.Scalars(name)] for name in names if "seconds" not in name}


def reader_of(folder):
    return EventAccumulator(str(folder), size_guidance={"scalars": 0})


def test_all_points_are_read(tmp_path):
    history = train(tmp_path / "run")
    found = curves(reader_of(tmp_path / "run"))
    for name in ("cost", "accuracy", "validation_cost", "validation_accuracy", "rate"):
        assert [step for step, _ in found[f"epochs/{name}"]] == [20, 40, 60]
        np.testing.assert_allclose([value for _, value in found[f"epochs/{name}"]], history[name], rtol=1e-6)
    assert [step for step, _ in found["steps/cost"]] == list(range(4, 61, 4))


@pytest.mark.parametrize("step", [(1, 13), (2, 1), (3, 19)])
def test_a_reader_that_looks_on_sees_no_point_twice(step, tmp_path):
    train(tmp_path / "whole")
    expected, looking = curves(reader_of(tmp_path / "whole")), reader_of(tmp_path / "run")
    with pytest.raises(KeyError):
        train(tmp_path / "run", callbacks=[Breaks(step)])
    curves(looking)
    for epochs in (2, 3):
        train(tmp_path / "run", epochs, resume=tmp_path / "run")
        curves(looking)
    assert curves(looking) == curves(reader_of(tmp_path / "run")) == expected


def test_the_bytes_are_those_of_its_own_writer(tmp_path):
    values = {"cost": 0.1, "été": -2.0, "large": float("inf")}
    with open(tmp_path / "events", "wb") as file:
        summary = summary_pb2.Summary(
            value=[summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        RecordWriter(file).write(event_pb2.Event(wall_time=1.5, step=300, summary=summary).SerializeToString())
    assert Path(tmp_path / "events").read_bytes() == event(1.5, 300, values)
