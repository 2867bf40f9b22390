"""The codes of findings. Each is a heading of docs/check.md."""

from types import MappingProxyType

CAUSES = (
    "unscaled-input",
    "constant-input",
    "target-scale",
    "target-range",
    "labels-constant",
    "softmax-twice",
)
# What comes first in a list may bring about all that comes after it: a symptom beside its cause is a note.
SYMPTOMS = (
    "not-finite",
    "exploding-gradient",
    "dead-units",
    "vanishing-gradient",
    "initial-cost",
    "learning-rate-high",
    "learning-rate-low",
    "cannot-learn",
)
CODES = MappingProxyType(
    {
        "unscaled-input": "inputs lie far from scale 1",
        "constant-input": "inputs are the same in all samples",
        "target-scale": "targets of a regression lie far from scale 1",
        "target-range": "targets lie where the last layer gives no outputs",
        "labels-constant": "all labels are the same",
        "missing-class": "a class has no samples",
        "class-imbalance": "a class has many times the samples of another",
        "leakage": "samples of the validation set stand among those trained on",
        "label-conflict": "the same sample has different labels",
        "softmax-twice": "SoftMax in the middle, or before a cost that takes no probabilities of classes",
        "bias-before-norm": "a bias that BatchNorm takes away again",
        "pool-stride": "a pooling of stride 1 leaves a dense layer most of the parameters",
        "not-finite": "the first steps give numbers that are not finite",
        "exploding-gradient": "gradients are many times the weights",
        "dead-units": "units that never fire",
        "vanishing-gradient": "layers whose gradient is almost nothing beside that of others",
        "initial-cost": "the first cost is not that of a network that knows nothing",
        "learning-rate-high": "one mini-batch is learnt with a smaller learning rate only",
        "learning-rate-low": "one mini-batch is learnt with a larger learning rate only",
        "cannot-learn": "one mini-batch is not learnt with any learning rate",
    }
)
