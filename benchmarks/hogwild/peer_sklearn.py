"""scikit-learn's SGDClassifier, a sample a step, on the same sparse rows."""

import time
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import SGDClassifier
from tasks import EPOCHS, FEATURES, Task, sparse_rows


class Peer:
    """SGD in one thread.

    Args:
        configuration: nothing.
        task: what is trained.
    """

    def __init__(self, configuration: str, task: Task) -> None:
        starts, columns, values, self.y = sparse_rows(task.samples)
        self.x, self.task = csr_matrix((values, columns, starts.astype(np.int32)), shape=(task.samples, FEATURES)), task

    def run(self) -> dict[str, Any]:
        """Train anew; return samples per second after the first epoch, and accuracy."""
        loss = "log_loss" if self.task.network == "logistic" else "hinge"
        rule = {"learning_rate": "constant", "penalty": None}
        found = SGDClassifier(loss=loss, max_iter=1, tol=None, eta0=0.5, **rule)
        seconds = 0.0
        for epoch in range(EPOCHS):
            found.eta0 = 0.5 * 0.9**epoch
            began = time.perf_counter()
            found.partial_fit(self.x, self.y, classes=[0, 1])  # which shuffles too
            seconds += (time.perf_counter() - began) if epoch else 0.0
        rate = (EPOCHS - 1) * self.task.samples / seconds
        return {"rate": rate, "accuracy": float(found.score(self.x, self.y))}
