"""An import that Ctrl-C ended at a bad line stops no thread: CPython may keep its lock for all imports then."""

import pytest

from tests.cpu.chaos_programs import program

BEGIN = """
import _imp
import numpy as np
from gedanken import *

class Importing(Generator):
    def __len__(self):
        return 4

    def get_mini_batches(self, index):
        import colorsys
        return [(np.float32([index, 1, 0]), colorsys is not None)]

x = np.random.default_rng(1).random((8, 3))
net = Network(seed=2).input((3,)).add(FullyConnectedLayer(2)).add(SoftMax())
_imp.acquire_lock()  # what is left where the interrupt came before `try`
"""


@pytest.mark.parametrize(
    "work",
    [
        "net.regression(engine='cpu').feedforward(x)",
        "net.regression(engine='numpy').fit(Importing(workers=2, mode='threads', mini_batch_size=2), progress=False)",
        "net.regression(engine='numpy').fit(Importing(workers=1, mini_batch_size=2), progress=False)",
    ],
    ids=["compiling", "threads", "a start ahead"],
)
def test_threads_import_after_an_interrupted_import(work: str, tmp_path: str) -> None:
    done = program(f"{BEGIN}{work}\nprint('done')", XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
