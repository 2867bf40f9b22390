"""Classify pictures with a convolutional network, then find digits on a larger page.

Shows: convolution, pooling, dropout, transforms made by workers, `slide`. The digits are drawn, so nothing is
downloaded; `load_conv()` gives MNIST in the same form.
"""

import numpy as np

from gedanken import (
    Adam,
    ArrayGenerator,
    BatchNorm,
    ConvolutionLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    MaxPoolLayer,
    Network,
    ReLU,
    SoftMax,
    Translate,
)
from gedanken.datasets import load_drawn_digits

train_data, train_labels, test_data, test_labels = load_drawn_digits(train=4000, test=1000)

net = Network(seed=0).input((1, 28, 28))
net.add(ConvolutionLayer(16, 3, 3)).add(BatchNorm()).add(ReLU()).add(MaxPoolLayer(2, 2))
net.add(ConvolutionLayer(32, 3, 3)).add(BatchNorm()).add(ReLU()).add(MaxPoolLayer(2, 2))
net.add(Flatten()).add(Dropout(0.7))  # keeps 70 %
net.add(FullyConnectedLayer(10)).add(SoftMax())
net.regression(Adam(0.002), cost="cross_entropy")

shifted = ArrayGenerator(
    train_data, train_labels, mini_batch_size=128, shuffle=True, transforms=[Translate(2)], mode="threads", workers=2
)
with shifted:
    history = net.fit(shifted, validation_set=(test_data, test_labels), epochs=3, progress=False)
print("accuracy after each epoch:", *(f"{accuracy:.3f}" for accuracy in history["validation_accuracy"]))

page = np.concatenate(test_data[:5], axis=2)  # five digits beside each other, (1, 28, 140)
scores = net.slide(page, stride=(28, 28))  # (10, 1, 5)
print("read:", *scores[:, 0].argmax(axis=0), "  drawn:", *test_labels[:5].argmax(axis=1))
assert history["validation_accuracy"][-1] > 0.1, "no better than chance, one in ten, yet: train for more epochs"
