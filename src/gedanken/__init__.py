"""Gedanken: small and medium neural networks, trained on the machine you have.

| for | names |
| --- | --- |
| networks | `Network` |
| engines | `Auto`, `Cpu`, `Numpy`, `Cuda` |
| parallel training | `DataParallel`, `Hogwild`, `LocalSGD`, `ParameterServer`, `Pipeline` |
| layers with parameters | `FullyConnectedLayer`, `ConvolutionLayer`, `TransposedConvolutionLayer`, `Embedding` |
| data that are mostly zeros | `SparseRows`, `SparseFullyConnectedLayer`, `MatrixFactorisation`, `GraphCut` |
| texts and series | `Vocabulary` |
| sequences | `Sequences`, `Convolution1DLayer`, `LearnedPositions`, `SinePositions` |
| | `MultiHeadAttention`, `CrossAttention` |
| | `SimpleRNN`, `LSTM`, `GRU`, `Bidirectional`, `FromState` |
| pooling over time | `MaxPool1DLayer`, `AveragePool1DLayer`, `GlobalMaxPool1DLayer`, `GlobalAveragePool1DLayer` |
| | `AdaptiveMaxPool1DLayer`, `AdaptiveAveragePool1DLayer`, `LpPool1DLayer`, `GlobalLpPool1DLayer` |
| pooling | `MaxPoolLayer`, `AveragePoolLayer`, `GlobalMaxPoolLayer`, `GlobalAveragePoolLayer` |
| | `AdaptiveMaxPoolLayer`, `AdaptiveAveragePoolLayer`, `LpPoolLayer`, `GlobalLpPoolLayer` |
| larger pictures | `UpsamplingLayer`, `PixelShuffle`, `PixelUnshuffle` |
| normalisation | `BatchNorm`, `LayerNorm`, `GroupNorm`, `InstanceNorm`, `RMSNorm`, `UnitNorm`, `LocalResponseNorm` |
| activations | `ReLU`, `LeakyReLU`, `PReLU`, `ELU`, `CELU`, `SELU`, `Sigmoid`, `TanH`, `GELU`, `SiLU`, `Mish` |
| | `Softplus`, `Softsign`, `LogSigmoid`, `TanHShrink`, `GLU`, `SoftMax`, `LogSoftMax` |
| activations of pieces | `ReLU6`, `HardTanH`, `HardSigmoid`, `HardSwish`, `Threshold`, `Shrink` |
| randomness in training | `Dropout`, `SpatialDropout`, `AlphaDropout`, `GaussianNoise` |
| other layers | `Flatten`, `Reshape`, `Permute`, `PaddingLayer`, `CroppingLayer` |
| layers made of layers | `Sequential`, `Residual`, `Branches`, `Heads` |
| layers of your own | `FunctionLayer`, `Layer`, `Activation`, `BasePool`, `Param`, `StateValue`, `Context` |
| first values | `Initializer`, `Zeros`, `Constant`, `GlorotUniform`, `GlorotNormal`, `HeUniform`, `HeNormal` |
| | `VarianceScaling`, `TruncatedNormal`, `Orthogonal` |
| costs | `Cost`, `CrossEntropy`, `BinaryCrossEntropy`, `MeanSquared`, `MeanAbsolute`, `Huber`, `Hinge` |
| | `WeightedMean`, `CustomCost`, `Focal`, `BinaryFocal`, `Dice`, `KullbackLeibler`, `CosineDistance` |
| | `SquaredHinge`, `CategoricalHinge`, `MultiMargin`, `Poisson`, `Quantile`, `LogCosh`, `SmoothL1`, `GaussianNLL` |
| | `MeanAbsolutePercentage`, `MeanSquaredLogarithmic`, `HingeEmbedding`, `MultiLabelMargin`, `Tversky`, `CTC` |
| optimizers | `Optimizer`, `SGD`, `Momentum`, `Nesterov`, `AdaGrad`, `RMSProp`, `AdaDelta` |
| | `Adam`, `AdamW`, `AdaMax`, `NAdam`, `RAdam`, `Lion`, `Lamb`, `Muon`, `Rprop`, `Adafactor` |
| learning rates | `Schedule`, `ConstantRate`, `StepDecay`, `MilestoneDecay`, `ExponentialDecay`, `InverseDecay` |
| | `LinearRate`, `PolynomialDecay`, `CosineDecay`, `CosineRestarts`, `CyclicRate`, `OneCycle` |
| | `WarmUp`, `RateSequence`, `RateProduct`, `OnPlateau` |
| metrics of classes | `Accuracy`, `TopKAccuracy`, `BalancedAccuracy`, `ExactMatch`, `HammingLoss` |
| | `Precision`, `Recall`, `F1`, `FBeta`, `Specificity`, `IoU`, `DiceCoefficient` |
| | `MatthewsCorrelation`, `CohenKappa`, `ConfusionMatrix`, `ClassReport`, `LogLoss` |
| metrics of scores | `ROCAUC`, `AveragePrecision`, `ROCCurve`, `PrecisionRecallCurve` |
| | `PrecisionAtRecall`, `RecallAtPrecision`, `BestThreshold` |
| metrics of values | `MeanAbsoluteError`, `MeanSquaredError`, `RootMeanSquareError` |
| | `MeanAbsolutePercentageError`, `R2`, `ExplainedVariance`, `PearsonCorrelation` |
| | `Metric` for your own |
| callbacks | `Callback`, `Calls`, `EarlyStopping`, `KeepBest`, `MovingAverage`, `Budget` |
| | `CSVLog`, `TensorBoard` |
| | `Checkpoint`, and `Resume` to go on; `OnNonFinite`, `GradualUnfreezing` |
| their answers | `Stop`, `SetRate`, `Save`, `KeepWeights`, `AverageWeights`, `Capture` |
| | to a fault `Skip`, `RollBack`; `Unfreeze` |
| records | `History`, `Evaluation`, `Run`, `StepRecord`, `Snapshot`, `EpochRecord`, `Answered`, `Fault` |
| rates to begin with | `RateSweep`, of `Network.find_learning_rate` |
| data made by workers | `Generator`, `ArrayGenerator`, `DatasetGenerator`, `IterableGenerator` |
| | `Samples`, `MappedArray` |
| changes of samples | `Transform`, `PictureTransform`, `Flip`, `Translate`, `Crop`, `Rotate` |
| | `Cutout`, `Normalise`, `MixUp` |
| errors | `GedankenError`, `ArgumentError`, `ShapeError`, `DataError`, `StateError`, `EngineError` |
| | `DatasetError`, `CheckpointError`, `GradientError`, `NonFiniteError`, `WorkerError`, `MissingPackageError` |
| | `GedankenWarning` |

Data sets and pictures: `gedanken.datasets`. Ready-made networks: `gedanken.networks`.
What all metrics agree on: `gedanken.metrics`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# Where each public name stands. Its module is imported when the name is first used, so that a worker process that
# prepares data, or `gedanken --version`, starts with what it needs. `__init__.pyi` tells type checkers the same.
_HOMES = {
    "costs": (
        "BinaryCrossEntropy BinaryFocal CTC CategoricalHinge CosineDistance Cost CrossEntropy CustomCost Dice Focal "
        "GaussianNLL Hinge HingeEmbedding Huber KullbackLeibler LogCosh MeanAbsolute MeanAbsolutePercentage "
        "MeanSquared MeanSquaredLogarithmic MultiLabelMargin MultiMargin Poisson Quantile SmoothL1 SquaredHinge "
        "Tversky WeightedMean"
    ),
    "data.generator": "Generator",
    "data.workers.items": "Samples",
    "data.mapped": "MappedArray",
    "data.sources": "ArrayGenerator DatasetGenerator IterableGenerator",
    "data.vocabulary": "Vocabulary",
    "data.transforms": "Crop Cutout Flip MixUp Normalise PictureTransform Rotate Transform Translate",
    "engine.select": "Auto Cpu Cuda Numpy",
    "errors": (
        "ArgumentError CheckpointError DataError DatasetError EngineError GedankenError GedankenWarning "
        "GradientError MissingPackageError NonFiniteError ShapeError StateError WorkerError"
    ),
    "init": (
        "Constant GlorotNormal GlorotUniform HeNormal HeUniform Initializer Orthogonal TruncatedNormal VarianceScaling "
        "Zeros"
    ),
    "layers": (
        "Activation AdaptiveAveragePool1DLayer AdaptiveAveragePoolLayer AdaptiveMaxPool1DLayer AdaptiveMaxPoolLayer "
        "AlphaDropout AveragePool1DLayer AveragePoolLayer BasePool BatchNorm Bidirectional Branches CELU Context "
        "Convolution1DLayer ConvolutionLayer CroppingLayer CrossAttention Dropout ELU Embedding Flatten FromState "
        "FullyConnectedLayer FunctionLayer GELU GLU GRU GaussianNoise GlobalAveragePool1DLayer GlobalAveragePoolLayer "
        "GlobalLpPool1DLayer GlobalLpPoolLayer GlobalMaxPool1DLayer GlobalMaxPoolLayer GraphCut GroupNorm HardSigmoid "
        "HardSwish HardTanH Heads InstanceNorm LSTM Layer LayerNorm LeakyReLU LearnedPositions LocalResponseNorm "
        "LogSigmoid LogSoftMax LpPool1DLayer LpPoolLayer MatrixFactorisation MaxPool1DLayer MaxPoolLayer Mish "
        "MultiHeadAttention PReLU PaddingLayer Param Permute PixelShuffle PixelUnshuffle RMSNorm ReLU ReLU6 Reshape "
        "Residual SELU Sequential Shrink SiLU Sigmoid SimpleRNN SinePositions SoftMax Softplus Softsign "
        "SparseFullyConnectedLayer SpatialDropout StateValue TanH TanHShrink Threshold TransposedConvolutionLayer "
        "UnitNorm UpsamplingLayer"
    ),
    "metrics": (
        "Accuracy AveragePrecision BalancedAccuracy BestThreshold ClassReport CohenKappa ConfusionMatrix "
        "DiceCoefficient ExactMatch ExplainedVariance F1 FBeta HammingLoss IoU LogLoss MatthewsCorrelation "
        "MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError Metric PearsonCorrelation Precision "
        "PrecisionAtRecall PrecisionRecallCurve R2 ROCAUC ROCCurve Recall RecallAtPrecision RootMeanSquareError "
        "Specificity TopKAccuracy"
    ),
    "network": "Network",
    "optimizers": (
        "AdaDelta AdaGrad AdaMax Adafactor Adam AdamW Lamb Lion Momentum Muon NAdam Nesterov Optimizer RAdam RMSProp "
        "Rprop SGD"
    ),
    "parallel.data_parallel": "DataParallel",
    "parallel.local_sgd": "LocalSGD",
    "parallel.fault": "Fault",
    "parallel.hogwild": "Hogwild",
    "parallel.parameter_server": "ParameterServer",
    "parallel.pipeline": "Pipeline",
    "sequences": "Sequences",
    "sparse": "SparseRows",
    "schedules": (
        "ConstantRate CosineDecay CosineRestarts CyclicRate ExponentialDecay InverseDecay LinearRate MilestoneDecay "
        "OnPlateau OneCycle PolynomialDecay RateProduct RateSequence Schedule StepDecay WarmUp"
    ),
    "training.average": "MovingAverage",
    "training.budget": "Budget",
    "training.callbacks": "Callback Calls EarlyStopping KeepBest",
    "training.checkpoint": "Checkpoint",
    "training.csv_log": "CSVLog",
    "training.gradual": "GradualUnfreezing",
    "training.non_finite": "OnNonFinite",
    "training.records": (
        "Answered AverageWeights Capture EpochRecord Evaluation History KeepWeights RollBack Run Save SetRate Skip "
        "Snapshot StepRecord Stop Unfreeze"
    ),
    "training.rate_sweep": "RateSweep",
    "training.resume": "Resume",
    "training.tensorboard": "TensorBoard",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}
_FORMER = dict.fromkeys(("Chain", "CutOut", "EarlyStop", "Shift", "UserCost"), "former")
_PUBLIC_MODULES = ("datasets", "metrics", "networks")  # reached as gedanken.networks, too
__all__ = sorted(_MODULES)  # noqa: PLE0605 - a list of strings all the same


def __getattr__(name: str) -> Any:
    if name in _PUBLIC_MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    home = _MODULES.get(name) or _FORMER.get(name)
    if home is None:
        hint = importlib.import_module(f"{__name__}.foreign").hint_of(name, __all__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
