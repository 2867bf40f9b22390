"""Gedanken: small and medium neural networks, trained on the machine you have."""

import importlib
from typing import Any

__version__ = "0.1.0"

# Where each public name stands. Its module is imported when the name is first used, so that a worker process that
# prepares data, or `gedanken --version`, starts with what it needs. `__init__.pyi` tells type checkers the same.
_HOMES = {
    "costs": "BinaryCrossEntropy Cost CrossEntropy Huber MeanAbsolute MeanSquared UserCost",
    "data.generator": "Generator",
    "data.items": "Samples",
    "data.mapped": "MappedArray",
    "data.sources": "ArrayGenerator DatasetGenerator IterableGenerator",
    "data.transforms": "Crop CutOut Flip MixUp Normalise PictureTransform Rotate Shift Transform",
    "errors": (
        "ArgumentError CheckpointError DataError DatasetError EngineError GedankenError GedankenWarning "
        "MissingPackageError ShapeError StateError WorkerError"
    ),
    "init": "Constant GlorotNormal GlorotUniform HeNormal HeUniform Initializer Zeros",
    "layers": (
        "Activation AveragePoolLayer BasePool BatchNorm Branches Chain Context ConvolutionLayer Dropout "
        "ELU Embedding Flatten FullyConnectedLayer GELU GlobalAveragePoolLayer GroupNorm Layer LayerNorm "
        "LeakyReLU MaxPoolLayer Param ReLU Reshape Residual SiLU Sigmoid SoftMax StateValue TanH"
    ),
    "metrics": (
        "Accuracy ConfusionMatrix F1 MatthewsCorrelation MeanAbsoluteError Metric Precision R2 ROCAUC Recall "
        "RootMeanSquareError TopKAccuracy"
    ),
    "network": "Network",
    "optimizers": "AdaGrad Adam AdamW Lion Momentum Nesterov Optimizer RMSProp SGD",
    "schedules": "ConstantRate CosineDecay ExponentialDecay OnPlateau OneCycle Schedule StepDecay WarmUp",
    "training.callbacks": "Callback EarlyStop",
    "training.records": "EpochRecord Evaluation History Run Snapshot StepRecord Stop",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_MODULES)  # noqa: PLE0605 - a list of strings all the same


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
