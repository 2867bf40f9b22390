"""How long the first training step of the diary's network takes in a new process.

Once with an empty cache of kernels, once with a filled one.

python benchmarks/first_step.py [runs]
"""

import os
import statistics
import subprocess
import sys
import tempfile

STEP = """
import time
import numpy as np
from gedanken import *
net = Network().input((1, 28, 28))
for layer in (
    ConvolutionLayer(32, 3, 3), BatchNorm(), ReLU(), ConvolutionLayer(64, 3, 3), BatchNorm(), ReLU(),
    MaxPoolLayer(2, 2, stride=1), Dropout(0.75), Flatten(), FullyConnectedLayer(128), ReLU(), Dropout(0.5),
    FullyConnectedLayer(10), SoftMax(),
):
    net.add(layer)
x, y = np.random.rand(256, 1, 28, 28).astype("float32"), np.zeros(256, int)
began = time.perf_counter()
net.regression(Adam(0.001), engine="cpu")
net.fit(x, y, mini_batch_size=256, progress=False)
print(time.perf_counter() - began)
"""


def seconds(folder: str) -> float:
    environment = {**os.environ, "XDG_CACHE_HOME": folder}
    done = subprocess.run([sys.executable, "-c", STEP], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    empty, filled = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            empty.append(seconds(folder))
            filled.append(seconds(folder))
    for name, times in (("empty", empty), ("filled", filled)):
        print(f"cache {name}: median {statistics.median(times):.2f} s of {runs}, most {max(times):.2f} s")


if __name__ == "__main__":
    main()
