"""Keras's side of the benchmark: on TensorFlow, plain or compiled by XLA, and on JAX. Images are channels-last here."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from networks import EPOCH, RATES, Description, Layer, Task, checked_batches, described, samples, walked, weights

os.environ["KERAS_BACKEND"] = sys.argv[2].partition("-")[0]
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"
import keras
from keras import layers as kl

EPSILON = 1e-8 * 0.001**0.5  # Keras adds it before it corrects the mean square; the same at the first step
TOGETHER = 32  # steps that Keras runs in one call, in an epoch
ORDER = {"norm": ("scale", "shift", "mean", "var"), "conv": ("kernel", "bias"), "dense": ("kernel", "bias")}


def limit_threads() -> None:
    """Tell TensorFlow how many threads it may use; JAX uses one for each processor of the process."""
    if keras.backend.backend() == "tensorflow":
        tf = sys.modules["tensorflow"]
        tf.config.threading.set_intra_op_parallelism_threads(int(os.environ["BENCH_THREADS"]))
        tf.config.threading.set_inter_op_parallelism_threads(int(os.environ["BENCH_THREADS"]))


def theirs(layer: Layer) -> Any:
    """Return Keras's layer."""
    match layer:
        case ("conv", filters, size, padding, stride):
            same = padding > 0 and stride == 1
            return kl.Conv2D(filters, size, strides=stride, padding="same" if same else "valid")
        case ("dense", width):
            return kl.Dense(width)
        case ("norm",):
            return kl.BatchNormalization(momentum=0.9, epsilon=1e-5)
        case ("maxpool", size, stride):
            return kl.MaxPooling2D(size, strides=stride)
        case ("dropout", keep):
            return kl.Dropout(1 - keep)
    return {"relu": kl.ReLU, "flatten": kl.Flatten, "average": kl.GlobalAveragePooling2D}[layer[0]]()


def applied(rows: Sequence[Layer], x: Any, path: str, made: dict[str, Any]) -> Any:
    """Return what the layers make of `x`; each layer is put into `made` under its place."""
    for position, layer in enumerate(rows):
        place = f"{path}{position}"
        match layer:
            case ("residual", body, shortcut):
                ways = [applied(body, x, f"{place}.layers.", made), applied(shortcut, x, f"{place}.shortcut.", made)]
                x = kl.Add()(ways)
                continue
            case ("conv", _, _, padding, stride) if padding and stride > 1:
                x = kl.ZeroPadding2D(padding)(x)
        made[place] = theirs(layer)
        x = made[place](x)
    return x


def load(description: Description, made: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Copy the common weights; the dense kernel behind "flatten" gets its rows in the order of channels-last."""
    for position, (layer, shape, _) in enumerate(walked(description.layers, description.shape)):
        if layer == ("flatten",):
            name = f"{position + 1}.kernel"
            order = np.arange(len(arrays[name])).reshape(shape).transpose(1, 2, 0).ravel()
            arrays[name] = arrays[name][order]
    for place, layer in made.items():
        kind = {kl.BatchNormalization: "norm", kl.Conv2D: "conv", kl.Dense: "dense"}.get(type(layer))
        if kind:
            layer.set_weights([arrays[f"{place}.{name}"] for name in ORDER[kind]])


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def built(description: Description, compiled: bool, together: int, rate: float) -> Any:
    """Return the compiled model with the common weights."""
    made: dict[str, Any] = {}
    entry = keras.Input((*description.shape[1:], description.shape[0]))
    if len(description.shape) == 1:
        entry = keras.Input(description.shape)
    model = keras.Model(entry, applied(description.layers, entry, "", made))
    load(description, made, weights(description))
    model.compile(
        keras.optimizers.Adam(rate, epsilon=EPSILON),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=compiled,
        steps_per_execution=together,
    )
    return model


class Peer:
    """The work of one task."""

    def __init__(self, configuration: str, task: Task) -> None:
        limit_threads()
        keras.utils.set_random_seed(0)
        self.task, self.compiled = task, configuration != "tensorflow"
        description, epoch = described(task.network), task.kind == "epoch"
        self.model = built(description, self.compiled, TOGETHER if epoch else 1, RATES[task.kind])
        x, self.labels = samples(description, EPOCH if epoch else task.batch)
        self.x = channels_last(x)
        if not epoch:
            self.x, self.labels = keras.ops.convert_to_tensor(self.x), keras.ops.convert_to_tensor(self.labels)
        self.run = {"step": self._step, "epoch": self._epoch}[task.kind]

    def _step(self) -> None:
        self.model.train_on_batch(self.x, self.labels)

    def _epoch(self) -> None:
        self.model.fit(self.x, self.labels, batch_size=self.task.batch, epochs=1, verbose=0)

    def check(self) -> list[float]:
        description = described(self.task.network, thin=False)
        model, losses = built(description, self.compiled, 1, RATES["check"]), []
        for x, labels in checked_batches(description, self.task):
            model.reset_metrics()  # what comes back is the mean since then
            losses.append(float(model.train_on_batch(channels_last(x), labels)))
        return losses

    def facts(self) -> dict[str, Any]:
        library = sys.modules["tensorflow" if keras.backend.backend() == "tensorflow" else "jax"]
        return {"version": f"{keras.__version__} on {keras.backend.backend()} {library.__version__}"}
