"""Train here, predict elsewhere: read a model file and compute its outputs with NumPy alone.

Shows: what is in a model file (safetensors: arrays by the place of their layer, the architecture as JSON).
"""

import json

import numpy as np

from gedanken import Adam, BatchNorm, FullyConnectedLayer, Network, ReLU, SoftMax
from gedanken.datasets import load_drawn_digits

train_data, train_labels, test_data, test_labels = load_drawn_digits(train=3000, test=500)
flat_train, flat_test = train_data.reshape(3000, 784), test_data.reshape(500, 784)

net = Network(seed=0).input((784,))
net.add(FullyConnectedLayer(64)).add(BatchNorm()).add(ReLU()).add(FullyConnectedLayer(10)).add(SoftMax())
net.regression(Adam(0.003)).fit(flat_train, train_labels, epochs=4, progress=False)
net.save("digits.safetensors")

# ---------------------------------------------------------------- from here on nothing of Gedanken is used


def read(path):
    """Return the arrays of a safetensors file by name, and its metadata."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        content = file.read()
    metadata = header.pop("__metadata__")
    kinds = {"F32": np.float32, "F64": np.float64}
    return {
        name: np.frombuffer(content[slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
    }, metadata


def predict(arrays, x):
    """Return the probabilities of the classes; layers 0 to 4 are those added above."""
    x = x @ arrays["0.kernel"] + arrays["0.bias"]
    x = (x - arrays["1.mean"]) / np.sqrt(arrays["1.var"] + 1e-5) * arrays["1.scale"] + arrays["1.shift"]
    x = np.maximum(x, 0) @ arrays["3.kernel"] + arrays["3.bias"]
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


arrays, metadata = read("digits.safetensors")
print("arrays:", ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items())))
print("metadata:", ", ".join(metadata))
probabilities = predict(arrays, flat_test)
accuracy = (probabilities.argmax(axis=1) == test_labels.argmax(axis=1)).mean()
print(f"accuracy {accuracy:.3f}, largest difference {abs(probabilities - net.feedforward(flat_test)).max():.0e}")
assert np.allclose(probabilities, net.feedforward(flat_test), atol=1e-5)
assert accuracy > 0.1, "no better than chance, one in ten, yet: train for more epochs"
