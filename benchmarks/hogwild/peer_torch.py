"""PyTorch's Hogwild: a module in shared memory, and processes with an optimizer each, as in its own example."""

import time
from typing import Any

import torch
from tasks import EPOCHS, Task, samples
from torch import multiprocessing, nn

PATIENCE = 600.0  # seconds, after which a worker that failed is noticed


def network(task: Task) -> nn.Module:
    """Return the module, weights in shared memory."""
    torch.manual_seed(task.seed)
    if task.network == "mlp":
        net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    else:
        body = [nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.ReLU()]
        head = [nn.MaxPool2d(2, 1), nn.Dropout(0.25), nn.Flatten(), nn.Linear(64 * 23 * 23, 128), nn.ReLU()]
        net = nn.Sequential(*body, *head, nn.Dropout(0.5), nn.Linear(128, 10))
    net.share_memory()
    return net


def work(number: int, workers: int, net: nn.Module, x: Any, y: Any, task: Task, begun: Any, done: Any) -> None:
    """Train on every mini-batch of one's own share, in a new order each epoch."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rate, kind = (0.1, torch.optim.SGD) if task.network == "mlp" else (1e-3, torch.optim.Adam)
    rule, cost = kind(net.parameters(), lr=rate), nn.CrossEntropyLoss()
    order = torch.Generator().manual_seed(number)
    for epoch in range(EPOCHS):
        if epoch == 1:
            begun.wait(PATIENCE)
        mine = torch.randperm(len(x) // workers, generator=order) * workers + number
        for places in mine.split(task.batch):
            rule.zero_grad()
            cost(net(x[places]), y[places]).backward()
            rule.step()
    done.wait(PATIENCE)


class Peer:
    """Hogwild with so many workers.

    Args:
        configuration: number of workers.
        task: what is trained.
    """

    def __init__(self, configuration: str, task: Task) -> None:
        self.workers, self.task = int(configuration), task
        (x, y), (x_test, y_test) = samples(task)
        self.x, self.x_test = torch.from_numpy(x).share_memory_(), torch.from_numpy(x_test)
        self.y, self.y_test = torch.as_tensor(y).long().share_memory_(), torch.as_tensor(y_test).long()

    def run(self) -> dict[str, Any]:
        """Train anew; return samples per second after the first epoch, and accuracy."""
        context, net = multiprocessing.get_context("spawn"), network(self.task)
        begun, done = context.Barrier(self.workers + 1), context.Barrier(self.workers + 1)
        given = (self.workers, net, self.x, self.y, self.task, begun, done)
        processes = [context.Process(target=work, args=(number, *given)) for number in range(self.workers)]
        for process in processes:
            process.start()
        begun.wait(PATIENCE)
        began = time.perf_counter()
        done.wait(PATIENCE)
        seconds = time.perf_counter() - began
        for process in processes:
            process.join()
        net.eval()
        with torch.no_grad():
            right = sum(
                (net(x).argmax(1) == y).sum().item()
                for x, y in zip(self.x_test.split(256), self.y_test.split(256), strict=True)
            )
        rate = (EPOCHS - 1) * (self.task.samples // self.workers) * self.workers / seconds
        return {"rate": rate, "accuracy": right / len(self.y_test)}
