"""Train on pictures that a web server sends, fetched by workers while the network trains.

Shows: a Generator of your own, worker threads, going on in the middle of an epoch.
The server is a part of this script. Pictures are arrays here, so that only NumPy is needed; `HTTPImageGenerator` reads
real ones.
"""

import io
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from gedanken import (
    Adam,
    ConvolutionLayer,
    Flatten,
    FullyConnectedLayer,
    Generator,
    MaxPoolLayer,
    Network,
    ReLU,
    SoftMax,
)
from gedanken.datasets import load_drawn_digits

PICTURES, LABELS, _, _ = load_drawn_digits(train=1000, test=1)


class Server(BaseHTTPRequestHandler):
    """Answers /17 with picture 17, after 2 milliseconds."""

    def do_GET(self):
        time.sleep(0.002)
        content = io.BytesIO()
        np.save(content, PICTURES[int(self.path[1:])])
        self.send_response(200)
        self.send_header("Content-Length", str(content.tell()))
        self.end_headers()
        self.wfile.write(content.getvalue())

    def log_message(self, *args):
        pass


class Fetched(Generator):
    """Pictures by their addresses."""

    def __init__(self, addresses, labels, **options):
        super().__init__(**options)
        self.addresses, self.labels = addresses, labels

    def __len__(self):  # how often get_mini_batches is called in one epoch
        return len(self.addresses)

    def get_mini_batches(self, index):
        with urllib.request.urlopen(self.addresses[index], timeout=10) as answer:
            return [(np.load(io.BytesIO(answer.read())), self.labels[index])]


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    addresses = [f"http://127.0.0.1:{server.server_port}/{k}" for k in range(1000)]
    options = {"mini_batch_size": 25, "mode": "threads", "workers": 4}

    net = Network(seed=0).input((1, 28, 28))
    net.add(ConvolutionLayer(8, 5, 5, stride=2)).add(ReLU()).add(MaxPoolLayer(2, 2)).add(Flatten())
    net.add(FullyConnectedLayer(10)).add(SoftMax()).regression(Adam(0.005))
    test = Fetched(addresses[800:], LABELS[800:], **options)
    with Fetched(addresses[:800], LABELS[:800], shuffle=True, **options) as training, test:
        history = net.fit(training, validation_set=test, epochs=3, progress=False)
        print(f"accuracy of new pictures {history['validation_accuracy'][-1]:.2f}")
        print("workers:", training.stats()["workers"])

        # A Generator's position is a few numbers: another one with these numbers goes on there, with any workers.
        stream = iter(training)
        first = [next(stream) for _ in range(3)]
        position = training.state_dict()
        with Fetched(addresses[:800], LABELS[:800], shuffle=True, mini_batch_size=25, workers=0) as same:
            same.load_state_dict(position)
            assert (next(iter(same))[0] == next(stream)[0]).all()
        print(f"went on after {len(first)} mini-batches with another Generator")
    server.shutdown()
    server.server_close()
    assert history["validation_accuracy"][-1] > 0.1, "no better than chance, one in ten, yet: train for more epochs"


if __name__ == "__main__":  # worker processes, where they are chosen, import this file
    main()
