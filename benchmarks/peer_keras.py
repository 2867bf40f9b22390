"""Keras's side of the benchmark: on TensorFlow, plain, compiled by XLA or with recurrent layers unrolled, and on JAX.

Images are channels-last here.
"""

import os
import sys
from typing import Any

import numpy as np
from networks import EPOCH, RATES, Description, Layer, Task, checked_batches, described, samples, weights

os.environ["KERAS_BACKEND"] = sys.argv[2].partition("-")[0]
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"
import keras
from keras_layers import applied, load

EPSILON = 1e-8 * 0.001**0.5  # Keras adds it before it corrects the mean square; the same at the first step
TOGETHER = 32  # steps that Keras runs in one call, in an epoch
COMPILED = ("tensorflow-jit", "jax")
COSTS = {
    "cross_entropy": keras.losses.SparseCategoricalCrossentropy,
    "binary_cross_entropy": keras.losses.BinaryCrossentropy,
}


def limit_threads() -> None:
    """Tell TensorFlow how many threads it may use; JAX uses one for each processor of the process."""
    if keras.backend.backend() == "tensorflow":
        tf = sys.modules["tensorflow"]
        tf.config.threading.set_intra_op_parallelism_threads(int(os.environ["BENCH_THREADS"]))
        tf.config.threading.set_inter_op_parallelism_threads(int(os.environ["BENCH_THREADS"]))


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def built(description: Description, configuration: str, together: int, rate: float) -> Any:
    """Return the compiled model with the common weights."""
    made: dict[str, tuple[Layer, Any]] = {}
    picture = len(description.shape) == 3
    entry = keras.Input((*description.shape[1:], description.shape[0]) if picture else description.shape)
    model = keras.Model(entry, applied(description.layers, entry, "", made, configuration.endswith("-unrolled")))
    load(description, made, weights(description))
    model.compile(
        keras.optimizers.Adam(rate, epsilon=EPSILON),
        COSTS[description.cost](from_logits=True),
        jit_compile=configuration in COMPILED,
        steps_per_execution=together,
    )
    return model


class Peer:
    """The work of one task."""

    def __init__(self, configuration: str, task: Task) -> None:
        limit_threads()
        keras.utils.set_random_seed(0)
        self.task, self.configuration = task, configuration
        description, epoch = described(task.network), task.kind == "epoch"
        self.model = built(description, self.configuration, TOGETHER if epoch else 1, RATES[task.kind])
        x, self.labels = samples(description, EPOCH if epoch else task.batch)
        self.x, self.labels = channels_last(x), channels_last(self.labels)
        if not epoch:
            self.x, self.labels = keras.ops.convert_to_tensor(self.x), keras.ops.convert_to_tensor(self.labels)
        self.run = {"step": self._step, "epoch": self._epoch}[task.kind]

    def _step(self) -> None:
        self.model.train_on_batch(self.x, self.labels)

    def _epoch(self) -> None:
        self.model.fit(self.x, self.labels, batch_size=self.task.batch, epochs=1, verbose=0)

    def check(self) -> list[float]:
        description = described(self.task.network, thin=False)
        model, losses = built(description, self.configuration, 1, RATES["check"]), []
        for x, labels in checked_batches(description, self.task):
            model.reset_metrics()  # what comes back is the mean since then
            losses.append(float(model.train_on_batch(channels_last(x), channels_last(labels))))
        return losses

    def facts(self) -> dict[str, Any]:
        library = sys.modules["tensorflow" if keras.backend.backend() == "tensorflow" else "jax"]
        return {"version": f"{keras.__version__} on {keras.backend.backend()} {library.__version__}"}
