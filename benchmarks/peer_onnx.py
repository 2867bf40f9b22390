"""ONNX Runtime's side of the benchmark: prediction only."""

import os
from typing import Any

import numpy as np
import onnxruntime
from networks import Description, Layer, Task, checked_batches, described, loss_of, samples, weights
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 18, 10
ENTRY, EXIT = "x", "y"


def operator(layer: Layer, place: str) -> tuple[str, list[str], dict[str, Any]]:
    """Return the name of ONNX's operator, its arrays and its attributes."""
    match layer:
        case ("conv", _, size, padding, stride, _):
            attributes = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
            return "Conv", [f"{place}.kernel", f"{place}.bias"], attributes
        case ("dense", _):
            return "Gemm", [f"{place}.kernel", f"{place}.bias"], {}
        case ("norm",):
            names = [f"{place}.{name}" for name in ("scale", "shift", "mean", "var")]
            return "BatchNormalization", names, {"epsilon": 1e-5}
        case ("maxpool", size, stride):
            return "MaxPool", [], {"kernel_shape": [size] * 2, "strides": [stride] * 2}
        case ("relu",):
            return "Relu", [], {}
        case ("flatten",):
            return "Flatten", [], {}
        case ("dropout", _):
            return "Identity", [], {}
    raise NotImplementedError(f"no ONNX operator for {layer[0]}")


def model(description: Description) -> bytes:
    """Return the network with the common weights as an ONNX file."""
    nodes, last = [], ENTRY
    for position, layer in enumerate(description.layers):
        name, arrays, attributes = operator(layer, str(position))
        nodes.append(helper.make_node(name, [last, *arrays], [f"{position}.y"], **attributes))
        last = f"{position}.y"
    nodes.append(helper.make_node("Softmax", [last], [EXIT], axis=1))
    arrays = [
        numpy_helper.from_array(np.ascontiguousarray(a.transpose(3, 2, 0, 1) if a.ndim == 4 else a), name)
        for name, a in weights(description).items()
    ]
    entry = helper.make_tensor_value_info(ENTRY, TensorProto.FLOAT, ["N", *description.shape])
    leaving = helper.make_tensor_value_info(EXIT, TensorProto.FLOAT, ["N", None])
    graph = helper.make_graph(nodes, "network", [entry], [leaving], arrays)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()


class Peer:
    """The work of one task."""

    def __init__(self, configuration: str, task: Task) -> None:
        self.task, self.description = task, described(task.network)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCH_THREADS"])
        self.session = onnxruntime.InferenceSession(model(self.description), options, ["CPUExecutionProvider"])
        self.x, _ = samples(self.description, task.batch)

    def run(self) -> np.ndarray:
        return self._predict(self.x)

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return self.session.run([EXIT], {ENTRY: x})[0]

    def check(self) -> list[float]:
        return [loss_of(self._predict(x), labels) for x, labels in checked_batches(self.description, self.task)]

    def facts(self) -> dict[str, Any]:
        return {"version": onnxruntime.__version__}
