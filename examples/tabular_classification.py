"""Classify the rows of a table whose classes are unbalanced: which engines will fail?

Shows: standardised columns, class weights, metrics of classes, early stopping, saving and loading.
"""

import numpy as np

from gedanken import (
    F1,
    Accuracy,
    Adam,
    BatchNorm,
    ConfusionMatrix,
    CrossEntropy,
    EarlyStopping,
    FullyConnectedLayer,
    Network,
    ReLU,
    SoftMax,
)

# 4,000 rows of temperature, pressure, age and load; about one in ten is an engine that fails.
rng = np.random.default_rng(0)
table = rng.normal(size=(4000, 4)) * [15, 0.4, 3, 0.2] + [80, 2, 6, 0.5]
risk = (table[:, 0] - 80) / 15 + ((table[:, 3] - 0.5) / 0.2) ** 2 - (table[:, 1] - 2) / 0.4
fails = (risk + rng.normal(0, 0.1, 4000) > 3.2).astype(int)

train, test = slice(0, 3000), slice(3000, 4000)
mean, deviation = table[train].mean(axis=0), table[train].std(axis=0)
rows = (table - mean) / deviation

net = Network(seed=0).input((4,))
net.add(FullyConnectedLayer(32)).add(BatchNorm()).add(ReLU())
net.add(FullyConnectedLayer(16)).add(ReLU())
net.add(FullyConnectedLayer(2)).add(SoftMax())
net.regression(Adam(0.002), CrossEntropy(class_weights=[1, 3]), metrics=[Accuracy(), F1("binary"), ConfusionMatrix()])

history = net.fit(
    rows[train], fails[train], validation_set=0.2, epochs=60, mini_batch_size=64,
    callbacks=[EarlyStopping("validation_cost", patience=8)], progress=False,
)  # fmt: skip
found = net.evaluate(rows[test], fails[test], progress=False)
print(f"{len(history.epochs)} epochs: {history.reason}")
print(f"{fails[test].sum()} of 1000 new engines fail")
print(f"accuracy {found['accuracy']:.3f}, F1 of the failures {found['f1_binary']:.3f}")
print("rows of the confusion matrix, works and fails:", *np.asarray(found["confusion_matrix"], int).tolist())

net.class_names = ["works", "fails"]
net.save("failures.safetensors")
again = Network.load("failures.safetensors")
assert (again.predict(rows[test]) == net.predict(rows[test])).all()
chance = 2 * fails[test].sum() / (len(fails[test]) + fails[test].sum())  # F1 of calling all of them failures
assert found["f1_binary"] > chance, "no better than calling all of them failures yet: train for more epochs"
